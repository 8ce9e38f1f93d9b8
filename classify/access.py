"""Who asks for which workflow and what they may do in it: everything that a request must know first, in one query."""

from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest
from rest_framework.request import Request

from classify.models import Volunteer
from classify.versions import definition_of
from classify.volunteers import needs_merge, visitor_in, volunteer_of
from starsieve.accounts.models import ApiToken, User
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Membership, Project, Workflow, WorkflowVersion
from starsieve.projects.permissions import Action, granted_with_role, may_classify
from starsieve.projects.task_types import GradeTask


@dataclass(frozen=True)
class Closed:
    """Why someone cannot classify now, for people."""

    title: str
    sentence: str


@dataclass(frozen=True)
class Access:
    workflow: Workflow
    grants: frozenset[Action]
    volunteer: Volunteer | None
    closed: Closed | None

    @property
    def volunteer_id(self) -> int | None:
        return self.volunteer.pk if self.volunteer is not None else None

    @property
    def version(self) -> WorkflowVersion:
        """The current version; there is one wherever `closed` is None."""
        if self.workflow.current is None:
            raise Http404
        return self.workflow.current


def access_to(request: HttpRequest | Request, workflow_id: int, **conditions: Any) -> Access:
    """The workflow with its project and current version, what the asker may do there, and who they are as a volunteer.

    One query, after the one that found the user; a merge of a visitor's work comes first where it is due. `conditions`
    narrow the workflow down. Raises Http404 for a workflow that does not exist or may not be seen.
    """
    if needs_merge(request):
        volunteer_of(request, create=False)
    user = request.user
    workflow = (
        Workflow.objects.filter(pk=workflow_id, **conditions)
        .select_related("project", "current")
        .defer("current__definition", "project__description", "project__data_note")
        .annotate(volunteer_id=_volunteer_id(request), role=_role(user))
        .first()
    )
    if workflow is None:
        raise Http404
    grants = granted_with_role(user, workflow.project, workflow.role)
    if Action.VIEW not in grants:
        raise Http404
    return Access(workflow, grants, _volunteer(request, workflow.volunteer_id), _closed(workflow, grants))


def _volunteer(request: HttpRequest | Request, pk: int | None) -> Volunteer | None:
    """The row as far as it is known here; Django reads its other columns when they are asked for."""
    if pk is None:
        return None
    return Volunteer.from_db(router.db_for_read(Volunteer), ["id", "user_id"], [pk, request.user.pk])


def _volunteer_id(request: HttpRequest | Request) -> Subquery:
    if isinstance(request.user, User):
        rows = Volunteer.objects.filter(user=request.user)
    elif isinstance(getattr(request, "auth", None), ApiToken) or (visitor := visitor_in(request.session)) is None:
        rows = Volunteer.objects.none()
    else:
        rows = Volunteer.objects.filter(visitor=visitor)
    return Subquery(rows.values_list(Coalesce("merged_into_id", F("id")))[:1])


def _role(user: Any) -> Subquery:
    members = Membership.objects.filter(project=OuterRef("project_id"), user_id=user.pk)
    return Subquery((members if user.is_authenticated else members.none()).values("role")[:1])


def _closed(workflow: Workflow, grants: frozenset[Action]) -> Closed | None:
    if workflow.current is None:
        return Closed("Not ready yet", "This workflow has no questions yet.")
    may_test = Action.TEST in grants
    if not workflow.is_active and not may_test:
        return Closed("This workflow is closed", "No more answers are taken for it at the moment.")
    has_grade_task = _has_grade_task(definition_of(workflow.current))
    if may_classify(grants, workflow.project, has_grade_task=has_grade_task):
        return None
    return _why_closed(workflow.project, may_test=may_test)


def _has_grade_task(definition: WorkflowDefinition) -> bool:
    return any(isinstance(task, GradeTask) for task in definition.tasks.values())


def _why_closed(project: Project, *, may_test: bool) -> Closed:
    if project.status == Project.Status.FINISHED:
        return Closed("This project is finished", "Every answer is in. Thank you for your interest; see the results.")
    if project.status == Project.Status.PAUSED and not may_test:
        return Closed("This project is paused", "It takes no answers at the moment. Please come back later.")
    if project.status == Project.Status.DRAFT and not may_test:
        return Closed("This project is not open yet", "It is being prepared; only its testers can classify.")
    return Closed("Experts grade here", "In this project only experts grade. You can look at the results.")
