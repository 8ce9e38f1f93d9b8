"""Five wrong passwords for one name from one address close that door for a quarter of an hour (django-axes)."""

import unicodedata
from datetime import timedelta
from typing import Any

from allauth.account.adapter import get_adapter
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

LONGEST_NAME = 254  # what axes' column holds


def attempted_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """The name that attempts are counted under: one key for every spelling that signs in to the same account.

    An e-mail address is counted apart from the user name it belongs to: counting them together would tell a
    stranger which name owns an address.
    """
    given = credentials or request.POST
    return folded(str(given.get("username") or given.get("email") or given.get("login") or ""))


def folded(name: str) -> str:
    # Upper first: the database's case-blind comparison folds letters such as ı and ſ by their capitals.
    return unicodedata.normalize("NFKC", name).upper().casefold().strip()[:LONGEST_NAME]


def client_address(request: HttpRequest) -> str:
    """The caller's address as allauth counts it, so that both believe the same number of proxies (TRUSTED_PROXIES).

    Empty over a Unix socket without a proxy's header: then the name alone is counted.
    """
    try:
        return str(get_adapter(request).get_client_ip(request))
    except PermissionDenied:
        return ""


def locked_response(
    request: HttpRequest, original_response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    """429 with Retry-After; the same page whether or not the name exists."""
    wait = seconds_left(request, credentials)
    response = render(request, "account/locked.html", {"minutes": -(-wait // 60)}, status=429)
    response["Retry-After"] = str(wait)
    response["Cache-Control"] = "no-store"
    return response


def seconds_left(request: HttpRequest, credentials: dict[str, Any] | None) -> int:
    """Seconds until the newest counted failure has cooled off; at least one."""
    cool_off = get_cool_off(request) or timedelta(0)
    newest = (
        AccessAttempt.objects.filter(username=attempted_name(request, credentials), ip_address=client_address(request))
        .order_by("-attempt_time")
        .values_list("attempt_time", flat=True)
        .first()
    )
    until = (newest or timezone.now()) + cool_off
    return max(1, int((until - timezone.now()).total_seconds()) + 1)
