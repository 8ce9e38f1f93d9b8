"""A connection that outlived its server is replaced before the next request asks anything of it."""

from typing import Any

import pytest
from django.db import connection

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that could go away"),
]


def end_from_outside() -> None:
    """As a restart of the server does to every connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            # Waits until the process has gone, so that the test need not.
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
    finally:
        other.close()


def test_a_living_connection_is_usable_without_a_statement(django_assert_num_queries: Any) -> None:
    connection.ensure_connection()
    with django_assert_num_queries(0):
        assert connection.is_usable()


def test_an_ended_connection_is_not() -> None:
    end_from_outside()
    assert not connection.is_usable()
    connection.close()


def test_the_next_request_after_an_ended_connection_gets_its_answer(client: Any, make_user: Any) -> None:
    client.force_login(make_user("ada"))
    end_from_outside()
    connection.close_if_unusable_or_obsolete()  # what the end of the last request did
    assert client.get("/api/v1/projects").status_code == 200
