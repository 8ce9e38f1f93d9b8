"""How long the database takes for one next stamp: the SQL of whole requests, for newcomers and for the busiest."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np

from benchmarks.figures import Figure
from benchmarks.site import process_seconds

MOST_MS = 10.0  # of SQL, for 99 in 100 calls
MOMENT = "2026-11-22 12:00:00.000000"


@dataclass
class Waits:
    """Milliseconds that each call waited for the database, and the CPU that the database spent on one."""

    ms: list[float] = field(default_factory=list)
    server_ms: float = 0.0


def figures(name: str, who: str, waits: Waits) -> Iterator[Figure]:
    title = f"{name}, SQL of next, {who}"
    yield Figure(f"{title}, median", float(np.quantile(waits.ms, 0.5)), "ms")
    yield Figure(f"{title}, 99 %", float(np.quantile(waits.ms, 0.99)), "ms", at_most=MOST_MS)
    yield Figure(f"{title}, its server process", waits.server_ms, "CPU ms")


def of_newcomers(workflow: Any, calls: int, label: str) -> Waits:
    """Ten volunteers who have classified nothing."""
    from benchmarks.site import Browser
    from starsieve.wsgi import application

    return _measure(workflow, [Browser(application, f"{label}-new-{i}") for i in range(10)], calls)


def of_the_busiest(workflow: Any, calls: int, seen: int, label: str) -> Waits:
    """One volunteer who has classified `seen` of the workflow's open subjects."""
    from benchmarks.site import Browser
    from classify.models import Volunteer
    from starsieve.accounts.models import User
    from starsieve.wsgi import application

    browser = Browser(application, f"{label}-busy")
    volunteer = Volunteer.objects.create(user=User.objects.get(username=f"{label}-busy"))
    _classify_at_random(workflow, volunteer, seen)
    return _measure(workflow, [browser], calls)


def _classify_at_random(workflow: Any, volunteer: Any, n: int) -> None:
    from classify.models import Classification, SubjectProgress
    from starsieve.projects.bulk import Always, analyse, insert_columns

    subjects = SubjectProgress.objects.filter(workflow=workflow).order_by("pivot").values_list("subject_id", flat=True)
    columns = {
        "client_id": [uuid4().hex for _ in range(n)],
        "workflow_id": Always(workflow.pk),
        "workflow_version_id": Always(workflow.current_id),
        "subject_id": list(subjects[:n]),
        "volunteer_id": Always(volunteer.pk),
        "annotations": Always("[]"),
        **dict.fromkeys(("started_at", "finished_at", "created_at"), Always(MOMENT)),
        "metadata": Always("{}"),
    }
    insert_columns(Classification, columns, n)
    analyse(Classification)  # as autovacuum does


def _measure(workflow: Any, browsers: Sequence[Any], calls: int) -> Waits:
    from django.db import connection

    address, waits = f"/api/v1/workflows/{workflow.pk}/next", Waits()
    for browser in browsers:
        browser.call("GET", address)
    backend = connection.connection.info.backend_pid
    began = process_seconds(backend)
    for i in range(calls):
        with _clocked(connection) as spent:
            browsers[i % len(browsers)].call("GET", address)
        waits.ms.append(1000 * sum(spent))
    waits.server_ms = 1000 * (process_seconds(backend) - began) / calls
    return waits


@contextmanager
def _clocked(connection: Any) -> Iterator[list[float]]:
    """Seconds of each statement inside, from sending to its answer."""
    spent: list[float] = []

    def clock(execute: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            spent.append(time.perf_counter() - began)

    with connection.execute_wrapper(clock):
        yield spent
