"""Derived state made anew from the classifications: the same result as when they arrived."""

from collections.abc import Callable, Sequence

from django.db import transaction
from django.db.models import Q

from classify.counting import Counted, Weighing, recount
from classify.live import evidence_of, fit_in_force, skills_of
from classify.models import Classification, SubjectProgress
from classify.queue import insert_progress_rows
from classify.recounting import PLACE_COLUMNS, Place, recount_many, store_derived
from classify.retirement import BY_POSTERIOR
from starsieve.projects.models import Workflow, WorkflowVersion

SUBJECTS_AT_ONCE = 2000
COUNTED_COLUMNS = ("workflow_version_id", "annotations", "volunteer_id", "created_at", "by_expert")

Versions = dict[int, WorkflowVersion]
OnProgress = Callable[[int, int], None]
EVERY_ROW = Q()
#: What a new fit can change: subjects that are open with votes, and those that a rule on probabilities has retired.
MOVED_BY_A_FIT = Q(retired_at=None, classification_count__gt=0) | Q(retirement_reason__in=sorted(BY_POSTERIOR))


def rebuild_results(*, workflow: Workflow, rows: Q = EVERY_ROW, on_progress: OnProgress | None = None) -> int:
    """Recompute tallies, counts and retirement of every subject from the classifications; how many rows changed.

    Volunteers may go on classifying meanwhile. Two thousand subjects at a time, in one transaction each: locks their
    SubjectProgress rows in the order of their ids, counts their classifications together, writes the rows that differ.
    First adds rows that are missing. Decisions by hand stay. `rows` narrows it to some of the rows.
    `on_progress` is told (subjects done, subjects in all).
    """
    add_missing_rows(workflow)
    chosen = SubjectProgress.objects.filter(rows, workflow=workflow)
    total = chosen.count()
    done = changed = last = 0
    while True:
        with transaction.atomic():
            locked = chosen.select_for_update().filter(pk__gt=last).order_by("pk")
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
    classifications = [_counted(row, versions) for row in rows.counted().order_by("id").only(*COUNTED_COLUMNS)]
    recount(progress, current, classifications, _weighing_of(progress, classifications))


def _weighing_of(progress: SubjectProgress, classifications: Sequence[Counted]) -> Weighing:
    fit = fit_in_force(progress.workflow_id)
    if fit is None:
        return Weighing()
    later = {row.volunteer_id for row in classifications if row.id > fit.watermark}
    known = evidence_of(fit, [progress.subject_id]).get(progress.subject_id)
    return Weighing(fit, skills_of(fit, later) if later else {}, known)


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
    pairs = zip(places, anew, strict=True)
    changed = [(place, derived) for place, derived in pairs if derived.differs_from(place.stored)]
    if changed:
        store_derived(changed)
    return len(changed)


def _counted(row: Classification, versions: Versions) -> Counted:
    version = versions[row.workflow_version_id]
    return Counted(row.pk, version, row.annotations, row.volunteer_id, row.created_at, row.by_expert)
