"""What the live bench's own parts promise: clients that do not lose an answer, statements learned by listening."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks import clients
from benchmarks.bare import Sent, _sources
from benchmarks.clients import Client, all_at_once


@contextmanager
def server(*statuses: int) -> Iterator[tuple[int, list[Any]]]:
    """Answers with these statuses in turn, the last one again and again; 0 hangs up. Port, and bodies received."""
    bodies: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = statuses[min(len(bodies), len(statuses)) - 1]
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever).start()
        try:
            yield httpd.server_address[1], bodies
        finally:
            httpd.shutdown()


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RETRY", (0.0, 0.0))


def test_an_answer_is_sent_with_the_same_id_until_it_is_stored() -> None:
    with server(503, 0, 429, 201) as (port, bodies):
        client = Client([port], "session", number=0)
        assert client.classify(1, "1.0", 7, [])
    assert len({body["id"] for body in bodies}) == 1
    assert client.told.stored == client.told.sent == {bodies[0]["id"]: 7}
    assert client.told.statuses == {"503": 1, "lost": 1, "429": 1, "201": 1}


def test_a_call_that_nothing_heals_is_counted() -> None:
    with server(500) as (port, _):
        client = Client([port], "session", number=0, give_up=0.05)
        assert not client.classify(1, "1.0", 7, [])
    assert (client.told.unhealed, client.told.stored, len(client.told.sent)) == (1, {}, 1)


def test_an_error_of_one_client_stops_the_others() -> None:
    with server(503) as (port, _):
        first, second = (Client([port], "session", number=i, give_up=60.0) for i in range(2))

        def work(client: Client) -> None:
            if client is first:
                raise RuntimeError("broken")
            client.classify(1, "1.0", 7, [])

        with pytest.raises(RuntimeError, match="broken"):
            all_at_once([first, second], work)


def test_what_changes_between_two_rounds_is_found_in_earlier_answers_or_drawn() -> None:
    def round_of(pivot: float, subject: int, client_id: str, count: int) -> list[Sent]:
        return [
            Sent("SELECT", {"pivot": pivot, "volunteer": 5}, False, (9, subject)),
            Sent("INSERT", {0: client_id, 1: subject, 2: 5, 3: count}, True, ()),
        ]

    earlier, heard = round_of(0.25, 70, "a" * 32, 1), round_of(0.5, 80, "b" * 32, 2)
    assert set(_sources(0, earlier, heard)) == {"pivot"}
    sources = _sources(1, earlier, heard)
    assert set(sources) == {0, 1}  # the volunteer is the same, the count is kept as it was
    assert sources[1]([(9, 90)]) == 90
    assert len({sources[0]([]) for _ in range(3)}) == 3
