"""Storing one classification: the path that every answer takes, so its statements are written out and prepared."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from classify.counting import DERIVED, Counted, Weighing, count
from classify.errors import AlreadyClassified, ForeignClassificationId, SubmissionRefused
from classify.feedback import TaskFeedback, feedback_on
from classify.live import Fit, Skills, fit_numbered
from classify.models import Classification, GoldStandard, LiveFit, SubjectProgress, Volunteer, VolunteerSkill
from classify.rebuild import recount_subject
from classify.submissions import Submission, check_submission
from classify.versions import definition_of, version_numbered
from starsieve.projects.definitions import AnnotationError
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import Subject, Workflow, WorkflowVersion
from starsieve.statements import Columns, Statement

LARGEST_ID = 2**63 - 1
PROGRESS = Columns(
    SubjectProgress, "id", "workflow_id", "subject_id", "count_at_reopening", "classification_count", "tallies",
    "tallied_version_id", "evidence", "retired_at", "retirement_reason",
)  # fmt: skip
FRAMES = Columns(Subject, "id", "frames")
DERIVED_COLUMNS = [SubjectProgress._meta.get_field(name).attname for name in DERIVED]  # type: ignore[union-attr]
ANSWER_COLUMNS = (
    "client_id", "workflow_id", "workflow_version_id", "subject_id", "volunteer_id", "annotations", "started_at",
    "finished_at", "created_at", "metadata", "after_retirement", "by_expert",
)  # fmt: skip

LOCK_VISITOR = Statement(
    f"SELECT coalesce(merged_into_id, id) FROM {Volunteer._meta.db_table} WHERE id = %s", lock="FOR UPDATE"
)
IN_FORCE = (
    f"SELECT fit.id FROM {LiveFit._meta.db_table} fit "
    "WHERE fit.workflow_id = progress.workflow_id AND fit.is_in_force"
)
LOCK_PROGRESS = Statement(
    f"""
    SELECT EXISTS (
        SELECT 1 FROM {GoldStandard._meta.db_table} gold
        WHERE gold.workflow_id = progress.workflow_id AND gold.subject_id = progress.subject_id
    ), ({IN_FORCE}), (
        SELECT skill.tasks FROM {VolunteerSkill._meta.db_table} skill
        WHERE skill.volunteer_id = %s AND skill.fit_id = ({IN_FORCE})
    ), {FRAMES.of("subject")}, {PROGRESS.of("progress")}
    FROM {SubjectProgress._meta.db_table} progress
    JOIN {Subject._meta.db_table} subject ON subject.id = progress.subject_id
    WHERE progress.workflow_id = %s AND progress.subject_id = %s AND EXISTS (
        SELECT 1 FROM {Workflow.subject_sets.through._meta.db_table} link
        WHERE link.workflow_id = progress.workflow_id AND link.subjectset_id = subject.subject_set_id
    )
    """,
    lock="FOR UPDATE OF progress",
)
INSERT = Statement(
    f"INSERT INTO {Classification._meta.db_table} ({', '.join(ANSWER_COLUMNS)}) "
    f"VALUES ({', '.join(['%s'] * len(ANSWER_COLUMNS))}) ON CONFLICT DO NOTHING RETURNING id"
)
UPDATE = Statement(
    f"UPDATE {SubjectProgress._meta.db_table} SET {', '.join(f'{name} = %s' for name in DERIVED_COLUMNS)} WHERE id = %s"
)


@dataclass(frozen=True)
class Receipt:
    """What the client gets back. `created` is False for a repeated delivery, which changed nothing."""

    id: str
    created: bool
    retired: bool
    feedback: list[TaskFeedback] | None


@dataclass(frozen=True)
class _Locked:
    """A subject's locked row with the subject's frames, and what else the request needs to know of it.

    `fit` is the live fit in force, `skills` the volunteer's confusion matrices in it.
    """

    progress: SubjectProgress
    has_gold: bool
    fit: Fit | None
    skills: Skills | None


def record_classification(
    *, workflow: Workflow, volunteer: Volunteer, submission: Submission, by_expert: bool = False
) -> Receipt:
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
        volunteer_id = _as_of_now(volunteer)
        locked = _locked_progress(workflow, submission.subject_id, volunteer_id)
        progress = locked.progress
        try:
            annotations = definition_of(version).check_annotations(
                submission.annotations, frame_sizes(progress.subject)
            )
        except AnnotationError as problem:
            raise SubmissionRefused(problem.place, problem.message) from None
        classification = Classification(
            client_id=submission.client_id,
            workflow_id=workflow.pk,
            workflow_version=version,
            subject_id=progress.subject_id,
            volunteer_id=volunteer_id,
            annotations=annotations,
            started_at=submission.started_at,
            finished_at=submission.finished_at,
            created_at=timezone.now(),
            metadata=submission.metadata,
            after_retirement=progress.retired_at is not None,
            by_expert=by_expert,
        )
        if not _insert(classification):
            return _receipt_of_earlier(classification, locked)
        _count(locked, workflow.current, classification)
        return _receipt(classification, locked, created=True)


def _as_of_now(volunteer: Volunteer) -> int:
    """Id of the volunteer that a visitor's work belongs to, held still until the end of the transaction."""
    if volunteer.user_id is not None:
        return volunteer.pk
    row = LOCK_VISITOR.row([volunteer.pk])
    if row is None:
        raise Volunteer.DoesNotExist
    return int(row[0])


def _locked_progress(workflow: Workflow, subject_id: int, volunteer_id: int) -> _Locked:
    row = LOCK_PROGRESS.row([volunteer_id, workflow.pk, subject_id]) if 0 < subject_id <= LARGEST_ID else None
    if row is None:
        raise SubmissionRefused("subject", "is not a subject of this workflow")
    has_gold, fit, skills, *values = row
    progress: SubjectProgress = PROGRESS.instance(tuple(values[len(FRAMES) :]))
    progress.subject = FRAMES.instance(tuple(values[: len(FRAMES)]))
    return _Locked(
        progress,
        bool(has_gold),
        fit_numbered(UUID(str(fit))) if fit is not None else None,
        json.loads(skills) if isinstance(skills, str) else skills,
    )


def _insert(classification: Classification) -> bool:
    """Insert unless the client's id, or the volunteer's classification of the subject, is there; whether it was."""
    values = [getattr(classification, name) for name in ANSWER_COLUMNS]
    for i, name in enumerate(ANSWER_COLUMNS):
        if name == "client_id":
            values[i] = values[i].hex
        elif name in ("annotations", "metadata"):
            values[i] = json.dumps(values[i])
    row = INSERT.row(values)
    if row is not None:
        classification.pk = row[0]
    return row is not None


def _count(locked: _Locked, current: WorkflowVersion, classification: Classification) -> None:
    progress, fit = locked.progress, locked.fit
    if _must_recount(progress, current, fit):
        recount_subject(progress, current)  # the new classification is among those that are read
    else:
        if fit is not None and not fit.weighed(progress.evidence):
            progress.evidence = fit.nothing_yet()
        skills = {classification.volunteer_id: locked.skills} if locked.skills is not None else {}
        count(progress, current, Counted.of(classification), Weighing(fit, skills))
    values = [getattr(progress, name) for name in DERIVED_COLUMNS]
    for name in ("tallies", "evidence"):
        values[DERIVED_COLUMNS.index(name)] = json.dumps(getattr(progress, name))
    UPDATE.run([*values, progress.pk])


def _must_recount(progress: SubjectProgress, current: WorkflowVersion, fit: Fit | None) -> bool:
    """Whether a version was published, or a fit put in force, since this subject was last counted."""
    if progress.tallied_version_id not in (None, current.pk):
        return True
    return fit is not None and progress.classification_count > 0 and not fit.weighed(progress.evidence)


def _receipt_of_earlier(again: Classification, locked: _Locked) -> Receipt:
    earlier = Classification.objects.filter(client_id=again.client_id).first()
    if earlier is None:
        raise AlreadyClassified("You have classified this subject before.")
    if earlier.volunteer_id != again.volunteer_id:
        raise ForeignClassificationId("This id belongs to another classification; make a new one.")
    if (earlier.workflow_id, earlier.subject_id) != (locked.progress.workflow_id, locked.progress.subject_id):
        raise ForeignClassificationId("You sent this id before, for another subject; make a new one.")
    return _receipt(earlier, locked, created=False)


def _receipt(classification: Classification, locked: _Locked, *, created: bool) -> Receipt:
    """Made from stored rows alone, so that a repeated delivery gets what the first one got."""
    retired_at = locked.progress.retired_at
    return Receipt(
        id=str(classification.client_id),
        created=created,
        retired=classification.after_retirement or (retired_at is not None and retired_at <= classification.created_at),
        feedback=_feedback(classification, locked.progress) if locked.has_gold else None,
    )


def _feedback(classification: Classification, progress: SubjectProgress) -> list[TaskFeedback] | None:
    golds = GoldStandard.objects.filter(workflow_id=progress.workflow_id, subject_id=progress.subject_id)
    tasks: dict[str, Any] = definition_of(classification.workflow_version).tasks
    return feedback_on(golds, tasks, classification.annotations, frame_sizes(progress.subject))
