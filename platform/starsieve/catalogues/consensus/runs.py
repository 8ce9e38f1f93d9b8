"""Fitting a workflow's models to its classifications, and keeping what they say of each subject."""

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from classify.models import Classification, GoldStandard
from classify.services import retire_settled
from classify.versions import counts_towards, definition_of
from ml_worker.models import JobState
from starsieve.accounts.models import User
from starsieve.catalogues.consensus.boxes import BoxOutcome, settled_subject_ids
from starsieve.catalogues.consensus.gold import KnownAnswers, known_answers
from starsieve.catalogues.consensus.heartbeat import Heartbeat
from starsieve.catalogues.consensus.judging import fits_and_judgements
from starsieve.catalogues.consensus.methods import is_modelled, outcomes_of
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.freezing import read_watermark
from starsieve.catalogues.models import ConsensusRun, SubjectConsensus
from starsieve.catalogues.snapshots.state import count_until, count_up_to
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Workflow, WorkflowVersion
from starsieve.projects.task_types import Task

logger = structlog.get_logger(__name__)

#: A workflow's consensus is renewed when its classifications have grown by 1/GROWTH, or its version has changed.
GROWTH = 100
RUNS_KEPT = 20
ROWS_AT_ONCE = 2000
#: A fraction of models.LOST_AFTER.
HEARTBEAT_SECONDS = 60.0
VOTE_COLUMNS = ("subject_id", "volunteer_id", "workflow_version_id", "annotations")

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

    Claims the row by a conditional update, so that of two workers one goes on, and says all the while that it is at it.
    Reads the workflow's snapshot without locks (snapshots/reading.py), fits, and in one transaction writes the numbers
    of all subjects and takes away those of earlier runs. Where the workflow says so, then retires the subjects whose
    boxes are settled.
    """
    claimed = ConsensusRun.objects.filter(pk=run.pk, state=JobState.PENDING).update(
        state=JobState.RUNNING, heartbeat_at=timezone.now()
    )
    if not claimed:
        return False
    run.refresh_from_db()
    try:
        with Heartbeat(lambda: _beat(run), HEARTBEAT_SECONDS):
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
    """Whether the workflow has models, and its answers or its version differ from those of the last run.

    Compares all classifications there are with all that the last run found, those that do not count among them, so that
    a run is never due because the two are counted in different ways. What the snapshot holds is known without looking
    at it, and what has come since is counted as far as it matters.
    """
    if workflow.current is None or not modelled_tasks(definition_of(workflow.current)):
        return False
    last = ConsensusRun.objects.latest_done(workflow)
    if last is None or last.workflow_version_id != workflow.current_id:
        return Classification.objects.filter(workflow_version__in=_counting(workflow.current)).exists()
    enough = max(1, last.n_read // GROWTH)
    return abs(count_until(workflow, last.n_read + enough) - last.n_read) >= enough


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
    """`counts` are fields of the run: the watermark, and how many classifications there are up to it."""

    counts: dict[str, Any]
    table: VoteTable
    gold: KnownAnswers


def _fit_and_store(run: ConsensusRun, on_progress: OnProgress | None) -> None:
    definition = definition_of(run.workflow_version)
    read = _read_votes(run, definition, on_progress)
    outcomes = outcomes_of(definition, read.table, read.gold)
    tasks = fits_and_judgements(outcomes, definition, read.gold)
    subjects = SubjectTable({key: outcome.without_gold() for key, outcome in outcomes.items()}, definition)
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
        _end(run, JobState.DONE, tasks=tasks, **read.counts)
    if definition.retirement.settled:
        boxes = [outcome for outcome in outcomes.values() if isinstance(outcome, BoxOutcome)]
        retire_settled(workflow=run.workflow, subject_ids=settled_subject_ids(boxes))


def _read_votes(run: ConsensusRun, definition: WorkflowDefinition, on_progress: OnProgress | None) -> _Read:
    from starsieve.catalogues.snapshots.reading import read_snapshot  # pyarrow stays out of web processes

    watermark = read_watermark(run.workflow).classification_id
    counting = _counting(run.workflow_version)
    table, n = VoteTable(definition), 0
    for batch in read_snapshot(workflow=run.workflow, up_to=watermark, columns=VOTE_COLUMNS, only_counted=True):
        subjects, volunteers, versions = (column.to_numpy() for column in batch.columns[:3])
        counts = np.isin(versions, counting)
        texts, said = batch.column(3).dictionary.to_pylist(), batch.column(3).indices.to_numpy()
        table.add_columns(subjects[counts], volunteers[counts], texts, said[counts])
        n += int(counts.sum())
        if on_progress is not None:
            on_progress(n)
    gold = GoldStandard.objects.filter(workflow_id=run.workflow_id).values_list("subject_id", "task", "value")
    n_read = count_up_to(run.workflow, watermark)
    counted = {"watermark": watermark, "n_classifications": n, "n_read": n_read}
    return _Read(counted, table, known_answers(definition, gold))


def _counting(current: WorkflowVersion) -> list[int]:
    """Ids of the workflow's versions whose answers count in the results of `current`."""
    versions = WorkflowVersion.objects.filter(workflow_id=current.workflow_id)
    return [version.pk for version in versions if counts_towards(version, current)]


def _beat(run: ConsensusRun) -> None:
    ConsensusRun.objects.filter(pk=run.pk, state=JobState.RUNNING).update(heartbeat_at=timezone.now())


def _end(run: ConsensusRun, state: JobState, error: str = "", **values: Any) -> None:
    now = timezone.now()
    ConsensusRun.objects.filter(pk=run.pk).update(state=state, error=error, finished_at=now, heartbeat_at=now, **values)
    run.refresh_from_db()
