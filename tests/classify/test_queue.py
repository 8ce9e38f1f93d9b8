"""How subjects get into the queue, where the machine puts them, and what a person decides."""

from typing import Any

import pytest
from django.db import IntegrityError

from classify.models import DEFAULT_BUCKET, SubjectProgress
from classify.services import Route, queue_subjects, reopen_subject, retire_subject, route_subjects
from starsieve.projects.services import create_workflow, link_subject_set


def test_linking_a_set_queues_its_subjects_once_with_random_pivots(world: Any) -> None:
    workflow = world.workflow(subjects=30)
    rows = SubjectProgress.objects.filter(workflow=workflow)
    assert rows.count() == 30
    pivots = list(rows.values_list("pivot", flat=True))
    assert len(set(pivots)) == 30
    assert all(0 <= pivot < 1 for pivot in pivots)
    first = rows.first()
    assert (first.bucket, first.is_held, first.is_control, first.tallies) == (DEFAULT_BUCKET, False, False, {})
    assert queue_subjects(workflow.project.subject_sets.get()) == 0
    assert sorted(rows.values_list("pivot", flat=True)) == sorted(pivots)


def test_new_subjects_of_a_linked_set_join_every_workflow_that_takes_it(world: Any) -> None:
    workflow = world.workflow(subjects=2)
    other = create_workflow(
        project=workflow.project, name="B", definition=workflow.current.definition, user=workflow.project.created_by
    )
    link_subject_set(workflow=other, subject_set=workflow.project.subject_sets.get())
    world.subjects(workflow, 3)
    for each in (workflow, other):
        assert SubjectProgress.objects.filter(workflow=each).count() == 5


def test_a_set_that_no_workflow_takes_is_not_queued(world: Any) -> None:
    from starsieve.projects.services import create_subject_set

    workflow = world.workflow(subjects=1)
    apart, _ = create_subject_set(project=workflow.project, name="Apart")
    assert queue_subjects(apart) == 0


def test_routing_moves_holds_and_releases_without_touching_what_is_counted(world: Any) -> None:
    workflow = world.workflow(subjects=3, limit=1)
    shown, held, control = workflow.project.subjects.all()
    world.classify(workflow, shown)
    counted = world.progress(workflow, shown)

    n = route_subjects(
        workflow=workflow,
        routes=iter([Route(shown.pk, 93), Route(held.pk, 4, is_held=True), Route(control.pk, 60, is_control=True)]),
    )

    assert n == 3
    rows = SubjectProgress.objects.filter(workflow=workflow).order_by("subject_id")
    assert list(rows.values_list("bucket", "is_held", "is_control")) == [
        (93, False, False),
        (4, True, False),
        (60, False, True),
    ]
    now = world.progress(workflow, shown)
    assert (now.classification_count, now.tallies, now.retired_at) == (1, counted.tallies, counted.retired_at)
    assert route_subjects(workflow=workflow, routes=[Route(held.pk, 55)]) == 1
    assert world.progress(workflow, held).is_held is False


def test_routing_takes_many_in_chunks_and_passes_over_strangers(world: Any, monkeypatch: Any) -> None:
    from classify import services

    monkeypatch.setattr(services, "ROUTES_AT_ONCE", 4)
    workflow, other = world.workflow(subjects=11), world.workflow(subjects=1)
    subjects = list(workflow.project.subjects.all())
    routes = [Route(subject.pk, 50 + i % 3) for i, subject in enumerate(subjects)]
    assert route_subjects(workflow=workflow, routes=[*routes, Route(other.project.subjects.get().pk, 1)]) == 11
    assert [world.progress(workflow, subject).bucket for subject in subjects] == [50 + i % 3 for i in range(11)]
    assert world.progress(other, other.project.subjects.get()).bucket == DEFAULT_BUCKET


def test_routing_all_or_nothing(world: Any) -> None:
    workflow = world.workflow(subjects=2)
    one, other = workflow.project.subjects.all()

    def broken() -> Any:
        yield Route(one.pk, 90)
        raise RuntimeError("the shard's file ends here")

    with pytest.raises(RuntimeError):
        route_subjects(workflow=workflow, routes=broken())
    assert world.progress(workflow, one).bucket == DEFAULT_BUCKET
    assert world.progress(workflow, other).bucket == DEFAULT_BUCKET


@pytest.mark.parametrize("reason", ["human", "expert"])
def test_a_person_retires_a_subject(world: Any, reason: str) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    progress = retire_subject(workflow=workflow, subject=subject, reason=reason)
    assert world.progress(workflow, subject).retired_at == progress.retired_at
    assert world.progress(workflow, subject).retirement_reason == reason
    again = retire_subject(workflow=workflow, subject=subject, reason="human")
    assert (again.retired_at, again.retirement_reason) == (progress.retired_at, reason)


def test_a_person_cannot_claim_that_the_count_retired_it(world: Any) -> None:
    workflow = world.workflow()
    with pytest.raises(ValueError, match="follows from the classifications"):
        retire_subject(workflow=workflow, subject=workflow.project.subjects.first(), reason="classification_count")


def test_a_subject_retired_too_early_by_hand_goes_on_from_where_it_was(world: Any) -> None:
    workflow = world.workflow(limit=3)
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject)
    retire_subject(workflow=workflow, subject=subject)
    reopen_subject(workflow=workflow, subject=subject)
    assert world.progress(workflow, subject).retired_at is None
    assert [world.classify(workflow, subject).retired for _ in range(2)] == [False, True]


def test_a_subject_reopened_after_its_full_count_gets_another_round(world: Any) -> None:
    workflow = world.workflow(limit=2)
    subject = workflow.project.subjects.first()
    for _ in range(2):
        world.classify(workflow, subject)
    reopen_subject(workflow=workflow, subject=subject)
    assert [world.classify(workflow, subject).retired for _ in range(2)] == [False, True]
    assert world.progress(workflow, subject).classification_count == 4


def test_reopening_an_open_subject_changes_nothing(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    reopen_subject(workflow=workflow, subject=subject)
    assert world.progress(workflow, subject).count_at_reopening == 0


def test_a_subject_that_is_not_queued_can_be_neither_retired_nor_reopened(world: Any) -> None:
    workflow, other = world.workflow(), world.workflow()
    for decide in (retire_subject, reopen_subject):
        with pytest.raises(SubjectProgress.DoesNotExist):
            decide(workflow=workflow, subject=other.project.subjects.first())


def test_the_database_itself_refuses_a_second_place_in_the_queue(world: Any) -> None:
    workflow = world.workflow()
    row = SubjectProgress.objects.first()
    with pytest.raises(IntegrityError):
        SubjectProgress.objects.create(workflow=workflow, subject=row.subject, pivot=0.5)
