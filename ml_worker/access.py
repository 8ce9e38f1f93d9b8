"""Which projects a person may launch prefilter batches in: what lists are limited to."""

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from starsieve.accounts.models import User
from starsieve.projects.models import Project
from starsieve.projects.permissions import GRANTS, Action

LAUNCHING_ROLES = [role for role, grants in GRANTS.items() if Action.LAUNCH_PREFILTER in grants]


def launch_projects(user: User | AnonymousUser) -> QuerySet[Project]:
    if not user.is_authenticated:
        return Project.objects.none()
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(memberships__user=user, memberships__role__in=LAUNCHING_ROLES)
