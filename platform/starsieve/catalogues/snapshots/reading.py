"""A workflow's classifications in columns, as the database has them now."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import structlog

from starsieve.catalogues.models import Snapshot, SnapshotPart
from starsieve.catalogues.snapshots.columns import COLUMNS, LAYOUT, check_known
from starsieve.catalogues.snapshots.parts import DamagedPart, read_part
from starsieve.catalogues.snapshots.people import Merges
from starsieve.catalogues.snapshots.refresh import refresh_snapshot, repair_part
from starsieve.catalogues.snapshots.state import discard_snapshots, is_complete
from starsieve.projects.models import Workflow

logger = structlog.get_logger(__name__)
#: What deletes, or spoils files, faster than they are written is a fault that somebody has to see.
TRIES = 3


class SnapshotChanged(Exception):
    """Classifications were deleted while they were read, so that what was read is no one state; begin again."""


def read_snapshot(
    *, workflow: Workflow, up_to: int, columns: Sequence[str] = tuple(COLUMNS), only_counted: bool = False
) -> Iterator[pa.RecordBatch]:
    """The workflow's classifications with id ≤ `up_to` (a watermark), by id, some ten thousand rows to a batch.

    The same as a query of the database that began when the first batch was asked for, with `only_counted` of
    `Classification.objects.counted()`: volunteers are those that hold the rows now. The snapshot is refreshed if it
    ends before `up_to`, made anew if rows have been deleted since, and a damaged file is written again first; so it
    must not be read inside a transaction. Memory does not grow with the number of rows. Raises ValueError for an
    unknown column, SnapshotChanged if rows are deleted meanwhile, DamagedPart if a file is spoilt again and again.
    """
    check_known(columns)
    snapshot = _up_to_date(workflow, up_to)
    merges = Merges.read(workflow)
    # What has to be looked at, beside what is asked for.
    read = list(dict.fromkeys([*columns, "id"]))
    for batch in _rows(workflow, snapshot, min(up_to, snapshot.watermark), read):
        yield _as_of_now(batch, merges, only_counted).select(list(columns))


def _up_to_date(workflow: Workflow, up_to: int) -> Snapshot:
    discarded = 0
    while True:
        snapshot = Snapshot.objects.filter(pk=workflow.pk, layout=LAYOUT).first()
        if snapshot is None or snapshot.watermark < up_to:
            snapshot = refresh_snapshot(workflow=workflow)
        is_whole = is_complete(snapshot)
        if is_whole:
            return snapshot
        if is_whole is None:  # another process has moved it on
            continue
        if discarded == TRIES:
            raise SnapshotChanged(f"Classifications of {workflow} are being deleted; read them when that is done.")
        logger.warning("snapshot_disagrees", workflow=workflow.pk)
        discard_snapshots([workflow.pk])
        discarded += 1


def _rows(workflow: Workflow, snapshot: Snapshot, end: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows with id ≤ `end` part by part, going by the last id read: parts may be merged or repaired meanwhile."""
    position = repaired = 0
    while (part := _part_beyond(snapshot, position, end)) is not None:
        try:
            for batch in read_part(part, columns):
                ids = batch.column("id").to_numpy()
                first, last = np.searchsorted(ids, [position, end], side="right")
                if last > first:
                    position = int(ids[last - 1])
                    yield batch.slice(first, last - first)
        except DamagedPart:
            if repaired == TRIES:
                raise
            repair_part(workflow, part)
            repaired += 1
            continue
        position, repaired = part.up_to_id, 0


def _part_beyond(snapshot: Snapshot, position: int, end: int) -> SnapshotPart | None:
    same = snapshot.parts.filter(snapshot__epoch=snapshot.epoch)
    part = same.filter(up_to_id__gt=position, after_id__lt=end).first()
    if part is None and not Snapshot.objects.filter(pk=snapshot.pk, epoch=snapshot.epoch).exists():
        raise SnapshotChanged(f"Classifications of {snapshot.workflow} were deleted while they were read; begin again.")
    return part


def _as_of_now(batch: pa.RecordBatch, merges: Merges, only_counted: bool) -> pa.RecordBatch:
    """The batch with the volunteers as of now, without second looks if only what counts is wanted."""
    places, holders = merges.left_behind(batch.column("id").to_numpy())
    if merges.merged.size and "volunteer_id" in batch.schema.names:
        volunteers = merges.resolved(batch.column("volunteer_id").to_numpy())
        volunteers[places] = holders
        place = batch.schema.get_field_index("volunteer_id")
        batch = batch.set_column(place, batch.schema.field(place), pa.array(volunteers))
    if only_counted and places.size:
        counts = np.ones(len(batch), dtype=bool)
        counts[places] = False
        batch = batch.filter(pa.array(counts))
    return batch
