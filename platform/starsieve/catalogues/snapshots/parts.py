"""The files of a snapshot: written under another name until whole, never changed, checked before they are read."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from django.conf import settings

from starsieve.catalogues.models import SnapshotPart
from starsieve.catalogues.snapshots.columns import SCHEMA
from starsieve.catalogues.snapshots.folders import folder_of
from starsieve.catalogues.snapshots.stream import ROWS_AT_ONCE
from starsieve.projects.models import Workflow

ENDING = ".parquet"
#: What no row names is left of an interrupted refresh, unless another process is about to name it.
ORPHANED_AFTER_SECONDS = 60 * 60


class DamagedPart(Exception):
    """The file of a part is missing, or is not what was written."""


class PartFile(NamedTuple):
    """A file that lies in its place; no row names it yet."""

    path: Path
    n_rows: int
    last_id: int
    n_bytes: int
    sha256: str


def write_part(workflow_id: int, batches: Iterable[pa.RecordBatch]) -> PartFile | None:
    """Write the batches to a file of the workflow's folder; None if they hold no row.

    It has its name only once it is whole and on disk, so a process that is killed leaves a `.tmp` that nobody reads.
    """
    folder = folder_of(workflow_id)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid4().hex}{ENDING}"
    unfinished = path.with_suffix(".tmp")
    try:
        n_rows, last_id = _write(unfinished, batches)
        if n_rows == 0:
            return None
        digest = _sha256_of(unfinished)
        _to_disk(unfinished)
        unfinished.rename(path)
        _to_disk(folder)
    finally:
        unfinished.unlink(missing_ok=True)
    return PartFile(path, n_rows, last_id, path.stat().st_size, digest)


def read_part(part: SnapshotPart, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The part's rows in the order of their ids, some ten thousand at a time. Raises DamagedPart before the first."""
    path = path_of(part)
    try:
        if path.stat().st_size != part.n_bytes or _sha256_of(path) != part.sha256:
            raise DamagedPart(f"{path} is not what was written there")
        file = pq.ParquetFile(path)
    except OSError as error:
        raise DamagedPart(f"{path} cannot be read ({error.strerror or error})") from error
    with file:
        yield from file.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(columns), use_threads=False)


def path_of(part: SnapshotPart) -> Path:
    return folder_of(part.snapshot_id) / part.name


def sweep_orphans(workflow_id: int, named: set[str]) -> None:
    """Delete old files of the workflow's folder that no row names: what killed processes and replaced parts left."""
    oldest = time.time() - ORPHANED_AFTER_SECONDS
    for path in folder_of(workflow_id).iterdir():
        if path.suffix in (ENDING, ".tmp") and path.name not in named:
            with suppress(FileNotFoundError):  # another process has given it its name, or swept it
                if path.stat().st_mtime < oldest:
                    path.unlink()


def sweep_folders() -> None:
    """Delete the folders of workflows that are no more."""
    root = Path(settings.SNAPSHOT_ROOT)
    folders = {int(path.name): path for path in root.glob("*") if path.name.isdecimal()}
    for workflow_id in folders.keys() - set(Workflow.objects.filter(pk__in=folders).values_list("pk", flat=True)):
        shutil.rmtree(folders[workflow_id], ignore_errors=True)


def _write(path: Path, batches: Iterable[pa.RecordBatch]) -> tuple[int, int]:
    """(rows, id of the last row). Equal texts are one entry of the file's dictionary; ids are stored as differences."""
    n_rows = last_id = 0
    encodings = {name: "DELTA_BINARY_PACKED" for name in SCHEMA.names if pa.types.is_integer(SCHEMA.field(name).type)}
    encodings |= {part.name: "DELTA_BINARY_PACKED" for part in SCHEMA if pa.types.is_timestamp(part.type)}
    texts = [part.name for part in SCHEMA if pa.types.is_dictionary(part.type)]
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=texts, column_encoding=encodings) as writer:
        for table in _row_groups(batches):
            writer.write_table(table)
            n_rows += len(table)
            last_id = table.column("id")[-1].as_py()
    return n_rows, last_id


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows, ROWS_AT_ONCE or more to a table (the last one may have fewer)."""
    pending: list[pa.RecordBatch] = []
    n_rows = 0
    for batch in batches:
        pending.append(batch)
        n_rows += len(batch)
        if n_rows >= ROWS_AT_ONCE:
            yield _one_table(pending)
            pending, n_rows = [], 0
    if n_rows:
        yield _one_table(pending)


def _one_table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, SCHEMA).unify_dictionaries().combine_chunks()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
