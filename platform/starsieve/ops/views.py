"""Error pages, health and metrics."""

import sys
from dataclasses import asdict

from django.contrib.admin.views.decorators import staff_member_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from starsieve.api.problems import problem
from starsieve.ops.health import states
from starsieve.ops.metrics import exposition
from starsieve.ops.work import background_work as gather_work

SENTENCES = {
    400: "The request could not be understood.",
    403: "You may not do this.",
    404: "There is nothing at this address.",
    429: "That was a lot of requests at once. Please wait a minute and try again.",
    500: "Something broke on our side. What you sent before is safe; please try again.",
    503: "The database is away for a moment. What you sent before is safe; please try again.",
}
SECONDS_TO_WAIT = 2  # about as long as a database takes to start again


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


def too_many_requests(request: HttpRequest) -> HttpResponse:
    return _error(request, 429)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the exception. A database that went away is 503: trying again helps."""
    status = 503 if isinstance(sys.exception(), OperationalError | InterfaceError) else 500
    if request.path.startswith("/api/"):
        response: HttpResponse = problem(status, SENTENCES[status])
    else:
        # Without the request: its user comes from the database, which may be what broke.
        context = {"status": status, "sentence": SENTENCES[status], "csrf_token": get_token(request)}
        response = HttpResponse(render_to_string("error.html", context), status=status)
    if status == 503:
        response["Retry-After"] = str(SECONDS_TO_WAIT)
    return response


# A look at a classify page begins a session, and there is no end to the subjects' pages.
ROBOTS = """User-agent: *
Disallow: /account
Disallow: /admin/
Disallow: /api/
Disallow: /projects/*/classify/
Disallow: /projects/*/manage/
Disallow: /projects/*/releases/
Disallow: /projects/*/results/*/subjects/
"""


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ROBOTS, content_type="text/plain")


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Database, broker and storage are within reach: 200; else 503. The details are class names, no addresses."""
    parts = states()
    is_ready = all(part.is_ready for part in parts.values())
    body = {"status": "ready" if is_ready else "unready", "parts": {name: asdict(part) for name, part in parts.items()}}
    return JsonResponse(body, status=200 if is_ready else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


@never_cache
@staff_member_required
@require_safe
def background_work(request: HttpRequest) -> HttpResponse:
    """Queue depth, last sweeps and failures, for the site's administrators."""
    return render(request, "ops/work.html", {"work": gather_work()})
