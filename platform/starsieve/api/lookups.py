"""No query parameter reaches through relations: `?owner__password__startswith=…` is how CVE-2023-47117 read secrets."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from starsieve.api.problems import problem


class RefuseLookupsMiddleware:
    """Endpoints name each parameter that they take; a key with `__` is a probe, and is told so."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/") and any("__" in key for key in request.GET):
            return problem(400, "Query parameters with “__” are not taken; see /api/v1/docs for those that are.")
        return self.get_response(request)
