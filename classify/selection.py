"""Which subjects a volunteer sees next, in bounded time at any size.

The queue is the partial index `selection_by_priority`: subjects neither retired, held nor withdrawn, by priority
(highest first) and pivot (a random number fixed at arrival). Served is what the volunteer has not classified:

1. A *window* on the highest bucket: the CAP subjects above a random pivot, then, where those are too few, the CAP at
   the bucket's beginning. However long the queue and however much this volunteer has seen, it costs the same, and
   volunteers spread out. This is the usual case: one statement, which also counts what is left.
2. If that was too little, the *head*: what is unseen among the first HEAD subjects of the queue, those of the highest
   bucket in random order. It settles the matter for everyone who has not seen HEAD subjects that are still open.
3. If that found nothing, windows on each bucket from the highest down, two pivots each, WINDOWS at most.
4. If those found nothing, the exact query, so that nobody is told wrongly that nothing is left.

Whether a subject was seen is asked for one subject at a time, as a scalar subquery: given the choice (NOT EXISTS),
PostgreSQL would rather read everything that this volunteer ever classified. In the exact query a CASE around it keeps
PostgreSQL from thinking that hardly any subject is unseen, and from sorting the whole table for that.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from classify.models import Classification, SubjectProgress
from starsieve.projects.models import Subject
from starsieve.statements import Columns, Statement

MOST_SUBJECTS = 20
MOST_EXCLUDED = 50
#: A statement has as many places for excluded subjects as one of these, so that few are prepared.
EXCLUDED_PLACES = (0, 5, MOST_EXCLUDED)
CAP = 256
HEAD = 2000
WINDOWS = 6
#: `remaining` counts up to here.
MOST_REMAINING = 200
ABOVE_ALL = 2**20

PROGRESS = SubjectProgress._meta.db_table
SUBJECT = Subject._meta.db_table
CLASSIFICATION = Classification._meta.db_table
SERVED = Columns(Subject, "id", "frames", "metadata")

# The words of the partial index's own condition, so that SQLite recognises it.
OPEN = "workflow_id = %(workflow)s AND retired_at IS NULL AND NOT is_held AND NOT is_withdrawn"
UNSEEN = (
    f"(SELECT 1 FROM {CLASSIFICATION} seen WHERE seen.workflow_id = %(workflow)s "
    "AND seen.volunteer_id = %(volunteer)s AND seen.subject_id = queued.subject_id LIMIT 1) IS NULL"
)
HEAD_OF_QUEUE = f"""
    SELECT queued.subject_id, queued.priority
    FROM (SELECT subject_id, priority, pivot FROM {PROGRESS} WHERE {OPEN}
          ORDER BY priority DESC, pivot LIMIT {HEAD}) queued
    WHERE {UNSEEN}
    LIMIT {MOST_REMAINING}
"""
PRIORITY_BELOW = f"SELECT priority FROM {PROGRESS} WHERE {OPEN} AND priority < %(below)s ORDER BY priority DESC LIMIT 1"
# `count` is written into the exact query: of a parameter PostgreSQL would expect a tenth of the table.
# The parts of `queued` are read one after the other, and only as far as it takes to fill `unseen`; the last part is
# only counted. Where `unseen` is not filled all of `queued` has been read: fewer than CAP, and the count is exact.
WINDOW = f"""
    WITH highest AS ({PRIORITY_BELOW}),
    queued AS (
        SELECT * FROM (
            SELECT 0 AS part, subject_id, pivot FROM {PROGRESS}
            WHERE {OPEN} AND priority = (SELECT priority FROM highest) AND pivot >= %(pivot)s ORDER BY pivot LIMIT {CAP}
        ) upwards
        UNION ALL
        SELECT * FROM (
            SELECT 1 AS part, subject_id, pivot FROM {PROGRESS}
            WHERE {OPEN} AND priority = (SELECT priority FROM highest) AND pivot < %(pivot)s ORDER BY pivot LIMIT {CAP}
        ) beginning
        UNION ALL
        SELECT * FROM (
            SELECT 2 AS part, subject_id, pivot FROM {PROGRESS}
            WHERE {OPEN} AND priority < (SELECT priority FROM highest) ORDER BY priority DESC, pivot LIMIT {CAP}
        ) lower
    ),
    unseen AS (SELECT part, subject_id, pivot FROM queued WHERE {UNSEEN} LIMIT {MOST_REMAINING})
    SELECT (SELECT count(*) FROM unseen) AS n_unseen,
           CASE WHEN (SELECT count(*) FROM unseen) < {MOST_REMAINING} THEN (SELECT count(*) FROM queued) ELSE 0 END,
           {SERVED.of("subject")}
    FROM (
        SELECT part, subject_id, pivot FROM unseen WHERE part < 2 AND {{not_excluded}}
        ORDER BY part, pivot LIMIT %(count)s
    ) nearest
    JOIN {SUBJECT} subject ON subject.id = nearest.subject_id
    ORDER BY nearest.part, nearest.pivot
"""
EXACTLY = f"""
    SELECT {SERVED.of("subject")}
    FROM (
        SELECT subject_id, priority, pivot FROM {PROGRESS} queued
        WHERE {OPEN} AND CASE WHEN {UNSEEN} THEN true ELSE false END AND {{not_excluded}}
        ORDER BY priority DESC, pivot LIMIT {{count}}
    ) first
    JOIN {SUBJECT} subject ON subject.id = first.subject_id
    ORDER BY first.priority DESC, first.pivot
"""
WHY_EMPTY = f"""
    SELECT (SELECT 1 FROM {PROGRESS} WHERE {OPEN} ORDER BY priority DESC, pivot LIMIT 1) IS NOT NULL,
           (SELECT 1 FROM {PROGRESS} WHERE workflow_id = %(workflow)s AND NOT is_withdrawn
            ORDER BY subject_id LIMIT 1) IS NOT NULL
"""


@dataclass(frozen=True)
class Selection:
    """`subjects`, best first. `remaining`: how many this volunteer has left, those and the excluded ones included;
    MOST_REMAINING says that many or more. `reason` is empty while something is left, then why nothing is: "seen_all"
    (this volunteer has classified all that is open), "all_retired" (nothing is open) or "empty" (nothing is queued).
    """

    subjects: list[Subject]
    remaining: int
    reason: str


def next_subjects(
    *, workflow_id: int, volunteer_id: int | None, count: int, exclude: Collection[int] = ()
) -> list[Subject]:
    """Up to `count` distinct open subjects that the volunteer has not classified, the highest bucket first."""
    return select(workflow_id=workflow_id, volunteer_id=volunteer_id, count=count, exclude=exclude).subjects


def select(*, workflow_id: int, volunteer_id: int | None, count: int, exclude: Collection[int] = ()) -> Selection:
    """The next subjects and how much is left; one statement in the usual case.

    `exclude` names subjects that the client holds already (MOST_EXCLUDED at most): not served again, but left all the
    same.
    """
    search = _Search(workflow_id, volunteer_id, exclude)
    window = search.window(count)
    subjects = window.subjects
    if len(subjects) == count and window.is_exact:
        return Selection(subjects, window.n_unseen, "")
    unseen = search.head()
    subjects += search.load(_random_within_bucket(unseen, search.excluded.union(s.pk for s in subjects)), count)
    if not subjects and len(unseen) <= len(search.excluded):
        subjects = search.lower_windows(count) or search.exactly(count)
    remaining = max(len(unseen), window.n_unseen, len(subjects)) or search.count_excluded_left()
    return Selection(subjects[:count], remaining, "" if remaining else search.why_empty())


def _random_within_bucket(unseen: Sequence[tuple[int, int]], without: Collection[int]) -> list[int]:
    """Subject ids of (id, bucket) pairs, highest bucket first, in random order within a bucket."""
    left = [(-bucket, random.random(), subject_id) for subject_id, bucket in unseen if subject_id not in without]
    return [subject_id for _, _, subject_id in sorted(left)]


@dataclass(frozen=True)
class _Window:
    """`n_unseen`: how many this volunteer has left, as far as the window saw; `is_exact`, all of them, or as many as
    are ever counted.
    """

    subjects: list[Subject]
    n_unseen: int = 0
    is_exact: bool = False


class _Search:
    """One volunteer's queries on one workflow's queue."""

    def __init__(self, workflow_id: int, volunteer_id: int | None, exclude: Collection[int]) -> None:
        self.excluded = frozenset(exclude)
        places = next(n for n in EXCLUDED_PLACES if n >= len(self.excluded))
        padded = [*sorted(self.excluded), *[0] * places][:places]  # no subject has the id 0
        excluded = {f"excluded_{i}": subject_id for i, subject_id in enumerate(padded)}
        names = ", ".join(f"%({name})s" for name in excluded)
        self.not_excluded = f"subject_id NOT IN ({names})" if names else "true"
        # No row has the volunteer 0: someone who never classified has seen nothing.
        self.parameters: dict[str, Any] = {"workflow": workflow_id, "volunteer": volunteer_id or 0, **excluded}

    def window(self, count: int, *, below: int = ABOVE_ALL) -> _Window:
        rows = self._rows(WINDOW, count=count, below=below, pivot=random.random())
        if not rows:
            return _Window([])
        n_unseen, n_queued = rows[0][:2]
        return _Window([SERVED.instance(row[2:]) for row in rows], n_unseen, n_queued < CAP)

    def lower_windows(self, count: int) -> list[Subject]:
        for below in self._tries():
            if subjects := self.window(count, below=below).subjects:
                return subjects
        return []

    def _tries(self) -> Iterator[int]:
        """Bounds above each of the highest buckets, twice each."""
        below = ABOVE_ALL
        for _ in range(WINDOWS // 2):
            yield below
            yield below
            rows = self._rows(PRIORITY_BELOW, below=below)
            if not rows:
                return
            below = rows[0][0]

    def head(self) -> list[tuple[int, int]]:
        """(subject id, bucket) of what is unseen at the head of the queue, excluded ones included."""
        return [(subject_id, bucket) for subject_id, bucket in self._rows(HEAD_OF_QUEUE)]

    def load(self, subject_ids: Sequence[int], count: int) -> list[Subject]:
        found = Subject.objects.only(*SERVED.names).in_bulk(subject_ids[:count]) if subject_ids else {}
        return [found[subject_id] for subject_id in subject_ids[:count] if subject_id in found]

    def exactly(self, count: int) -> list[Subject]:
        return [SERVED.instance(row) for row in self._rows(EXACTLY.replace("{count}", str(int(count))))]

    def count_excluded_left(self) -> int:
        """How many of the excluded subjects are still to be classified by this volunteer."""
        if not self.excluded:
            return 0
        every = EXACTLY.replace("{not_excluded}", "true").replace("{count}", str(len(self.excluded)))
        return len(self._rows(every))

    def why_empty(self) -> str:
        [(any_open, any_queued)] = self._rows(WHY_EMPTY)
        return "seen_all" if any_open else "all_retired" if any_queued else "empty"

    def _rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        filled = sql.replace("{not_excluded}", self.not_excluded)
        return Statement(filled).rows({**self.parameters, **parameters})
