"""Who work is stored under, and what happens to a visitor's work at sign-in."""

from typing import Any

import pytest
from django.test import Client

from classify.models import Classification, SubjectProgress, Volunteer
from classify.rebuild import rebuild_results
from classify.volunteers import VISITOR_KEY, merge_visitor


def state_of(workflow: Any) -> list[tuple[Any, ...]]:
    rows = SubjectProgress.objects.filter(workflow=workflow).order_by("subject_id")
    return list(rows.values_list("subject_id", "classification_count", "tallies", "retired_at", "retirement_reason"))


def test_asking_makes_no_volunteer(world: Any, get_next: Any) -> None:
    get_next(world.workflow())
    browser = Client()
    browser.force_login(world.user("ada"))
    get_next(world.workflow(), by=browser)
    assert not Volunteer.objects.exists()


def test_a_visitor_keeps_one_volunteer_for_the_session(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow(subjects=2)
    for subject in workflow.project.subjects.all():
        assert submit(workflow, make_body(subject.pk)).status_code == 201
    volunteer = Volunteer.objects.get()
    assert volunteer.user is None
    assert volunteer.classifications.count() == 2


def test_two_browsers_are_two_volunteers(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    for _ in range(2):
        assert submit(workflow, make_body(subject.pk), by=Client()).status_code == 201
    assert Volunteer.objects.count() == 2
    assert world.progress(workflow, subject).classification_count == 2


def test_a_user_is_one_volunteer_in_every_browser(world: Any, submit: Any, make_body: Any) -> None:
    workflow, user = world.workflow(subjects=2), world.user("ada")
    for subject in workflow.project.subjects.all():
        browser = Client()
        browser.force_login(user)
        assert submit(workflow, make_body(subject.pk), by=browser).status_code == 201
    assert Volunteer.objects.get().user == user


def test_a_spoilt_visitor_id_in_the_session_is_replaced(
    world: Any, submit: Any, make_body: Any, client: Client
) -> None:
    session = client.session
    session[VISITOR_KEY] = "not a uuid"
    session.save()
    workflow = world.workflow()
    assert submit(workflow, make_body(workflow.project.subjects.first().pk)).status_code == 201
    assert client.session[VISITOR_KEY] == str(Volunteer.objects.get().visitor)


def test_work_done_before_signing_in_is_the_users_from_the_first_request_on(
    world: Any, submit: Any, make_body: Any, get_next: Any, client: Client
) -> None:
    workflow, user = world.workflow(subjects=2), world.user("ada")
    one, other = workflow.project.subjects.all()
    submit(workflow, make_body(one.pk))
    client.force_login(user)

    answer = get_next(workflow, count=5).json()

    assert [subject["id"] for subject in answer["subjects"]] == [other.pk]
    assert Classification.objects.get().volunteer.user == user
    assert VISITOR_KEY not in client.session
    assert submit(workflow, make_body(one.pk)).status_code == 409


def test_a_user_without_work_takes_the_visitors_volunteer_over(world: Any) -> None:
    workflow, user = world.workflow(), world.user("ada")
    visitor = world.volunteer()
    world.classify(workflow, workflow.project.subjects.first(), visitor)
    merge_visitor(user=user, visitor=visitor.visitor)
    visitor.refresh_from_db()
    assert visitor.user == user
    assert visitor.merged_into is None


def test_work_of_both_is_put_together(world: Any) -> None:
    workflow, user = world.workflow(subjects=3), world.user("ada")
    first, second, _ = workflow.project.subjects.all()
    own, visitor = world.volunteer(user), world.volunteer()
    world.classify(workflow, first, own)
    world.classify(workflow, second, visitor)
    before = state_of(workflow)

    merge_visitor(user=user, visitor=visitor.visitor)

    assert set(own.classifications.values_list("subject", flat=True)) == {first.pk, second.pk}
    visitor.refresh_from_db()
    assert visitor.merged_into == own
    assert state_of(workflow) == before


def test_one_person_counts_once_and_no_truth_is_lost(world: Any) -> None:
    workflow, user = world.workflow(subjects=1), world.user("ada")
    subject = workflow.project.subjects.get()
    own, visitor = world.volunteer(user), world.volunteer()
    world.classify(workflow, subject, own, answer=0)
    world.classify(workflow, subject, visitor, answer=1)
    world.classify(workflow, subject, answer=1)

    merge_visitor(user=user, visitor=visitor.visitor)

    progress = world.progress(workflow, subject)
    assert progress.classification_count == 2
    assert progress.tallies == {"T0": {"n": 2, "counts": [1, 1]}}
    assert Classification.objects.count() == 3
    assert Classification.objects.counted().count() == 2
    assert visitor.classifications.get().annotations == [{"task": "T0", "value": 1}]
    assert rebuild_results(workflow=workflow) == 0


def test_a_subject_retired_by_a_second_look_is_opened_again(world: Any) -> None:
    workflow, user = world.workflow(subjects=1, limit=2), world.user("ada")
    subject = workflow.project.subjects.get()
    own, visitor = world.volunteer(user), world.volunteer()
    world.classify(workflow, subject, own)
    world.classify(workflow, subject, visitor)
    assert world.progress(workflow, subject).retired_at is not None

    merge_visitor(user=user, visitor=visitor.visitor)

    progress = world.progress(workflow, subject)
    assert (progress.classification_count, progress.retired_at, progress.retirement_reason) == (1, None, "")


def test_merging_again_changes_nothing(world: Any) -> None:
    workflow, user = world.workflow(subjects=2), world.user("ada")
    one, other = workflow.project.subjects.all()
    own, visitor = world.volunteer(user), world.volunteer()
    world.classify(workflow, one, own)
    world.classify(workflow, other, visitor)
    for _ in range(2):
        merge_visitor(user=user, visitor=visitor.visitor)
    merge_visitor(user=world.user("eve"), visitor=visitor.visitor)
    assert own.classifications.count() == 2
    assert not Volunteer.objects.filter(user__username="eve").exists()


def test_a_visitor_who_never_classified_leaves_nothing(world: Any) -> None:
    from uuid import uuid4

    merge_visitor(user=world.user("ada"), visitor=uuid4())
    assert not Volunteer.objects.exists()


def test_signing_out_starts_a_new_visitor(world: Any, submit: Any, make_body: Any, client: Client) -> None:
    workflow, user = world.workflow(subjects=1), world.user("ada")
    subject = workflow.project.subjects.get()
    client.force_login(user)
    assert submit(workflow, make_body(subject.pk)).status_code == 201
    client.logout()
    assert submit(workflow, make_body(subject.pk)).status_code == 201
    assert Volunteer.objects.count() == 2


@pytest.mark.parametrize("visitor_first", [True, False])
def test_the_other_of_two_workflows_is_merged_too(world: Any, visitor_first: bool) -> None:
    user = world.user("ada")
    own, visitor = world.volunteer(user), world.volunteer()
    workflows = [world.workflow(subjects=1), world.workflow(subjects=1)]
    for workflow in workflows:
        subject = workflow.project.subjects.get()
        for volunteer in (visitor, own) if visitor_first else (own, visitor):
            world.classify(workflow, subject, volunteer)
    merge_visitor(user=user, visitor=visitor.visitor)
    for workflow in workflows:
        assert world.progress(workflow, workflow.project.subjects.get()).classification_count == 1
        assert rebuild_results(workflow=workflow) == 0


def test_own_data_counts_exports_and_forgets(world: Any) -> None:
    from classify import own_data

    workflow, user = world.workflow(subjects=2), world.user("ada")
    one, other = workflow.project.subjects.all()
    own, visitor = world.volunteer(user), world.volunteer()
    world.classify(workflow, one, own)
    world.classify(workflow, one, visitor)
    world.classify(workflow, other, visitor)
    merge_visitor(user=user, visitor=visitor.visitor)
    before = state_of(workflow)

    assert own_data.counts(user) == {"Classifications": 2}
    exported = list(own_data.export(user)["classifications"])
    assert [row["subject__name"] for row in exported] == [one.name, one.name, other.name]
    assert own_data.obstacles(user) == []
    own_data.forget(user)

    assert own_data.counts(user) == {"Classifications": 0}
    assert not Volunteer.objects.exclude(user=None, visitor=None).exists()
    assert Classification.objects.count() == 3
    assert rebuild_results(workflow=workflow) == 0
    assert state_of(workflow) == before
