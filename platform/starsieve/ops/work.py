"""Background work at a glance, for the people who run the site: what waits, what was done last, what went wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils import timezone
from kombu.exceptions import OperationalError

from classify.models import Assessment
from ml_worker.models import JobState, Shard
from starsieve.catalogues.models import ConsensusRun, Release, Snapshot
from starsieve.ops.metrics import waiting_messages
from starsieve.projects.models import Workflow

#: Work that has not been heard of for this long is lost; the schedule takes it up again.
SILENT_AFTER = timedelta(minutes=5)
MOST_WORKFLOWS = 200


@dataclass(frozen=True)
class Step:
    """One kind of background work on a workflow. `level` is "ok", "busy", "failed" or "none"."""

    level: str
    words: str
    at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True)
class WorkflowWork:
    workflow: Workflow
    consensus: Step
    assessment: Step
    snapshot: Step


@dataclass(frozen=True)
class Work:
    """`waiting` is the number of messages that no worker has taken, None while the broker is away."""

    waiting: int | None
    shards: dict[str, int]
    releases: dict[str, int]
    workflows: list[WorkflowWork]

    @property
    def n_failed(self) -> int:
        steps = [step for row in self.workflows for step in (row.consensus, row.assessment, row.snapshot)]
        return sum(step.level == "failed" for step in steps)


def background_work() -> Work:
    """A handful of queries, whatever the number of workflows; the broker is asked once."""
    return Work(_waiting(), _by_state(Shard.objects.all()), _by_state(Release.objects.all()), list(_workflows()))


def _waiting() -> int | None:
    try:
        return waiting_messages()
    except (OSError, OperationalError):
        return None


def _by_state(rows: "QuerySet[Shard] | QuerySet[Release]") -> dict[str, int]:
    counted = dict(rows.order_by().values_list("state").annotate(n=Count("pk")))
    return {str(JobState(state).label): counted[state] for state in JobState.values if state in counted}


def _workflows() -> Iterator[WorkflowWork]:
    workflows = Workflow.objects.filter(current__isnull=False).select_related("project").order_by("-id")
    newest = ConsensusRun.objects.filter(workflow=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    shown = list(workflows.annotate(run=Subquery(newest))[:MOST_WORKFLOWS])
    whole = ConsensusRun.objects.select_related("split").defer("tasks", "split__gold")
    runs = whole.in_bulk([workflow.run for workflow in shown if workflow.run])
    assessed = {row.workflow_id: row for row in Assessment.objects.filter(workflow__in=shown)}
    snapshots = {row.workflow_id: row for row in Snapshot.objects.filter(workflow__in=shown)}
    for workflow in shown:
        yield WorkflowWork(
            workflow,
            _consensus(runs.get(workflow.run)),
            _assessment(assessed.get(workflow.pk)),
            _snapshot(snapshots.get(workflow.pk)),
        )


def _consensus(run: ConsensusRun | None) -> Step:
    if run is None:
        return Step("none", "never")
    if run.state == JobState.FAILED:
        return Step("failed", "failed", run.finished_at, run.error)
    if run.state == JobState.DONE:
        return Step("ok", f"{run.n_classifications:,} classifications", run.finished_at)
    step = _under_way(run.heartbeat_at or run.created_at)
    split = getattr(run, "split", None)
    if split is None:
        return step
    return replace(step, detail=f"Round {split.round} on {split.n_shards} shards; what is lost goes to another worker.")


def _assessment(row: Assessment | None) -> Step:
    if row is None:
        return Step("none", "nothing to do so far")
    if row.error:
        return Step("failed", "failed", row.heartbeat_at, row.error)
    if row.started_at is not None:
        return _under_way(row.heartbeat_at or row.started_at)
    return Step("ok", f"{row.n_changed:,} subjects changed", row.finished_at)


def _snapshot(row: Snapshot | None) -> Step:
    if row is None or row.refreshed_at is None:
        return Step("none", "never")
    return Step("ok", f"up to classification {row.watermark:,}", row.refreshed_at)


def _under_way(heard: datetime) -> Step:
    if timezone.now() - heard > SILENT_AFTER:
        return Step("failed", "not heard of any more", heard, "The schedule gives it up and begins again.")
    return Step("busy", "under way", heard)
