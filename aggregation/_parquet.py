"""Parquet files by pyarrow; imported only when such a file is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from aggregation._votes import FloatArray, IntArray

__all__ = ["ArrowInvalid", "batches", "check_id_type", "open_file", "write"]

#: Columns of a batch: text for ids and for what has to be parsed, float for numbers.
Columns = dict[str, "Sequence[str] | FloatArray"]


def open_file(path: Path) -> pq.ParquetFile:
    """Open for reading; the file closes with the context."""
    return pq.ParquetFile(path)


def check_id_type(path: Path, file: pq.ParquetFile, name: str) -> bool:
    """Whether an id column holds integers; refuse types that would not survive as text."""
    from aggregation._reading import TableError

    found = file.schema_arrow.field(name).type
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_integer(found):
        return True
    if pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_boolean(found):
        return False
    raise TableError(f"{path}: column {name} holds {found}; ids and answers must be text or integers")


def batches(file: pq.ParquetFile, kinds: Mapping[str, str], n_rows: int) -> Iterator[tuple[Columns, int]]:
    """Read the columns in order, `n_rows` at a time: columns and their length."""
    for batch in file.iter_batches(batch_size=n_rows, columns=list(kinds)):
        yield {name: _values(batch.column(name), kind) for name, kind in kinds.items()}, batch.num_rows


def write(path: Path, columns: Mapping[str, Sequence[str] | IntArray | FloatArray]) -> None:
    """Write a table; nan becomes null."""
    arrays = {
        name: pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else pa.array(values, pa.string())
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path)


def _values(column: pa.Array, kind: str) -> Sequence[str] | FloatArray:
    if kind != "id":
        if pa.types.is_timestamp(column.type):
            seconds: FloatArray = (
                column.cast(pa.timestamp("us", column.type.tz))
                .cast(pa.int64())
                .to_numpy(zero_copy_only=False)
                .astype(np.float64)
            )
            return seconds / 1e6
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            numbers: FloatArray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return numbers
    text = column.cast(pa.string())
    return ["" if value is None else value for value in text.to_pylist()]
