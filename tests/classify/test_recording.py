"""record_classification: one transaction, exactly once, counted and retired."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from classify.errors import AlreadyClassified, ForeignClassificationId, SubmissionRefused
from classify.models import Classification, SubjectProgress
from starsieve.projects.services import unlink_subject_set

GRADE = {"type": "grade", "question": "How sure are you?"}
BRANCHING = {
    "T0": {
        "type": "single",
        "question": "What is it?",
        "answers": [{"key": "smooth", "label": "Smooth", "next": None}, {"key": "disk", "label": "Disk"}],
        "next": "T1",
    },
    "T1": {
        "type": "multiple",
        "question": "What do you see?",
        "answers": [{"key": "bar", "label": "Bar"}, {"key": "arms", "label": "Arms"}],
    },
}


def test_a_classification_is_stored_with_its_version_and_canonical_annotations(world: Any) -> None:
    workflow = world.workflow(BRANCHING)
    subject = workflow.project.subjects.first()
    volunteer = world.volunteer()
    answers = [{"task": "T0", "value": 1}, {"task": "T1", "value": [1, 0]}]

    receipt = world.classify(workflow, subject, volunteer, answers)

    stored = Classification.objects.get()
    assert receipt.created is True
    assert receipt.id == str(stored.client_id)
    assert receipt.retired is False
    assert receipt.feedback is None
    assert stored.annotations == [{"task": "T0", "value": 1}, {"task": "T1", "value": [0, 1]}]
    assert (stored.workflow, stored.workflow_version, stored.subject) == (workflow, workflow.current, subject)
    assert stored.volunteer == volunteer
    assert stored.metadata == {"client": "test"}
    assert stored.finished_at - stored.started_at == timedelta(seconds=7)
    assert stored.after_retirement is False


def test_tallies_and_count_follow_each_classification(world: Any) -> None:
    workflow = world.workflow(BRANCHING)
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=0)
    world.classify(workflow, subject, answer=[{"task": "T0", "value": 1}, {"task": "T1", "value": [1]}])

    progress = world.progress(workflow, subject)
    assert progress.classification_count == 2
    assert progress.tallies == {"T0": {"n": 2, "counts": [1, 1]}, "T1": {"n": 1, "counts": [0, 1]}}


def test_a_skipped_task_is_no_vote(world: Any) -> None:
    workflow = world.workflow({"T0": {**GRADE, "required": False}})
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=None)
    progress = world.progress(workflow, subject)
    assert progress.classification_count == 1
    assert progress.tallies == {}


def test_the_classification_that_completes_the_count_retires_the_subject(world: Any) -> None:
    workflow = world.workflow(limit=2)
    subject = workflow.project.subjects.first()
    assert world.classify(workflow, subject).retired is False
    assert world.classify(workflow, subject).retired is True

    progress = world.progress(workflow, subject)
    assert progress.retirement_reason == SubjectProgress.RetirementReason.CLASSIFICATION_COUNT
    assert progress.retired_at == Classification.objects.latest("id").created_at


def test_a_late_answer_to_a_retired_subject_is_kept_flagged_and_counted(world: Any) -> None:
    workflow = world.workflow(limit=1)
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject)
    before = world.progress(workflow, subject).retired_at

    receipt = world.classify(workflow, subject)

    progress = world.progress(workflow, subject)
    assert (receipt.created, receipt.retired) == (True, True)
    assert Classification.objects.latest("id").after_retirement is True
    assert progress.classification_count == 2
    assert progress.retired_at == before


def test_the_same_delivery_again_gets_the_same_receipt_and_stores_nothing(world: Any) -> None:
    workflow = world.workflow(limit=2)
    subject = workflow.project.subjects.first()
    volunteer, client_id = world.volunteer(), uuid4()
    first = world.classify(workflow, subject, volunteer, client_id=client_id)
    world.classify(workflow, subject)  # retires the subject meanwhile

    again = world.classify(workflow, subject, volunteer, client_id=client_id)

    assert again.created is False
    assert (again.id, again.retired, again.feedback) == (first.id, first.retired, first.feedback)
    assert Classification.objects.count() == 2
    assert world.progress(workflow, subject).classification_count == 2


def test_an_id_of_somebody_else_is_refused(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    client_id = uuid4()
    world.classify(workflow, subject, client_id=client_id)
    with pytest.raises(ForeignClassificationId):
        world.classify(workflow, subject, client_id=client_id)
    assert world.progress(workflow, subject).classification_count == 1


def test_an_id_used_for_another_subject_is_refused_rather_than_losing_the_work(world: Any) -> None:
    workflow = world.workflow()
    one, other = workflow.project.subjects.all()[:2]
    volunteer, client_id = world.volunteer(), uuid4()
    world.classify(workflow, one, volunteer, client_id=client_id)
    with pytest.raises(ForeignClassificationId):
        world.classify(workflow, other, volunteer, client_id=client_id)


def test_a_second_classification_of_the_subject_by_the_same_volunteer_is_refused(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    volunteer = world.volunteer()
    world.classify(workflow, subject, volunteer)
    with pytest.raises(AlreadyClassified):
        world.classify(workflow, subject, volunteer, answer=1)
    assert world.progress(workflow, subject).tallies == {"T0": {"n": 1, "counts": [1, 0]}}


def test_one_volunteer_may_classify_a_subject_in_two_workflows(world: Any) -> None:
    from starsieve.projects.services import create_workflow, link_subject_set

    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    other = create_workflow(
        project=workflow.project,
        name="Other",
        definition=workflow.current.definition,
        user=workflow.project.created_by,
    )
    link_subject_set(workflow=other, subject_set=subject.subject_set)
    volunteer = world.volunteer()
    world.classify(workflow, subject, volunteer)
    assert world.classify(other, subject, volunteer).created is True


@pytest.mark.parametrize("number", ["1.2", "0.0", "1", "", "1.1.1", "01.1", "x.y", "1.¹", "9" * 30 + ".1", "-1.1"])
def test_an_unknown_version_is_refused(world: Any, number: str) -> None:
    workflow = world.workflow()
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, workflow.project.subjects.first(), workflow_version=number)
    assert refusal.value.field == "workflow_version"


def test_a_version_of_another_workflow_is_refused(world: Any) -> None:
    workflow, other = world.workflow(), world.workflow()
    world.publish(other, {"T0": GRADE})
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, workflow.project.subjects.first(), workflow_version="2.1")
    assert refusal.value.field == "workflow_version"


def test_subjects_that_the_workflow_does_not_take_are_refused(world: Any) -> None:
    workflow, other = world.workflow(), world.workflow()
    foreign = other.project.subjects.first()
    for subject_id in (foreign.pk, foreign.pk + 1000, 0, -1, 2**63, 10**30):
        with pytest.raises(SubmissionRefused) as refusal:
            world.classify(workflow, foreign, subject_id=subject_id)
        assert refusal.value.field == "subject"


def test_a_subject_whose_set_was_unlinked_is_refused(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    unlink_subject_set(workflow=workflow, subject_set=subject.subject_set)
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, subject)
    assert refusal.value.field == "subject"


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (2, "annotations[0].value"),
        ("0", "annotations[0].value"),
        ([{"task": "T1", "value": []}], "annotations[0].task"),
        ([{"task": "T9", "value": 0}], "annotations[0].task"),
        (1, "annotations"),
        ([{"task": "T0", "value": 0}, {"task": "T1", "value": []}], "annotations[1].task"),
        ([{"task": "T0", "value": 1}, {"task": "T1", "value": [0, 2]}], "annotations[1].value[1]"),
    ],
)
def test_annotations_that_do_not_fit_are_refused_with_their_place(world: Any, answer: Any, field: str) -> None:
    workflow = world.workflow(BRANCHING)
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, workflow.project.subjects.first(), answer=answer)
    assert refusal.value.field == field
    assert not Classification.objects.exists()


def test_boxes_are_checked_against_the_size_of_the_subjects_own_frame(world: Any) -> None:
    tools = [{"key": "clump", "label": "Clump"}]
    workflow = world.workflow({"T0": {"type": "boxes", "question": "Mark", "tools": tools}})
    box = {"x": 150, "y": 10, "width": 5, "height": 5}
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, workflow.project.subjects.first(), answer=[{"task": "T0", "value": [box]}])
    assert refusal.value.field == "annotations[0].value[0]"


def test_times_must_be_in_order_and_have_a_zone(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, subject, started_at=noon, finished_at=noon - timedelta(seconds=1))
    assert refusal.value.field == "finished_at"
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, subject, started_at=noon.replace(tzinfo=None))
    assert refusal.value.field == "started_at"


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "x" * 20_000},
        {"a\x00": 1},
        {"a": "b\x00"},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": float("inf")},
        {"a": float("nan")},
        {"a": 10**400},
    ],
)
def test_metadata_that_a_database_cannot_hold_or_that_is_too_large_is_refused(world: Any, metadata: Any) -> None:
    workflow = world.workflow()
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, workflow.project.subjects.first(), metadata=metadata)
    assert refusal.value.field.startswith("metadata")


def test_values_nested_too_deeply_are_refused(world: Any) -> None:
    workflow = world.workflow()
    deep: Any = []
    for _ in range(30):
        deep = [deep]
    with pytest.raises(SubmissionRefused) as refusal:
        world.classify(workflow, workflow.project.subjects.first(), metadata={"deep": deep})
    assert refusal.value.field == "metadata"


def test_a_work_of_a_visitor_who_signed_in_meanwhile_goes_to_the_user(world: Any) -> None:
    from classify.volunteers import merge_visitor

    workflow = world.workflow()
    one, other = workflow.project.subjects.all()[:2]
    user = world.user("ada")
    own, visitor = world.volunteer(user), world.volunteer()
    world.classify(workflow, one, visitor)
    merge_visitor(user=user, visitor=visitor.visitor)

    world.classify(workflow, other, visitor)  # a request that had looked the visitor up before the merge

    assert set(Classification.objects.values_list("volunteer", flat=True)) == {own.pk}
