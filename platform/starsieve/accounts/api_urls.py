"""JSON endpoints under /api/v1/."""

from django.urls import path

from starsieve.accounts import api

urlpatterns = [
    path("tokens", api.TokenList.as_view(), name="api_tokens"),
    path("tokens/<int:pk>", api.TokenDetail.as_view(), name="api_token"),
]
