"""JSON endpoints under /api/v1/."""

from django.urls import path

from starsieve.projects import api

urlpatterns = [
    path("projects", api.ProjectList.as_view(), name="api_projects"),
    path("projects/<slug:slug>", api.ProjectDetail.as_view(), name="api_project"),
    path("workflows/<int:workflow_id>", api.WorkflowDetail.as_view(), name="api_workflow"),
    path("workflows/<int:workflow_id>/versions", api.WorkflowVersions.as_view(), name="api_workflow_versions"),
    path("subjects/<int:subject_id>", api.SubjectDetail.as_view(), name="api_subject"),
]
