"""Tables out: CSV (plain or gzip) or Parquet by suffix, whole or not at all, same input same bytes."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aggregation._reading import Rejects, TableError
from aggregation._votes import FloatArray, IntArray

Columns = Mapping[str, "Sequence[str] | IntArray | FloatArray"]


def check_output(path: Path, inputs: Sequence[Path], *, csv_only: bool = False) -> None:
    """Refuse an output that cannot be written, or that would overwrite an input, before the work starts."""
    suffixes = (".csv", ".csv.gz") if csv_only else (".csv", ".csv.gz", ".parquet")
    if not path.name.endswith(suffixes):
        raise TableError(f"{path}: the suffix must say what to write: {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise TableError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise TableError(f"{path}: is a folder")
    if any(path.exists() and other.exists() and path.samefile(other) for other in inputs):
        raise TableError(f"{path}: would overwrite the input")


def write_table(path: Path, columns: Columns) -> None:
    """Write columns of equal length; nan is an empty cell (null in Parquet)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.name.endswith(".parquet"):
            from aggregation import _parquet

            _parquet.write(partial, columns)
        else:
            rows = zip(*(_cells(values) for values in columns.values()), strict=True)
            _write_csv(partial, [list(columns), *rows], zipped=path.name.endswith(".gz"))
        partial.replace(path)
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def write_rejects(path: Path, rejects: Rejects) -> None:
    """Write the rows that were set aside, as they stood; only the header if there were none."""
    try:
        _write_csv(path, [rejects.header, *rejects.rows], zipped=path.name.endswith(".gz"))
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror or error}") from None


def _write_csv(path: Path, rows: Sequence[Sequence[object]], *, zipped: bool) -> None:
    with path.open("wb") as file:
        # Neither the time nor the file's name goes into the gzip header: same table, same bytes.
        stream = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if zipped else file
        with io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="") as text:
            csv.writer(text, lineterminator="\n").writerows(rows)


def _cells(values: Sequence[str] | IntArray | FloatArray) -> Sequence[object]:
    """Cells that `csv` writes without loss: shortest exact floats, empty for nan."""
    if not isinstance(values, np.ndarray):
        return values
    cells: list[object] = values.tolist()
    if values.dtype.kind != "f":
        return cells
    return ["" if cell != cell else cell for cell in cells]
