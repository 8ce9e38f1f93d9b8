"""Many rows at once: COPY on PostgreSQL, one prepared INSERT on SQLite, without a model instance per row.

Columns hold values as either database takes them: numbers, booleans, texts, None; JSON as its text, a UUID as 32
hexadecimal digits, a time in UTC as "2026-05-01 12:00:00.000000". Checking them is the caller's part.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from json import dumps
from typing import Any

import numpy as np
from django.db import connection, models
from numpy.typing import NDArray

ROWS_AT_ONCE = 10_000
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Always:
    """The same value in every row."""

    value: Any


Column = Sequence[Any] | NDArray[Any] | Always


def reserve_ids(model: type[models.Model], n: int) -> NDArray[np.int64]:
    """`n` ascending primary keys that nobody else will get, for rows that others refer to.

    On PostgreSQL they are taken from the sequence; on SQLite they follow the highest ever given, so the caller must
    hold the database's one write transaction until they are used.
    """
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
            row = cursor.fetchone()
            first = (row[0] if row else 0) + 1
            return np.arange(first, first + n, dtype=np.int64)
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, n])
        return np.sort(np.array([row[0] for row in cursor.fetchall()], dtype=np.int64))


def insert_columns(model: type[models.Model], columns: Mapping[str, Column], n: int) -> None:
    """Insert `n` rows. `columns` goes by column name; a column that is left out gets its field's default.

    Raises IntegrityError as any other insertion does.
    """
    if n == 0:
        return
    filled = {**_defaults(model, columns), **columns}
    names = ", ".join(f'"{name}"' for name in filled)
    into = f'"{model._meta.db_table}" ({names})'
    if connection.vendor == "postgresql":
        _copy(into, [_texts(column) for column in filled.values()], n)
    else:
        rows = list(zip(*(_plain(column, n) for column in filled.values()), strict=True))
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {into} VALUES ({', '.join(['%s'] * len(filled))})", rows)


def update_columns(model: type[models.Model], ids: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
    """Set columns of the rows with these ids, each row to its own values; the rest of the rows stays."""
    table = model._meta.db_table
    if connection.vendor == "postgresql":
        types = {str(field.column): field.rel_db_type(connection) for field in model._meta.concrete_fields}
        sets = ", ".join(f'"{name}" = fresh."{name}"' for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        arrays = ", ".join(["%s::bigint[]", *(f"%s::{types[name]}[]" for name in columns)])
        sql = f'UPDATE "{table}" stored SET {sets} FROM unnest({arrays}) fresh (id, {names}) WHERE stored.id = fresh.id'
        with connection.cursor() as cursor:
            cursor.execute(sql, [list(ids), *(list(column) for column in columns.values())])
        return
    sets = ", ".join(f'"{name}" = %s' for name in columns)
    with connection.cursor() as cursor:
        cursor.executemany(f'UPDATE "{table}" SET {sets} WHERE id = %s', list(zip(*columns.values(), ids, strict=True)))


def analyse(*tables: type[models.Model], columns: Sequence[str] = ()) -> None:
    """Tell PostgreSQL's planner now what autovacuum would tell it within minutes: that these tables have grown, and
    what their columns, or these columns, hold.

    An empty table is left out: known to be empty, it would be read from end to end by every prepared statement until
    autovacuum comes by, however fast it fills.
    """
    if connection.vendor != "postgresql":
        return
    named = f" ({', '.join(columns)})" if columns else ""
    for model in tables:
        if model._default_manager.exists():
            with connection.cursor() as cursor:
                cursor.execute(f'ANALYZE "{model._meta.db_table}"{named}')


def _defaults(model: type[models.Model], given: Mapping[str, Column]) -> dict[str, Always]:
    missing = [
        field
        for field in model._meta.concrete_fields
        if not (field.primary_key or field.generated or str(field.column) in given)
    ]
    return {str(field.column): Always(_stored(field, field.get_default())) for field in missing}


def _stored(field: "models.Field[Any, Any]", value: Any) -> Any:
    return dumps(value) if isinstance(field, models.JSONField) and value is not None else field.get_prep_value(value)


def _copy(into: str, columns: Sequence[Iterable[str]], n: int) -> None:
    rows = map("\t".join, islice(zip(*columns, strict=False), n))  # a constant column has no end of its own
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY {into} FROM STDIN") as copy,
    ):
        for chunk in _chunks(rows):
            copy.write("\n".join(chunk) + "\n")


def _chunks(rows: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        yield chunk


def _texts(column: Column) -> Iterable[str]:
    """The column in COPY's text format."""
    if isinstance(column, Always):
        return repeat(_text(column.value))
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "b":
            return ["t" if value else "f" for value in column.tolist()]
        return map(str if column.dtype.kind in "iu" else repr, column.tolist())
    try:
        whole = "".join(column)
    except TypeError:  # not texts only
        return map(_text, column)
    # Most columns need no escape, and looking for one in all of them at once costs less than in each.
    return map(_text, column) if _needs_escape(whole) else column


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.translate(ESCAPES) if _needs_escape(value) else value
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    return repr(value)


def _needs_escape(value: str) -> bool:
    return "\\" in value or "\t" in value or "\n" in value or "\r" in value


def _plain(column: Column, n: int) -> Iterable[Any]:
    if isinstance(column, Always):
        return repeat(column.value, n)
    return column.tolist() if isinstance(column, np.ndarray) else column
