"""Pages."""

from django.urls import path

from starsieve.projects import manage_views, views

MANAGE = "projects/<slug:slug>/manage/"

urlpatterns = [
    path("", views.home, name="home"),
    path("about/", views.about, name="about"),
    path("projects/new/", views.new_project, name="new_project"),
    path("projects/<slug:slug>/", views.project, name="project"),
    path(MANAGE, manage_views.manage_project, name="manage_project"),
    path(f"{MANAGE}members/", manage_views.manage_members, name="manage_members"),
    path(f"{MANAGE}members/<int:user_id>/role/", manage_views.change_role, name="change_role"),
    path(f"{MANAGE}members/<int:user_id>/remove/", manage_views.take_role, name="take_role"),
    path(f"{MANAGE}subjects/", manage_views.manage_subjects, name="manage_subjects"),
    path(f"{MANAGE}subjects/link/", manage_views.link_set, name="link_set"),
    path(f"{MANAGE}workflows/", manage_views.manage_workflows, name="manage_workflows"),
    path(f"{MANAGE}workflows/<int:workflow_id>/", manage_views.edit_workflow, name="edit_workflow"),
    path(f"{MANAGE}workflows/<int:workflow_id>/switch/", manage_views.switch_workflow, name="switch_workflow"),
    path("media/<path:path>", views.media, name="media"),
]
