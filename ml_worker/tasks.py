"""The Celery tasks: score one shard; find lost ones. Only here and in the commands is torch imported, on first use."""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from celery import shared_task, signals
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError
from numpy.typing import NDArray

from ml_worker import shards
from ml_worker.models import JobState, ModelVersion, Shard
from ml_worker.shards import ClaimLost, Unreadable
from ml_worker.stamps import StampUnreadable, read_stamp
from starsieve.projects.models import Subject

MINIBATCH = 32  # that of the network, so that none is filled up for nothing
# Faults that may pass: the storage or the database is away for a moment, or the shard is long and goes on next time.
PASSING_FAULTS = (OSError, DatabaseError, SoftTimeLimitExceeded)

Score = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float64]]

log = structlog.get_logger(__name__)


class ModelFileError(RuntimeError):
    """The file of a model is missing, lies outside MODEL_ROOT, or is not the one that was registered."""


@shared_task(name=shards.SCORE_SHARD)  # type: ignore[untyped-decorator]
def score_shard(shard_id: int) -> None:
    """Claim the shard and score it; a message for a shard that is done or taken does nothing."""
    shard = shards.claim_shard(shard_id=shard_id)
    if shard is None:
        return
    try:
        _score(shard)
    except ClaimLost:
        log.warning("shard was given to another", batch=shard.batch_id, shard=shard.index)
    except Exception as fault:  # whatever it is, the shard's row tells it and a person may retry
        _write_down(shard, fault)


def _write_down(shard: Shard, fault: Exception) -> None:
    passes = isinstance(fault, PASSING_FAULTS)
    log.warning("shard interrupted", batch=shard.batch_id, shard=shard.index, exc_info=None if passes else fault)
    try:
        if passes:
            shards.put_back_shard(shard=shard, error=_sentence(fault))
        else:
            shards.leave_shard(shard=shard, state=JobState.FAILED, error=_sentence(fault))
    except ClaimLost:
        log.warning("shard was given to another", batch=shard.batch_id, shard=shard.index)


def _sentence(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}"[:2000]


def _score(shard: Shard) -> None:
    """Minibatch by minibatch until nothing is unscored or the batch is being cancelled."""
    started, n_scored, after, goes_on = time.monotonic(), 0, 0, True
    while goes_on and (subjects := list(shards.unscored_subjects(shard).filter(pk__gt=after)[:MINIBATCH])):
        scores, unreadable = score_subjects(shard.batch.model, subjects)
        goes_on = shards.record_shard_scores(shard=shard, scores=scores, unreadable=unreadable)
        after, n_scored = subjects[-1].pk, n_scored + len(scores)
    shards.complete_shard(shard=shard)
    seconds = round(time.monotonic() - started, 2)
    log.info("shard scored", batch=shard.batch_id, shard=shard.index, scored=n_scored, seconds=seconds)


def score_subjects(model: ModelVersion, subjects: Sequence[Subject]) -> tuple[dict[int, float], list[Unreadable]]:
    """The model's score of each subject whose stamp can be read, and the others with the reason."""
    stamps: dict[int, NDArray[np.uint8]] = {}
    unreadable: list[Unreadable] = []
    for subject in subjects:
        try:
            stamps[subject.pk] = read_stamp(subject)
        except StampUnreadable as problem:
            unreadable.append(Unreadable(subject.pk, subject.name, str(problem)))
    if not stamps:
        return {}, unreadable
    score = load_network(settings.MODEL_ROOT, model.file, model.sha256)
    scores = score(list(stamps.values()))
    return dict(zip(stamps, scores.tolist(), strict=True)), unreadable


@lru_cache(maxsize=2)
def load_network(root: str, file: str, sha256: str) -> Score:
    """The network in the file, ready to score; loaded once per process. Raises ModelFileError."""
    content = checked_content(Path(root), file, sha256)

    import torch

    from ml_worker.nets import network

    torch.set_num_threads(1)  # one process per core; more threads would only wait for each other
    return network.load_network(content).score


def checked_content(root: Path, file: str, sha256: str) -> bytes:
    """The bytes of a model's file, which must lie under the root and be those that were registered."""
    path = (root / file).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ModelFileError(f"{file}: lies outside MODEL_ROOT")
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise ModelFileError(f"{file}: no such file under MODEL_ROOT; register the model on this machine") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelFileError(f"{file}: its SHA-256 is not the registered one; the file was changed")
    return content


@shared_task(name="ml_worker.tasks.requeue_lost_shards")  # type: ignore[untyped-decorator]
def requeue_lost_shards() -> None:
    """By beat, twice per lease."""
    shards.requeue_lost_shards()


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def look_for_lost_shards(**arguments: Any) -> None:
    """A worker that starts after a crash need not wait for the next beat."""
    requeue_lost_shards.delay()
