"""What this room holds about a person (accounts/own_data.py says what the four functions are for)."""

from typing import Any

from django.db.models import Q, QuerySet

from classify.models import Classification, Volunteer
from starsieve.accounts.models import User


def counts(user: User) -> dict[str, int]:
    return {"Classifications": classifications_of(user).count()}


def export(user: User) -> dict[str, Any]:
    columns = (
        "client_id", "workflow__project__slug", "workflow_id", "workflow_version__major", "workflow_version__minor",
        "subject_id", "subject__name", "annotations", "started_at", "finished_at", "created_at", "metadata",
    )  # fmt: skip
    return {"classifications": classifications_of(user).values(*columns).iterator()}


def obstacles(user: User) -> list[str]:
    return []


def forget(user: User) -> None:
    """Classifications are truth and stay; their volunteer no longer points at anybody, nor at a browser."""
    volunteers_of(user).update(user=None, visitor=None)


def volunteers_of(user: User) -> QuerySet[Volunteer]:
    """The person's own row, and those of anonymous visits that were merged into it."""
    return Volunteer.objects.filter(Q(user=user) | Q(merged_into__user=user))


def classifications_of(user: User) -> QuerySet[Classification]:
    return Classification.objects.filter(volunteer__in=volunteers_of(user))
