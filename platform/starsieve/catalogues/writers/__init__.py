"""One module per file format. Each turns the base table (Parquet, written in one pass over the subjects) into its
own format in batches, so that memory stays flat at any number of rows, and writes the same bytes for the same rows.

To add a format, copy the nearest module and list its `write` here.
"""

from collections.abc import Callable

from starsieve.catalogues.writers import csv, fits, parquet, votable
from starsieve.catalogues.writers.base import BaseTable, TableInfo

WRITERS: dict[str, Callable[[BaseTable, str], None]] = {
    "csv": csv.write,
    "parquet": parquet.write,
    "fits": fits.write,
    "votable": votable.write,
}
SUFFIXES = {"csv": "csv", "parquet": "parquet", "fits": "fits", "votable": "vot"}

__all__ = ["SUFFIXES", "WRITERS", "BaseTable", "TableInfo"]
