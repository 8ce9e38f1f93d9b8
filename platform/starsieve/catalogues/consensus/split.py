"""A consensus run that is divided over the workers: E steps shard by shard, M steps by whoever answers last.

The pooled models of a workflow are fitted one after the other, each in rounds (`aggregation.ShardedPooled`). What is
asked and answered are rows (blocks.py), claims and lost workers are shards.py's. Tasks with another method are fitted
at the end, by the one process that stores everything.
"""

from collections import OrderedDict
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from aggregation import report_from_bytes, round_from_bytes, to_bytes
from classify.models import GoldStandard
from classify.versions import definition_of
from ml_worker.models import JobState
from starsieve.catalogues.consensus import shards
from starsieve.catalogues.consensus.blocks import (
    ASKED,
    MessageGone,
    answer_of,
    read_message,
    subjects_of,
    write_message,
)
from starsieve.catalogues.consensus.closing import close_run
from starsieve.catalogues.consensus.gold import known_answers
from starsieve.catalogues.consensus.heartbeat import Heartbeat
from starsieve.catalogues.consensus.pooled import Gathered, PooledGroup, gather, pooled_groups
from starsieve.catalogues.consensus.reading import read_votes
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.models import ConsensusBlock, ConsensusRun, ConsensusShard, ConsensusSplit
from starsieve.projects.definitions import WorkflowDefinition

#: Faults that may pass: the disk or the database is away for a moment.
PASSING_FAULTS = (OSError, DatabaseError)

logger = structlog.get_logger(__name__)


class VotesChanged(RuntimeError):
    """A shard's votes are no longer those of the run's earlier rounds; the next run begins with them."""


def shards_needed(definition: WorkflowDefinition, n_classifications: int) -> int:
    """How many shards a run over so many classifications is divided into; 1: not at all."""
    n_tasks = sum(len(group.tasks) for group in pooled_groups(definition))
    most: int = settings.CONSENSUS_SHARD_VOTES
    return max(1, -(-n_classifications * n_tasks // most))


def begin_split(*, run: ConsensusRun, n_shards: int) -> None:
    """Divide a running run, whose watermark is read, and have the workers begin. Writes ConsensusSplit and its shards.

    The gold standard is frozen with it.
    """
    gold = GoldStandard.objects.filter(workflow_id=run.workflow_id).values_list("subject_id", "task", "value")
    group = pooled_groups(definition_of(run.workflow_version))[0]
    now = timezone.now()
    with transaction.atomic():
        split = ConsensusSplit.objects.create(run=run, n_shards=n_shards, gold=list(map(list, gold)))
        ConsensusShard.objects.bulk_create(
            ConsensusShard(split=split, place=place, enqueued_at=now) for place in range(n_shards)
        )
        write_message(split=split, number=0, name=ASKED, content=to_bytes(group.model.begin()))
        transaction.on_commit(lambda: shards.enqueue(run.pk, n_shards))
    logger.info("consensus_split", run=run.pk, shards=n_shards)


def work_on(*, run_id: int) -> bool:
    """Take one waiting shard of the run and answer its round; whether there was one.

    The process that answers last makes the next round and tells the workers; the one that takes the last piece of the
    run stores the result. Whatever goes wrong is noted in rows.
    """
    forget_ended_runs()
    shard = shards.claim_shard(run_id=run_id, held=[pk for pk, _ in _held_votes])
    if shard is None:
        return False
    try:
        with Heartbeat(lambda: shards.beat(shard), settings.CONSENSUS_LEASE_SECONDS / 4):
            if shard.place == shard.split.n_shards:
                close_run(shard=shard)
                return True
            messages = _answer(shard)
        shards.answer_round(shard=shard, messages=messages)
        advance(run_id=run_id)
    except (shards.ClaimLost, MessageGone):
        logger.warning("consensus_shard_was_given_to_another", run=run_id, shard=shard.place)
    except PASSING_FAULTS as fault:
        logger.warning("consensus_shard_interrupted", run=run_id, shard=shard.place, error=str(fault))
        shards.put_back(shard=shard, error=f"{type(fault).__name__}: {fault}")
    except Exception as fault:
        logger.exception("consensus_shard_failed", run=run_id, shard=shard.place)
        shards.fail_run(run_id=run_id, error=f"{type(fault).__name__}: {fault}")
    return True


def advance(*, run_id: int) -> bool:
    """Make the next round if all shards have answered; whether this call did.

    Computes without a lock, and one conditional UPDATE of the round decides between two that do so at once: both have
    computed the same.
    """
    split = ConsensusSplit.objects.select_related("run__workflow_version").filter(pk=run_id).first()
    if split is None or split.shards.unfinished().exists() or split.shards.filter(place=split.n_shards).exists():
        return False
    groups = pooled_groups(definition_of(split.run.workflow_version))
    try:
        asked = round_from_bytes(read_message(split=split, number=split.round, name=ASKED))
        if asked.is_last:
            return _end_group(split, groups)
        answers = [answer_of(place) for place in range(split.n_shards)]
        reports = [report_from_bytes(read_message(split=split, number=split.round, name=name)) for name in answers]
    except MessageGone:
        return False
    following = groups[split.group].model.advance(asked, reports)
    return _ask(split, to_bytes(following), group=split.group, last_rounds=split.last_rounds)


def _end_group(split: ConsensusSplit, groups: list[PooledGroup]) -> bool:
    """The answers are posteriors, which stay; the next group begins, or the end of the run."""
    last_rounds = [*split.last_rounds, split.round]
    if len(last_rounds) < len(groups):
        begin = to_bytes(groups[len(last_rounds)].model.begin())
        return _ask(split, begin, group=len(last_rounds), last_rounds=last_rounds)
    with transaction.atomic():
        if not _moved_on(split, group=len(groups), last_rounds=last_rounds):
            return False
        ConsensusShard.objects.create(split=split, place=split.n_shards, enqueued_at=timezone.now())
        transaction.on_commit(lambda: shards.enqueue(split.pk, 1))
    return True


def _ask(split: ConsensusSplit, content: bytes, *, group: int, last_rounds: list[int]) -> bool:
    with transaction.atomic():
        if not _moved_on(split, group=group, last_rounds=last_rounds):
            return False
        write_message(split=split, number=split.round + 1, name=ASKED, content=content)
        ConsensusBlock.objects.filter(split=split).exclude(round__in=[*last_rounds, split.round + 1]).delete()
        split.shards.update(state=JobState.PENDING, claim=None, attempts=0, enqueued_at=timezone.now())
        transaction.on_commit(lambda: shards.enqueue(split.pk, split.n_shards))
    return True


def _moved_on(split: ConsensusSplit, **values: Any) -> bool:
    """Begin the next round, unless somebody has: whether this call did."""
    same = ConsensusSplit.objects.filter(pk=split.pk, round=split.round)
    if not same.update(round=split.round + 1, **values):
        return False
    ConsensusRun.objects.filter(pk=split.pk).update(heartbeat_at=timezone.now())
    return True


def _answer(shard: ConsensusShard) -> dict[str, bytes]:
    """What the shard says to its round, by the names of the messages."""
    asked = round_from_bytes(read_message(split=shard.split, number=shard.split.round, name=ASKED))
    gathered = _votes_of(shard)
    messages = {answer_of(shard.place): to_bytes(gathered.shard.carry_out(asked, shard.place))}
    if asked.is_last:
        messages[subjects_of(shard.place)] = gathered.subject_ids.tobytes()
    return messages


#: Votes in this process's memory by (shard, group of tasks), the last used last.
_held_votes: OrderedDict[tuple[int, int], Gathered] = OrderedDict()


def forget_ended_runs() -> None:
    """Let go of the votes of shards that are no more."""
    held = {pk for pk, _ in _held_votes}
    there = set(ConsensusShard.objects.filter(pk__in=held).values_list("pk", flat=True)) if held else set()
    for key in [key for key in _held_votes if key[0] not in there]:
        del _held_votes[key]


def _votes_of(shard: ConsensusShard) -> Gathered:
    """The shard's votes: from memory, or read again."""
    key = (shard.pk, shard.split.group)
    if key not in _held_votes:
        while len(_held_votes) >= max(1, settings.CONSENSUS_SHARDS_HELD):
            _held_votes.popitem(last=False)
        _held_votes[key] = _read(shard)
    _held_votes.move_to_end(key)
    return _held_votes[key]


def _read(shard: ConsensusShard) -> Gathered:
    split = shard.split
    definition = definition_of(split.run.workflow_version)
    groups = pooled_groups(definition)
    table = VoteTable(definition, [key for group in groups for key in group.tasks])
    n = read_votes(split.run, table, home=(shard.place, split.n_shards))
    _check_unchanged(shard, n, table.checksum())
    return gather(groups[split.group], table, known_answers(definition, split.gold).exact)


def _check_unchanged(shard: ConsensusShard, n: int, checksum: str) -> None:
    """Votes that are read again must be those of the earlier rounds: somebody may have signed in since, and so be one
    volunteer with two that voted.
    """
    if shard.checksum and shard.checksum != checksum:
        raise VotesChanged(
            f"the votes of {shard} changed before they were read again (volunteers signed in, or classifications were "
            "deleted); the next run begins anew"
        )
    ConsensusShard.objects.filter(pk=shard.pk).update(n_classifications=n, checksum=checksum)
