"""What this room holds about a person (accounts/own_data.py says what the four functions are for)."""

from typing import Any

from django.db.models import Q, QuerySet

from classify.models import Classification, Volunteer
from starsieve.accounts.models import User


def counts(user: User) -> dict[str, int]:
    return {"Classifications": _classifications(user).counted().count()}


def export(user: User) -> dict[str, Any]:
    columns = (
        "client_id", "workflow__project__slug", "workflow__name", "workflow_version__major", "workflow_version__minor",
        "subject__name", "annotations", "started_at", "finished_at", "created_at", "metadata",
    )  # fmt: skip
    return {"classifications": _classifications(user).order_by("id").values(*columns).iterator()}


def obstacles(user: User) -> list[str]:
    return []


def forget(user: User) -> None:
    """The classifications stay, under a volunteer that nothing leads to a person from."""
    _volunteers(user).update(user=None, visitor=None)


def _volunteers(user: User) -> "QuerySet[Volunteer]":
    return Volunteer.objects.filter(Q(user=user) | Q(merged_into__user=user))


def _classifications(user: User) -> Any:
    return Classification.objects.filter(volunteer__in=_volunteers(user))
