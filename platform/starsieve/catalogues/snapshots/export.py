"""All classifications of a workflow as one file, written while it is sent.

Volunteers are pseudonyms that hold up to one watermark: nobody can follow a person from one day's file to the next's.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from io import RawIOBase
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from django.db import connection
from django.utils.crypto import salted_hmac
from pyarrow import csv

from starsieve.catalogues.freezing import read_watermark
from starsieve.catalogues.snapshots.columns import JSON_TEXT, MOMENT
from starsieve.catalogues.snapshots.people import IntArray
from starsieve.catalogues.snapshots.reading import read_snapshot
from starsieve.projects.models import Subject, Workflow

FIELDS: dict[str, tuple[pa.DataType, str]] = {
    "classification_id": (pa.int64(), "Grows in the order of arrival"),
    "subject_id": (pa.int64(), "Id of the subject"),
    "subject": (pa.string(), "Name of the subject"),
    "volunteer_id": (pa.string(), "Pseudonym that holds within this file"),
    "workflow_version": (pa.string(), "Version of the workflow that was answered"),
    "annotations": (JSON_TEXT, "The answers as JSON: one object with task and value for each task that was reached"),
    "started_at": (MOMENT, "When the stamp was shown, by the volunteer's clock"),
    "finished_at": (MOMENT, "When the answer was given, by the volunteer's clock"),
    "created_at": (MOMENT, "When the answer was stored"),
    "after_retirement": (pa.bool_(), "Arrived after the subject was retired"),
    "by_expert": (pa.bool_(), "Whoever sent it was an expert of the project then"),
}
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=False, metadata={"description": text}) for name, (kind, text) in FIELDS.items()]
)
NAMES_AT_ONCE = 10_000


def export_classifications(*, workflow: Workflow, ending: str) -> tuple[int, Iterator[bytes]]:
    """The watermark, and a CSV (`ending` "csv") or Parquet ("parquet") file of the workflow's classifications up to it,
    piece by piece: one row per person and subject, of all versions, in the order of arrival.

    Brings the snapshot up to date before it returns; then memory does not grow with the number of rows.
    Raises SnapshotChanged, also while the pieces are taken, if classifications are deleted meanwhile.
    """
    watermark = read_watermark(workflow).classification_id
    batches = read_snapshot(workflow=workflow, up_to=watermark, only_counted=True)
    first = next(batches, None)
    rows = chain([] if first is None else [first], batches)
    tables = map(_Names(workflow, watermark).replaced, rows)
    # An empty piece would end an answer that is sent in chunks.
    return watermark, filter(None, (_as_csv if ending == "csv" else _as_parquet)(tables))


class _Names:
    """Puts names and pseudonyms in the place of the platform's own ids."""

    def __init__(self, workflow: Workflow, watermark: int) -> None:
        self._salt = salted_hmac("starsieve.export", f"{workflow.pk}:{watermark}").digest()
        self._versions = {version.pk: version.number for version in workflow.versions.defer("definition")}
        self._volunteers: dict[int, str] = {}

    def replaced(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        given = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns = {
            **given,
            "classification_id": given["id"],
            "subject": _mapped(given["subject_id"], subject_names),
            "volunteer_id": _mapped(given["volunteer_id"], self._pseudonyms),
            "workflow_version": _mapped(
                given["workflow_version_id"], lambda ids: [self._versions[each] for each in ids.tolist()]
            ),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in FIELDS], schema=SCHEMA)

    def _pseudonyms(self, ids: IntArray) -> list[str]:
        known = self._volunteers
        for each in ids.tolist():
            if each not in known:
                known[each] = hmac.new(self._salt, str(each).encode(), hashlib.sha256).hexdigest()[:16]
        return [known[each] for each in ids.tolist()]


def subject_names(ids: IntArray) -> list[str]:
    """The names of the subjects with these ids, in their order."""
    at_once = min(NAMES_AT_ONCE, connection.features.max_query_params or NAMES_AT_ONCE)
    names: dict[int, str] = {}
    for start in range(0, len(ids), at_once):
        names |= Subject.objects.filter(pk__in=ids[start : start + at_once].tolist()).values_list("pk", "name")
    return [names[each] for each in ids.tolist()]


def _mapped(ids: pa.Array, names_of: Callable[[IntArray], list[str]]) -> pa.Array:
    """Each id's text; `names_of` is asked once for each distinct id."""
    distinct, places = np.unique(ids.to_numpy(), return_inverse=True)
    return pa.array(names_of(distinct), pa.string()).take(pa.array(places))


class _Pieces(RawIOBase):
    """A file that gives away what was written to it."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._written.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        written, self._written = b"".join(self._written), []
        return written


def _as_csv(batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    yield (",".join(FIELDS) + "\n").encode()
    pieces = _Pieces()
    with csv.CSVWriter(pieces, SCHEMA, write_options=csv.WriteOptions(include_header=False)) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield pieces.taken()


def _as_parquet(batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    pieces = _Pieces()
    with pq.ParquetWriter(pieces, SCHEMA, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield pieces.taken()
    yield pieces.taken()
