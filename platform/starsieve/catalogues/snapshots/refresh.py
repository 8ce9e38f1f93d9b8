"""Bringing a workflow's snapshot up to date with the database, and keeping its files few and whole.

Whoever dies at any point leaves a snapshot that is right: a file counts once a row names it, and the row comes last.
"""

from collections.abc import Callable, Sequence
from itertools import chain, takewhile

import structlog

from starsieve.catalogues.freezing import WritersAtWork, newest_settled
from starsieve.catalogues.models import Snapshot, SnapshotPart
from starsieve.catalogues.snapshots.columns import COLUMNS, LAYOUT
from starsieve.catalogues.snapshots.folders import SnapshotBusy, writing
from starsieve.catalogues.snapshots.parts import (
    DamagedPart,
    PartFile,
    path_of,
    read_part,
    sweep_folders,
    sweep_orphans,
    write_part,
)
from starsieve.catalogues.snapshots.state import (
    Overtaken,
    append_part,
    discard_snapshots,
    replace_parts,
    snapshot_for,
    workflows_behind,
)
from starsieve.catalogues.snapshots.stream import stream_classifications
from starsieve.projects.models import Workflow

logger = structlog.get_logger(__name__)

ROWS_PER_PART = 1_000_000
#: So many neighbours of about the same size become one part.
PARTS_TO_MERGE = 8
MOST_SMALL_PARTS = 64
#: Less than PostgreSQL's deadlock_timeout, after which whoever waits has a vacuum cancelled.
PATIENCE_MS = 500

OnProgress = Callable[[int], None]


def refresh_snapshot(
    *, workflow: Workflow, newest: int | None = None, wait: bool = True, on_progress: OnProgress | None = None
) -> Snapshot:
    """Append the workflow's classifications since the last time to its snapshot; the snapshot as it is then.

    Must not run inside a transaction of the caller's: reads a watermark (freezing.newest_settled), then streams rows
    into files, each of which is named in a transaction of its own that checks that nobody else has appended or
    discarded meanwhile; if so, goes on from there. Two at once do the work once: the second waits, or raises
    SnapshotBusy if `wait` is false. `newest` is a settled id that the caller has read; `on_progress` is told the rows
    appended so far.
    """
    if newest is None:
        newest = newest_settled().classification_id
    with writing(workflow.pk, wait=wait):
        snapshot = _append(workflow, newest, on_progress)
        _merge_small(snapshot)
        sweep_orphans(workflow.pk, set(snapshot.parts.values_list("name", flat=True)))
    return snapshot


def refresh_outdated() -> int:
    """Append what has come since the last call to the snapshots of all workflows; how many were written to.

    A workflow whose snapshot another process writes now is left to it, and a fault in one keeps no other waiting. While
    classifications are written by the thousand, or their table is vacuumed, all is left to the next call, so that
    volunteers do not wait for the schedule's sake.
    """
    sweep_folders()
    try:
        newest = newest_settled(patience_ms=PATIENCE_MS).classification_id
    except WritersAtWork:
        logger.info("snapshots_left_for_later")
        return 0
    refreshed = 0
    for workflow in workflows_behind(newest):
        try:
            refresh_snapshot(workflow=workflow, newest=newest, wait=False)
            refreshed += 1
        except SnapshotBusy:
            continue
        except Exception:
            logger.exception("snapshot_not_refreshed", workflow=workflow.pk)
    return refreshed


def rebuild_snapshot(*, workflow: Workflow, on_progress: OnProgress | None = None) -> Snapshot:
    """Throw the workflow's snapshot away and write it anew from the database. Who reads it now has to begin again."""
    discard_snapshots([workflow.pk])
    return refresh_snapshot(workflow=workflow, on_progress=on_progress)


def repair_part(workflow: Workflow, part: SnapshotPart) -> None:
    """Write a damaged part anew from the database, unless that has been done by now."""
    with writing(workflow.pk, wait=True):
        snapshot = snapshot_for(workflow, LAYOUT)
        if snapshot.parts.filter(pk=part.pk).exists():
            _rewrite(snapshot, part)


def parts_to_merge(sizes: Sequence[int]) -> int:
    """How many of the last parts, whose rows are given in order, to make one of; 0: leave them.

    Once there are PARTS_TO_MERGE at the end of about the same size (a power of that number), they are merged along with
    the smaller ones among them: so each row is written again about once per power. Beside full parts there are never
    more than MOST_SMALL_PARTS.
    """
    limit = PARTS_TO_MERGE
    while True:
        limit = min(limit, ROWS_PER_PART)
        tail = list(takewhile(lambda size: size < limit, reversed(sizes)))  # noqa: B023
        alike = [place for place, size in enumerate(tail, start=1) if size * PARTS_TO_MERGE >= limit]
        if len(alike) >= PARTS_TO_MERGE:
            return alike[-1]
        if limit == ROWS_PER_PART:
            return len(tail) if len(tail) > MOST_SMALL_PARTS else 0
        limit *= PARTS_TO_MERGE


def _append(workflow: Workflow, newest: int, on_progress: OnProgress | None) -> Snapshot:
    appended = 0
    while True:
        snapshot = snapshot_for(workflow, LAYOUT)
        if snapshot.watermark >= newest:
            return snapshot
        batches = stream_classifications(workflow.pk, after=snapshot.watermark, up_to=newest, limit=ROWS_PER_PART)
        file = write_part(workflow.pk, batches)
        is_last = file is None or file.n_rows < ROWS_PER_PART
        watermark = newest if file is None or is_last else file.last_id
        part = None if file is None else _part(snapshot, file, snapshot.watermark, watermark)
        try:
            append_part(snapshot, part, watermark)
        except Overtaken:
            if file is not None:
                file.path.unlink()
            continue
        appended += file.n_rows if file is not None else 0
        if on_progress is not None:
            on_progress(appended)


def _merge_small(snapshot: Snapshot) -> None:
    while True:
        parts = list(snapshot.parts.all())
        n_merged = parts_to_merge([part.n_rows for part in parts])
        if n_merged == 0:
            return
        merged = parts[-n_merged:]
        try:
            file = write_part(snapshot.pk, chain.from_iterable(read_part(part, list(COLUMNS)) for part in merged))
        except DamagedPart:
            for part in merged:
                if not _is_whole(part):
                    _rewrite(snapshot, part)
            continue
        assert file is not None  # parts have rows
        if not _replace(snapshot, merged, file):
            return


def _rewrite(snapshot: Snapshot, part: SnapshotPart) -> None:
    """One part anew; the whole snapshot if the database no longer has its rows."""
    logger.warning("snapshot_part_damaged", workflow=snapshot.pk, file=part.name, rows=part.n_rows)
    batches = stream_classifications(snapshot.pk, after=part.after_id, up_to=part.up_to_id, limit=part.n_rows + 1)
    file = write_part(snapshot.pk, batches)
    if file is None or file.n_rows != part.n_rows:
        logger.warning("snapshot_disagrees", workflow=snapshot.pk, file=part.name)
        discard_snapshots([snapshot.pk])
        return
    _replace(snapshot, [part], file)


def _replace(snapshot: Snapshot, old: list[SnapshotPart], file: PartFile) -> bool:
    new = _part(snapshot, file, old[0].after_id, old[-1].up_to_id)
    try:
        replace_parts(snapshot, old, new)
    except Overtaken:
        file.path.unlink()
        return False
    for part in old:
        path_of(part).unlink(missing_ok=True)
    return True


def _is_whole(part: SnapshotPart) -> bool:
    try:
        next(read_part(part, ["id"]))
    except DamagedPart:
        return False
    return True


def _part(snapshot: Snapshot, file: PartFile, after: int, up_to: int) -> SnapshotPart:
    return SnapshotPart(
        snapshot=snapshot, name=file.path.name, after_id=after, up_to_id=up_to, n_rows=file.n_rows,
        n_bytes=file.n_bytes, sha256=file.sha256,
    )  # fmt: skip
