"""Everything that changes classifications, the queue and gold standards. Who may do so is decided by the callers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from classify.counting import DERIVED, Counted, count
from classify.errors import AlreadyClassified, ForeignClassificationId, GoldStandardRefused, SubmissionRefused
from classify.feedback import TaskFeedback, checked_truth, feedback_on
from classify.models import Classification, GoldStandard, SubjectProgress, Volunteer
from classify.queue import insert_progress_rows
from classify.rebuild import rebuild_results, recount_subject
from classify.submissions import Submission, check_submission
from classify.versions import definition_of, version_numbered
from starsieve.projects.definitions import AnnotationError
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import Subject, SubjectSet, Workflow, WorkflowVersion

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
LARGEST_ID = 2**63 - 1
SETTLED_AT_ONCE = 500
Links = Workflow.subject_sets.through


@dataclass(frozen=True)
class Receipt:
    """What the client gets back. `created` is False for a repeated delivery, which changed nothing."""

    id: str
    created: bool
    retired: bool
    feedback: list[TaskFeedback] | None


@dataclass(frozen=True)
class Route:
    """Where the machine puts a subject: a higher bucket is shown earlier, a held subject not at all."""

    subject_id: int
    bucket: int
    is_held: bool = False
    is_control: bool = False


# --- Classifications ----------------------------------------------------------------------------------------------


def record_classification(*, workflow: Workflow, volunteer: Volunteer, submission: Submission) -> Receipt:
    """Store one classification and count it, or tell what the same delivery got before.

    One transaction. Locks the volunteer's row if it is a visitor's (who may be signing in just now), then the
    subject's SubjectProgress row, so that classifications of one subject come one after the other and their ids grow
    in the order of counting. Writes the Classification and the progress row. A classification of a subject that is
    already retired is stored, counted and flagged.

    Raises SubmissionRefused naming the field, AlreadyClassified, ForeignClassificationId; nothing is written then.
    """
    check_submission(submission)
    version = version_numbered(workflow, submission.workflow_version)
    if version is None or workflow.current is None:
        raise SubmissionRefused("workflow_version", "is not a version of this workflow")
    with transaction.atomic():
        volunteer = _as_of_now(volunteer)
        progress = _locked_progress(workflow, submission.subject_id)
        frames = frame_sizes(progress.subject)
        try:
            annotations = definition_of(version).check_annotations(submission.annotations, frames)
        except AnnotationError as problem:
            raise SubmissionRefused(problem.place, problem.message) from None
        classification = Classification(
            client_id=submission.client_id,
            workflow=workflow,
            workflow_version=version,
            subject=progress.subject,
            volunteer=volunteer,
            annotations=annotations,
            started_at=submission.started_at,
            finished_at=submission.finished_at,
            created_at=timezone.now(),
            metadata=submission.metadata,
            after_retirement=progress.retired_at is not None,
        )
        if not _insert(classification):
            return _receipt_of_earlier(classification, progress)
        _count(progress, workflow.current, classification)
        return _receipt(classification, progress, created=True)


def _as_of_now(volunteer: Volunteer) -> Volunteer:
    """The volunteer that a visitor's work belongs to, held still until the end of the transaction."""
    if volunteer.user_id is not None:
        return volunteer
    locked = Volunteer.objects.select_for_update().get(pk=volunteer.pk)
    return Volunteer.objects.get(pk=locked.merged_into_id) if locked.merged_into_id else locked


def _locked_progress(workflow: Workflow, subject_id: int) -> SubjectProgress:
    refusal = SubmissionRefused("subject", "is not a subject of this workflow")
    if not 0 < subject_id <= LARGEST_ID:
        raise refusal
    is_linked = Exists(Links.objects.filter(workflow_id=workflow.pk, subjectset_id=OuterRef("subject__subject_set_id")))
    has_gold = Exists(GoldStandard.objects.filter(workflow_id=workflow.pk, subject_id=OuterRef("subject_id")))
    rows = (
        SubjectProgress.objects.select_for_update(of=("self",))
        .select_related("subject")
        .annotate(has_gold=has_gold)
        .filter(is_linked, workflow_id=workflow.pk, subject_id=subject_id)
    )
    progress = rows.first()
    if progress is None:
        raise refusal
    return progress


def _insert(classification: Classification) -> bool:
    """Insert unless the client's id, or the volunteer's classification of the subject, is there; whether it was."""
    fields = [field for field in Classification._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(str(field.column) for field in fields)
    places = ", ".join(["%s"] * len(fields))
    values = [field.get_db_prep_save(getattr(classification, field.attname), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Classification._meta.db_table} ({columns}) VALUES ({places}) "
            "ON CONFLICT DO NOTHING RETURNING id",
            values,
        )
        row = cursor.fetchone()
    if row is not None:
        classification.pk = row[0]
    return row is not None


def _count(progress: SubjectProgress, current: WorkflowVersion, classification: Classification) -> None:
    tallied = progress.tallied_version_id
    if tallied is not None and tallied != current.pk:
        # A version was published since this subject was last counted; the new classification is among those recounted.
        recount_subject(progress, current)
    else:
        count(progress, current, Counted.of(classification))
    progress.save(update_fields=DERIVED)


def _receipt_of_earlier(again: Classification, progress: SubjectProgress) -> Receipt:
    earlier = Classification.objects.filter(client_id=again.client_id).first()
    if earlier is None:
        raise AlreadyClassified("You have classified this subject before.")
    if earlier.volunteer_id != again.volunteer_id:
        raise ForeignClassificationId("This id belongs to another classification; make a new one.")
    if (earlier.workflow_id, earlier.subject_id) != (progress.workflow_id, progress.subject_id):
        raise ForeignClassificationId("You sent this id before, for another subject; make a new one.")
    return _receipt(earlier, progress, created=False)


def _receipt(classification: Classification, progress: SubjectProgress, *, created: bool) -> Receipt:
    """Made from stored rows alone, so that a repeated delivery gets what the first one got."""
    retired_at = progress.retired_at
    golds = GoldStandard.objects.filter(workflow_id=progress.workflow_id, subject_id=progress.subject_id)
    return Receipt(
        id=str(classification.client_id),
        created=created,
        retired=classification.after_retirement or (retired_at is not None and retired_at <= classification.created_at),
        feedback=feedback_on(
            golds if progress.has_gold else (),  # type: ignore[attr-defined]
            definition_of(classification.workflow_version).tasks,
            classification.annotations,
            frame_sizes(progress.subject),
        ),
    )


# --- The queue ----------------------------------------------------------------------------------------------------


def queue_subjects(subject_set: SubjectSet) -> int:
    """Make the queues agree with the set's subjects and the workflows that it is linked to; how many rows are new.

    Writes SubjectProgress in three statements: the missing rows, each with a random pivot; `is_withdrawn` on those of
    workflows that no longer take the set; and off those that take it again. What was counted is kept.
    """
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
    """Put a retired subject back into the queue. Where its count had reached the limit, or a consensus run had found it
    settled, another full round is asked for; otherwise it goes on from where it was.

    Locks and writes its SubjectProgress row. Raises SubjectProgress.DoesNotExist for a subject that is not queued.
    """
    with transaction.atomic():
        progress = SubjectProgress.objects.select_for_update().get(workflow=workflow, subject=subject)
        if progress.retired_at is not None:
            limit = definition_of(workflow.current).retirement.classification_count if workflow.current else 0
            since_reopening = progress.classification_count - progress.count_at_reopening
            settled = progress.retirement_reason == SubjectProgress.RetirementReason.SETTLED
            if since_reopening >= limit or settled:
                progress.count_at_reopening = progress.classification_count
            progress.retired_at = None
            progress.retirement_reason = ""
            progress.save(update_fields=["retired_at", "retirement_reason", "count_at_reopening"])
    return progress


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

    Writes one GoldStandard row; classifications and tallies are not touched. Raises GoldStandardRefused for an unknown
    task, a value that does not fit it (GoldStandard says what does), or a subject of another project.
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
    gold.clean_fields(exclude=["created_at"])
    values = {field.name: getattr(gold, field.name) for field in fields}
    key = {name: values.pop(name) for name in ("workflow", "subject", "task")}
    return GoldStandard.objects.update_or_create(**key, defaults=values)[0]
