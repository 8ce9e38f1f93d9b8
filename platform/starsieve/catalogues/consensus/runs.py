"""Fitting a workflow's models to its classifications, and keeping what they say of each subject."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from classify.models import Classification, GoldStandard, SubjectProgress
from classify.services import retire_settled
from classify.versions import counts_towards, definition_of
from ml_worker.models import JobState
from starsieve.accounts.models import User
from starsieve.catalogues.consensus.boxes import BoxOutcome, settled_subject_ids
from starsieve.catalogues.consensus.gold import KnownAnswers, known_answers
from starsieve.catalogues.consensus.judging import fits_and_judgements
from starsieve.catalogues.consensus.live import weigh_from_now_on
from starsieve.catalogues.consensus.methods import Outcome, is_modelled, outcomes_of
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.freezing import read_watermark
from starsieve.catalogues.models import ConsensusRun, SubjectConsensus
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Workflow, WorkflowVersion
from starsieve.projects.task_types import Task

logger = structlog.get_logger(__name__)

#: A workflow's consensus is renewed when its classifications have grown by 1/GROWTH, or its version has changed.
GROWTH = 100
RUNS_KEPT = 20
ROWS_AT_ONCE = 2000
HEARTBEAT_ROWS = 50_000

OnProgress = Callable[[int], None]


class NothingToFit(ValueError):
    """No task of the workflow has a method beyond counting votes, or it has no version."""


class AlreadyRunning(Exception):
    """The workflow's consensus is being computed; the run that is under way will do."""


def request_consensus(*, workflow: Workflow, user: User | None) -> ConsensusRun:
    """Have a worker fit the workflow's models. Writes a ConsensusRun; raises NothingToFit, AlreadyRunning."""
    with transaction.atomic():
        run = _open_run(workflow, user)
        transaction.on_commit(lambda: _enqueue(run.pk))
    return run


def run_consensus(
    *, workflow: Workflow, user: User | None = None, on_progress: OnProgress | None = None
) -> ConsensusRun:
    """Fit the workflow's models here and now; raises NothingToFit, AlreadyRunning. A fault is noted in the run."""
    run = _open_run(workflow, user)
    carry_out(run=run, on_progress=on_progress)
    return run


def carry_out(*, run: ConsensusRun, on_progress: OnProgress | None = None) -> bool:
    """Do a run that waits; whether this call did it. `on_progress` is told the classifications read.

    Claims the row by a conditional update, so that of two workers one goes on. Reads without locks, fits, and in one
    transaction writes the numbers of all subjects and takes away those of earlier runs. Where the workflow says so,
    then retires the subjects whose boxes are settled.
    """
    claimed = ConsensusRun.objects.filter(pk=run.pk, state=JobState.PENDING).update(
        state=JobState.RUNNING, heartbeat_at=timezone.now()
    )
    if not claimed:
        return False
    run.refresh_from_db()
    try:
        _fit_and_store(run, on_progress)
    except Exception as error:
        _end(run, JobState.FAILED, f"{type(error).__name__}: {error}")
        raise
    return True


def refresh_consensus(*, workflow: Workflow) -> bool:
    """Renew the workflow's consensus if enough has come since the last run; whether it was."""
    if not is_due(workflow):
        return False
    try:
        run_consensus(workflow=workflow)
    except (NothingToFit, AlreadyRunning):
        return False
    return True


def is_due(workflow: Workflow) -> bool:
    """Whether the workflow has models, and its answers or its version differ from those of the last run."""
    if workflow.current is None or not modelled_tasks(definition_of(workflow.current)):
        return False
    counted = SubjectProgress.objects.filter(workflow=workflow).aggregate(n=Sum("classification_count"))["n"] or 0
    last = ConsensusRun.objects.latest_done(workflow)
    if last is None or last.workflow_version_id != workflow.current_id:
        return counted > 0
    return counted >= last.n_classifications + max(1, last.n_classifications // GROWTH)


def give_up_lost_runs() -> int:
    """Mark runs whose worker is gone as failed, so that the next can begin; how many."""
    return ConsensusRun.objects.lost().update(
        state=JobState.FAILED, error="The worker was lost; is there enough memory?", finished_at=timezone.now()
    )


def modelled_tasks(definition: WorkflowDefinition) -> list[Task]:
    """Tasks whose method is more than counting."""
    return [task for task in definition.tasks.values() if is_modelled(task)]


def _open_run(workflow: Workflow, user: User | None) -> ConsensusRun:
    if workflow.current is None or not modelled_tasks(definition_of(workflow.current)):
        raise NothingToFit(f"{workflow}: no task has a method of consensus beyond counting votes.")
    try:
        with transaction.atomic():
            return ConsensusRun.objects.create(workflow=workflow, workflow_version=workflow.current, created_by=user)
    except IntegrityError:
        raise AlreadyRunning(f"{workflow}: its consensus is being computed.") from None


def _enqueue(run_id: int) -> None:
    """Tell a worker. If the broker is away, the run is given up after a while and the schedule makes another."""
    from starsieve.catalogues.tasks import carry_out_consensus_run  # tasks import this module

    try:
        carry_out_consensus_run.delay(run_id)
    except carry_out_consensus_run.OperationalError:
        logger.warning("consensus_not_enqueued", run=run_id)


class _Read(NamedTuple):
    watermark: int
    n_classifications: int
    table: VoteTable
    gold: KnownAnswers


def _fit_and_store(run: ConsensusRun, on_progress: OnProgress | None) -> None:
    definition = definition_of(run.workflow_version)
    read = _read_votes(run, definition, on_progress)
    outcomes = outcomes_of(definition, read.table, read.gold)
    _beat(run)
    tasks = fits_and_judgements(outcomes, definition, read.gold)
    subjects = SubjectTable({key: outcome.without_gold() for key, outcome in outcomes.items()}, definition)
    _beat(run)
    with transaction.atomic():
        rows = (
            SubjectConsensus(run=run, subject_id=pk, tasks=subjects.of(pk), marks=subjects.marks_on(pk))
            for pk in subjects.subject_ids.tolist()
        )
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            SubjectConsensus.objects.bulk_create(batch)
        earlier = ConsensusRun.objects.filter(workflow_id=run.workflow_id, pk__lt=run.pk)
        SubjectConsensus.objects.filter(run__in=earlier).delete()
        kept = earlier.order_by("-pk").values_list("pk", flat=True)[: RUNS_KEPT - 1]
        earlier.exclude(pk__in=list(kept)).delete()
        _end(run, JobState.DONE, watermark=read.watermark, n_classifications=read.n_classifications, tasks=tasks)
    live = (outcome.live for outcome in outcomes.values() if isinstance(outcome, Outcome) and outcome.live is not None)
    weigh_from_now_on(version=run.workflow_version, watermark=read.watermark, found=live)
    if definition.retirement.settled:
        boxes = [outcome for outcome in outcomes.values() if isinstance(outcome, BoxOutcome)]
        retire_settled(workflow=run.workflow, subject_ids=settled_subject_ids(boxes))


def _read_votes(run: ConsensusRun, definition: WorkflowDefinition, on_progress: OnProgress | None) -> _Read:
    watermark = read_watermark(run.workflow).classification_id
    versions = {version.pk: version for version in WorkflowVersion.objects.filter(workflow_id=run.workflow_id)}
    counting = [pk for pk, version in versions.items() if counts_towards(version, run.workflow_version)]
    table, n = VoteTable(definition), 0
    for subject_id, volunteer_id, annotations in _rows(run.workflow, watermark, counting):
        table.add(subject_id, volunteer_id, annotations)
        n += 1
        if n % HEARTBEAT_ROWS == 0:
            _beat(run)
        if on_progress is not None and n % ROWS_AT_ONCE == 0:
            on_progress(n)
    gold = GoldStandard.objects.filter(workflow_id=run.workflow_id).values_list("subject_id", "task", "value")
    return _Read(watermark, n, table, known_answers(definition, gold))


def _rows(workflow: Workflow, watermark: int, versions: list[int]) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
    rows = Classification.objects.counted().filter(workflow=workflow, id__lte=watermark, workflow_version__in=versions)
    return rows.order_by("id").values_list("subject_id", "volunteer_id", "annotations").iterator(ROWS_AT_ONCE)


def _beat(run: ConsensusRun) -> None:
    ConsensusRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now())


def _end(run: ConsensusRun, state: JobState, error: str = "", **values: Any) -> None:
    now = timezone.now()
    ConsensusRun.objects.filter(pk=run.pk).update(state=state, error=error, finished_at=now, heartbeat_at=now, **values)
    run.refresh_from_db()
