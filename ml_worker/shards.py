"""The life of a shard: claimed, scored minibatch by minibatch, done; or failed, lost and found again.

Every state is in the rows and every write of a scorer is conditional on its claim, so that a message delivered twice
does nothing and a process killed at any point loses nothing: its heartbeat stops, the shard goes back into the queue
after the lease, and the next attempt scores only what has no score yet.

Locks are taken batch before shard, never the other way round.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, FloatField, OuterRef, Q, QuerySet
from django.db.models.functions import Floor
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from ml_worker.models import (
    HISTOGRAM_BINS,
    JobState,
    Prediction,
    PrefilterBatch,
    Shard,
    empty_histogram,
)
from ml_worker.routing import route_batch
from starsieve.projects.models import Subject

SCORE_SHARD = "ml_worker.tasks.score_shard"  # by name: a web process never imports the tasks, which load torch
MOST_ATTEMPTS = 5
MOST_REPORTED = 100  # unreadable stamps named in a shard's row; the count is always exact
MOST_AT_ONCE = 1000

log = structlog.get_logger(__name__)


class ClaimLost(RuntimeError):
    """Someone else holds the shard now: this process was given up for lost, or the batch is gone."""


@dataclass(frozen=True)
class Unreadable:
    """A subject whose stamp is missing or broken, and why."""

    subject_id: int
    name: str
    reason: str


def enqueue(shard_ids: Sequence[int], *, countdown: float = 0) -> None:
    """Send one message per shard. When the broker is away the shards wait for requeue_lost_shards."""
    for sent, shard_id in enumerate(shard_ids):
        try:
            current_app.send_task(SCORE_SHARD, args=[shard_id], countdown=countdown or None)
        except (BrokerError, OSError) as error:
            log.warning("broker unreachable, shards wait", waiting=len(shard_ids) - sent, error=str(error))
            return


def claim_shard(*, shard_id: int) -> Shard | None:
    """Take a pending shard for this process, or None when it is not to be had (scored, cancelled, taken by another).

    One conditional UPDATE decides; then the batch is marked as running and the shard's counts are taken anew from
    the predictions that are there.
    """
    claim = uuid.uuid4()
    taken = Shard.objects.filter(pk=shard_id, state=JobState.PENDING).update(
        state=JobState.RUNNING, claim=claim, attempts=F("attempts") + 1, heartbeat_at=timezone.now(), error=""
    )
    if not taken:
        return None
    shard = Shard.objects.select_related("batch__model").get(pk=shard_id)
    PrefilterBatch.objects.filter(pk=shard.batch_id, state=JobState.PENDING).update(state=JobState.RUNNING)
    shard.histogram = _histogram_of(shard)
    shard.n_scored = sum(shard.histogram)
    shard.n_unreadable, shard.unreadable = 0, []
    _held(shard).update(n_scored=shard.n_scored, n_unreadable=0, unreadable=[], histogram=shard.histogram)
    return shard


def _held(shard: Shard) -> QuerySet[Shard]:
    """The shard's row, as long as this process's claim on it stands."""
    return Shard.objects.filter(pk=shard.pk, state=JobState.RUNNING, claim=shard.claim)


def _histogram_of(shard: Shard) -> list[int]:
    counts = empty_histogram()
    bins = (
        Prediction.objects.of_shard(shard)
        .annotate(bin=Floor(F("score") * HISTOGRAM_BINS, output_field=FloatField()))
        .values("bin")
        .annotate(n=Count("id"))
        .values_list("bin", "n")
    )
    for place, n in bins:
        counts[min(int(place), HISTOGRAM_BINS - 1)] += n
    return counts


def unscored_subjects(shard: Shard) -> QuerySet[Subject]:
    """The shard's subjects that its model has not scored yet, in the order of their ids."""
    scored = Prediction.objects.filter(model_id=shard.batch.model_id, subject_id=OuterRef("pk"))
    return (
        Subject.objects.filter(
            subject_set_id=shard.batch.subject_set_id, id__range=(shard.first_subject_id, shard.last_subject_id)
        )
        .filter(~Exists(scored))
        .only("id", "name", "frames")
        .order_by("id")
    )


def record_shard_scores(*, shard: Shard, scores: Mapping[int, float], unreadable: Sequence[Unreadable] = ()) -> bool:
    """Store one minibatch's scores and unreadable stamps with the shard's counts and heartbeat, in one transaction.

    Locks the shard's row. A subject that has a score already is written again with this one, never twice. Returns
    whether to go on: False when the batch is to be cancelled. Raises ClaimLost, and ValueError for a score that is
    no number in [0, 1].
    """
    for subject_id, score in scores.items():
        if not 0 <= score <= 1:  # false for NaN too
            raise ValueError(f"the model gave subject {subject_id} the score {score}, which is not in [0, 1]")
    with transaction.atomic():
        row = _held(shard).select_for_update(of=("self",)).select_related("batch").first()
        if row is None:
            raise ClaimLost(str(shard))
        model_id = row.batch.model_id
        Prediction.objects.bulk_create(
            [Prediction(model_id=model_id, subject_id=key, score=score) for key, score in scores.items()],
            update_conflicts=True,
            unique_fields=["model", "subject"],
            update_fields=["score"],
        )
        for score in scores.values():
            row.histogram[min(int(score * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)] += 1
        row.n_scored += len(scores)
        row.n_unreadable += len(unreadable)
        report = [{"subject": u.subject_id, "name": u.name, "reason": u.reason} for u in unreadable]
        row.unreadable = [*row.unreadable, *report][:MOST_REPORTED]
        row.heartbeat_at = timezone.now()
        row.save(update_fields=["n_scored", "n_unreadable", "unreadable", "histogram", "heartbeat_at"])
    return row.batch.cancel_requested_at is None


def complete_shard(*, shard: Shard) -> None:
    """Mark the shard as done (cancelled, when its batch is being cancelled) and finish the batch after its last one."""
    is_cancelled = PrefilterBatch.objects.filter(pk=shard.batch_id, cancel_requested_at__isnull=False).exists()
    leave_shard(shard=shard, state=JobState.CANCELLED if is_cancelled else JobState.DONE)


def leave_shard(*, shard: Shard, state: JobState, error: str = "") -> None:
    """Give up the claim, leaving the shard in a final state, and settle its batch. Raises ClaimLost."""
    if not _held(shard).update(state=state, claim=None, error=error):
        raise ClaimLost(str(shard))
    settle_batch(batch_id=shard.batch_id)


def put_back_shard(*, shard: Shard, error: str) -> None:
    """After a passing fault: back into the queue with growing delay, or failed when all attempts are used up."""
    if shard.attempts >= MOST_ATTEMPTS:
        leave_shard(shard=shard, state=JobState.FAILED, error=f"{error} (attempt {shard.attempts} of {MOST_ATTEMPTS})")
        return
    if not _held(shard).update(state=JobState.PENDING, claim=None, error=error, enqueued_at=timezone.now()):
        raise ClaimLost(str(shard))
    _cancel_pending_of_cancelled(shard.batch_id)
    enqueue([shard.pk], countdown=2.0**shard.attempts)


def _cancel_pending_of_cancelled(batch_id: int) -> None:
    """A shard that returned to the queue while its batch was being cancelled leaves it again."""
    with transaction.atomic():
        batch = PrefilterBatch.objects.select_for_update().filter(pk=batch_id).first()
        if batch is not None and batch.cancel_requested_at is not None:
            batch.shards.filter(state=JobState.PENDING).update(state=JobState.CANCELLED)
            settle_batch(batch_id=batch_id)


def settle_batch(*, batch_id: int) -> None:
    """Finish the batch when none of its shards is unfinished: route its subjects, unless one failed or it is cancelled.

    Locks the batch row and writes it together with the routing; without an unfinished shard left, whoever comes
    second finds it finished.
    """
    with transaction.atomic():
        batch = PrefilterBatch.objects.select_for_update().filter(pk=batch_id).first()
        if batch is None or batch.is_finished or batch.shards.unfinished().exists():
            return
        if batch.cancel_requested_at is not None:
            batch.state = JobState.CANCELLED
        elif batch.shards.filter(state=JobState.FAILED).exists():
            batch.state = JobState.FAILED
        else:
            batch.show_above, batch.routing = route_batch(batch=batch)
            batch.state = JobState.DONE
        batch.finished_at = timezone.now()
        batch.save(update_fields=["state", "show_above", "routing", "finished_at"])
    log.info("prefilter finished", batch=batch.pk, state=batch.state, routing=batch.routing)


def requeue_lost_shards() -> dict[str, int]:
    """Find what was lost and set it going again; how many of each: {"lost", "failed", "resent", "settled"}.

    lost: running shards whose heartbeat is older than the lease go back into the queue (failed: those that have used
    all attempts). resent: waiting shards whose message may be lost, looked at only while no shard is running
    anywhere, since a busy queue is no lost one. settled: batches whose last scorer died before finishing them.
    """
    late = timezone.now() - timedelta(seconds=settings.PREFILTER_LEASE_SECONDS)
    lost = Shard.objects.filter(Q(heartbeat_at__lt=late) | Q(heartbeat_at=None), state=JobState.RUNNING)
    counts = {"lost": 0, "failed": 0, "resent": 0, "settled": 0}
    for shard in lost.order_by("id")[:MOST_AT_ONCE]:
        counts[_give_up_for_lost(shard, late)] += 1
    counts["resent"] = _resend_stalled(late)
    without_work = ~Exists(Shard.objects.unfinished().filter(batch=OuterRef("pk")))
    for batch_id in PrefilterBatch.objects.unfinished().filter(without_work).values_list("pk", flat=True):
        settle_batch(batch_id=batch_id)
        counts["settled"] += 1
    if any(counts.values()):
        log.warning("lost shards requeued", **counts)
    return counts


def _give_up_for_lost(shard: Shard, late: datetime) -> str:
    """Take the shard from its silent holder; back into the queue, or failed when it has been lost too often."""
    still_lost = Shard.objects.filter(Q(heartbeat_at__lt=late) | Q(heartbeat_at=None)).filter(
        pk=shard.pk, state=JobState.RUNNING, claim=shard.claim
    )
    if shard.attempts >= MOST_ATTEMPTS:
        error = f"lost {shard.attempts} times: whatever scored it died or stood still each time"
        if still_lost.update(state=JobState.FAILED, claim=None, error=error):
            settle_batch(batch_id=shard.batch_id)
        return "failed"
    if still_lost.update(state=JobState.PENDING, claim=None, enqueued_at=timezone.now()):
        _cancel_pending_of_cancelled(shard.batch_id)
        enqueue([shard.pk])
    return "lost"


def _resend_stalled(late: datetime) -> int:
    if Shard.objects.filter(state=JobState.RUNNING, heartbeat_at__gte=late).exists():
        return 0
    waiting = Shard.objects.filter(Q(enqueued_at__lt=late) | Q(enqueued_at=None), state=JobState.PENDING)
    shard_ids = list(waiting.order_by("id").values_list("pk", flat=True)[:MOST_AT_ONCE])
    Shard.objects.filter(pk__in=shard_ids).update(enqueued_at=timezone.now())
    enqueue(shard_ids)
    return len(shard_ids)
