"""JSON endpoints under /api/v1/."""

from django.urls import path

from ml_worker import api

urlpatterns = [
    path("models", api.ModelList.as_view(), name="api_models"),
    path("prefilter-batches", api.BatchList.as_view(), name="api_prefilter_batches"),
    path("prefilter-batches/<int:pk>", api.BatchDetail.as_view(), name="api_prefilter_batch"),
    path("prefilter-batches/<int:pk>/cancel", api.BatchCancel.as_view(), name="api_prefilter_cancel"),
    path("prefilter-batches/<int:pk>/shards", api.ShardList.as_view(), name="api_prefilter_shards"),
    path("prefilter-batches/<int:pk>/shards/<int:index>/retry", api.ShardRetry.as_view(), name="api_shard_retry"),
]
