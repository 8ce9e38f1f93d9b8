"""Everything that changes classifications, the queue and gold standards. Who may do so is decided by the callers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from classify.counting import DERIVED
from classify.errors import GoldStandardRefused
from classify.feedback import checked_truth
from classify.models import GoldStandard, SubjectProgress
from classify.queue import Links, insert_progress_rows, mark_training_subjects, queue_new_subjects
from classify.rebuild import rebuild_results, recount_subject
from classify.recording import Receipt, record_classification
from classify.submissions import Submission
from classify.versions import definition_of
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import Subject, SubjectSet, Workflow

__all__ = [
    "Receipt",
    "Route",
    "Submission",
    "queue_subjects",
    "rebuild_results",
    "record_classification",
    "reopen_subject",
    "retire_subject",
    "route_subjects",
    "set_gold_standard",
]

ROUTES_AT_ONCE = 1000
SETTLED_AT_ONCE = 500


@dataclass(frozen=True)
class Route:
    """Where the machine puts a subject: a higher bucket is shown earlier, a held subject not at all."""

    subject_id: int
    bucket: int
    is_held: bool = False
    is_control: bool = False


# --- The queue ----------------------------------------------------------------------------------------------------


def queue_subjects(subject_set: SubjectSet, *, above: int | None = None) -> int:
    """Make the queues agree with the set's subjects and the workflows that it is linked to; how many rows are new.

    Writes SubjectProgress in three statements: the missing rows, each with a random pivot; `is_withdrawn` on those of
    workflows that no longer take the set; and off those that take it again. What was counted is kept. With `above`,
    one statement writes the rows of the subjects with higher ids, which no queue and no gold standard knows yet.
    """
    if above is not None:
        return queue_new_subjects(subject_set, above)
    queued = SubjectProgress.objects.filter(subject__subject_set=subject_set)
    linked = Links.objects.filter(subjectset_id=subject_set.pk).values("workflow_id")
    with transaction.atomic():
        queued.filter(is_withdrawn=False).exclude(workflow__in=linked).update(is_withdrawn=True)
        queued.filter(is_withdrawn=True, workflow__in=linked).update(is_withdrawn=False)
        return insert_progress_rows(
            f"SELECT link.workflow_id, subject.id AS subject_id FROM {Subject._meta.db_table} subject "
            f"JOIN {Links._meta.db_table} link ON link.subjectset_id = subject.subject_set_id "
            "WHERE subject.subject_set_id = %s",
            [subject_set.pk],
        )


def route_subjects(*, workflow: Workflow, routes: Iterable[Route]) -> int:
    """Put subjects into buckets, hold them or let them go again; how many subjects of the queue were routed.

    One transaction. Locks the SubjectProgress rows in the order of their ids and writes bucket, is_held and is_control;
    what is counted or retired is not touched. A subject that the workflow does not queue is passed over.
    """
    routed = 0
    with transaction.atomic():
        chunk: dict[int, Route] = {}
        for route in routes:
            chunk[route.subject_id] = route
            if len(chunk) == ROUTES_AT_ONCE:
                routed += _route(workflow, chunk)
                chunk = {}
        return routed + (_route(workflow, chunk) if chunk else 0)


def _route(workflow: Workflow, chunk: dict[int, Route]) -> int:
    rows = SubjectProgress.objects.filter(workflow_id=workflow.pk, subject_id__in=list(chunk))
    ids = rows.order_by("id").select_for_update().values_list("id", "subject_id")
    places: dict[tuple[int, bool, bool], list[int]] = {}
    for progress_id, subject_id in ids:
        route = chunk[subject_id]
        places.setdefault((route.bucket, route.is_held, route.is_control), []).append(progress_id)
    routed = 0
    for (bucket, is_held, is_control), progress_ids in places.items():
        moved = SubjectProgress.objects.filter(pk__in=progress_ids)
        routed += moved.update(bucket=bucket, is_held=is_held, is_control=is_control)
    return routed


def retire_subject(
    *, workflow: Workflow, subject: Subject, reason: str = SubjectProgress.RetirementReason.HUMAN
) -> SubjectProgress:
    """Take the subject out of the queue by a person's decision; a subject that is retired already stays as it is.

    Locks and writes its SubjectProgress row. Raises SubjectProgress.DoesNotExist for a subject that is not queued.
    """
    reasons = SubjectProgress.RetirementReason
    if reason not in (reasons.HUMAN, reasons.EXPERT):
        raise ValueError(f"{reason} follows from the classifications; by hand it is `human` or `expert`")
    with transaction.atomic():
        progress = SubjectProgress.objects.select_for_update().get(workflow=workflow, subject=subject)
        if progress.retired_at is None:
            progress.retired_at = timezone.now()
            progress.retirement_reason = SubjectProgress.RetirementReason(reason)
            progress.save(update_fields=["retired_at", "retirement_reason"])
    return progress


def retire_settled(*, workflow: Workflow, subject_ids: Iterable[int]) -> int:
    """Take subjects out of the queue of which a consensus run says that more votes would change nothing; how many.

    Writes the SubjectProgress rows that are open, by conditional updates. A subject that somebody has reopened by hand
    stays open until its count is complete.
    """
    ids, retired = list(subject_ids), 0
    for start in range(0, len(ids), SETTLED_AT_ONCE):
        rows = SubjectProgress.objects.unretired().filter(
            workflow=workflow, subject_id__in=ids[start : start + SETTLED_AT_ONCE], count_at_reopening=0
        )
        retired += rows.update(retired_at=timezone.now(), retirement_reason=SubjectProgress.RetirementReason.SETTLED)
    return retired


def reopen_subject(*, workflow: Workflow, subject: Subject) -> SubjectProgress:
    """Put a retired subject back into the queue. Where a rule or a consensus run had retired it, another full round is
    asked for; otherwise it goes on from where it was.

    Locks and writes its SubjectProgress row. Raises SubjectProgress.DoesNotExist for a subject that is not queued.
    """
    with transaction.atomic():
        progress = SubjectProgress.objects.select_for_update().get(workflow=workflow, subject=subject)
        if progress.retired_at is not None:
            _reopen(progress, workflow)
            progress.save(update_fields=[*DERIVED, "count_at_reopening"])
    return progress


def _reopen(progress: SubjectProgress, workflow: Workflow) -> None:
    was_settled = progress.retirement_reason == SubjectProgress.RetirementReason.SETTLED
    progress.retired_at, progress.retirement_reason = None, ""
    if workflow.current is None:
        return
    recount_subject(progress, workflow.current)
    if was_settled or progress.retired_at is not None:  # a rule holds still
        progress.count_at_reopening = progress.classification_count
        recount_subject(progress, workflow.current)


# --- Gold standards -----------------------------------------------------------------------------------------------


def set_gold_standard(
    *,
    workflow: Workflow,
    subject: Subject,
    task: str,
    value: Any,
    source: str,
    give_feedback: bool = True,
    right_message: str = "",
    wrong_message: str = "",
) -> GoldStandard:
    """Say what the true answer to a task of the current version is for the subject, in place of what was said before.

    One transaction. Writes one GoldStandard row and, where that changes, SubjectProgress.is_training; classifications
    and tallies are not touched. Raises GoldStandardRefused for an unknown task, a value that does not fit it
    (GoldStandard says what does), or a subject of another project.
    """
    definition = definition_of(workflow.current) if workflow.current else None
    if definition is None or task not in definition.tasks:
        raise GoldStandardRefused(f"task {task!r} is not in the current version of workflow “{workflow}”")
    if subject.project_id != workflow.project_id:
        raise GoldStandardRefused(f"subject “{subject}” belongs to another project than workflow “{workflow}”")
    gold = GoldStandard(
        workflow=workflow,
        subject=subject,
        task=task,
        value=checked_truth(definition.tasks[task], value, frame_sizes(subject)),
        source=source,
        give_feedback=give_feedback,
        right_message=right_message,
        wrong_message=wrong_message,
    )
    fields: list[models.Field[Any, Any]] = [
        field for field in GoldStandard._meta.concrete_fields if field.attname not in ("id", "created_at")
    ]
    gold.clean_fields(exclude=["created_at", "value"])  # an empty list is a value: nothing is there
    values = {field.name: getattr(gold, field.name) for field in fields}
    key = {name: values.pop(name) for name in ("workflow", "subject", "task")}
    with transaction.atomic():
        stored = GoldStandard.objects.update_or_create(**key, defaults=values)[0]
        mark_training_subjects(workflow=workflow, subject_ids=[subject.pk])
    return stored
