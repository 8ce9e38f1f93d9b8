"""The whole deployment over HTTP: what a classification costs with few and many clients, and how fresh results are."""

import threading
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.clients import Client, all_at_once
from benchmarks.deployment import Deployment
from benchmarks.figures import Figure

SIZES = (1, 8, 64)
AT_ONCE = 192  # classifications of one crowd before it is the next one's turn
PASSES = 4
MOST_GROWTH = 1.2
PER_SECOND = 100
OLDEST_MS = 50.0


def growth(made: Deployment, workflow: Any, sessions: Sequence[str], *, tiny: bool) -> Iterator[Figure]:
    """CPU of web servers and databases per stored classification, crowd after crowd in turns, without pauses."""
    from benchmarks.site import shortest_annotations

    annotations = shortest_annotations(workflow)
    clients = [Client(made.ports, session, number=i) for i, session in enumerate(sessions[: max(SIZES)])]
    spent: dict[int, list[tuple[float, float, float]]] = {size: [] for size in SIZES}
    for _ in range(2 if tiny else PASSES + 1):
        for size in SIZES:
            spent[size].append(_one_turn(made, workflow, clients[:size], annotations))
    cost = {}
    for size, turns in spent.items():
        web, databases, rate = (median(column) for column in zip(*turns[1:], strict=True))  # the first one warms up
        cost[size] = web + databases
        people = f"{size} client{'s' if size > 1 else ''}"
        yield Figure(f"HTTP, {people}, web servers per classification", web, "CPU ms")
        yield Figure(f"HTTP, {people}, databases per classification", databases, "CPU ms")
        yield Figure(f"HTTP, {people}, classifications", rate, "1/s")
    over = cost[SIZES[-1]] / cost[SIZES[0]]
    yield Figure(f"HTTP, all processes, {SIZES[-1]} clients over 1", over, "×", at_most=MOST_GROWTH)


def _one_turn(
    made: Deployment, workflow: Any, clients: Sequence[Client], annotations: Any
) -> tuple[float, float, float]:
    """CPU ms per classification of web servers and of databases, and classifications per second."""
    share = AT_ONCE // len(clients)

    def work(client: Client) -> None:
        for _ in range(share):
            served = client.next(workflow.pk)
            client.classify(workflow.pk, served["workflow_version"], served["subjects"][0]["id"], annotations)

    web, databases = made.seconds()
    began = time.monotonic()
    all_at_once(clients, work)
    n, seconds = share * len(clients), time.monotonic() - began
    web_after, databases_after = made.seconds()
    return 1000 * (web_after - web) / n, 1000 * (databases_after - databases) / n, n / seconds


def freshness(made: Deployment, workflow: Any, sessions: Sequence[str], *, tiny: bool) -> Iterator[Figure]:
    """Votes at a steady pace; after each answer its subject's results are read until the vote is in them."""
    from benchmarks.site import shortest_annotations

    annotations, seconds = shortest_annotations(workflow), 2 if tiny else 15
    ages: list[float] = []
    pace = _Pace(PER_SECOND, seconds)

    def work(client: Client) -> None:
        while pace.wait():
            served = client.next(workflow.pk)
            subject = served["subjects"][0]["id"]
            before = _votes(client, workflow, subject)
            client.classify(workflow.pk, served["workflow_version"], subject, annotations)
            ages.append(_age(client, workflow, subject, before))

    began = time.monotonic()
    all_at_once([Client(made.ports, session, number=i) for i, session in enumerate(sessions[:32])], work)
    yield Figure("votes while their age is taken", len(ages) / (time.monotonic() - began), "1/s")
    yield Figure("age of a vote that results lack, 99 %", float(np.quantile(ages, 0.99)), "ms", at_most=OLDEST_MS)


def _age(client: Client, workflow: Any, subject: int, before: int) -> float:
    """Milliseconds from the answer to a vote until results were asked that had it; 0 where the first ones had it."""
    answered = time.monotonic()
    if _votes(client, workflow, subject) > before:
        return 0.0
    while True:
        asked = time.monotonic()
        if _votes(client, workflow, subject) > before:
            return 1000 * (asked - answered)


def _votes(client: Client, workflow: Any, subject: int) -> int:
    """How many answers to the first question the tally of the subject holds."""
    page = client.call("GET", f"/api/v1/workflows/{workflow.pk}/results?subject={subject}")
    tasks = page["results"][0]["tasks"]
    return int(tasks[workflow.current.parsed.first]["n"])


class _Pace:
    """Turns at equal distances, taken by whichever client is free; a turn that nobody could take is not made up."""

    def __init__(self, per_second: float, seconds: float) -> None:
        self.gap = 1 / per_second
        self.turn = time.monotonic()
        self.end = self.turn + seconds
        self.lock = threading.Lock()

    def wait(self) -> bool:
        with self.lock:
            self.turn = max(self.turn + self.gap, time.monotonic())
            turn = self.turn
        if turn >= self.end:
            return False
        time.sleep(max(0.0, turn - time.monotonic()))
        return True
