"""JSON endpoints under /api/v1/."""

from django.urls import path

from starsieve.catalogues import api

urlpatterns = [
    path("workflows/<int:pk>/results", api.WorkflowResults.as_view(), name="api_results"),
    path("workflows/<int:pk>/consensus", api.WorkflowConsensus.as_view(), name="api_consensus"),
    path("workflows/<int:pk>/exports/<str:name>", api.WorkflowExport.as_view(), name="api_export"),
    path("workflows/<int:pk>/releases", api.WorkflowReleases.as_view(), name="api_releases"),
    path("releases/<int:pk>", api.ReleaseDetail.as_view(), name="api_release"),
    path("releases/<int:pk>/retry", api.ReleaseRetry.as_view(), name="api_release_retry"),
    path("releases/<int:pk>/files/<str:name>", api.ReleaseFile.as_view(), name="api_release_file"),
]
