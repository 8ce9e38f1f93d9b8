"""What a snapshot holds of each classification. To add a column of the model: a line in COLUMNS.

The columns' fingerprint is kept with each snapshot, so that one written with other columns is made anew by itself.
"""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
from django.db import connection

from classify.models import Classification

MOMENT = pa.timestamp("us", tz="UTC")
#: JSON as its text: most classifications say what others said too, so that each distinct text is kept once.
JSON_TEXT = pa.dictionary(pa.int32(), pa.string())

#: Names of the columns in the database; rows are in the order of `id`.
COLUMNS: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "subject_id": pa.int64(),
    "volunteer_id": pa.int64(),
    "workflow_version_id": pa.int64(),
    "annotations": JSON_TEXT,
    "started_at": MOMENT,
    "finished_at": MOMENT,
    "created_at": MOMENT,
    "after_retirement": pa.bool_(),
    "by_expert": pa.bool_(),
}
SCHEMA = pa.schema([pa.field(name, type_, nullable=False) for name, type_ in COLUMNS.items()])
#: Raise it when the same columns are to be written in another way.
WAY_OF_WRITING = 1
LAYOUT = hashlib.sha256(f"{WAY_OF_WRITING} {SCHEMA}".encode()).hexdigest()


def select_columns() -> str:
    """The columns as SQL, as `stream` reads them: numbers, and texts that pyarrow understands."""
    return ", ".join(_selected(connection.ops.quote_name(name), type_) for name, type_ in COLUMNS.items())


def table_name() -> str:
    return connection.ops.quote_name(Classification._meta.db_table)


def check_known(columns: Sequence[str]) -> None:
    """Raises ValueError for a column that snapshots do not have."""
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise ValueError(f"a snapshot has no column {', '.join(unknown)}; it has {', '.join(COLUMNS)}")


def _selected(name: str, type_: pa.DataType) -> str:
    if connection.vendor == "postgresql":
        return f"{name}::text" if type_ == JSON_TEXT else name
    # An expression has no declared type, so that the driver converts nothing row by row.
    return f"{name} + 0" if type_ == pa.bool_() else f"{name} || ''" if type_ in (MOMENT, JSON_TEXT) else name
