"""Errors of the JSON API as RFC 9457 problem details."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response

MEDIA_TYPE = "application/problem+json"


class Problem(exceptions.APIException):
    """A refusal with a status, a sentence for people, and fields at fault: [{"field", "message"}]."""

    def __init__(self, status_code: int, detail: str, *, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.errors = errors or []


class Conflict(Problem):
    def __init__(self, detail: str) -> None:
        super().__init__(status.HTTP_409_CONFLICT, detail)


class Unprocessable(Problem):
    """The body is well-formed, but a field's content is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(
            status.HTTP_422_UNPROCESSABLE_ENTITY, f"{field}: {message}", errors=[{"field": field, "message": message}]
        )


TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Content refused",
    429: "Too many requests",
    503: "Away for a moment",
}


def problem_response(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal becomes a problem document; anything else stays a server error."""
    from rest_framework.views import set_rollback  # which imports the parsers, which raise problems

    if isinstance(exc, Http404):
        exc = exceptions.NotFound("No such object, or you may not see it.")
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied(str(exc) or None)
    if not isinstance(exc, exceptions.APIException):
        return None
    set_rollback()
    response = Response(problem_body(exc), status=exc.status_code, content_type=MEDIA_TYPE)
    if getattr(exc, "auth_header", None):
        response["WWW-Authenticate"] = exc.auth_header  # type: ignore[attr-defined]
    wait = getattr(exc, "wait", None)  # of Throttled
    if wait is not None:
        response["Retry-After"] = str(int(wait) + 1)
    return response


def problem_body(exc: exceptions.APIException) -> dict[str, Any]:
    errors = getattr(exc, "errors", None)
    detail: Any = exc.detail
    if errors is None:
        errors = _field_errors(detail) if isinstance(exc, exceptions.ValidationError) else []
        detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors) if errors else detail
    return {
        "type": "about:blank",
        "title": TITLES.get(exc.status_code, "Refused"),
        "status": exc.status_code,
        "detail": str(detail),
        "errors": errors,
    }


def _field_errors(detail: Any, place: str = "") -> list[dict[str, str]]:
    """DRF's nested error detail as a flat list of {"field", "message"}."""
    if isinstance(detail, dict):
        return [
            error
            for name, inner in detail.items()
            for error in _field_errors(inner, f"{place}.{name}" if place else str(name))
        ]
    if isinstance(detail, list):
        nested = [error for i, inner in enumerate(detail) if not isinstance(inner, str) for error in
                  _field_errors(inner, f"{place}[{i}]")]  # fmt: skip
        return nested + [
            {"field": place or "body", "message": str(inner)} for inner in detail if isinstance(inner, str)
        ]
    return [{"field": place or "body", "message": str(detail)}]


def problem(status_code: int, detail: str) -> JsonResponse:
    """A problem document outside DRF (error pages under /api/)."""
    body = {"type": "about:blank", "title": TITLES.get(status_code, "Error"), "status": status_code, "detail": detail}
    return JsonResponse(body | {"errors": []}, status=status_code, content_type=MEDIA_TYPE)
