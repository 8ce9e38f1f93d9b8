"""How the database serves selection on a long queue: through indexes, and no dearer for someone who has seen a lot."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from classify import leases, selection, selection_sql
from classify.models import Classification, Lease, SubjectProgress, Volunteer
from classify.services import queue_subjects
from classify.versions import definition_of
from starsieve.projects.models import Subject

N_SUBJECTS = 22_000
N_SEEN = 20_000
TABLES = (SubjectProgress, Classification, Subject, Lease)
N_LEASES = 5_000
N_HOLDERS = 50
ORDINARY = ["HEAD_OF_QUEUE", "PRIORITY_BELOW", "EXACTLY", "WHY_EMPTY", "TRAINING"]
STATEMENTS = {"sqlite": ["WINDOW_CANDIDATES", *ORDINARY], "postgresql": ["WINDOW_TAKEN", *ORDINARY]}


class LongQueue:
    """A workflow with N_SUBJECTS in two buckets and two volunteers: `new` has seen nothing, `old` the first N_SEEN."""

    def __init__(self, world: Any) -> None:
        self.workflow = world.workflow(subjects=1)
        self.new, self.old = world.volunteer(), world.volunteer()
        with connection.cursor() as cursor:
            self._fill(cursor, self.workflow.project.subjects.get())
            self._lease(cursor)
            cursor.execute("ANALYZE")

    def _fill(self, cursor: Any, like: Subject) -> None:
        columns = "project_id, subject_set_id, frames, metadata, hidden_metadata, origin, created_at"
        cursor.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {N_SUBJECTS - 1}) "
            f"INSERT INTO projects_subject (name, {columns}) "
            f"SELECT 'copy ' || n, {columns} FROM projects_subject, numbers WHERE id = %s",
            [like.pk],
        )
        queue_subjects(like.subject_set)
        SubjectProgress.objects.filter(subject_id__gt=like.pk, subject_id__lte=like.pk + N_SEEN // 2).update(bucket=90)
        copied = (
            "workflow_version_id, annotations, started_at, finished_at, created_at, metadata, after_retirement, "
            "by_expert"
        )
        pattern = Classification.objects.create(
            client_id="00000000-0000-4000-8000-000000000000", workflow=self.workflow, volunteer=self.old,
            workflow_version=self.workflow.current, subject=like, annotations=[],
            started_at="2026-05-01T12:00:00Z", finished_at="2026-05-01T12:00:00Z",
        )  # fmt: skip
        number = "substr('00000000000000000000000000000000' || queued.subject_id, -32)"
        if connection.vendor == "postgresql":
            number = "lpad(queued.subject_id::text, 32, '0')::uuid"
        cursor.execute(
            f"INSERT INTO classify_classification (client_id, workflow_id, volunteer_id, subject_id, {copied}) "
            f"SELECT {number}, queued.workflow_id, seen.volunteer_id, queued.subject_id, {copied} "
            "FROM (SELECT * FROM classify_subjectprogress WHERE subject_id > %s "
            "ORDER BY priority DESC, pivot LIMIT %s) "
            "queued, classify_classification seen WHERE seen.id = %s",
            [like.pk, N_SEEN, pattern.pk],
        )

    def _lease(self, cursor: Any) -> None:
        """Others hold as many subjects as a busy site's volunteers do."""
        expires_at = timezone.now() + timedelta(minutes=5)
        for number in range(N_HOLDERS):
            other = Volunteer.objects.create(visitor=uuid4())
            cursor.execute(
                "INSERT INTO classify_lease (workflow_id, subject_id, volunteer_id, expires_at) "
                "SELECT workflow_id, subject_id, %s, %s FROM classify_subjectprogress LIMIT %s OFFSET %s",
                [other.pk, expires_at, N_LEASES // N_HOLDERS, number * N_LEASES // N_HOLDERS],
            )

    def parameters(self, volunteer: Any) -> dict[str, Any]:
        window = {"pivot": 0.4, "below": 2**20, "count": 1, "last_threshold": 60}
        return window | leasing_of(self.workflow, volunteer).parameters

    def select(self, volunteer: Any) -> selection.Selection:
        return selection.select(
            workflow_id=self.workflow.pk,
            definition=definition_of(self.workflow.current),
            volunteer_id=volunteer.pk,
            count=3,
        )


def leasing_of(workflow: Any, volunteer: Any) -> leases.Leasing:
    return leases.Leasing(workflow.pk, volunteer.pk, 3)


@pytest.fixture
def long_queue(world: Any) -> LongQueue:
    return LongQueue(world)


def sql_of(name: str) -> str:
    """The statement as it is sent, nothing excluded."""
    taking = leases.Leasing(1, 1, 3).taking(f"ARRAY({selection_sql.CANDIDATES})", ())
    statement = getattr(selection_sql, name)
    text = statement[connection.vendor] if isinstance(statement, dict) else str(statement)
    text = text.replace("{taking}", taking).replace("{room}", selection_sql.ROOM)
    return text.replace("{not_excluded}", "true").replace("{ordinary}", "NOT is_training").replace("{count}", "1")


def sqlite_plan(name: str, parameters: dict[str, Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql_of(name)}", parameters)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def postgresql_plan(name: str, parameters: dict[str, Any], mode: str) -> dict[str, Any]:
    """The plan as it was run, planned for these parameters or, as a prepared statement may be, for any."""
    sql, types = sql_of(name), []
    for parameter in [each for each in parameters if f"%({each})s" in sql]:
        types.append({"pivot": "float8", "now": "timestamptz"}.get(parameter, "bigint"))
        sql = sql.replace(f"%({parameter})s", f"${len(types)}")
    values = ", ".join(f"'{parameters[each]}'" for each in parameters if f"%({each})s" in sql_of(name))
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = force_{mode}_plan")
        cursor.execute(f"PREPARE explained ({', '.join(types)}) AS {sql}")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE explained ({values})")
        plan = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE explained")
    return dict((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def rows_read(plan: dict[str, Any]) -> float:
    """Rows that came out of tables and their indexes."""
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes(plan)
        if "Relation Name" in node
    )


def steps_on_sqlite(parameters: dict[str, Any]) -> int:
    """Instructions of SQLite's machine that the window takes, in thousands."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.connection.set_progress_handler(count, 1000)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql_of("WINDOW_CANDIDATES"), parameters)
            cursor.fetchall()
    finally:
        connection.connection.set_progress_handler(None, 0)
    return steps


def test_nothing_is_scanned_and_a_lot_seen_costs_no_more(long_queue: LongQueue) -> None:
    new, old = long_queue.parameters(long_queue.new), long_queue.parameters(long_queue.old)
    if connection.vendor == "sqlite":
        names = {model._meta.db_table for model in TABLES} | {"seen", "subject", "held", "done"}
        for name in STATEMENTS["sqlite"]:
            plan = sqlite_plan(name, old)
            # Elsewhere `queued` is what the statement itself has read of the table, up to its caps.
            tables = names | {"queued"} if name == "EXACTLY" else names
            assert not [line for line in plan.splitlines() if line.startswith("SCAN") and line.split()[1] in tables], (
                plan
            )
            assert "selection_by_priority" in plan or name == "TRAINING"
        assert steps_on_sqlite(old) < 100
        # Who has seen it all has every part read, and once more to see whether one was cut.
        assert steps_on_sqlite(old) <= 4 * steps_on_sqlite(new)
        return
    for mode in ("custom", "generic"):
        for name in STATEMENTS["postgresql"]:
            plan = postgresql_plan(name, old, mode)
            assert not [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"], (mode, name, plan)
        assert rows_read(postgresql_plan("WINDOW_TAKEN", old, mode)) <= 3 * 3 * selection_sql.CAP + 10
        assert rows_read(postgresql_plan("WINDOW_TAKEN", new, mode)) <= 2 * selection_sql.MOST_REMAINING + 10
        assert rows_read(postgresql_plan("HEAD_OF_QUEUE", old, mode)) <= 2 * selection_sql.HEAD + 10


def test_who_has_seen_the_whole_head_of_a_long_queue_is_served_the_rest(long_queue: LongQueue) -> None:
    seen = set(Classification.objects.filter(volunteer=long_queue.old).values_list("subject_id", flat=True))
    assert len(seen) > selection_sql.HEAD
    for _ in range(3):
        found = long_queue.select(long_queue.old)
        assert len(found.subjects) == 3
        assert not seen & {subject.pk for subject in found.subjects}


def scans() -> dict[str, int]:
    """PostgreSQL: how often each table was read from end to end in this transaction, in functions too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, seq_scan FROM pg_stat_xact_user_tables")
        return dict(cursor.fetchall())


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite's leases are in the plans above")
def test_leasing_reads_no_table_from_end_to_end(long_queue: LongQueue) -> None:
    before = scans()
    for volunteer in [long_queue.old, long_queue.new] * 5:  # beyond the fifth call a function's plans are generic
        assert long_queue.select(volunteer).subjects
    for model in TABLES:
        assert scans()[model._meta.db_table] == before[model._meta.db_table], model
