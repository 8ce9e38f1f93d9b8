"""Tables in: CSV (plain or gzip) or Parquet by suffix, checked row by row, ids encoded as they are read.

Rows come in chunks, and a chunk is checked column by column, so a million rows cost about a second and only
codes stay in memory.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import numpy as np

from aggregation._columns import Encoded, IdColumn, parse_numbers, parse_times, shown
from aggregation._votes import FloatArray, IntArray

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

_CHUNK_ROWS = 1 << 13
#: Parsed columns of a chunk: text for ids, float for numbers (nan where empty) and times (seconds).
Parsed = Mapping[str, "Sequence[str] | FloatArray"]
#: What is wrong with rows of a chunk: position in the chunk → (column, reason).
Problems = dict[int, tuple[str, str]]


class TableError(Exception):
    """What is wrong with a file, in one line for the person who gave it."""


@dataclass(frozen=True)
class Field:
    """A column to read. An optional one may be missing from the file; `blank` allows empty cells of an id."""

    name: str
    kind: Literal["id", "number", "time"] = "id"
    required: bool = True
    blank: bool = False


@dataclass(frozen=True)
class Table:
    """The good rows of a file: `ids` and `numbers` by column name, optional columns only where present."""

    path: Path
    ids: dict[str, Encoded]
    numbers: dict[str, FloatArray]
    n_rows: int


@dataclass
class Rejects:
    """Bad rows set aside: where, why, and the row as it stood."""

    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Chunk:
    """Some rows of a file; `first` is the number of its first data row, counted from 1."""

    first: int
    columns: dict[str, Sequence[str] | FloatArray]
    n_rows: int
    broken: Problems
    line: Callable[[int], int | None]
    raw: Callable[[int], list[str]]


def read_table(
    path: Path,
    fields: Sequence[Field],
    *,
    check: Callable[[Parsed], Problems] | None = None,
    rejects: Rejects | None = None,
    way_out: str = "Correct it, or set bad rows aside with --skip-bad FILE",
) -> Table:
    """Read the named columns of a file and check every row.

    Parameters
    ----------
    path
        ``.csv``, ``.csv.gz`` or ``.parquet``.
    fields
        The columns.
    check
        Further test of the parsed columns of a chunk, after those of each kind.
    rejects
        Collects bad rows; None makes the first one an error.
    way_out
        End of the message about a bad row.

    Raises
    ------
    TableError
        Naming file, row, column, what is wrong and the way out.
    """
    ids = {entry.name: IdColumn(entry.blank) for entry in fields if entry.kind == "id"}
    numbers: dict[str, list[FloatArray]] = {entry.name: [] for entry in fields if entry.kind != "id"}
    n_rows = 0
    present: set[str] = set()
    for chunk in _chunks(path, fields, ids, rejects):
        present |= chunk.columns.keys()
        parsed, codes, problems = _parse(chunk, fields, ids)
        if check is not None:
            problems = {**check(parsed), **problems}
        if problems:
            _refuse_or_reject(path, chunk, problems, rejects, way_out)
        keep = np.ones(chunk.n_rows, dtype=bool)
        keep[list(problems)] = False
        n_rows += int(keep.sum())
        for name in chunk.columns:
            if name in ids:
                ids[name].append(codes[name][keep])
            else:
                numbers[name].append(np.asarray(parsed[name], dtype=np.float64)[keep])
    if n_rows == 0:
        raise TableError(f"{path}: no {'good ' if rejects and rejects.rows else ''}row below the header")
    return Table(
        path,
        {name: column.finish() for name, column in ids.items() if name in present},
        {name: np.concatenate(parts) for name, parts in numbers.items() if name in present},
        n_rows,
    )


def _parse(
    chunk: _Chunk, fields: Sequence[Field], ids: dict[str, IdColumn]
) -> tuple[Parsed, dict[str, IntArray], Problems]:
    """Columns as text or numbers, the codes of the ids, and what is wrong."""
    parsed: dict[str, Sequence[str] | FloatArray] = {}
    codes: dict[str, IntArray] = {}
    problems = dict(chunk.broken)
    for entry in fields:
        if entry.name not in chunk.columns:
            continue
        values = chunk.columns[entry.name]
        if entry.kind == "number":
            values, found = parse_numbers(values)
        elif entry.kind == "time":
            values, found = parse_times(values)
        else:
            assert not isinstance(values, np.ndarray)
            codes[entry.name], found = ids[entry.name].encode(values)
        parsed[entry.name] = values
        for row, reason in found.items():
            problems.setdefault(row, (entry.name, reason))
    return parsed, codes, problems


def _refuse_or_reject(path: Path, chunk: _Chunk, problems: Problems, rejects: Rejects | None, way_out: str) -> None:
    for row in sorted(problems):
        column, reason = problems[row]
        if rejects is None:
            line = chunk.line(row)
            where = f"row {chunk.first + row}" + (f" (line {line})" if line else "")
            name = f", column {column}" if column else ""
            raise TableError(f"{path}: {where}{name}: {reason}. {way_out}")
        rejects.rows.append([str(chunk.first + row), column, reason, *chunk.raw(row)])


def _chunks(path: Path, fields: Sequence[Field], ids: dict[str, IdColumn], rejects: Rejects | None) -> Iterator[_Chunk]:
    if path.name.endswith(".parquet"):
        return _parquet_chunks(path, fields, ids, rejects)
    if path.name.endswith((".csv", ".csv.gz")):
        return _csv_chunks(path, fields, rejects)
    raise TableError(f"{path}: the suffix must say what the file is: .csv, .csv.gz or .parquet")


def _csv_chunks(path: Path, fields: Sequence[Field], rejects: Rejects | None) -> Iterator[_Chunk]:
    try:
        with _open_text(path) as file:
            reader = csv.reader(file, strict=True)
            try:
                yield from _csv_rows(path, reader, fields, rejects)
            except csv.Error as error:
                raise TableError(f"{path}: line {reader.line_num} is not CSV: {error}") from None
    except (OSError, EOFError) as error:
        raise TableError(f"{path}: cannot be read: {_reason(error)}") from None


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b" or path.name.endswith(".gz")
    # Bytes that are not UTF-8 pass as surrogates, so that the id check can name their row and column.
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv_rows(path: Path, reader: CsvReader, fields: Sequence[Field], rejects: Rejects | None) -> Iterator[_Chunk]:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise TableError(f"{path}: is empty; it needs a header with {_names(fields)}")
    positions = _find_columns(path, header, fields)
    if rejects is not None:
        rejects.header = ["row", "column", "reason", *header]
    first = 1
    line = reader.line_num + 1
    while rows := list(islice(reader, _CHUNK_ROWS)):
        chunk = _csv_chunk(rows, first, line, header, positions)
        first += chunk.n_rows
        line = reader.line_num + 1
        yield chunk


def _csv_chunk(
    rows: list[list[str]], first: int, first_line: int, header: list[str], positions: dict[str, int]
) -> _Chunk:
    full = [number for number, row in enumerate(rows) if row]  # blank lines are no rows
    good = [rows[number] for number in full]
    broken: Problems = {}
    if set(map(len, good)) - {len(header)}:
        for place, row in enumerate(good):
            if len(row) != len(header):
                broken[place] = ("", f"has {len(row)} fields, the header has {len(header)}")
                good[place] = (row + [""] * len(header))[: len(header)]
    table = list(zip(*good, strict=True)) or [()] * len(header)

    def line(place: int) -> int:
        # A quoted field may hold line breaks, so a row is not always one line.
        before = rows[: full[place]]
        return first_line + sum(1 + sum(value.count("\n") for value in row) for row in before)

    return _Chunk(
        first=first,
        columns={name: table[position] for name, position in positions.items()},
        n_rows=len(good),
        broken=broken,
        line=line,
        raw=lambda place: rows[full[place]],
    )


def _find_columns(path: Path, header: Sequence[str], fields: Sequence[Field]) -> dict[str, int]:
    positions = {}
    for entry in fields:
        if header.count(entry.name) > 1:
            raise TableError(f"{path}: header: column {entry.name} occurs twice; keep one")
        if entry.name in header:
            positions[entry.name] = header.index(entry.name)
        elif entry.required:
            found = ", ".join(shown(name)[1:-1] for name in header[:20])
            raise TableError(f"{path}: header: no column {entry.name}; it has {found}. Rename or add the column")
    return positions


def _names(fields: Sequence[Field]) -> str:
    return ", ".join(entry.name for entry in fields if entry.required)


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _parquet_chunks(
    path: Path, fields: Sequence[Field], ids: dict[str, IdColumn], rejects: Rejects | None
) -> Iterator[_Chunk]:
    # pyarrow is imported only for a Parquet file: it is slow to load and CSV does without it.
    from aggregation import _parquet

    first = 1
    try:
        with _parquet.open_file(path) as file:
            header = list(file.schema_arrow.names)
            names = list(_find_columns(path, header, fields))
            if rejects is not None:
                rejects.header = ["row", "column", "reason", *names]
            kinds = {entry.name: entry.kind for entry in fields if entry.name in names}
            for name in names:
                if kinds[name] == "id":
                    ids[name].integer = _parquet.check_id_type(path, file, name)
            for columns, n_rows in _parquet.batches(file, kinds, _CHUNK_ROWS):
                yield _Chunk(first, columns, n_rows, {}, lambda place: None, _row_of(columns))
                first += n_rows
    except (OSError, _parquet.ArrowInvalid) as error:
        raise TableError(f"{path}: cannot be read: {_reason(error)}") from None


def _row_of(columns: dict[str, Sequence[str] | FloatArray]) -> Callable[[int], list[str]]:
    return lambda place: [str(values[place]) for values in columns.values()]
