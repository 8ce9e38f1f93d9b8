"""Who may do what, in one table that pages and API share.

A superuser may do everything. Everyone, signed in or not, holds EVERYONE's grants in a public project. Members hold
their role's grants besides. In a project that is not public, only members (and superusers) hold any.
"""

from enum import StrEnum

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404

from starsieve.accounts.models import User
from starsieve.projects.models import Membership, Project

Role = Membership.Role


class Action(StrEnum):
    VIEW = "view"  # the project's pages, its workflows, subjects' public metadata
    CLASSIFY = "classify"  # get the next subject and submit, while the project is live
    GRADE = "grade"  # classify in workflows with a grade task, where the project keeps grading to experts
    TEST = "test"  # classify while the project is a draft or paused
    SEE_RESULTS = "see_results"  # result pages, reductions, releases
    MAKE_RELEASE = "make_release"
    LAUNCH_PREFILTER = "launch_prefilter"
    EDIT = "edit"  # settings, workflows, subject sets, imports, gold standards
    RETIRE = "retire"  # retire or reopen a subject by hand
    MANAGE_MEMBERS = "manage_members"


EVERYONE = frozenset({Action.VIEW, Action.CLASSIFY, Action.SEE_RESULTS})
GRANTS: dict[str, frozenset[Action]] = {
    Role.VOLUNTEER: EVERYONE,
    Role.TESTER: EVERYONE | {Action.TEST},
    Role.MODERATOR: EVERYONE | {Action.RETIRE},
    Role.EXPERT: EVERYONE | {Action.GRADE, Action.RETIRE},
    Role.SCIENTIST: EVERYONE
    | {Action.TEST, Action.MAKE_RELEASE, Action.LAUNCH_PREFILTER, Action.EDIT, Action.RETIRE, Action.GRADE},
    Role.OWNER: frozenset(Action),
}


def role_in(user: User | AnonymousUser, project: Project) -> str | None:
    """The user's role in the project; None for everyone else (one query)."""
    if not user.is_authenticated:
        return None
    return Membership.objects.filter(project=project, user_id=user.pk).values_list("role", flat=True).first()


def granted(user: User | AnonymousUser, project: Project) -> frozenset[Action]:
    """Everything the user may do in the project now (at most one query)."""
    is_superuser = user.is_authenticated and user.is_superuser
    return granted_with_role(user, project, None if is_superuser else role_in(user, project))


def granted_with_role(user: User | AnonymousUser, project: Project, role: str | None) -> frozenset[Action]:
    """`granted` for a caller that has read the user's role along with other rows (no query)."""
    if user.is_authenticated and user.is_superuser:
        return frozenset(Action)
    if role is not None:
        return GRANTS[role]
    is_visible = project.is_public and project.status != Project.Status.DRAFT
    return EVERYONE if is_visible else frozenset()


def require(user: User | AnonymousUser, project: Project, action: Action) -> frozenset[Action]:
    """What is granted, if the action is among it. A project that may not be viewed does not exist (Http404)."""
    grants = granted(user, project)
    if Action.VIEW not in grants:
        raise Http404
    if action not in grants:
        raise PermissionDenied(f"Your role in “{project.title}” does not allow this ({action.value}).")
    return grants


def may_classify(grants: frozenset[Action], project: Project, *, has_grade_task: bool) -> bool:
    """Whether classifying is open to someone with these grants in the project's present state."""
    if project.status == Project.Status.LIVE:
        is_open = Action.CLASSIFY in grants
    elif project.status == Project.Status.FINISHED:
        is_open = False
    else:
        is_open = Action.TEST in grants
    experts_only = has_grade_task and project.grading_by == Project.GradingBy.EXPERTS
    return is_open and (not experts_only or Action.GRADE in grants)
