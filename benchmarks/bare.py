"""The statements of one next and one submit, sent by a bare psycopg connection: what no application can undercut.

They are learned from the application: a volunteer's calls are listened to twice, and what differed between the two is
found again in what the database had answered before, drawn anew if it was drawn, or kept.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

from benchmarks.site import process_seconds

ATTEMPTS = 20


class Sent(NamedTuple):
    """A statement, its parameters by name or place, whether it was part of a transaction, the first row it got."""

    sql: str
    parameters: dict[Any, Any]
    is_inside: bool
    row: Sequence[Any]


Source = Callable[[Sequence[Sequence[Any]]], Any]


class BareClient:
    """One more volunteer, whose classifications are stored but not thought about. `one_round` sends, through the
    application, the next and submit that are listened to.
    """

    def __init__(self, url: str, one_round: Callable[[], None]) -> None:
        import psycopg

        self.statements = _learn(one_round)
        options = "-c plan_cache_mode=force_generic_plan"  # as the application has it
        self.connection = psycopg.connect(url, autocommit=True, options=options, cursor_factory=psycopg.RawCursor)
        for _ in range(10):
            self._round()
        self.began = process_seconds(self.connection.info.backend_pid)

    def replay(self, rounds: int) -> float:
        """CPU seconds that this process spent on as many rounds of next and submit."""
        began = time.process_time()
        for _ in range(rounds):
            self._round()
        return time.process_time() - began

    def server_seconds(self) -> float:
        return process_seconds(self.connection.info.backend_pid) - self.began

    def _round(self) -> None:
        """Everything up to the transaction, which is the last thing of a submit, and the transaction."""
        rows: list[Sequence[Any]] = []
        first_inside = next(i for i, (sent, _) in enumerate(self.statements) if sent.is_inside)
        for sent, sources in self.statements[:first_inside]:
            rows.append(self._send(sent, sources, rows))
        with self.connection.transaction():
            for sent, sources in self.statements[first_inside:]:
                rows.append(self._send(sent, sources, rows))

    def _send(self, sent: Sent, sources: Mapping[Any, Source], rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
        values = sent.parameters | {place: source(rows) for place, source in sources.items()}
        cursor = self.connection.execute(sent.sql, list(values.values()), prepare=True)
        return (cursor.fetchone() or ()) if cursor.description else ()


def _learn(one_round: Callable[[], None]) -> list[tuple[Sent, dict[Any, Source]]]:
    """The statements of a round, each with where its changing parameters come from."""
    earlier: list[Sent] = []
    for _ in range(ATTEMPTS):
        with _listened() as heard:
            one_round()
        if [sent.sql for sent in heard] == [sent.sql for sent in earlier]:
            return [(sent, _sources(i, earlier, heard)) for i, sent in enumerate(heard)]
        earlier = heard
    raise RuntimeError("no two rounds of next and submit sent the same statements")


def _sources(i: int, earlier: Sequence[Sent], heard: Sequence[Sent]) -> dict[Any, Source]:
    found = {}
    for place, value in heard[i].parameters.items():
        before = earlier[i].parameters[place]
        if value != before and (source := _source(before, value, earlier[:i], heard[:i])):
            found[place] = source
    return found


def _source(before: Any, value: Any, earlier: Sequence[Sent], heard: Sequence[Sent]) -> Source | None:
    """Where a parameter comes from that was `before` in one round and is `value` in another; None: keep it."""
    for i, (one, other) in enumerate(zip(earlier, heard, strict=True)):
        for j, (old, new) in enumerate(zip(one.row, other.row, strict=False)):
            if old == before and new == value:
                return lambda rows, i=i, j=j: rows[i][j]
    if isinstance(value, float):
        return lambda _: random.random()
    if isinstance(value, str) and len(value) == 32:
        return lambda _: uuid4().hex
    return None


@contextmanager
def _listened() -> Iterator[list[Sent]]:
    """What the application sends inside."""
    from django.db import connection

    heard: list[Sent] = []

    def listen(execute: Any, sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        answer = execute(sql, parameters, many, context)
        cursor, row = context["cursor"].cursor, ()
        if cursor.description and cursor.rowcount > 0:
            row = cursor.fetchone()
            cursor.scroll(0, "absolute")  # for the application to read
        by_place = parameters if isinstance(parameters, Mapping) else dict(enumerate(parameters or ()))
        heard.append(Sent(sql, dict(by_place), connection.in_atomic_block, row))
        return answer

    with connection.execute_wrapper(listen):
        yield heard
