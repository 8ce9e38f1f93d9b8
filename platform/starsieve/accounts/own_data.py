"""What the platform holds about a person: counted on the profile, given on request, forgotten on request.

This room must not know the rooms above it. Each of them that holds something personal has a module with the four
functions of DataHolder, and the setting STARSIEVE_DATA_HOLDERS names these modules (docs/adr/0003-arrivals.md
describes the same turn for arriving subjects).
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol, cast

from allauth.account.models import EmailAddress
from axes.models import AccessAttempt, AccessLog
from django.conf import settings

from starsieve.accounts.lockout import folded
from starsieve.accounts.models import User


class DataHolder(Protocol):
    def counts(self, user: User) -> dict[str, int]:
        """Words → number, shown to the person on the profile page."""

    def export(self, user: User) -> dict[str, Any]:
        """Sections of the download; an iterator as a value is written as a list without being held in memory."""

    def obstacles(self, user: User) -> list[str]:
        """Sentences: what the person must settle before the account can go."""

    def forget(self, user: User) -> None:
        """Cut everything personal off, inside the caller's transaction."""


def holders() -> list[DataHolder]:
    return [cast(DataHolder, import_module(path)) for path in settings.STARSIEVE_DATA_HOLDERS]


def counts_of(user: User) -> dict[str, int]:
    return {words: number for holder in holders() for words, number in holder.counts(user).items()}


def sections_of(user: User) -> dict[str, Any]:
    return {name: section for holder in holders() for name, section in holder.export(user).items()}


def obstacles_of(user: User) -> list[str]:
    return [sentence for holder in holders() for sentence in holder.obstacles(user)]


# --- This room's own holdings -------------------------------------------------------------------------------------


def counts(user: User) -> dict[str, int]:
    return {}


def export(user: User) -> dict[str, Any]:
    return {
        "account": {
            "username": user.username,
            "email": user.email,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "credit_name": user.credit_name,
            "theme": user.theme,
            "joined_at": user.date_joined,
            "last_login_at": user.last_login,
        },
        "email_addresses": list(EmailAddress.objects.filter(user=user).values("email", "verified", "primary")),
        "api_tokens": _tokens(user),
    }


def _tokens(user: User) -> Iterator[dict[str, Any]]:
    columns = ("name", "scope", "created_at", "last_used_at", "expires_at", "revoked_at")
    rows: Iterator[dict[str, Any]] = user.api_tokens.values(*columns).iterator()
    return rows


def obstacles(user: User) -> list[str]:
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    if user.is_superuser and not others.exists():
        return ["You are the only superuser here: make someone else one first."]
    return []


def forget(user: User) -> None:
    names = {user.username, user.email, *EmailAddress.objects.filter(user=user).values_list("email", flat=True)}
    for name in names:
        AccessAttempt.objects.filter(username=folded(name)).delete()
    AccessLog.objects.filter(username=user.username).delete()
    EmailAddress.objects.filter(user=user).delete()
    user.api_tokens.all().delete()
