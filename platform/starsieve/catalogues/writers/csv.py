"""CSV as in RFC 4180 with line feeds, UTF-8: empty field for null, true/false, floats that read back exactly."""

import csv
from typing import Any

from starsieve.catalogues.writers.base import BaseTable


def write(table: BaseTable, path: str) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([column.name for column in table.columns])
        for batch in table.batches():
            rows.writerows(zip(*(map(as_text, column.to_pylist()) for column in batch.columns), strict=True))


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
