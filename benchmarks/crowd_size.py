"""The whole deployment over HTTP: what a classification costs with few and many clients, and how fresh results are."""

import threading
import time
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import count
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
PACE = 105  # a little more than is asked, since a turn that nobody could take is not made up
SERVED = 3  # stamps at a time, as many as the classify page keeps
READ_ONE_IN = 10
OLDEST_MS = 50.0
LARGEST_PER_SECOND = f"HTTP, {SIZES[-1]} clients, classifications"  # the name of a figure


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
    """Votes at a steady pace on a workflow with a live fit. Before one vote in READ_ONE_IN its subject's results are
    read, and after its answer until their posterior has the vote.
    """
    from django.core.management import call_command

    from benchmarks.site import shortest_annotations

    call_command("run_consensus", str(workflow.pk), stdout=StringIO())
    annotations, seconds = shortest_annotations(workflow), 2 if tiny else 20
    turns, ages = count(1), list[float]()
    pace = _Pace(PACE, seconds)

    def work(client: Client) -> None:
        served: dict[str, Any] = {"subjects": []}
        while pace.wait():
            if not served["subjects"]:
                served = client.next(workflow.pk, count=SERVED)
            subject = served["subjects"].pop()["id"]
            is_read = next(turns) % READ_ONE_IN == 0
            before = _votes(client, workflow, subject) if is_read else 0
            client.classify(workflow.pk, served["workflow_version"], subject, annotations)
            if is_read:
                ages.append(_age(client, workflow, subject, before))

    clients = [Client(made.ports, session, number=i) for i, session in enumerate(sessions[:32])]
    began = time.monotonic()
    told = all_at_once(clients, work)
    per_second = len(told.stored) / (time.monotonic() - began)
    yield Figure("votes while the posterior's age is taken", per_second, "1/s", at_least=None if tiny else PER_SECOND)
    oldest = float(np.quantile(ages, 0.99))
    yield Figure("age of the posterior that results show, 99 %", oldest, "ms", at_most=OLDEST_MS)


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
    """How many answers to the first question the posterior of the subject holds."""
    page = client.call("GET", f"/api/v1/workflows/{workflow.pk}/results?subject={subject}")
    said = page["results"][0]["consensus"] or {}
    return int(said.get(workflow.current.parsed.first, {"n": 0})["n"])


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
