"""Which subjects a volunteer sees next, in bounded time at any size.

The queue is the partial index `selection_queue`: the subjects neither retired, held nor withdrawn, by bucket (highest
first) and pivot (a random number fixed at arrival). Served is what the volunteer has not classified:

1. A *window* on the highest bucket: the CAP subjects above and the CAP below a random pivot. However long the queue
   and however much this volunteer has seen, it costs the same, and volunteers spread out. This is the usual case.
2. If that was too little, the *head*: what is unseen among the first HEAD subjects of the queue, those of the highest
   bucket in random order. It settles the matter for everyone who has not seen HEAD subjects that are still open.
3. If that found nothing, windows on each bucket from the highest down, two pivots each, WINDOWS at most.
4. If those found nothing, the exact query, so that nobody is told wrongly that nothing is left.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from classify.models import Classification, SubjectProgress
from starsieve.projects.models import Subject

MOST_SUBJECTS = 20
MOST_EXCLUDED = 50
CAP = 64
HEAD = 2000
WINDOWS = 6
#: `remaining` counts up to here.
MOST_REMAINING = 200
ABOVE_ALL_BUCKETS = 2**15

PROGRESS = SubjectProgress._meta.db_table
SUBJECT = Subject._meta.db_table
CLASSIFICATION = Classification._meta.db_table

# The words of the partial index's own condition, so that SQLite recognises it.
OPEN = "workflow_id = %(workflow)s AND retired_at IS NULL AND NOT is_held AND NOT is_withdrawn"
UNSEEN = (
    f"NOT EXISTS (SELECT 1 FROM {CLASSIFICATION} seen WHERE seen.workflow_id = %(workflow)s "
    "AND seen.volunteer_id = %(volunteer)s AND seen.subject_id = queued.subject_id)"
)
HEAD_OF_QUEUE = f"""
    SELECT queued.subject_id, queued.bucket
    FROM (SELECT subject_id, bucket, pivot FROM {PROGRESS} WHERE {OPEN}
          ORDER BY bucket DESC, pivot LIMIT {HEAD}) queued
    WHERE {UNSEEN}
    LIMIT {MOST_REMAINING}
"""
BUCKET_BELOW = f"SELECT bucket FROM {PROGRESS} WHERE {OPEN} AND bucket < %(below)s ORDER BY bucket DESC LIMIT 1"
WINDOW = f"""
    SELECT subject.*, (SELECT count(*) FROM ({HEAD_OF_QUEUE}) head) AS remaining
    FROM (
        SELECT queued.subject_id, abs(queued.pivot - %(pivot)s) AS distance
        FROM (
            SELECT * FROM (
                SELECT subject_id, pivot FROM {PROGRESS}
                WHERE {OPEN} AND bucket = ({BUCKET_BELOW}) AND pivot >= %(pivot)s ORDER BY pivot LIMIT {CAP}
            ) upwards
            UNION ALL
            SELECT * FROM (
                SELECT subject_id, pivot FROM {PROGRESS}
                WHERE {OPEN} AND bucket = ({BUCKET_BELOW}) AND pivot < %(pivot)s ORDER BY pivot DESC LIMIT {CAP}
            ) downwards
        ) queued
        WHERE {UNSEEN} AND {{not_excluded}}
        ORDER BY distance
        LIMIT %(count)s
    ) nearest
    JOIN {SUBJECT} subject ON subject.id = nearest.subject_id
    ORDER BY nearest.distance
"""
EXACTLY = f"""
    SELECT subject.*
    FROM (SELECT subject_id, bucket, pivot FROM {PROGRESS} WHERE {OPEN}) queued
    JOIN {SUBJECT} subject ON subject.id = queued.subject_id
    WHERE {UNSEEN} AND {{not_excluded}}
    ORDER BY queued.bucket DESC, queued.pivot
    LIMIT %(count)s
"""
WHY_EMPTY = f"""
    SELECT EXISTS (SELECT 1 FROM {PROGRESS} WHERE {OPEN}),
           EXISTS (SELECT 1 FROM {PROGRESS} WHERE workflow_id = %(workflow)s AND NOT is_withdrawn)
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
    """The next subjects and how much is left; one query in the usual case.

    `exclude` names subjects that the client holds already (MOST_EXCLUDED at most): not served again, but left all the
    same.
    """
    search = _Search(workflow_id, volunteer_id, exclude)
    subjects = search.window(count)
    if len(subjects) == count:
        return Selection(subjects, max(subjects[0].remaining, count), "")  # type: ignore[attr-defined]
    unseen = search.head()
    subjects += search.load(_random_within_bucket(unseen, search.excluded.union(s.pk for s in subjects)), count)
    if not subjects and len(unseen) <= len(search.excluded):
        subjects = search.lower_windows(count) or search.exactly(count)
    remaining = max(len(unseen), len(subjects)) or search.count_excluded_left()
    return Selection(subjects[:count], remaining, "" if remaining else search.why_empty())


def _random_within_bucket(unseen: Sequence[tuple[int, int]], without: Collection[int]) -> list[int]:
    """Subject ids of (id, bucket) pairs, highest bucket first, in random order within a bucket."""
    left = [(-bucket, random.random(), subject_id) for subject_id, bucket in unseen if subject_id not in without]
    return [subject_id for _, _, subject_id in sorted(left)]


class _Search:
    """One volunteer's queries on one workflow's queue."""

    def __init__(self, workflow_id: int, volunteer_id: int | None, exclude: Collection[int]) -> None:
        self.excluded = frozenset(exclude)
        excluded = {f"excluded_{i}": subject_id for i, subject_id in enumerate(sorted(self.excluded))}
        names = ", ".join(f"%({name})s" for name in excluded)
        self.not_excluded = f"queued.subject_id NOT IN ({names})" if names else "true"
        # No row has the volunteer 0: someone who never classified has seen nothing.
        self.parameters: dict[str, Any] = {"workflow": workflow_id, "volunteer": volunteer_id or 0, **excluded}

    def window(self, count: int, *, below: int = ABOVE_ALL_BUCKETS) -> list[Subject]:
        return self._subjects(WINDOW, count=count, below=below, pivot=random.random())

    def lower_windows(self, count: int) -> list[Subject]:
        for below in self._tries():
            if subjects := self.window(count, below=below):
                return subjects
        return []

    def _tries(self) -> Iterator[int]:
        """Bounds above each of the highest buckets, twice each."""
        below = ABOVE_ALL_BUCKETS
        for _ in range(WINDOWS // 2):
            yield below
            yield below
            row = self._row(BUCKET_BELOW, below=below)
            if row is None:
                return
            below = row[0]

    def head(self) -> list[tuple[int, int]]:
        """(subject id, bucket) of what is unseen at the head of the queue, excluded ones included."""
        with connection.cursor() as cursor:
            cursor.execute(HEAD_OF_QUEUE, self.parameters)
            return list(cursor.fetchall())

    def load(self, subject_ids: Sequence[int], count: int) -> list[Subject]:
        found = Subject.objects.in_bulk(subject_ids[:count]) if subject_ids else {}
        return [found[subject_id] for subject_id in subject_ids[:count] if subject_id in found]

    def exactly(self, count: int) -> list[Subject]:
        return self._subjects(EXACTLY, count=count)

    def count_excluded_left(self) -> int:
        """How many of the excluded subjects are still to be classified by this volunteer."""
        if not self.excluded:
            return 0
        return len(self._subjects(EXACTLY.replace("{not_excluded}", "true"), count=len(self.excluded)))

    def why_empty(self) -> str:
        row = self._row(WHY_EMPTY)
        any_open, any_queued = row if row is not None else (False, False)
        return "seen_all" if any_open else "all_retired" if any_queued else "empty"

    def _subjects(self, sql: str, **parameters: Any) -> list[Subject]:
        filled = sql.replace("{not_excluded}", self.not_excluded)
        return list(Subject.objects.raw(filled, {**self.parameters, **parameters}))

    def _row(self, sql: str, **parameters: Any) -> tuple[Any, ...] | None:
        with connection.cursor() as cursor:
            cursor.execute(sql, {**self.parameters, **parameters})
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row
