"""Volunteers' browsers over HTTP, as many as there are threads: they keep what they have until the server has it."""

import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from uuid import uuid4

PATIENCE = 20.0  # seconds for one answer
RETRY = (0.1, 0.4)  # seconds between two attempts; a browser waits longer, in a time that is not compressed
STARTED, FINISHED = "2026-11-22T12:00:00Z", "2026-11-22T12:00:07Z"


@dataclass
class Told:
    """What a client was told, and how hard it was to be told."""

    stored: dict[str, int] = field(default_factory=dict)  # id of the classification → subject, answered 201 or 200
    sent: dict[str, int] = field(default_factory=dict)  # the same of everything that was sent at least once
    statuses: dict[str, int] = field(default_factory=dict)  # of every attempt; "lost" where no answer came
    unhealed: int = 0
    longest: float = 0.0  # seconds until a call was answered at last

    def count(self, status: str) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1


def together(told: Sequence[Told]) -> Told:
    whole = Told()
    for each in told:
        whole.stored |= each.stored
        whole.sent |= each.sent
        for status, n in each.statuses.items():
            whole.statuses[status] = whole.statuses.get(status, 0) + n
        whole.unhealed += each.unhealed
        whole.longest = max(whole.longest, each.longest)
    return whole


class Client:
    """One signed-in volunteer. Attempts go round the ports; whatever a later attempt may heal is tried again."""

    def __init__(self, ports: Sequence[int], session: str, *, number: int, give_up: float = 30.0) -> None:
        self.ports = ports
        self.turn = number
        self.cookies = {"sessionid": session}
        self.random = random.Random(number)
        self.give_up = give_up
        self.told = Told()
        self.is_stopped = False
        self._connection: HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of an attempt that was answered for good; None when none was within `give_up` seconds."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < self.give_up:
            if self.is_stopped:
                raise InterruptedError("the bench ends")
            status, answer = self._attempt(method, path, body)
            self.told.count(status)
            if status not in ("lost", "429") and not status.startswith("5"):
                self.told.longest = max(self.told.longest, waited)
                return {"status": int(status), **answer}
            self._hang_up()
            time.sleep(self.random.uniform(*RETRY))
        self.told.unhealed += 1
        return None

    def _attempt(self, method: str, path: str, body: Any) -> tuple[str, dict[str, Any]]:
        headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "X-CSRFToken": self.cookies.get("csrftoken", ""),
            "Content-Type": "application/json",
        }
        try:
            if self._connection is None:
                port = self.ports[self.turn % len(self.ports)]
                self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, HTTPException):
            return "lost", {}
        for cookie in response.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        is_json = "json" in response.headers.get("Content-Type", "")
        return str(response.status), json.loads(content) if is_json else {}

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self.turn += 1

    def think(self, between: tuple[float, float]) -> None:
        time.sleep(self.random.uniform(*between))

    def next(self, workflow: int, count: int = 1, exclude: Sequence[int] = ()) -> Any:
        held = f"&exclude={','.join(map(str, exclude))}" if exclude else ""
        return self.call("GET", f"/api/v1/workflows/{workflow}/next?count={count}{held}")

    def classify(self, workflow: int, version: str, subject: int, annotations: list[dict[str, Any]]) -> bool:
        """Send one classification until it is answered; whether it is stored."""
        body = {
            "id": str(uuid4()), "subject": subject, "workflow_version": version, "annotations": annotations,
            "started_at": STARTED, "finished_at": FINISHED, "metadata": {"client": "bench"},
        }  # fmt: skip
        self.told.sent[body["id"]] = subject
        answer = self.call("POST", f"/api/v1/workflows/{workflow}/classifications", body)
        is_stored = answer is not None and answer["status"] in (200, 201)
        if is_stored:
            self.told.stored[body["id"]] = subject
        return is_stored


def all_at_once(clients: Sequence[Client], work: Callable[[Client], None]) -> Told:
    """Each client in a thread of its own; what they were told together. An error of one, or Ctrl-C, stops them all."""
    with ThreadPoolExecutor(len(clients)) as pool:
        try:
            for done in as_completed([pool.submit(work, client) for client in clients]):
                done.result()
        except BaseException:
            for client in clients:
                client.is_stopped = True
            raise
    return together([client.told for client in clients])
