"""Leases: who is looking at which subject, so that one with a single answer missing is not handed to fifty people.

`next` leases what it serves to an identified volunteer for LEASE_SECONDS. A subject has room for one more while its
classifications since its last reopening and the leases of others are fewer than the classifications it takes. A lease
whose volunteer has classified the subject counts no longer (so that submitting needs no statement for it), nor does an
expired one. A volunteer's own leases never hide a subject from them; asking again renews, also those of subjects
that the client says it has already. MOST_HELD unanswered leases of one volunteer in one workflow are the most: who asks
on gets what they hold, and cannot lease a workflow away.

Two who ask at once cannot both take the last place. On PostgreSQL a function does it within the statement that selects
(migrations/0005_leasing.py), and as the table is unlogged its commit waits for no disk; on SQLite it is a transaction,
which waits for none either.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from classify.models import Lease
from classify.selection_sql import CLASSIFICATION, LEASE, OPEN, PROGRESS, ROOM
from starsieve.statements import Statement

MOST_HELD = 60
#: Whoever finds everything leased asks again after so many seconds at the latest.
LONGEST_WAIT = 30
EXPIRED_AT_ONCE = 10_000

LEASING = (
    "SELECT taken.subject_id, taken.place FROM classify_lease_subjects(%(workflow)s, %(volunteer)s, {candidates}, "
    f"{{excluded}}, %(count)s, {MOST_HELD}, %(full_at)s, %(lease_seconds)s) WITH ORDINALITY AS taken(subject_id, place)"
)
#: Where no count retires, nothing can be given out too often, and nothing is leased.
TAKING_FIRST = (
    "SELECT taken.subject_id, taken.place FROM unnest({candidates}) WITH ORDINALITY AS taken(subject_id, place) "
    "WHERE taken.place <= %(count)s"
)
FORGET_OWN = Statement(f"""
    DELETE FROM {LEASE} WHERE volunteer_id = %(volunteer)s AND workflow_id = %(workflow)s AND (
        expires_at <= %(now)s OR
        (SELECT 1 FROM {CLASSIFICATION} done WHERE done.workflow_id = %(workflow)s
         AND done.volunteer_id = %(volunteer)s AND done.subject_id = {LEASE}.subject_id LIMIT 1) IS NOT NULL
    )
""")
RENEW_OWN = Statement(f"""
    UPDATE {LEASE} SET expires_at = %(expires_at)s
    WHERE volunteer_id = %(volunteer)s AND workflow_id = %(workflow)s AND expires_at < %(half_way)s
    AND subject_id IN (SELECT value FROM json_each(%(excluded)s))
""")
HELD = Statement(
    f"SELECT subject_id FROM {LEASE} WHERE volunteer_id = %(volunteer)s AND workflow_id = %(workflow)s ORDER BY id"
)
# CROSS JOIN: SQLite reads the candidates in their order, and no further than it must.
WITH_ROOM = Statement(f"""
    SELECT queued.subject_id
    FROM json_each(%(candidates)s) candidate CROSS JOIN {PROGRESS} queued
    WHERE queued.subject_id = candidate.value AND {OPEN} AND {ROOM}
    LIMIT %(count)s
""")
ADD = Statement(f"""
    INSERT INTO {LEASE} (workflow_id, subject_id, volunteer_id, expires_at)
    SELECT %(workflow)s, value, %(volunteer)s, %(expires_at)s FROM json_each(%(candidates)s) WHERE true
    ON CONFLICT (workflow_id, subject_id, volunteer_id) DO UPDATE SET expires_at = excluded.expires_at
""")


@dataclass(frozen=True)
class Leasing:
    """For whom subjects are taken. `volunteer_id` 0: nobody yet, served without a lease. `full_at`: how many
    classifications a subject takes, None if no count retires it; nothing is leased then.
    """

    workflow_id: int
    volunteer_id: int
    full_at: int | None

    @property
    def parameters(self) -> dict[str, Any]:
        """Of LEASING and of classify.selection_sql.ROOM."""
        known: dict[str, Any] = {"workflow": self.workflow_id, "volunteer": self.volunteer_id}
        if self.full_at is None:
            return known
        return known | {"full_at": self.full_at, "lease_seconds": settings.LEASE_SECONDS, "now": timezone.now()}

    def taking(self, candidates: str, excluded: Collection[int]) -> str:
        """PostgreSQL: SQL of (subject_id, place) of the first %(count)s that can be taken of an array of candidates."""
        if self.full_at is None:
            return TAKING_FIRST.replace("{candidates}", candidates)
        ids = ", ".join(f"%(excluded_{i})s" for i in range(len(excluded)))
        return LEASING.replace("{candidates}", candidates).replace("{excluded}", f"ARRAY[{ids}]::bigint[]")

    def take(self, candidates: Sequence[int], count: int, excluded: Collection[int]) -> list[int]:
        """SQLite: the first `count` of the candidates that have room, leased to the volunteer."""
        if self.full_at is None:
            return list(candidates[:count])
        if self.volunteer_id == 0:
            return self._with_room(candidates, count)
        # The lock for writing is taken at once (transaction_mode IMMEDIATE), so that nobody leases between the look
        # and the lease.
        with _without_waiting_for_the_disk(), transaction.atomic():
            FORGET_OWN.run(self.parameters)
            if excluded:
                self._renew(excluded)
            held = [subject_id for (subject_id,) in HELD.rows(self.parameters)]
            if len(held) >= MOST_HELD:
                candidates = [subject_id for subject_id in held if subject_id not in excluded]
            taken = self._within_limit(self._with_room(candidates, count), held)
            if taken:
                ADD.run({**self.parameters, "candidates": json.dumps(taken), "expires_at": _in_lease_times(1)})
        return taken

    def _renew(self, excluded: Collection[int]) -> None:
        moments = {"expires_at": _in_lease_times(1), "half_way": _in_lease_times(0.5)}
        RENEW_OWN.run({**self.parameters, **moments, "excluded": json.dumps(list(excluded))})

    def _with_room(self, candidates: Sequence[int], count: int) -> list[int]:
        rows = WITH_ROOM.rows({**self.parameters, "candidates": json.dumps(list(candidates)), "count": count})
        found = {subject_id for (subject_id,) in rows}
        return [subject_id for subject_id in candidates if subject_id in found]

    @staticmethod
    def _within_limit(taken: list[int], held: Collection[int]) -> list[int]:
        free = MOST_HELD - len(held)
        new = [subject_id for subject_id in taken if subject_id not in held][: max(free, 0)]
        return [subject_id for subject_id in taken if subject_id in held or subject_id in new]


def _in_lease_times(n: float) -> datetime:
    return timezone.now() + timedelta(seconds=n * settings.LEASE_SECONDS)


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    """SQLite: leases are worth nothing after a power cut. The next transaction that must last (settings) takes them to
    the disk with itself; the file is whole either way, as it is written ahead. Within a transaction nothing changes.
    """
    if connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            cursor.execute("PRAGMA synchronous=FULL")


def seconds_to_wait(workflow_id: int) -> int:
    """When to ask again where everything is leased: as the first lease of the workflow runs out, 1 to LONGEST_WAIT."""
    now = timezone.now()
    soon = Lease.objects.filter(expires_at__gt=now, expires_at__lt=now + timedelta(seconds=LONGEST_WAIT))
    first: datetime | None = (
        soon.filter(workflow_id=workflow_id).order_by("expires_at").values_list("expires_at", flat=True).first()
    )
    return LONGEST_WAIT if first is None else max(1, ceil((first - now).total_seconds()))


def delete_expired_leases() -> int:
    """How many there were. Writes Lease in chunks, and passes over rows that somebody is renewing just now."""
    deleted = 0
    while True:
        with transaction.atomic():
            expired = Lease.objects.filter(expires_at__lte=timezone.now())
            if connection.features.has_select_for_update_skip_locked:
                expired = expired.select_for_update(skip_locked=True)
            chunk = list(expired.values_list("pk", flat=True)[:EXPIRED_AT_ONCE])
            n, _ = Lease.objects.filter(pk__in=chunk).delete() if chunk else (0, {})
        deleted += n
        if len(chunk) < EXPIRED_AT_ONCE:
            return deleted
