"""The life of a consensus run's shard in one round: waiting, claimed, answered; or failed, lost and found again.

Every state is in the rows, and every write is conditional on the claim or on the round, so that a message delivered
twice does nothing and a process killed at any point loses nothing: its heartbeat stops, and after the lease the shard
waits again. Whoever answers last makes the next round (split.py): no process waits for another.
"""

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from ml_worker.models import JobState
from starsieve.catalogues.consensus.blocks import write_message
from starsieve.catalogues.models import ConsensusRun, ConsensusShard, ConsensusSplit

MOST_ATTEMPTS = 5
MOST_AT_ONCE = 1000

logger = structlog.get_logger(__name__)


class ClaimLost(RuntimeError):
    """Someone else holds the shard now: this process was given up for lost, or the run is over."""


def this_process() -> str:
    """Names this process among all workers of the site."""
    return f"{socket.gethostname()}:{os.getpid()}"


def enqueue(run_id: int, n: int, *, countdown: float = 0) -> None:
    """Send `n` messages that a run's shards wait. When the broker is away they wait for requeue_lost_shards."""
    from starsieve.catalogues.tasks import work_on_consensus  # tasks import this module

    try:
        for _ in range(n):
            work_on_consensus.apply_async(args=[run_id], countdown=countdown or None)
    except (BrokerError, OSError) as error:
        logger.warning("broker_unreachable_consensus_waits", run=run_id, error=str(error))


def claim_shard(*, run_id: int, held: Sequence[int]) -> ConsensusShard | None:
    """Take one of the run's waiting shards, or None when there is none.

    One conditional UPDATE decides. First come those in `held`, whose votes this process has in memory; then those that
    nobody has; then those of the process that was heard of longest ago: reading votes again costs more than a round.
    """
    waiting = ConsensusShard.objects.filter(split_id=run_id, state=JobState.PENDING)
    rows = list(waiting.values_list("pk", "holder", "heartbeat_at"))
    rows.sort(key=lambda row: (row[0] not in held, row[1] not in ("", this_process()), row[2] is not None, row[2] or 0))
    for pk, _, _ in rows:
        taken = ConsensusShard.objects.filter(pk=pk, state=JobState.PENDING).update(
            state=JobState.RUNNING,
            claim=uuid.uuid4(),
            holder=this_process(),
            attempts=F("attempts") + 1,
            heartbeat_at=timezone.now(),
            error="",
        )
        if taken:
            return ConsensusShard.objects.select_related("split__run__workflow", "split__run__workflow_version").get(
                pk=pk
            )
    return None


def beat(shard: ConsensusShard) -> None:
    """Say that the shard, and so the run, is being worked on."""
    now = timezone.now()
    if _held(shard).update(heartbeat_at=now):
        ConsensusRun.objects.filter(pk=shard.split_id, state=JobState.RUNNING).update(heartbeat_at=now)


def answer_round(*, shard: ConsensusShard, messages: Mapping[str, bytes]) -> None:
    """Store the shard's answer, message by name, and give up the claim, in one transaction. Raises ClaimLost."""
    with transaction.atomic():
        if not _held(shard).update(state=JobState.DONE, claim=None, heartbeat_at=timezone.now()):
            raise ClaimLost(str(shard))
        for name, content in messages.items():
            write_message(split=shard.split, number=shard.split.round, name=name, content=content)


def put_back(*, shard: ConsensusShard, error: str) -> None:
    """After a passing fault: wait again with growing delay, or fail the run when all attempts are used up."""
    if shard.attempts >= MOST_ATTEMPTS:
        fail_run(run_id=shard.split_id, error=f"{error} ({shard}, attempt {shard.attempts} of {MOST_ATTEMPTS})")
    elif _held(shard).update(state=JobState.PENDING, claim=None, error=error, enqueued_at=timezone.now()):
        enqueue(shard.split_id, 1, countdown=2.0**shard.attempts)


def fail_run(*, run_id: int, error: str) -> None:
    """Mark the run as failed and take its shards away; the schedule makes another."""
    now = timezone.now()
    with transaction.atomic():
        ConsensusRun.objects.filter(pk=run_id, state=JobState.RUNNING).update(
            state=JobState.FAILED, error=error[:2000], finished_at=now, heartbeat_at=now
        )
        ConsensusSplit.objects.filter(pk=run_id).delete()


def requeue_lost_shards() -> dict[str, int]:
    """Find what was lost and set it going again; how many of each: {"lost", "resent", "advanced"}.

    lost: shards whose worker has been silent for longer than the lease wait again. resent: waiting shards whose message
    may be lost, of runs on which nobody works. advanced: runs whose last worker died before it made the next round.
    """
    from starsieve.catalogues.consensus.split import advance  # which imports this module

    late = timezone.now() - timedelta(seconds=settings.CONSENSUS_LEASE_SECONDS)
    counts = {"lost": 0, "resent": 0, "advanced": 0}
    silent = ConsensusShard.objects.filter(state=JobState.RUNNING).filter(_silent_since(late))
    for shard in silent.order_by("id")[:MOST_AT_ONCE]:
        counts["lost"] += _give_up_for_lost(shard, late)
    for run_id in _splits().filter(shards__state=JobState.PENDING).distinct().values_list("pk", flat=True):
        counts["resent"] += _resend_stalled(run_id, late)
    for run_id in _splits().exclude(shards__in=ConsensusShard.objects.unfinished()).values_list("pk", flat=True):
        if not ConsensusShard.objects.filter(split_id=run_id, heartbeat_at__gte=late).exists():
            advance(run_id=run_id)
            counts["advanced"] += 1
    if any(counts.values()):
        logger.warning("lost_consensus_shards_requeued", **counts)
    return counts


def _splits() -> QuerySet[ConsensusSplit]:
    return ConsensusSplit.objects.order_by("pk")


def _held(shard: ConsensusShard) -> QuerySet[ConsensusShard]:
    """The shard's row, as long as this process's claim on it stands."""
    return ConsensusShard.objects.filter(pk=shard.pk, state=JobState.RUNNING, claim=shard.claim)


def _silent_since(late: datetime) -> Q:
    return Q(heartbeat_at__lt=late) | Q(heartbeat_at=None)


def _give_up_for_lost(shard: ConsensusShard, late: datetime) -> bool:
    if shard.attempts >= MOST_ATTEMPTS:
        error = f"{shard} was lost {shard.attempts} times: its worker died or stood still; is there enough memory?"
        fail_run(run_id=shard.split_id, error=error)
        return True
    still_lost = _held(shard).filter(_silent_since(late))
    if still_lost.update(state=JobState.PENDING, claim=None, holder="", enqueued_at=timezone.now()):
        enqueue(shard.split_id, 1)
        return True
    return False


def _resend_stalled(run_id: int, late: datetime) -> int:
    shards = ConsensusShard.objects.filter(split_id=run_id)
    if shards.filter(state=JobState.RUNNING).exists():
        return 0
    stalled = shards.filter(Q(enqueued_at__lt=late) | Q(enqueued_at=None), state=JobState.PENDING)
    resent = stalled.update(enqueued_at=timezone.now())
    enqueue(run_id, resent)
    return resent
