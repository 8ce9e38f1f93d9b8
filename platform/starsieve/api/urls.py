"""The API's own description; the endpoints themselves belong to their rooms."""

from django.urls import path

from starsieve.api import views

urlpatterns = [
    path("schema", views.SchemaView.as_view(), name="api_schema"),
    path("docs", views.docs, name="api_docs"),
]
