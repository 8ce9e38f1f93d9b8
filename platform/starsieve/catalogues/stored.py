"""A release's classifications as the database has them, in columns and in the order of ids."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from django.db.models import TextField
from django.db.models.functions import Cast

from classify.models import Classification
from starsieve.catalogues.models import Release

ROWS_AT_ONCE = 20_000
COLUMNS = ("id", "subject_id", "volunteer_id", "workflow_version_id", "annotations", "created_at")
#: `annotations` is JSON text; equal texts of a batch are there once.
SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in COLUMNS[:4]),
        ("annotations", pa.dictionary(pa.int32(), pa.string())),
        ("created_at", pa.timestamp("us", "UTC")),
    ]
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stored_classifications(release: Release) -> Iterator[pa.RecordBatch]:
    """All classifications of the workflow up to the release's watermark, second looks included."""
    rows = Classification.objects.filter(workflow_id=release.workflow_id, id__lte=release.watermark)
    texts = rows.annotate(text=Cast("annotations", TextField())).order_by("id")
    columns = ["text" if name == "annotations" else name for name in COLUMNS]
    found = texts.values_list(*columns).iterator(ROWS_AT_ONCE)
    while chunk := list(islice(found, ROWS_AT_ONCE)):
        yield pa.RecordBatch.from_arrays([_array(*column) for column in zip(SCHEMA, zip(*chunk, strict=True), strict=True)], schema=SCHEMA)


def count_stored(release: Release) -> int:
    return Classification.objects.filter(workflow_id=release.workflow_id, id__lte=release.watermark).count()


def _array(field: pa.Field, values: tuple[Any, ...]) -> pa.Array:
    if pa.types.is_dictionary(field.type):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, field.type)
