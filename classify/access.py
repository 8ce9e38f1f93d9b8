"""Who asks for which workflow and what they may do in it: everything that a request must know first, in one query."""

from dataclasses import dataclass
from typing import Any

from django.db import router
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
from starsieve.statements import Columns, Statement

LARGEST_ID = 2**63 - 1
WORKFLOW = Columns(Workflow)
PROJECT = Columns(Project, "id", "slug", "title", "status", "is_public", "grading_by")
VERSION = Columns(WorkflowVersion, "id", "workflow_id", "major", "minor", "created_at")
VOLUNTEER = f"SELECT coalesce(merged_into_id, id) FROM {Volunteer._meta.db_table} WHERE"
ROLE = f"SELECT role FROM {Membership._meta.db_table} member WHERE member.project_id = project.id"
ASKED = f"""
    SELECT ({{volunteer}}), ({{role}}), {WORKFLOW.of("workflow")}, {PROJECT.of("project")}, {VERSION.of("version")}
    FROM {Workflow._meta.db_table} workflow
    JOIN {Project._meta.db_table} project ON project.id = workflow.project_id
    LEFT JOIN {WorkflowVersion._meta.db_table} version ON version.id = workflow.current_id
    WHERE workflow.id = %(workflow)s
"""
BY_USER = Statement(
    ASKED.format(volunteer=f"{VOLUNTEER} user_id = %(user)s", role=f"{ROLE} AND member.user_id = %(user)s")
)
BY_VISITOR = Statement(ASKED.format(volunteer=f"{VOLUNTEER} visitor = %(visitor)s", role="NULL"))
BY_NOBODY = Statement(ASKED.format(volunteer="NULL", role="NULL"))


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


def access_to(request: HttpRequest | Request, workflow_id: int, *, slug: str | None = None) -> Access:
    """The workflow with its project and current version, what the asker may do there, and who they are as a volunteer.

    One query, after the one that found the user; a merge of a visitor's work comes first where it is due. Long texts
    of the project and the definition are deferred. Raises Http404 for a workflow that does not exist or may not be
    seen, or is not of the project named by `slug`.
    """
    if needs_merge(request):
        volunteer_of(request, create=False)
    user = request.user
    row = _row(request, workflow_id) if workflow_id <= LARGEST_ID else None
    if row is None:
        raise Http404
    volunteer_id, role, *values = row
    workflow = _workflow(tuple(values))
    grants = granted_with_role(user, workflow.project, role)
    if Action.VIEW not in grants or slug not in (None, workflow.project.slug):
        raise Http404
    return Access(workflow, grants, _volunteer(request, volunteer_id), _closed(workflow, grants))


def _row(request: HttpRequest | Request, workflow_id: int) -> tuple[Any, ...] | None:
    if isinstance(request.user, User):
        return BY_USER.row({"workflow": workflow_id, "user": request.user.pk})
    if isinstance(getattr(request, "auth", None), ApiToken) or (visitor := visitor_in(request.session)) is None:
        return BY_NOBODY.row({"workflow": workflow_id})
    return BY_VISITOR.row({"workflow": workflow_id, "visitor": visitor.hex})


def _workflow(values: tuple[Any, ...]) -> Workflow:
    end_of_workflow, end_of_project = len(WORKFLOW), len(WORKFLOW) + len(PROJECT)
    workflow: Workflow = WORKFLOW.instance(values[:end_of_workflow])
    workflow.project = PROJECT.instance(values[end_of_workflow:end_of_project])
    workflow.current = VERSION.instance(values[end_of_project:]) if workflow.current_id is not None else None
    return workflow


def _volunteer(request: HttpRequest | Request, pk: int | None) -> Volunteer | None:
    """The row as far as it is known here; Django reads its other columns when they are asked for."""
    if pk is None:
        return None
    return Volunteer.from_db(router.db_for_read(Volunteer), ["id", "user_id"], [pk, request.user.pk])


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
