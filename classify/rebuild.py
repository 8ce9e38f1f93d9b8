"""Derived state made anew from the classifications: the same result as when they arrived."""

from collections.abc import Callable, Iterator

from django.db import transaction

from classify.counting import Counted, recount
from classify.models import Classification, ClassificationQuerySet, SubjectProgress
from classify.queue import insert_progress_rows
from classify.recounting import PLACE_COLUMNS, Place, recount_many, store_derived
from starsieve.projects.models import Workflow, WorkflowVersion

SUBJECTS_AT_ONCE = 2000
ROWS_AT_ONCE = 2000

Versions = dict[int, WorkflowVersion]
OnProgress = Callable[[int, int], None]


def rebuild_results(*, workflow: Workflow, on_progress: OnProgress | None = None) -> int:
    """Recompute tallies, counts and retirement of every subject from the classifications; how many rows changed.

    Volunteers may go on classifying meanwhile. Two thousand subjects at a time, in one transaction each: locks their
    SubjectProgress rows in the order of their ids, counts their classifications together, writes the rows that differ.
    First adds rows that are missing. Decisions by hand stay. `on_progress` is told (subjects done, subjects in all).
    """
    add_missing_rows(workflow)
    total = SubjectProgress.objects.filter(workflow=workflow).count()
    done = changed = last = 0
    while True:
        with transaction.atomic():
            locked = SubjectProgress.objects.select_for_update().filter(workflow=workflow, pk__gt=last).order_by("pk")
            chunk = [Place.of(row) for row in locked.values_list(*PLACE_COLUMNS)[:SUBJECTS_AT_ONCE]]
            if not chunk:
                return changed
            changed += _rebuild_chunk(workflow, chunk)
        last = chunk[-1].id
        done += len(chunk)
        if on_progress is not None:
            on_progress(min(done, total), total)


def recount_subject(progress: SubjectProgress, current: WorkflowVersion) -> None:
    """Bring one locked progress row up to date in memory; the caller writes it."""
    rows = Classification.objects.filter(workflow_id=progress.workflow_id, subject_id=progress.subject_id)
    versions = {version.pk: version for version in WorkflowVersion.objects.filter(workflow_id=progress.workflow_id)}
    recount(progress, current, (_counted(row, versions) for row in _stream(rows)))


def add_missing_rows(workflow: Workflow) -> int:
    """A progress row for each classified subject that has none, out of the queue where its set is not linked."""
    added = insert_progress_rows(
        f"SELECT DISTINCT workflow_id, subject_id FROM {Classification._meta.db_table} WHERE workflow_id = %s",
        [workflow.pk],
    )
    if added:
        queued = SubjectProgress.objects.filter(workflow=workflow, is_withdrawn=False)
        queued.exclude(subject__subject_set__in=workflow.subject_sets.all()).update(is_withdrawn=True)
    return added


def _rebuild_chunk(workflow: Workflow, places: list[Place]) -> int:
    current = Workflow.objects.select_related("current").get(pk=workflow.pk).current
    if current is None:
        return 0
    anew = recount_many(places, current)
    changed = [(place, derived) for place, derived in zip(places, anew, strict=True) if derived != place.stored]
    if changed:
        store_derived(changed)
    return len(changed)


def _stream(rows: ClassificationQuerySet) -> Iterator[Classification]:
    """Counted classifications, subject by subject, each in the order in which they were counted."""
    columns = ("subject_id", "workflow_version_id", "annotations", "volunteer_id", "created_at")
    return rows.counted().order_by("subject_id", "id").only(*columns).iterator(ROWS_AT_ONCE)


def _counted(row: Classification, versions: Versions) -> Counted:
    return Counted(versions[row.workflow_version_id], row.annotations, row.volunteer_id, row.created_at)
