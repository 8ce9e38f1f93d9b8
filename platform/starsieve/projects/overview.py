"""What the public pages tell about projects: counts, progress, a few stamps. Reads only.

Progress and classifications are the classify room's; they are reached through the relations that its models declare.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.files.storage import default_storage
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from starsieve.accounts.models import User
from starsieve.projects.models import Origin, Project, Subject, Workflow
from starsieve.projects.permissions import Action, may_classify
from starsieve.projects.task_types import GradeTask

MOST_PROJECTS = 60
HERO_STAMPS = 24
SAMPLE_STAMPS = 8


@dataclass(frozen=True)
class StampLink:
    url: str
    name: str


@dataclass(frozen=True)
class ProjectCard:
    project: Project
    cover_url: str
    n_subjects: int
    n_classifications: int
    percent_done: int
    classify_workflow_id: int | None


@dataclass(frozen=True)
class WorkflowCard:
    workflow: Workflow
    n_subjects: int
    n_retired: int
    n_classifications: int
    percent_done: int
    may_classify: bool
    closed_reason: str


def visible_projects(user: User | AnonymousUser) -> QuerySet[Project]:
    """Public projects, and those in which the user has a role; everything for a superuser."""
    if not user.is_authenticated:
        return Project.objects.public()
    if user.is_superuser:
        return Project.objects.all()
    public = Q(pk__in=Project.objects.public().values("pk"))
    return Project.objects.filter(public | Q(pk__in=user.memberships.values("project")))


def project_cards(user: User | AnonymousUser) -> list[ProjectCard]:
    """Cards for the first projects that the user sees, live ones first (4 queries)."""
    first_real = Subject.objects.filter(project=OuterRef("pk"), origin=Origin.REAL).order_by("pk")
    projects = list(visible_projects(user).annotate(cover=Subquery(first_real.values("frames")[:1]))[:MOST_PROJECTS])
    projects.sort(key=lambda project: project.status != Project.Status.LIVE)
    n_subjects = _counts(Subject.objects.filter(project__in=projects), "project")
    nothing: dict[int, frozenset[Action]] = {project.pk: frozenset() for project in projects}
    workflows: dict[int, list[WorkflowCard]] = {}
    for card in _workflow_cards(Workflow.objects.filter(project__in=projects), nothing):
        workflows.setdefault(card.workflow.project_id, []).append(card)
    return [
        _project_card(project, n_subjects.get(project.pk, 0), workflows.get(project.pk, [])) for project in projects
    ]


def workflow_cards(project: Project, grants: frozenset[Action]) -> list[WorkflowCard]:
    """The project's workflows with their progress, and whether someone with these grants may classify (2 queries)."""
    return _workflow_cards(project.workflows.all(), {project.pk: grants})


def project_stats(project: Project, cards: Iterable[WorkflowCard]) -> dict[str, int]:
    """Counts for the project's page (2 queries)."""
    by_origin = _counts(project.subjects.all(), "origin")
    volunteers = project.workflows.aggregate(n=Count("classifications__volunteer", distinct=True))
    return {
        "n_subjects": sum(by_origin.values()),
        "n_real": by_origin.get(Origin.REAL, 0),
        "n_simulated": by_origin.get(Origin.SIMULATED, 0),
        "n_classifications": sum(card.n_classifications for card in cards),
        "n_volunteers": volunteers["n"],
    }


def real_stamps(subjects: QuerySet[Subject], count: int) -> list[StampLink]:
    rows = subjects.filter(origin=Origin.REAL).order_by("pk").values_list("frames", "name")[:count]
    return [StampLink(default_storage.url(frames[0]["path"]), name) for frames, name in rows]


def _counts(rows: QuerySet[Any], column: str) -> dict[Any, int]:
    return dict(rows.order_by().values_list(column).annotate(n=Count("pk")))


def _workflow_cards(workflows: QuerySet[Workflow], grants: dict[int, frozenset[Action]]) -> list[WorkflowCard]:
    # Two joins to many rows in one query would multiply each other's counts.
    progress = workflows.select_related("current", "project").annotate(
        n_subjects=Count("progress"), n_retired=Count("progress", filter=Q(progress__retired_at__isnull=False))
    )
    n_classifications = dict(workflows.order_by().values_list("pk").annotate(n=Count("classifications")))
    return [_workflow_card(row, n_classifications[row.pk], grants[row.project_id]) for row in progress.order_by("pk")]


def _workflow_card(workflow: Any, n_classifications: int, grants: frozenset[Action]) -> WorkflowCard:
    reason = _closed_reason(workflow, grants)
    return WorkflowCard(
        workflow=workflow,
        n_subjects=workflow.n_subjects,
        n_retired=workflow.n_retired,
        n_classifications=n_classifications,
        percent_done=_percent(workflow.n_retired, workflow.n_subjects),
        may_classify=not reason,
        closed_reason=reason,
    )


def _closed_reason(workflow: Workflow, grants: frozenset[Action]) -> str:
    """Why someone with these grants cannot classify in the workflow; empty if they can."""
    if workflow.current is None:
        return "This workflow has no questions yet."
    if not workflow.is_active and Action.TEST not in grants:
        return "This workflow is closed at the moment."
    tasks = workflow.current.parsed.tasks.values()
    has_grade_task = any(isinstance(task, GradeTask) for task in tasks)
    if may_classify(grants, workflow.project, has_grade_task=has_grade_task):
        return ""
    return {
        Project.Status.LIVE.value: "Experts grade here; you can look at the results.",
        Project.Status.FINISHED.value: "This project is finished; thank you.",
        Project.Status.PAUSED.value: "This project is paused at the moment.",
        Project.Status.DRAFT.value: "This project is being prepared.",
    }[workflow.project.status]


def _project_card(project: Any, n_subjects: int, workflows: Sequence[WorkflowCard]) -> ProjectCard:
    is_live = project.status == Project.Status.LIVE
    active = [card.workflow.pk for card in workflows if card.workflow.is_active and card.workflow.current is not None]
    return ProjectCard(
        project=project,
        cover_url=default_storage.url(project.cover[0]["path"]) if project.cover else "",
        n_subjects=n_subjects,
        n_classifications=sum(card.n_classifications for card in workflows),
        percent_done=_percent(sum(card.n_retired for card in workflows), sum(card.n_subjects for card in workflows)),
        classify_workflow_id=active[0] if is_live and active else None,
    )


def _percent(part: int, whole: int) -> int:
    """Rounded down: 100 means all."""
    return 100 * part // whole if whole else 0
