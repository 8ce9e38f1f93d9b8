"""The base table: a Parquet file that is appended to row by row and read back in batches of columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from starsieve.catalogues.columns import Column

BATCH_ROWS = 8192
ARROW_TYPES = {"id": pa.int64(), "count": pa.int32(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
NULLABLE = frozenset({"float", "text"})


@dataclass(frozen=True)
class TableInfo:
    """What a table says about itself in every format. `facts` are short (name, value) pairs from the provenance."""

    name: str
    description: str
    facts: tuple[tuple[str, str], ...]


@dataclass
class BaseTable:
    """Writes rows (tuples in the order of `columns`) to `path`, then serves them in batches.

    While writing it notes what formats with fixed widths need: the number of rows and each text's longest value.
    """

    path: str
    columns: tuple[Column, ...]
    info: TableInfo
    n_rows: int = 0
    widths: dict[str, int] = field(default_factory=dict)
    _pending: list[Sequence[Any]] = field(default_factory=list)
    _writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self.widths = {column.name: 1 for column in self.columns if column.kind == "text"}
        self._writer = pq.ParquetWriter(self.path, self.schema, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        assert self._writer is not None
        self._writer.close()

    @property
    def schema(self) -> pa.Schema:
        fields = [
            pa.field(
                column.name,
                ARROW_TYPES[column.kind],
                nullable=column.kind in NULLABLE,
                metadata={"description": column.description, "unit": column.unit, "ucd": column.ucd},
            )
            for column in self.columns
        ]
        return pa.schema(fields, metadata={"description": self.info.description, **dict(self.info.facts)})

    def append(self, row: Sequence[Any]) -> None:
        self._pending.append(row)
        if len(self._pending) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        values = list(zip(*self._pending, strict=True))
        for column, column_values in zip(self.columns, values, strict=True):
            if column.kind == "text":
                longest = max(len(ascii_bytes(text)) for text in column_values)
                self.widths[column.name] = max(self.widths[column.name], longest)
        arrays = [pa.array(one, type=part.type) for one, part in zip(values, self.schema, strict=True)]
        assert self._writer is not None
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self.n_rows += len(self._pending)
        self._pending = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most BATCH_ROWS at a time."""
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS)


def ascii_bytes(text: str | None) -> bytes:
    r"""The text for formats that know ASCII only; other characters become \u escapes."""
    return (text or "").encode("ascii", "backslashreplace")
