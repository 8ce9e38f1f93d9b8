"""How a subject gets its place in a workflow's queue."""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from classify.models import DEFAULT_BUCKET, GoldStandard, SubjectProgress
from starsieve.projects.models import Workflow

MARKED_AT_ONCE = 500


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


def mark_training_subjects(*, workflow: Workflow, subject_ids: Sequence[int]) -> None:
    """Say of the subjects' places in the queue whether they train: whether a gold standard gives feedback. Writes the
    SubjectProgress rows where that has changed.
    """
    golds = GoldStandard.objects.filter(workflow=workflow, subject_id=OuterRef("subject_id"), give_feedback=True)
    for start in range(0, len(subject_ids), MARKED_AT_ONCE):
        rows = SubjectProgress.objects.filter(
            workflow=workflow, subject_id__in=subject_ids[start : start + MARKED_AT_ONCE]
        )
        rows.filter(Exists(golds), is_training=False).update(is_training=True)
        rows.filter(~Exists(golds), is_training=True).update(is_training=False)
