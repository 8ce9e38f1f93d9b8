"""What people do with models and batches: register, launch, cancel, retry. Scoring itself: shards.py."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ml_worker.models import JobState, ModelVersion, PrefilterBatch, Shard
from ml_worker.shards import enqueue, settle_batch
from starsieve.accounts.models import User
from starsieve.projects.models import Subject, SubjectSet, Workflow

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
MOST_SHARDS = 20_000
LARGEST_SHARD = 100_000
LARGEST_SEED = 2**31 - 1

log = structlog.get_logger(__name__)


class PrefilterRefused(ValueError):
    """What was asked for cannot be: `field` names the argument at fault, `message` says why and the way out."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}")


class PrefilterConflict(RuntimeError):
    """The batch's present state (or another batch) does not allow it."""


def register_model(
    *, path: Path, name: str, architecture: str, provenance: str, metrics: dict[str, Any] | None = None
) -> ModelVersion:
    """Copy a checkpoint under MODEL_ROOT and write its ModelVersion, numbered one above the name's newest.

    The same bytes under the same name are registered once: the existing row is returned. Raises PrefilterRefused.
    """
    if not MODEL_NAME.fullmatch(name):
        raise PrefilterRefused("name", f"{name!r} must be lower-case letters, digits, dots, - and _, at most 80")
    if not provenance.strip():
        raise PrefilterRefused("provenance", "is empty; say what the weights were trained on")
    if not path.is_file():
        raise PrefilterRefused("path", f"no such file: {path}")
    root = Path(settings.MODEL_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    sha256 = sha256_of(path)
    file = f"{sha256}.safetensors"
    _copy_durably(path, root / file)
    with transaction.atomic():
        versions = ModelVersion.objects.select_for_update().filter(name=name)
        known = versions.filter(sha256=sha256).first()
        if known is not None:
            return known
        newest = list(versions.values_list("version", flat=True))
        return ModelVersion.objects.create(
            name=name,
            version=max(newest, default=0) + 1,
            architecture=architecture,
            file=file,
            sha256=sha256,
            provenance=provenance,
            metrics=metrics or {},
        )


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy_durably(source: Path, target: Path) -> None:
    """Copy so that the target is either absent or whole, whatever happens in between."""
    descriptor, partial_name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream, source.open("rb") as original:
            shutil.copyfileobj(original, stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(partial_name).chmod(0o644)
        Path(partial_name).replace(target)
    finally:
        Path(partial_name).unlink(missing_ok=True)


def launch_prefilter_batch(
    *,
    workflow: Workflow,
    subject_set: SubjectSet,
    model: ModelVersion,
    show_above: float | None = None,
    show_fraction: float | None = None,
    control_fraction: float = 0.05,
    shard_size: int = 64,
    seed: int | None = None,
    user: User,
) -> PrefilterBatch:
    """Write a batch and its shards, and enqueue one Celery task per shard when the transaction commits.

    Locks the workflow row, so that two launches for the same workflow and set cannot both pass the check that no
    other batch runs. Exactly one of `show_above` and `show_fraction` is given; `seed` (drawn when None) decides which
    subjects below the cut are control samples. Raises PrefilterRefused naming the argument, or PrefilterConflict.
    """
    _check_policy(show_above, show_fraction, control_fraction)
    _check_whole("shard_size", shard_size, 1, LARGEST_SHARD)
    seed = secrets.randbelow(LARGEST_SEED) if seed is None else seed
    _check_whole("seed", seed, 0, LARGEST_SEED)
    with transaction.atomic():
        Workflow.objects.select_for_update().get(pk=workflow.pk)
        _check_set(workflow, subject_set)
        batch = PrefilterBatch.objects.create(
            workflow=workflow,
            subject_set=subject_set,
            model=model,
            show_above=show_above,
            show_fraction=show_fraction,
            control_fraction=control_fraction,
            shard_size=shard_size,
            seed=seed,
            created_by=user,
        )
        shards = Shard.objects.bulk_create(_shards_of(batch), batch_size=1000)
        transaction.on_commit(partial(enqueue, [shard.pk for shard in shards]))
    log.info("prefilter launched", batch=batch.pk, shards=len(shards), model=str(model), user=user.pk)
    return batch


def _check_policy(show_above: float | None, show_fraction: float | None, control_fraction: float) -> None:
    if (show_above is None) == (show_fraction is None):
        raise PrefilterRefused("show_above", "give either show_above or show_fraction")
    values = {"show_above": show_above, "show_fraction": show_fraction, "control_fraction": control_fraction}
    for field, value in values.items():
        if value is not None and not 0 <= value <= 1:  # false for NaN too
            raise PrefilterRefused(field, f"must lie between 0 and 1, not {value}")


def _check_whole(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise PrefilterRefused(field, f"must be a whole number from {least} to {most}")


def _check_set(workflow: Workflow, subject_set: SubjectSet) -> None:
    if not workflow.subject_sets.filter(pk=subject_set.pk).exists():
        raise PrefilterRefused(
            "subject_set", f"“{subject_set.name}” is not linked to workflow “{workflow.name}”; link it first"
        )
    running = PrefilterBatch.objects.unfinished().filter(workflow=workflow, subject_set=subject_set).first()
    if running is not None:
        raise PrefilterConflict(
            f"Prefilter batch {running.pk} on “{subject_set.name}” has not finished; wait for it or cancel it first."
        )


def _shards_of(batch: PrefilterBatch) -> list[Shard]:
    """The batch's subjects, in the order of their ids, cut into runs of `shard_size`."""
    ids = Subject.objects.filter(subject_set_id=batch.subject_set_id).order_by("id").values_list("id", flat=True)
    now = timezone.now()
    shards: list[Shard] = []
    for subject_id in ids.iterator(chunk_size=10_000):
        if not shards or shards[-1].n_subjects == batch.shard_size:
            shards.append(
                Shard(batch=batch, index=len(shards), first_subject_id=subject_id, n_subjects=0, enqueued_at=now)
            )
        shards[-1].last_subject_id = subject_id
        shards[-1].n_subjects += 1
    if not shards:
        raise PrefilterRefused("subject_set", f"“{batch.subject_set.name}” has no subjects yet")
    if len(shards) > MOST_SHARDS:
        raise PrefilterRefused("shard_size", f"would make {len(shards)} shards, over {MOST_SHARDS}; take larger ones")
    return shards


def cancel_prefilter_batch(*, batch: PrefilterBatch, user: User) -> PrefilterBatch:
    """Ask a batch to stop: locks its row, cancels its waiting shards; a running one stops after its minibatch.

    Scores written so far are kept, the routing stays as it was. A batch that is being cancelled or was cancelled
    is returned as it is. Raises PrefilterConflict when the batch has finished otherwise.
    """
    with transaction.atomic():
        batch = PrefilterBatch.objects.select_for_update().get(pk=batch.pk)
        if batch.cancel_requested_at is not None:
            return batch
        if batch.is_finished:
            raise PrefilterConflict(f"Prefilter batch {batch.pk} has already finished ({batch.state}).")
        batch.cancel_requested_at = timezone.now()
        batch.save(update_fields=["cancel_requested_at"])
        batch.shards.filter(state=JobState.PENDING).update(state=JobState.CANCELLED)
        settle_batch(batch_id=batch.pk)
        batch.refresh_from_db()
    log.info("prefilter cancelled", batch=batch.pk, user=user.pk)
    return batch


def retry_shard(*, shard: Shard, user: User) -> Shard:
    """Put a failed shard, or a done one with unreadable stamps, back into the queue, with all its attempts anew.

    Locks the batch row and writes batch and shard; what was scored stays scored. Raises PrefilterConflict when the
    shard is in another state, the batch was cancelled, or a newer batch has routed the same subjects since.
    """
    with transaction.atomic():
        batch = PrefilterBatch.objects.select_for_update().get(pk=shard.batch_id)
        shard = batch.shards.get(pk=shard.pk)
        _check_retry(batch, shard)
        shard.state, shard.attempts, shard.error, shard.claim = JobState.PENDING, 0, "", None
        shard.enqueued_at = timezone.now()
        shard.save(update_fields=["state", "attempts", "error", "claim", "enqueued_at"])
        batch.state, batch.finished_at = JobState.RUNNING, None
        batch.save(update_fields=["state", "finished_at"])
        transaction.on_commit(partial(enqueue, [shard.pk]))
    log.info("shard retried", batch=batch.pk, shard=shard.index, user=user.pk)
    return shard


def _check_retry(batch: PrefilterBatch, shard: Shard) -> None:
    if batch.cancel_requested_at is not None:
        raise PrefilterConflict(f"Prefilter batch {batch.pk} was cancelled; launch a new one.")
    if not shard.can_retry:
        raise PrefilterConflict(
            f"Shard {shard.index} is {shard.state}; only a failed one, or a done one with unreadable stamps, "
            "can be tried again."
        )
    same = PrefilterBatch.objects.filter(workflow_id=batch.workflow_id, subject_set_id=batch.subject_set_id)
    newer = same.filter(pk__gt=batch.pk).order_by("pk").last()
    if newer is not None:
        raise PrefilterConflict(f"Prefilter batch {newer.pk} on the same subjects is newer; its routing stands.")
