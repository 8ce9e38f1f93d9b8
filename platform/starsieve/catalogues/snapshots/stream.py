"""Classifications from the database as record batches; from PostgreSQL without a Python object per value."""

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any

import pyarrow as pa
from django.db import connection
from pyarrow import csv

from starsieve.catalogues.snapshots.columns import COLUMNS, SCHEMA, select_columns, table_name

#: Rows of a batch; memory goes with it.
ROWS_AT_ONCE = 65_536

# COPY's text format of rows in which no value holds a tab or the end of a line: JSON writes both as escapes.
_PARSE = csv.ParseOptions(delimiter="\t", quote_char=False, escape_char="\\")
_CONVERT = csv.ConvertOptions(column_types=SCHEMA, true_values=["t"], false_values=["f"], strings_can_be_null=False)


def stream_classifications(workflow_id: int, *, after: int, up_to: int, limit: int) -> Iterator[pa.RecordBatch]:
    """The workflow's first `limit` classifications with `after` < id ≤ `up_to`, by id, ROWS_AT_ONCE to a batch.

    The database sends them as they are read: nothing else can be asked through this connection until the end.
    """
    sql = (
        f"SELECT {select_columns()} FROM {table_name()} WHERE workflow_id = {int(workflow_id)} "
        f"AND id > {int(after)} AND id <= {int(up_to)} ORDER BY id LIMIT {int(limit)}"
    )
    return _copied(sql) if connection.vendor == "postgresql" else _fetched(sql)


def _copied(sql: str) -> Iterator[pa.RecordBatch]:
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY ({sql}) TO STDOUT") as copy,
    ):
        lines = iter(copy)
        while chunk := list(islice(lines, ROWS_AT_ONCE)):
            yield _parsed(b"".join(chunk))


def _parsed(text: bytes) -> pa.RecordBatch:
    reading = csv.ReadOptions(column_names=list(COLUMNS), use_threads=False, block_size=len(text) + 1)
    table = csv.read_csv(BytesIO(text), reading, _PARSE, _CONVERT)
    return table.cast(SCHEMA).combine_chunks().to_batches()[0]


def _fetched(sql: str) -> Iterator[pa.RecordBatch]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            columns = [_array(values, part.type) for values, part in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _array(values: tuple[Any, ...], type_: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(type_):
        return pa.array(values, pa.string()).cast(pa.timestamp(type_.unit)).cast(type_)
    if pa.types.is_dictionary(type_):
        return pa.array(values, type_.value_type).dictionary_encode()
    if pa.types.is_boolean(type_):
        return pa.array(values, pa.int8()).cast(type_)
    return pa.array(values, type_)
