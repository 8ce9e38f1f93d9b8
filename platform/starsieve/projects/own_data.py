"""What this room holds about a person (accounts/own_data.py says what the four functions are for)."""

from typing import Any

from django.db.models import Count, Q

from starsieve.accounts.models import User
from starsieve.projects.models import Membership, Project


def counts(user: User) -> dict[str, int]:
    return {"Projects with a role for you": user.memberships.count()}


def export(user: User) -> dict[str, Any]:
    return {
        "memberships": user.memberships.values("project__slug", "project__title", "role", "created_at").iterator(),
        "projects_created": Project.objects.filter(created_by=user).values("slug", "title", "created_at").iterator(),
    }


def obstacles(user: User) -> list[str]:
    """A project must not lose its last owner."""
    owners = Count("memberships", filter=Q(memberships__role=Membership.Role.OWNER, memberships__user__is_active=True))
    owned = Project.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER)
    orphans = Project.objects.filter(pk__in=owned).annotate(n_owners=owners).filter(n_owners=1)
    return [f"You are the only owner of “{project.title}”: make someone else an owner first." for project in orphans]


def forget(user: User) -> None:
    user.memberships.all().delete()
