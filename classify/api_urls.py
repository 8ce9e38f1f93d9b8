"""JSON endpoints under /api/v1/."""

from django.urls import path

from classify import api

urlpatterns = [
    path("workflows/<int:workflow_id>/next", api.NextSubjects.as_view(), name="api_next"),
    path("workflows/<int:workflow_id>/classifications", api.Classifications.as_view(), name="api_classifications"),
    path(
        "workflows/<int:workflow_id>/classifications/batch",
        api.ClassificationBatch.as_view(),
        name="api_classification_batch",
    ),
]
