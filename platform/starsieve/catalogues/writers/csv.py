"""CSV as in RFC 4180 with line feeds, UTF-8: empty field for null, true/false, floats that read back exactly."""

from typing import Any

from starsieve.catalogues.writers.base import BaseTable
from starsieve.catalogues.writers.texts import as_texts, bytes_of, csv_field, joined


def write(table: BaseTable, path: str) -> None:
    with open(path, "wb") as file:
        file.write(",".join(column.name for column in table.columns).encode() + b"\n")
        for batch in table.batches():
            fields = [as_texts(column, as_text) for column in batch.columns]
            file.write(bytes_of(joined(*fields, between=",", end="\n")))


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return csv_field(value)
    return repr(value)
