"""SQL that every request sends: written once, prepared once per connection, not built anew by the ORM each time.

For the few statements of a hot path only; everything else is a QuerySet. On PostgreSQL a statement is prepared (where
`prepare_threshold` of the connection allows it: DATABASE_PREPARE), which saves the server its planning; on SQLite the
driver keeps compiled statements by itself. Statements name their columns, so that a migration that adds one does not
spoil what is prepared.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection, models

try:
    import psycopg
    from psycopg.types.numeric import Int8
except ImportError:  # SQLite alone needs no driver for PostgreSQL
    psycopg = None  # type: ignore[assignment]

Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]
PLACEHOLDER = re.compile(r"%%|%s|%\((\w+)\)s")
Convert = Callable[[Any, Any, Any], Any]


class Statement:
    """One SQL statement with `%s` or `%(name)s`; texts, whole numbers, floats, truth values and moments go in.

    `lock` is appended where the database locks rows (SQLite's transactions are alone by themselves).
    """

    def __init__(self, sql: str, *, lock: str = "") -> None:
        self.sql = sql
        self.lock = lock

    def row(self, parameters: Parameters = ()) -> Row | None:
        with self._executed(parameters) as cursor:
            row: Row | None = cursor.fetchone()
        return row

    def rows(self, parameters: Parameters = ()) -> list[Row]:
        with self._executed(parameters) as cursor:
            return list(cursor.fetchall())

    def run(self, parameters: Parameters = ()) -> int:
        """How many rows were written."""
        with self._executed(parameters) as cursor:
            return int(cursor.rowcount)

    @contextmanager
    def _executed(self, parameters: Parameters) -> Iterator[Any]:
        if connection.vendor == "postgresql":
            native = _native(f"{self.sql} {self.lock}" if self.lock else self.sql)
            with _prepared_cursor() as cursor:
                cursor.execute(native.sql, native.values(parameters))
                yield cursor
        else:
            with connection.cursor() as cursor:
                cursor.execute(self.sql, _each(_adapted, parameters))
                yield cursor


class Columns:
    """Some columns of a model by attribute name (all if none is named), and instances of what was read.

    Attributes that were not read are deferred, as after `QuerySet.only`.
    """

    def __init__(self, model: type[models.Model], *names: str) -> None:
        self.model = model
        fields = model._meta.concrete_fields
        self.fields = [field for field in fields if field.attname in names] if names else list(fields)
        self.names = [field.attname for field in self.fields]
        if missing := set(names) - set(self.names):
            raise ValueError(f"{model.__name__} has no {', '.join(sorted(missing))}")
        self._converters: dict[str, list[tuple[int, Any, list[Convert]]]] = {}

    def __len__(self) -> int:
        return len(self.fields)

    def of(self, table: str) -> str:
        return ", ".join(f"{table}.{field.column}" for field in self.fields)

    def instance(self, values: Row) -> Any:
        """The model instance of one row's values, in the order of `of`."""
        converted = list(values)
        for i, expression, converters in self._converters_here():
            for convert in converters:
                converted[i] = convert(converted[i], expression, connection)
        return self.model.from_db(connection.alias, self.names, converted)

    def _converters_here(self) -> list[tuple[int, Any, list[Convert]]]:
        """(place, expression, converters) of the columns that come from this database as something else."""
        vendor = connection.vendor
        if vendor not in self._converters:
            found = []
            for i, field in enumerate(self.fields):
                expression = field.get_col(self.model._meta.db_table)
                converters = connection.ops.get_db_converters(expression) + field.get_db_converters(connection)
                if converters:
                    found.append((i, expression, converters))
            self._converters[vendor] = found
        return self._converters[vendor]


class _Native(NamedTuple):
    """A statement with `$1`, `$2` … in place of `%s` or `%(name)s`, and the names in that order."""

    sql: str
    names: tuple[str, ...]

    def values(self, parameters: Parameters) -> list[Any]:
        if isinstance(parameters, Mapping):
            return [_typed(parameters[name]) for name in self.names]
        return [_typed(value) for value in parameters]


@lru_cache(maxsize=256)
def _native(sql: str) -> _Native:
    """The statement in PostgreSQL's own form: psycopg would read a long text anew each time."""
    places: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        return f"${places.setdefault(found[1] or str(len(places)), len(places) + 1)}"

    return _Native(PLACEHOLDER.sub(numbered, sql), tuple(places))


def _each(change: Callable[[Any], Any], parameters: Parameters) -> Parameters:
    if isinstance(parameters, Mapping):
        return {name: change(value) for name, value in parameters.items()}
    return [change(value) for value in parameters]


def _typed(value: Any) -> Any:
    """As a bigint always: 7 and 70,000 would go as two types, and the statement be prepared for each."""
    return Int8(value) if type(value) is int else value


def _adapted(value: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


@contextmanager
def _prepared_cursor() -> Iterator[Any]:
    """Django's cursor around one of psycopg's that binds on the server: logged, checked and wrapped like any other."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = connection._prepare_cursor(_Prepared(connection.connection))  # type: ignore[attr-defined]
    with cursor:
        yield cursor


if psycopg is not None:

    class _Prepared(psycopg.RawCursor[Row]):
        def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
            return super().execute(query, params, prepare=True)

        def _convert_query(self, query: Any, params: Any = None) -> Any:
            self._query = super()._convert_query(query, params)  # so that Django's log of statements has its text
            return self._query
