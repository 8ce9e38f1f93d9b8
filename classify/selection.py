"""Which subjects a volunteer sees next, in bounded time at any size.

The queue is the partial index `selection_by_priority`: subjects neither retired, held nor withdrawn, by priority
(bucket, within it urgency, highest first) and pivot (a random number fixed at arrival). Served is what the volunteer
has not classified and what has room for one more answer (classify/leases.py):

1. A *window* on the highest bucket: around a random pivot in each of its three most urgent groups, which are mostly
   small, then in its mass, the subjects of urgency 0; where that is too little, what comes below. However long the
   queue and however much this volunteer has seen, it costs the same, and volunteers spread out. This is the usual
   case: one statement, which also counts what is left and, on PostgreSQL, writes the leases. Where it finds nothing in
   a queue that is longer, another pivot is tried.
2. If that was too little, the *head*: what is unseen among the first HEAD subjects of the queue, those of the highest
   priority in random order. It settles the matter for everyone who has not seen HEAD subjects that are still open.
3. If that found nothing, windows on each priority from the highest down, two pivots each, WINDOWS at most.
4. If those found nothing, the exact query, so that nobody is told wrongly that nothing is left.

Where the workflow has a training schedule, training subjects come by that alone (`_Search.training`).
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from classify import selection_sql as sql
from classify.leases import Leasing, seconds_to_wait
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Subject
from starsieve.statements import Statement

MOST_SUBJECTS = 20
MOST_EXCLUDED = 50
#: A statement has as many places for excluded subjects as one of these, so that few are prepared.
EXCLUDED_PLACES = (0, 5, MOST_EXCLUDED)
WINDOWS = 6
ABOVE_ALL = 2**20
ALL_LEASED = "all_leased"


@dataclass(frozen=True)
class Selection:
    """`subjects`, best first. `remaining`: how many this volunteer has left, those and the excluded ones included;
    MOST_REMAINING says that many or more. `reason` is empty while something can be served, then why nothing is:
    "all_leased" (some are left, but others hold them, or this volunteer holds as many as one may: ask again after
    `retry_after` seconds), "seen_all" (this volunteer has classified all that is open), "all_retired" (nothing is open)
    or "empty" (nothing is queued).
    """

    subjects: list[Subject]
    remaining: int
    reason: str = ""
    retry_after: int | None = None

    @property
    def is_finished(self) -> bool:
        return self.reason not in ("", ALL_LEASED)


def select(
    *,
    workflow_id: int,
    definition: WorkflowDefinition,
    volunteer_id: int | None,
    count: int,
    exclude: Collection[int] = (),
) -> Selection:
    """The next subjects and how much is left; one statement in the usual case on PostgreSQL. Writes Lease rows.

    `definition` is the current version's; `volunteer_id` None is somebody who never classified. `exclude` names
    subjects that the client holds already (MOST_EXCLUDED at most): not served again, but left all the same.
    With a training schedule at most one more statement; each place is taken by a training subject with the
    volunteer's present rate, as long as anything of the ordinary queue is left.
    """
    search = _Search(workflow_id, definition, volunteer_id, exclude)
    training = search.training(count)
    ordinary = _select_ordinary(search, count - sum(subject is not None for subject in training))
    if ordinary.is_finished or not any(training):
        return ordinary
    rest = iter(ordinary.subjects)
    merged = [chosen if chosen is not None else next(rest, None) for chosen in training]
    return Selection([subject for subject in merged if subject is not None], ordinary.remaining)


def _select_ordinary(search: "_Search", count: int) -> Selection:
    window = search.window(count)
    if not window.n_unseen and not window.is_exact:
        # The pivot fell on a stretch that this volunteer has seen. What they hold already is served all the same.
        window = search.window(count)
    subjects = window.subjects
    if len(subjects) == count and window.n_unseen and (window.is_exact or count == 0):
        return Selection(subjects, window.n_unseen)
    head = search.head()
    known = search.excluded.union(subject.pk for subject in subjects)
    subjects += search.take(_random_within_priority(head.unseen, known), count - len(subjects), known)
    if count and not subjects and not head.is_whole:
        subjects = search.lower_windows(count) or search.exactly(count)
    remaining = max(len(head.unseen), window.n_unseen, len(subjects))
    if subjects:
        return Selection(subjects, remaining)
    left = {subject_id for subject_id, _ in head.unseen}
    if not head.is_whole and left <= search.excluded:
        left = search.left(len(search.excluded) + 1)
    if not left:
        return Selection([], 0, search.why_empty())
    remaining = max(remaining, len(left))
    if count == 0 or left <= search.excluded:
        return Selection([], remaining)
    return Selection([], remaining, ALL_LEASED, seconds_to_wait(search.workflow_id))


def _random_within_priority(unseen: Sequence[tuple[int, int]], without: Collection[int]) -> list[int]:
    """Subject ids of (id, priority) pairs, highest priority first, in random order within a priority."""
    left = [(-priority, random.random(), subject_id) for subject_id, priority in unseen if subject_id not in without]
    return [subject_id for _, _, subject_id in sorted(left)]


@dataclass(frozen=True)
class _Window:
    """`n_unseen`: how many this volunteer has left, as far as the window saw; `is_exact`, all of them, or as many as
    are ever counted.
    """

    subjects: list[Subject]
    n_unseen: int
    is_exact: bool


@dataclass(frozen=True)
class _Head:
    """(subject id, priority) of what is unseen at the head of the queue, excluded ones included; `is_whole`: the queue
    is no longer than that.
    """

    unseen: list[tuple[int, int]]
    is_whole: bool


class _Search:
    """One volunteer's queries on one workflow's queue."""

    def __init__(
        self, workflow_id: int, definition: WorkflowDefinition, volunteer_id: int | None, exclude: Collection[int]
    ) -> None:
        self.workflow_id = workflow_id
        self.schedule = definition.training
        self.excluded = frozenset(exclude)
        # No row has the volunteer 0: someone who never classified has seen nothing.
        self.leasing = Leasing(workflow_id, volunteer_id or 0, definition.retirement.classification_count)
        self.parameters = self.leasing.parameters

    def training(self, count: int) -> list[Subject | None]:
        """For each of `count` places the training subject that takes it, or None.

        The chances are drawn before the volunteer's rate is known: where none is below the highest rate, nothing needs
        to be asked.
        """
        schedule = self.schedule
        chances = [random.random() for _ in range(count)]
        n_most = sum(chance < schedule.highest_rate for chance in chances) if schedule is not None else 0
        if schedule is None or n_most == 0:
            return [None] * count
        asked = {"count": n_most, "pivot": random.random(), "last_threshold": schedule.last_threshold}
        rows = self._rows(sql.TRAINING[connection.vendor], self.excluded, **asked)
        rate = schedule.rate(rows[0][0]) if rows else 0.0
        found = iter([sql.SERVED.instance(row[1:]) for row in rows])
        return [next(found, None) if chance < rate else None for chance in chances]

    def window(self, count: int, *, below: int = ABOVE_ALL) -> _Window:
        asked = {"below": below, "pivot": random.random()}
        if connection.vendor == "postgresql":
            taking = self.leasing.taking(f"ARRAY({sql.CANDIDATES})", _places(self.excluded))
            rows = self._rows(sql.WINDOW_TAKEN.replace("{taking}", taking), self.excluded, **asked, count=count)
            subjects = [sql.SERVED.instance(row[2:]) for row in rows if row[2] is not None]
        else:
            rows = self._rows(sql.WINDOW_CANDIDATES, self.excluded, **asked)
            subjects = self.take([row[2] for row in rows if row[2] is not None], count, self.excluded)
        n_unseen, n_cut = rows[0][:2]
        return _Window(subjects, min(n_unseen, sql.MOST_REMAINING), n_cut == 0)

    def take(self, candidates: Sequence[int], count: int, excluded: Collection[int]) -> list[Subject]:
        """The first `count` of the candidates that have room, as subjects, leased."""
        if not candidates or count == 0:
            return []
        if connection.vendor == "postgresql":
            taking = self.leasing.taking("%(candidates)s::bigint[]", _places(excluded))
            ids = "{" + ",".join(str(subject_id) for subject_id in candidates) + "}"
            rows = self._rows(sql.TAKEN.replace("{taking}", taking), excluded, candidates=ids, count=count)
            return [sql.SERVED.instance(row) for row in rows]
        taken = self.leasing.take(candidates, count, excluded)
        found = Subject.objects.only(*sql.SERVED.names).in_bulk(taken) if taken else {}
        return [found[subject_id] for subject_id in taken if subject_id in found]

    def head(self) -> _Head:
        rows = self._rows(sql.HEAD_OF_QUEUE)
        unseen = [(subject_id, priority) for _, subject_id, priority in rows if subject_id is not None]
        return _Head(unseen, rows[0][0] < sql.HEAD)

    def lower_windows(self, count: int) -> list[Subject]:
        for below in self._tries():
            if subjects := self.window(count, below=below).subjects:
                return subjects
        return []

    def _tries(self) -> Iterator[int]:
        """Bounds above each of the highest priorities, twice each."""
        below = ABOVE_ALL
        for _ in range(WINDOWS // 2):
            yield below
            yield below
            rows = self._rows(sql.PRIORITY_BELOW, below=below)
            if not rows:
                return
            below = rows[0][0]

    def exactly(self, count: int) -> list[Subject]:
        room = "true" if self.leasing.full_at is None else sql.ROOM
        return self.take(self._exact(count + sql.SPARE, room, self.excluded), count, self.excluded)

    def left(self, most: int) -> set[int]:
        """What is still to be classified by this volunteer, whoever holds it, excluded ones included."""
        return set(self._exact(most, "true", ()))

    def _exact(self, most: int, room: str, excluded: Collection[int]) -> list[int]:
        exact = sql.EXACTLY.replace("{count}", str(int(most))).replace("{room}", room)
        return [subject_id for (subject_id,) in self._rows(exact, excluded)]

    def why_empty(self) -> str:
        [(any_open, any_queued)] = self._rows(sql.WHY_EMPTY)
        return "seen_all" if any_open else "all_retired" if any_queued else "empty"

    def _rows(self, text: str, excluded: Collection[int] = (), **parameters: Any) -> list[tuple[Any, ...]]:
        places = {f"excluded_{i}": subject_id for i, subject_id in enumerate(_places(excluded))}
        names = ", ".join(f"%({name})s" for name in places)
        ordinary = "true" if self.schedule is None else "NOT is_training"
        filled = text.replace("{not_excluded}", f"subject_id NOT IN ({names})" if names else "true")
        return Statement(filled.replace("{ordinary}", ordinary)).rows({**self.parameters, **places, **parameters})


def _places(excluded: Collection[int]) -> list[int]:
    """The excluded subjects, filled up to one of the few lengths that statements are prepared for."""
    lengths = (*EXCLUDED_PLACES, MOST_EXCLUDED + MOST_SUBJECTS)
    length = next(n for n in lengths if n >= len(excluded))
    return [*sorted(excluded), *[0] * length][:length]  # no subject has the id 0
