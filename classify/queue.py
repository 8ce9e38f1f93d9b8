"""How a subject gets its place in a workflow's queue."""

from typing import Any

from django.db import connection

from classify.models import DEFAULT_BUCKET, GoldStandard, SubjectProgress


def insert_progress_rows(pairs: str, parameters: list[Any]) -> int:
    """Insert the missing SubjectProgress rows, each with a random pivot; how many there were.

    `pairs` is a SELECT of workflow_id and subject_id. One statement, however many rows; no row that exists is touched.
    """
    on_sqlite = connection.vendor == "sqlite"
    random = "RAND()" if on_sqlite else "RANDOM()"  # both in [0, 1); SQLite's is Django's own
    nothing = "'{}'" if on_sqlite else "'{}'::jsonb"
    table = SubjectProgress._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {table}
                (workflow_id, subject_id, pivot, bucket, urgency, is_held, is_withdrawn, is_control, is_training,
                 classification_count, tallies, evidence, count_at_reopening, retirement_reason)
            SELECT pairs.workflow_id, pairs.subject_id, {random}, %s, 0, %s, %s, %s, EXISTS (
                SELECT 1 FROM {GoldStandard._meta.db_table} gold
                WHERE gold.workflow_id = pairs.workflow_id AND gold.subject_id = pairs.subject_id AND gold.give_feedback
            ), 0, {nothing}, {nothing}, 0, ''
            FROM ({pairs}) pairs
            WHERE NOT EXISTS (
                SELECT 1 FROM {table} queued
                WHERE queued.workflow_id = pairs.workflow_id AND queued.subject_id = pairs.subject_id
            )
            ON CONFLICT (workflow_id, subject_id) DO NOTHING
            """,
            [DEFAULT_BUCKET, False, False, False, *parameters],
        )
        return int(cursor.rowcount)
