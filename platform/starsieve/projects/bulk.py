"""Many rows at once: COPY on PostgreSQL, one prepared INSERT on SQLite, without a model instance per row.

Columns hold values as either database takes them: numbers, booleans, texts, None; JSON as its text, a UUID as 32
hexadecimal digits, a time in UTC as "2026-05-01 12:00:00.000000". Checking them is the caller's part.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, repeat
from json import dumps
from typing import Any

import numpy as np
from django.db import IntegrityError, connection, models
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


def analyse(*tables: type[models.Model]) -> None:
    """Tell PostgreSQL's planner now what autovacuum would tell it within minutes: that these tables have grown."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in tables:
                cursor.execute(f'ANALYZE "{model._meta.db_table}"')


@contextmanager
def trusted_references(held: Sequence[models.Model]) -> Iterator[None]:
    """Inside, each row's foreign keys are not looked up again: for a caller who has written the rows that they name in
    this very transaction, or names them in `held`. Must be entered inside a transaction.

    Locks the rows of `held` FOR KEY SHARE, as each lookup would; raises IntegrityError if one is gone. Only a superuser
    of PostgreSQL may switch the lookups off, which take half of the time of a bulk insertion; for anyone else, and on
    SQLite, they stay on.
    """
    is_off = connection.vendor == "postgresql" and _hold(held)
    if is_off:
        _set_replication_role("replica")
    yield
    if is_off:  # after an error the savepoint's end does this
        _set_replication_role("origin")


def _hold(held: Sequence[models.Model]) -> bool:
    """Lock the rows; whether this role may switch off the lookups."""
    with connection.cursor() as cursor:
        for row in held:
            cursor.execute(f'SELECT 1 FROM "{row._meta.db_table}" WHERE id = %s FOR KEY SHARE', [row.pk])
            if cursor.fetchone() is None:
                raise IntegrityError(f"{row._meta.verbose_name} {row} was deleted meanwhile")
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        return bool(cursor.fetchone() == (True,))


def _set_replication_role(role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('session_replication_role', %s, true)", [role])


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
    return map(_text, column)


def _text(value: Any) -> str:
    if isinstance(value, str):
        # Most texts need no escape, and looking for one costs less than a translation.
        return value if value.isalnum() or not _needs_escape(value) else value.translate(ESCAPES)
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
