"""Pages."""

from django.urls import path

from classify import views

urlpatterns = [
    path("projects/<slug:slug>/classify/<int:workflow_id>/", views.classify, name="classify"),
]
