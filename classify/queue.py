"""How a subject gets its place in a workflow's queue."""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from classify.models import DEFAULT_BUCKET, GoldStandard, SubjectProgress
from starsieve.projects.models import Subject, SubjectSet, Workflow

Links = Workflow.subject_sets.through
MARKED_AT_ONCE = 500


def insert_progress_rows(pairs: str, parameters: list[Any]) -> int:
    """Insert the missing SubjectProgress rows, each with a random pivot; how many there were.

    `pairs` is a SELECT of workflow_id and subject_id. One statement, however many rows; no row that exists is touched.
    """
    trains = f"""EXISTS (
        SELECT 1 FROM {GoldStandard._meta.db_table} gold
        WHERE gold.workflow_id = pairs.workflow_id AND gold.subject_id = pairs.subject_id AND gold.give_feedback
    )"""
    missing = f"""SELECT * FROM ({pairs}) asked WHERE NOT EXISTS (
        SELECT 1 FROM {SubjectProgress._meta.db_table} queued
        WHERE queued.workflow_id = asked.workflow_id AND queued.subject_id = asked.subject_id
    )"""
    return _insert(missing, parameters, trains)


def queue_new_subjects(subject_set: SubjectSet, above: int) -> int:
    """Insert the rows of the set's subjects with ids above this one; how many there are.

    Neither the queue nor the gold standards are asked whether they know them, nor is any other subject read, so that it
    costs the same at any size. For that the numbers stand in the text: PostgreSQL then plans for these subjects, and
    keeps no plan that was made for fewer.
    """
    pairs = f"""
        SELECT link.workflow_id, subject.id AS subject_id FROM {Subject._meta.db_table} subject
        JOIN {Links._meta.db_table} link ON link.subjectset_id = subject.subject_set_id
        WHERE subject.id > {int(above)} AND subject.subject_set_id = {int(subject_set.pk)}
    """
    return _insert(pairs, [], "false")


def _insert(pairs: str, parameters: list[Any], trains: str) -> int:
    on_sqlite = connection.vendor == "sqlite"
    random = "RAND()" if on_sqlite else "RANDOM()"  # both in [0, 1); SQLite's is Django's own
    nothing = "'{}'" if on_sqlite else "'{}'::jsonb"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {SubjectProgress._meta.db_table}
                (workflow_id, subject_id, pivot, bucket, urgency, is_held, is_withdrawn, is_control, is_training,
                 classification_count, tallies, evidence, count_at_reopening, retirement_reason)
            SELECT pairs.workflow_id, pairs.subject_id, {random}, %s, 0, %s, %s, %s, {trains},
                 0, {nothing}, {nothing}, 0, ''
            FROM ({pairs}) pairs
            WHERE true -- without it, SQLite takes ON CONFLICT for a join's condition
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
