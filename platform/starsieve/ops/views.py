"""Error pages."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from starsieve.api.problems import problem

SENTENCES = {
    400: "The request could not be understood.",
    403: "You may not do this.",
    404: "There is nothing at this address.",
    500: "Something broke on our side. What you sent before is safe; please try again.",
}


def _error(request: HttpRequest, status: int, detail: str = "") -> HttpResponse:
    sentence = detail or SENTENCES[status]
    if request.path.startswith("/api/"):
        return problem(status, sentence)
    return render(request, "error.html", {"status": status, "sentence": sentence}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, str(exception))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    return _error(request, 500)
