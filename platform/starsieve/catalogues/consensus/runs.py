"""Fitting a workflow's models to its classifications, and keeping what they say of each subject."""

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from classify.models import Classification, GoldStandard
from classify.services import retire_settled
from classify.versions import definition_of
from ml_worker.models import JobState
from starsieve.accounts.models import User
from starsieve.catalogues.consensus.boxes import BoxOutcome, settled_subject_ids
from starsieve.catalogues.consensus.gold import known_answers
from starsieve.catalogues.consensus.heartbeat import Heartbeat
from starsieve.catalogues.consensus.judging import fits_and_judgements
from starsieve.catalogues.consensus.live import weigh_from_now_on
from starsieve.catalogues.consensus.methods import is_modelled, outcomes_of
from starsieve.catalogues.consensus.outcome import live_of
from starsieve.catalogues.consensus.reading import OnProgress, counting_versions, read_votes
from starsieve.catalogues.consensus.split import begin_split, shards_needed
from starsieve.catalogues.consensus.storing import Piece, end_run, store
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.freezing import read_watermark
from starsieve.catalogues.models import ConsensusRun
from starsieve.catalogues.snapshots.state import count_until, count_up_to
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Workflow
from starsieve.projects.task_types import Task

logger = structlog.get_logger(__name__)

#: A workflow's consensus is renewed when its classifications have grown by 1/GROWTH, or its version has changed.
GROWTH = 100
#: A fraction of models.LOST_AFTER.
HEARTBEAT_SECONDS = 60.0


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
    *, workflow: Workflow, user: User | None = None, on_progress: OnProgress | None = None, may_split: bool = False
) -> ConsensusRun:
    """Fit the workflow's models here and now, all in this process unless it `may_split` them (`carry_out`).

    Raises NothingToFit, AlreadyRunning. A fault is noted in the run.
    """
    run = _open_run(workflow, user)
    carry_out(run=run, on_progress=on_progress, may_split=may_split)
    return run


def carry_out(*, run: ConsensusRun, on_progress: OnProgress | None = None, may_split: bool = False) -> bool:
    """Do a run that waits; whether this call did it. `on_progress` is told the classifications read.

    With `may_split`, a run over too many votes for one process is only begun here and divided over the workers
    (split.py).

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
            _note_watermark(run)
            n_shards = shards_needed(definition_of(run.workflow_version), run.n_read) if may_split else 1
            if n_shards > 1:
                begin_split(run=run, n_shards=n_shards)
            else:
                _fit_and_store(run, on_progress)
    except Exception as error:
        end_run(run, JobState.FAILED, f"{type(error).__name__}: {error}")
        raise
    return True


def refresh_consensus(*, workflow: Workflow, may_split: bool = False) -> bool:
    """Renew the workflow's consensus if enough has come since the last run; whether it was, or is begun."""
    if not is_due(workflow):
        return False
    try:
        run_consensus(workflow=workflow, may_split=may_split)
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
        return Classification.objects.filter(workflow_version__in=counting_versions(workflow.current)).exists()
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


def _fit_and_store(run: ConsensusRun, on_progress: OnProgress | None) -> None:
    definition = definition_of(run.workflow_version)
    table = VoteTable(definition)
    n_classifications = read_votes(run, table, on_progress=on_progress)
    rows = GoldStandard.objects.filter(workflow_id=run.workflow_id).values_list("subject_id", "task", "value")
    gold = known_answers(definition, rows)
    outcomes = outcomes_of(definition, table, gold)
    tasks = fits_and_judgements(outcomes, definition, gold)
    said = SubjectTable({key: outcome.without_gold() for key, outcome in outcomes.items()}, definition)
    facts = {"n_classifications": n_classifications, "tasks": tasks}
    store(run=run, pieces=[Piece(said.subject_ids, said)], facts=lambda: facts)
    weigh_from_now_on(version=run.workflow_version, watermark=run.watermark, found=live_of(outcomes.values()))
    if definition.retirement.settled:
        boxes = [outcome for outcome in outcomes.values() if isinstance(outcome, BoxOutcome)]
        retire_settled(workflow=run.workflow, subject_ids=settled_subject_ids(boxes))


def _note_watermark(run: ConsensusRun) -> None:
    """Write up to where the run reads, and how many classifications there are up to it."""
    run.watermark = read_watermark(run.workflow).classification_id
    run.n_read = count_up_to(run.workflow, run.watermark)
    run.save(update_fields=["watermark", "n_read"])


def _beat(run: ConsensusRun) -> None:
    ConsensusRun.objects.filter(pk=run.pk, state=JobState.RUNNING).update(heartbeat_at=timezone.now())
