"""The site's addresses and one page that breaks."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from starsieve.urls import handler500, urlpatterns

__all__ = ["handler500"]


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret path /srv/x")


urlpatterns = [*urlpatterns, path("broken/", broken)]
