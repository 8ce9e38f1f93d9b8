"""The base table: a Parquet file that is appended to chunk by chunk and read back in batches of columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from starsieve.catalogues.columns import Column

BATCH_ROWS = 8192
ARROW_TYPES = {"id": pa.int64(), "count": pa.int32(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
Values = Sequence[Any] | npt.NDArray[Any]
NULLABLE = frozenset({"float", "text"})


@dataclass(frozen=True)
class TableInfo:
    """What a table says about itself in every format. `facts` are short (name, value) pairs from the provenance."""

    name: str
    description: str
    facts: tuple[tuple[str, str], ...]


@dataclass
class BaseTable:
    """Writes columns to `path` chunk by chunk, then serves them in batches; how they were portioned leaves no trace.

    While writing it notes what formats with fixed widths need: the number of rows and each text's longest value.
    """

    path: str
    columns: tuple[Column, ...]
    info: TableInfo
    n_rows: int = 0
    widths: dict[str, int] = field(default_factory=dict)
    _pending: list[pa.Table] = field(default_factory=list)
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

    def append(self, values: Mapping[str, Values]) -> None:
        """The next rows: column name → its values, all of one length. None and nan are null."""
        arrays = [
            pa.array(values[column.name], type=part.type, from_pandas=True)
            for column, part in zip(self.columns, self.schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        for column, array in zip(self.columns, arrays, strict=True):
            if column.kind == "text":
                self.widths[column.name] = max(self.widths[column.name], _longest(array))
        self.n_rows += table.num_rows
        self._pending.append(table)
        if sum(part.num_rows for part in self._pending) >= BATCH_ROWS:
            self._write_whole_groups()

    def _write_whole_groups(self) -> None:
        table = pa.concat_tables(self._pending).combine_chunks()
        whole = table.num_rows - table.num_rows % BATCH_ROWS
        for start in range(0, whole, BATCH_ROWS):
            self._write(table.slice(start, BATCH_ROWS))
        self._pending = [table.slice(whole)]

    def _flush(self) -> None:
        rest = pa.concat_tables(self._pending).combine_chunks() if self._pending else None
        if rest is not None and rest.num_rows:
            self._write(rest)
        self._pending = []

    def _write(self, group: pa.Table) -> None:
        assert self._writer is not None
        self._writer.write_table(group)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most BATCH_ROWS at a time."""
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS)


def _longest(texts: pa.Array) -> int:
    """Bytes of the longest text in formats that know ASCII only."""
    is_ascii = pc.fill_null(pc.string_is_ascii(texts), True)
    plain = pc.max(pc.binary_length(texts.filter(is_ascii))).as_py() or 0
    return max([plain, *(len(ascii_bytes(text)) for text in texts.filter(pc.invert(is_ascii)).to_pylist())])


def ascii_bytes(text: str | None) -> bytes:
    r"""The text for formats that know ASCII only; other characters become \u escapes."""
    return (text or "").encode("ascii", "backslashreplace")
