"""A database that threads and other processes of a test can share."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection


@contextmanager
def shared_database(folder: Path) -> Iterator[str]:
    """The address of the test's database, as DATABASE_URL has it; the test must not run inside a transaction.

    SQLite's tests run in memory, on one connection for all: there the tables move into a file of `folder`, which is
    opened with the product's own options.
    """
    settings = connection.settings_dict
    if connection.vendor != "sqlite":
        yield urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{settings['NAME']}").geturl()
        return
    connection.ensure_connection()
    in_memory, name = connection.connection, settings["NAME"]
    path = folder / "test.sqlite3"
    with sqlite3.connect(path) as file:
        in_memory.backup(file)
    file.close()
    connection.connection, settings["NAME"] = None, str(path)
    try:
        yield f"sqlite:///{path}"
    finally:
        connection.close()
        connection.connection, settings["NAME"] = in_memory, name
