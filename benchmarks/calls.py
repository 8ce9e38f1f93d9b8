"""Next stamp and submit through the WSGI application: SQL statements and CPU of a call, at two lengths of the queue.

On PostgreSQL also what the same statements cost when a bare psycopg connection sends them, in turns with ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any
from uuid import uuid4

from benchmarks.figures import CpuClock, Figure

VOLUNTEERS = 10
ROUNDS = 400  # per workflow; each one next and one submit
BLOCK = 20  # rounds on one workflow before it is the other's turn, so that a busy spell strikes both
WARM_UP = 20
AT_ONCE = 20  # classifications in a batch
# CPU ms for one stored classification, of application and database: a seventh of Label Studio's least.
MOST_CPU = 16.0
MOST_OF_APPLICATION = 8.0
#: On SQLite leases are a transaction of their own: BEGIN, looking, writing, COMMIT, and not waiting for the disk.
LEASING_APART = 13
# The application's share in requests that do nothing, which the machine's speed leaves alone.
MOST_WORK = 8.0
# Application and database over the same statements sent by bare psycopg and run by the same database.
MOST_OVER_BARE = 3.0
# From the short queue to the long one.
MOST_GROWTH = 1.2


@dataclass
class Calls:
    """What was measured on one workflow: milliseconds of CPU of each call, most statements of any."""

    n_subjects: int
    empty_ms: list[float] = field(default_factory=list)
    next_ms: list[float] = field(default_factory=list)
    submit_ms: list[float] = field(default_factory=list)
    batch_ms: list[float] = field(default_factory=list)  # per classification
    next_statements: int = 0
    submit_statements: int = 0


@dataclass
class Bare:
    """Mean CPU ms of one next and submit: of our database process for the application, and of both bare."""

    server_ms: float
    client_ms: float
    bare_server_ms: float


def figures(name: str, small: Calls, large: Calls, bare: Bare | None) -> Iterator[Figure]:
    few, many = f"{small.n_subjects:,} subjects", f"{large.n_subjects:,} subjects"
    statements = "statements"
    is_postgresql = bare is not None
    next_statements = max(small.next_statements, large.next_statements)
    yield Figure(f"{name}, next", next_statements, statements, at_most=4 if is_postgresql else LEASING_APART)
    yield Figure(f"{name}, submit", max(small.submit_statements, large.submit_statements), statements, at_most=8)
    for calls, size in ((small, few), (large, many)):
        yield Figure(f"{name}, next, {size}", median(calls.next_ms), "CPU ms")
        yield Figure(f"{name}, submit, {size}", median(calls.submit_ms), "CPU ms")
    both, empty = median(large.next_ms) + median(large.submit_ms), median(large.empty_ms)
    yield Figure(f"{name}, one of {AT_ONCE} in a batch, {many}", median(large.batch_ms), "CPU ms")
    server_ms = bare.server_ms if bare is not None else 0.0
    if bare is not None:
        yield Figure(f"{name}, its server process for next + submit", server_ms, "CPU ms")
        same = bare.client_ms + bare.bare_server_ms
        yield Figure(f"{name}, the same statements by bare psycopg, both processes", same, "CPU ms")
        over = (mean(small.next_ms + large.next_ms) + mean(small.submit_ms + large.submit_ms) + server_ms) / same
        yield Figure(f"{name}, next + submit over bare psycopg", over, "×", at_most=MOST_OVER_BARE)
    most = MOST_OF_APPLICATION if is_postgresql else None
    yield Figure(f"{name}, next + submit, the application", both, "CPU ms", at_most=most)
    yield Figure(f"{name}, next + submit, all processes", both + server_ms, "CPU ms", at_most=MOST_CPU)
    yield Figure(f"{name}, a request that does nothing (/healthz)", empty, "CPU ms")
    yield Figure(f"{name}, next + submit over two that do nothing", both / (2 * empty), "×", at_most=MOST_WORK)
    for kind, one, other in (("next", large.next_ms, small.next_ms), ("submit", large.submit_ms, small.submit_ms)):
        yield Figure(f"{name}, {kind}, {many} over {few}", median(one) / median(other), "×", at_most=MOST_GROWTH)


def measure_on(workflows: Sequence[Any], url: str, rounds: int) -> tuple[Calls, Calls, Bare | None]:
    """In a process in which Django is set up: two workflows, the shorter queue first."""
    from django.db import connection

    from benchmarks import site
    from benchmarks.bare import BareClient
    from classify.models import Classification, SubjectProgress
    from starsieve.wsgi import application

    browsers = [site.Browser(application, f"volunteer-{i}") for i in range(VOLUNTEERS)]
    calls = [Calls(SubjectProgress.objects.filter(workflow=workflow).count()) for workflow in workflows]
    for workflow, counted in zip(workflows, calls, strict=True):
        _work(workflow, browsers, WARM_UP, Calls(counted.n_subjects))
        _count_statements(workflow, browsers, counted)
    has_proc = Path("/proc/self/stat").exists()
    bare = None
    if connection.vendor == "postgresql" and has_proc:
        alone = [site.Browser(application, "bare")]
        bare = BareClient(url, lambda: _work(workflows[1], alone, 1, Calls(0)))
    ours = theirs = 0.0
    for _ in range(rounds // BLOCK):
        before = _backend_seconds(connection)
        for workflow, counted in zip(workflows, calls, strict=True):
            _work(workflow, browsers, BLOCK, counted)
        ours += _backend_seconds(connection) - before
        if bare is not None:
            theirs += bare.replay(2 * BLOCK)
    for workflow, counted in zip(workflows, calls, strict=True):
        _send_batches(workflow, browsers, max(1, rounds // AT_ONCE // 4), counted)
    done = sum(len(counted.submit_ms) for counted in calls)
    if bare is None:
        return calls[0], calls[1], None
    if Classification.objects.filter(volunteer__user__username="bare").count() < done:
        raise RuntimeError("the bare connection did not store what it sent")
    return calls[0], calls[1], Bare(1000 * ours / done, 1000 * theirs / done, 1000 * bare.server_seconds() / done)


def _work(workflow: Any, browsers: list[Any], rounds: int, calls: Calls) -> None:
    from benchmarks.site import shortest_annotations

    annotations = shortest_annotations(workflow)
    for i in range(rounds):
        browser = browsers[i % len(browsers)]
        empty, with_next, with_submit = CpuClock(), CpuClock(), CpuClock()
        browser.call("GET", "/healthz", clock=empty)
        served = browser.call("GET", f"/api/v1/workflows/{workflow.pk}/next", clock=with_next)
        browser.call(
            "POST", f"/api/v1/workflows/{workflow.pk}/classifications", _body(served, annotations), clock=with_submit
        )
        calls.empty_ms.append(1000 * empty.seconds)
        calls.next_ms.append(1000 * with_next.seconds)
        calls.submit_ms.append(1000 * with_submit.seconds)


def _send_batches(workflow: Any, browsers: list[Any], batches: int, calls: Calls) -> None:
    from benchmarks.site import shortest_annotations

    annotations = shortest_annotations(workflow)
    for i in range(batches):
        browser, clock = browsers[i % len(browsers)], CpuClock()
        served = browser.call("GET", f"/api/v1/workflows/{workflow.pk}/next?count={AT_ONCE}")
        entries = [_body({**served, "subjects": [subject]}, annotations) for subject in served["subjects"]]
        address = f"/api/v1/workflows/{workflow.pk}/classifications/batch"
        browser.call("POST", address, {"classifications": entries}, clock=clock)
        calls.batch_ms.append(1000 * clock.seconds / len(entries))


def _count_statements(workflow: Any, browsers: list[Any], calls: Calls) -> None:
    """Most statements of either call over the volunteers, session, user, BEGIN and COMMIT included."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from benchmarks.site import shortest_annotations

    annotations = shortest_annotations(workflow)
    for browser in browsers:
        with CaptureQueriesContext(connection) as asked:
            served = browser.call("GET", f"/api/v1/workflows/{workflow.pk}/next")
        body = _body(served, annotations)
        with CaptureQueriesContext(connection) as stored:
            browser.call("POST", f"/api/v1/workflows/{workflow.pk}/classifications", body)
        calls.next_statements = max(calls.next_statements, len(asked))
        calls.submit_statements = max(calls.submit_statements, len(stored))


def _body(served: dict[str, Any], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "subject": served["subjects"][0]["id"],
        "workflow_version": served["workflow_version"],
        "annotations": annotations,
        "started_at": "2026-11-22T12:00:00Z",
        "finished_at": "2026-11-22T12:00:07Z",
        "metadata": {"client": "bench"},
    }


def _backend_seconds(connection: Any) -> float:
    """CPU seconds so far of the PostgreSQL process behind this connection; 0 for SQLite, or off Linux."""
    from benchmarks.site import process_seconds

    if connection.vendor != "postgresql" or not Path("/proc/self/stat").exists():
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return process_seconds(cursor.fetchone()[0])
