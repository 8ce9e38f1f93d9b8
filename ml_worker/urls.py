"""Pages."""

from django.urls import path

from ml_worker import views

PAGES = "projects/<slug:slug>/manage/prefilter/"

urlpatterns = [
    path(PAGES, views.prefilter, name="prefilter"),
    path(f"{PAGES}<int:batch_id>/", views.prefilter_batch, name="prefilter_batch"),
    path(f"{PAGES}<int:batch_id>/cancel/", views.prefilter_cancel, name="prefilter_cancel"),
    path(f"{PAGES}<int:batch_id>/shards/<int:index>/retry/", views.prefilter_retry, name="prefilter_retry"),
    path(f"{PAGES}<int:batch_id>/scores.svg", views.prefilter_scores, name="prefilter_scores"),
]
