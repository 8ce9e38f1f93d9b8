"""Sixty-four volunteers for a minute, while a web process, Redis and PostgreSQL go away under them and come back."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.clients import Client, Told, all_at_once
from benchmarks.deployment import Deployment
from benchmarks.figures import Figure

VOLUNTEERS = 64
SECONDS = 60.0  # ten minutes' worth
THINKING = (0.2, 1.2)  # seconds, for two to twelve
AHEAD = 3  # subjects that the classify page has in hand
LIMIT = 5
SUBJECTS = 500  # so that the queue runs short before the end
#: When things happen, as shares of the whole time.
KILLED, STARTED, REDIS_STOPPED, POSTGRESQL_RESTARTED = 0.2, 0.25, 0.4, 0.65
REDIS_AWAY = 5.0  # seconds
MOST_OVER = 1.0  # per cent


def storm(made: Deployment, workflow: Any, sessions: Sequence[str], *, tiny: bool) -> Iterator[Figure]:
    from benchmarks.site import shortest_annotations

    seconds, away = (6.0, 1.0) if tiny else (SECONDS, REDIS_AWAY)
    annotations, end = shortest_annotations(workflow), time.monotonic() + seconds
    clients = [Client(made.ports, session, number=i) for i, session in enumerate(sessions[:VOLUNTEERS])]
    trouble = _Trouble(_events(made, seconds, away))
    with trouble:
        told = all_at_once(clients, lambda client: _volunteer(client, workflow, annotations, end))
    yield from _figures(workflow, told, trouble)


def _volunteer(client: Client, workflow: Any, annotations: list[dict[str, Any]], end: float) -> None:
    """Someone at the classify page, who has a few subjects in hand and sends each answer before the next."""
    in_hand: list[int] = []
    while time.monotonic() < end:
        if len(in_hand) < AHEAD:
            served = client.next(workflow.pk, AHEAD - len(in_hand), in_hand)
            if served is None or served["status"] != 200:
                continue
            in_hand += [subject["id"] for subject in served["subjects"] if subject["id"] not in in_hand]
        client.think(THINKING)
        if in_hand:
            client.classify(workflow.pk, served["workflow_version"], in_hand.pop(0), annotations)


def _events(made: Deployment, seconds: float, away: float) -> list[tuple[float, Callable[[], None]]]:
    """(seconds from the beginning, what happens), in order."""
    victim = made.web[1]
    return [
        (KILLED * seconds, lambda: victim.end(signal.SIGKILL)),
        (STARTED * seconds, victim.start),
        (REDIS_STOPPED * seconds, made.redis.stop),
        (REDIS_STOPPED * seconds + away, made.redis.start),
        (POSTGRESQL_RESTARTED * seconds, made.postgresql.restart),
    ]


class _Trouble:
    """Lets things happen in time, in a thread of its own. An event that failed raises at the end."""

    def __init__(self, events: Sequence[tuple[float, Callable[[], None]]]) -> None:
        self.events = events
        self.done = 0
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error[0] is None:
            raise self._error

    def _run(self) -> None:
        began = time.monotonic()
        for moment, happen in self.events:
            if self._stop.wait(max(0.0, began + moment - time.monotonic())):
                return
            try:
                happen()
            except Exception as error:  # whatever a server's start may raise; told in the bench's own thread
                self._error = error
                return
            self.done += 1


def _figures(workflow: Any, told: Told, trouble: _Trouble) -> Iterator[Figure]:
    from classify.models import Classification, SubjectProgress

    rows = list(Classification.objects.filter(workflow=workflow).values_list("client_id", "volunteer_id", "subject_id"))
    times_stored = Counter(str(client_id) for client_id, _, _ in rows)
    pairs = Counter((volunteer, subject) for _, volunteer, subject in rows)
    per_subject = Counter(subject for _, _, subject in rows)
    counts = dict(SubjectProgress.objects.filter(workflow=workflow).values_list("subject_id", "classification_count"))
    limit = workflow.current.parsed.retirement.classification_count
    over = sum(max(0, n - limit) for n in per_subject.values())
    yield Figure("storm, classifications answered as stored", len(told.stored), "")
    yield Figure("storm, of five events happened", trouble.done, "", at_least=5)
    yield Figure("storm, answered and not there exactly once", _wrong(told, times_stored), "", at_most=0)
    yield Figure("storm, there and never sent", len(times_stored.keys() - told.sent.keys()), "", at_most=0)
    yield Figure("storm, (volunteer, subject) twice", sum(n - 1 for n in pairs.values()), "", at_most=0)
    yield Figure("storm, limits reached", sum(n >= limit for n in per_subject.values()) / len(counts), "of 1")
    yield Figure("storm, over-classified", 100 * over / (limit * len(counts)), "%", at_most=MOST_OVER)
    differing = sum(n != per_subject[subject] for subject, n in counts.items())
    yield Figure("storm, subjects whose count is not that of their rows", differing, "", at_most=0)
    yield Figure("storm, attempts without an answer", told.statuses.get("lost", 0), "")
    for status in ("409", "429", "500", "503"):
        yield Figure(f"storm, answers of {status}", told.statuses.get(status, 0), "")
    yield Figure("storm, calls that no retry healed", told.unhealed, "", at_most=0)
    yield Figure("storm, longest until a call was answered", told.longest, "s")


def _wrong(told: Told, times_stored: Counter[str]) -> int:
    return sum(times_stored[client_id] != 1 for client_id in told.stored)
