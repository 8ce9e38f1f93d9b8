"""Parquet: the base table itself, units, UCDs and descriptions as field metadata."""

import shutil

from starsieve.catalogues.writers.base import BaseTable


def write(table: BaseTable, path: str) -> None:
    shutil.copyfile(table.path, path)
