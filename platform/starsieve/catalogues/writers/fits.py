r"""FITS binary table, written in batches. Null floats are NaN, null texts blank; characters outside ASCII, which FITS
does not know, become \\u escapes. UCDs and descriptions are in TUCDn and TCOMMn, as TOPCAT writes them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits

from starsieve.catalogues.columns import Column
from starsieve.catalogues.writers.base import BaseTable, ascii_bytes

MOST_COLUMNS = 999  # the standard's limit on TFIELDS
BLOCK = 2880  # bytes; every part of a FITS file fills whole blocks
FORMATS = {"id": "K", "count": "J", "float": "D", "bool": "L"}
DTYPES = {"id": ">i8", "count": ">i4", "float": ">f8", "bool": "S1"}


def write(table: BaseTable, path: str) -> None:
    dtype = np.dtype([(column.name, _dtype(column, table)) for column in table.columns])
    with open(path, "wb") as file:
        for header in (fits.PrimaryHDU().header, _header(table)):
            file.write(header.tostring().encode("ascii"))
        for batch in table.batches():
            file.write(_rows(batch, table, dtype).tobytes())
        file.write(bytes(-table.n_rows * dtype.itemsize % BLOCK))


def _header(table: BaseTable) -> fits.Header:
    definitions = [
        fits.Column(column.name, _format(column, table), unit=column.unit or None) for column in table.columns
    ]
    header = fits.BinTableHDU.from_columns(definitions, nrows=0, name=table.info.name.upper()).header
    header["NAXIS2"] = table.n_rows
    for i, column in enumerate(table.columns, start=1):
        header[f"TCOMM{i}"] = ascii_bytes(column.description).decode()
        if column.ucd:
            header[f"TUCD{i}"] = column.ucd
    for name, value in table.info.facts:
        header[f"HIERARCH {name.upper()}"] = ascii_bytes(value).decode()
    return header


def _format(column: Column, table: BaseTable) -> str:
    return f"{table.widths[column.name]}A" if column.kind == "text" else FORMATS[column.kind]


def _dtype(column: Column, table: BaseTable) -> str:
    return f"S{table.widths[column.name]}" if column.kind == "text" else DTYPES[column.kind]


def _rows(batch: pa.RecordBatch, table: BaseTable, dtype: np.dtype[np.void]) -> np.ndarray[Any, np.dtype[np.void]]:
    """The batch as FITS stores it: big-endian rows, T and F for true and false."""
    rows = np.zeros(batch.num_rows, dtype)
    for column in table.columns:
        values = batch.column(column.name)
        if column.kind == "text":
            rows[column.name] = [ascii_bytes(text) for text in values.to_pylist()]
        elif column.kind == "bool":
            rows[column.name] = np.where(values.to_numpy(zero_copy_only=False), b"T", b"F")
        elif column.kind == "float":
            rows[column.name] = values.fill_null(float("nan")).to_numpy(zero_copy_only=False)
        else:
            rows[column.name] = values.to_numpy(zero_copy_only=False)
    return rows
