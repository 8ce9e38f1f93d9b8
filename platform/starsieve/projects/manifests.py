"""Manifests: CSV or JSON lines, plain or gzip, one subject a row, read as a stream.

`name` is required. Pictures: `image`, `image_1`, `image_2`… or `frames` (several, separated by `;`). `ra` and `dec` in
ICRS degrees. Columns that begin with `#` or `//` are hidden metadata, every other column is shown to volunteers.
"""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import IO, Any, NamedTuple

from starsieve.api import strict_json
from starsieve.projects.cutter import PixelPosition, SkyPosition
from starsieve.projects.imports import RefusedRow, RowError, SubjectRow
from starsieve.projects.task_types import is_storable, shown

IMAGE_COLUMN = re.compile(r"image(_\d{1,3})?\Z")
SEPARATOR = re.compile("[;\t|]")
LONGEST_LINE = 1_000_000
LONGEST_COLUMN = 100
CATALOGUE_COLUMNS = ("x", "y")
HIDDEN = ("#", "//")  # how the names of hidden columns begin


class ManifestError(ValueError):
    """The whole file cannot be used."""


@contextmanager
def open_manifest(path: Path) -> Iterator[IO[str]]:
    """The manifest's text. Bytes that are not UTF-8 come through as lone surrogates, which the row's check refuses, so
    that one bad row does not stop the others.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}") from None
    with raw:
        unpacked: Any = gzip.GzipFile(fileobj=raw) if raw.read(2) == b"\x1f\x8b" else raw
        raw.seek(0)
        with io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            yield text


def count_rows(path: Path, *, has_heading: bool) -> int:
    """About how many rows the file has, for a progress bar: its lines."""
    with open_manifest(path) as text:
        try:
            n_lines = sum(1 for _ in text)
        except (OSError, EOFError):  # it breaks off; reading it will say where
            return 0
    return max(0, n_lines - 1 if has_heading else n_lines)


def is_json_lines(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))


def read_manifest(text: Iterable[str], *, json_lines: bool) -> Iterator[SubjectRow | RefusedRow]:
    """The manifest's rows in order. Raises ManifestError at once for a file without a usable heading or any row."""
    records = _json_records(text) if json_lines else _csv_records(text, ("name",))
    return (_as_row(number, record, _subject_row) for number, record in _at_least_one(records))


def read_catalogue(text: Iterable[str]) -> Iterator[SubjectRow | RefusedRow]:
    """A catalogue's rows for the stamp cutter: `ra` and `dec`, or pixels `x` and `y`; `name` may be left out.

    The row's one frame refers to a SkyPosition or PixelPosition. Raises ManifestError as read_manifest does.
    """
    records = _csv_records(text, ())
    return (_as_row(number, record, _catalogue_row) for number, record in _at_least_one(records))


Record = dict[str, Any] | RowError


def _at_least_one(records: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
    """The same records; raises ManifestError if there are none, before anybody makes a set for them."""
    first = next(records, None)
    if first is None:
        raise ManifestError("holds no subject: not one row of data")
    return chain([first], records)


def _as_row(number: int, record: Record, make: Callable[[int, dict[str, Any]], SubjectRow]) -> SubjectRow | RefusedRow:
    try:
        if isinstance(record, RowError):
            raise record
        return make(number, record)
    except RowError as error:
        name = record.get("name", "") if isinstance(record, dict) else ""
        return RefusedRow(number, name if isinstance(name, str) else "", error)


def _csv_records(text: Iterable[str], required: Sequence[str]) -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(text)
    try:
        heading = [column.strip() for column in next(reader, [])]
    except (csv.Error, OSError, EOFError) as error:
        raise ManifestError(f"row 1: the heading cannot be read: {error}") from None
    _check_heading(heading, required)
    return _csv_rows(reader, heading)


def _csv_rows(reader: Iterator[list[str]], heading: list[str]) -> Iterator[tuple[int, Record]]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, RowError("", f"cannot be read: {error}")
            continue
        except (OSError, EOFError) as error:  # a gzip file that breaks off
            yield number, RowError("", f"the file breaks off here: {error}")
            return
        if not any(cells):
            continue
        if len(cells) != len(heading):
            yield number, RowError("", f"has {len(cells)} cells, the heading has {len(heading)}")
        else:
            yield number, dict(zip(heading, cells, strict=True))


def _check_heading(heading: list[str], required: Sequence[str]) -> None:
    if not any(heading):
        raise ManifestError("row 1: the file is empty; the first row must name the columns")
    for i, column in enumerate(heading):
        if not is_storable(column) or len(column) > LONGEST_COLUMN:
            raise ManifestError(f"row 1: column {i + 1} has a name that cannot be used: {shown(column)}; is it UTF-8?")
    for column in required:
        if column not in heading:
            hint = "; commas must separate the columns" if len(heading) == 1 and SEPARATOR.search(heading[0]) else ""
            raise ManifestError(
                f"row 1: the column “{column}” is missing; there are {', '.join(shown(c) for c in heading[:20])}{hint}"
            )
    for i, column in enumerate(heading):
        if not column:
            raise ManifestError(f"row 1: column {i + 1} has no name")
        if column in heading[:i]:
            raise ManifestError(f"row 1: the column “{column}” comes twice")


def _json_records(text: Iterable[str]) -> Iterator[tuple[int, Record]]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            yield number, RowError("", f"is longer than {LONGEST_LINE:,} characters")
            continue
        try:
            record = strict_json.loads(line)
        except strict_json.JsonProblem as problem:
            yield number, RowError("", str(problem))
            continue
        yield number, record if isinstance(record, dict) else RowError("", "is no JSON object")


class _Layout(NamedTuple):
    """How to read records with the same columns: where pictures are, and metadata as (column, key)."""

    images: tuple[str, ...]
    shown: tuple[tuple[str, str], ...]
    hidden: tuple[tuple[str, str], ...]


@lru_cache(maxsize=16)  # a CSV file has one; JSON lines may have as many as they like
def _layout(columns: tuple[str, ...], *, of_catalogue: bool = False) -> _Layout:
    images: list[str] = []
    if not of_catalogue:
        images = sorted((column for column in columns if _is_image_column(column)), key=lambda key: (len(key), key))
    read_otherwise = {"name", "ra", "dec", *(CATALOGUE_COLUMNS if of_catalogue else ("frames", *images))}
    metadata = [column for column in columns if column not in read_otherwise]
    hidden = [column for column in metadata if column.startswith(HIDDEN)]
    return _Layout(
        images=tuple(images),
        shown=tuple((column, column) for column in metadata if column not in hidden),
        hidden=tuple((column, column.lstrip("#/").strip() or column) for column in hidden),
    )


def _subject_row(number: int, record: dict[str, Any]) -> SubjectRow:
    layout = _layout(tuple(record))
    frames = _frames(record, layout.images)
    if not frames:
        raise RowError("image", "no picture: fill in image, image_1 … or frames")
    return SubjectRow(
        number, _name(record), frames, _number(record, "ra"), _number(record, "dec"),
        _filled(record, layout.shown), _filled(record, layout.hidden),
    )  # fmt: skip


def _catalogue_row(number: int, record: dict[str, Any]) -> SubjectRow:
    ra, dec, x, y = (_number(record, column) for column in ("ra", "dec", "x", "y"))
    frame: tuple[str, SkyPosition | PixelPosition]
    if ra is not None and dec is not None:
        frame, name = ("ra, dec", SkyPosition(ra, dec)), _name(record) or position_name(ra, dec)
    elif x is not None and y is not None:
        if not (isfinite(x) and isfinite(y)):
            raise RowError("x, y", f"must be ordinary numbers, not {x} and {y}")
        frame, name = ("x, y", PixelPosition(x, y)), _name(record) or f"x{x:.1f}-y{y:.1f}"
    else:
        raise RowError("ra, dec", "no position: fill in ra and dec, or the pixels x and y")
    layout = _layout(tuple(record), of_catalogue=True)
    return SubjectRow(
        number, name, (frame,), ra, dec, _filled(record, layout.shown), _filled(record, layout.hidden)
    )  # fmt: skip


def _filled(record: dict[str, Any], columns: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The metadata; empty cells are left out."""
    return {key: value for column, key in columns if (value := record[column]) is not None and value != ""}


def position_name(ra: float, dec: float) -> str:
    """A name from ICRS degrees as the IAU asks: JHHMMSS.ss+DDMMSS.s, cut off and not rounded."""
    if not (isfinite(ra) and isfinite(dec)):
        return ""
    centiseconds = int(round(ra * 240 * 1000) / 10)  # to the millisecond first: 1.1 degrees has no exact binary form
    tenths = int(round(abs(dec) * 3600 * 1000) / 100)
    hours, rest = divmod(centiseconds, 360_000)
    degrees, rest_of_degree = divmod(tenths, 36_000)
    minutes, seconds = divmod(rest, 6000)
    arcminutes, arcseconds = divmod(rest_of_degree, 600)
    return (
        f"J{hours:02d}{minutes:02d}{seconds / 100:05.2f}"
        f"{'-' if dec < 0 else '+'}{degrees:02d}{arcminutes:02d}{arcseconds / 10:04.1f}"
    )


def _is_image_column(column: str) -> bool:
    return column.startswith("image") and IMAGE_COLUMN.match(column) is not None


def _frames(record: dict[str, Any], images: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [(column, record[column]) for column in images]
    if listed := record.get("frames"):
        if isinstance(listed, str):
            listed = listed.split(";")
        if not isinstance(listed, list):
            raise RowError("frames", "must be a list of paths")
        pairs += [("frames", path) for path in listed]
    for column, path in pairs:
        if path is not None and not isinstance(path, str):
            raise RowError(column, "must be a path")
    return tuple([(column, path.strip()) for column, path in pairs if path and path.strip()])


def _name(record: dict[str, Any]) -> str:
    name = record.get("name", "")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str):
        raise RowError("name", "must be text")
    return name.strip()


def _number(record: dict[str, Any], column: str) -> float | None:
    value = record.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(column, "must be a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise RowError(column, f"must be a number, not {shown(value)}") from None
