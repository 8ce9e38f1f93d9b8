"""A subject is kept for those it was given to: nobody else gets what only they can still answer, for a while."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from classify import leases, selection
from classify.models import Lease, SubjectProgress
from classify.services import reopen_subject, retire_subject
from classify.tasks import delete_expired_leases
from classify.versions import definition_of
from classify.volunteers import merge_visitor


def select(workflow: Any, volunteer: Any, count: int = 20, **options: Any) -> selection.Selection:
    return selection.select(
        workflow_id=workflow.pk,
        definition=definition_of(workflow.current),
        volunteer_id=volunteer.pk if volunteer is not None else None,
        count=count,
        **options,
    )


def served(workflow: Any, volunteer: Any, count: int = 20, **options: Any) -> set[int]:
    return {subject.pk for subject in select(workflow, volunteer, count, **options).subjects}


def holders(workflow: Any) -> set[tuple[int, int]]:
    return set(Lease.objects.filter(workflow=workflow).values_list("volunteer_id", "subject_id"))


def let_expire(**which: Any) -> None:
    # PostgreSQL's now() is when the test's transaction began.
    Lease.objects.filter(**which).update(expires_at=timezone.now() - timedelta(hours=1))


def test_what_is_served_is_leased_for_the_configured_time(world: Any, settings: Any) -> None:
    settings.LEASE_SECONDS = 77
    workflow, volunteer = world.workflow(subjects=4), world.volunteer()
    ids = served(workflow, volunteer, count=2)
    assert holders(workflow) == {(volunteer.pk, subject_id) for subject_id in ids}
    for lease in Lease.objects.all():
        assert 70 < (lease.expires_at - timezone.now()).total_seconds() <= 78


def test_a_subject_is_given_to_no_more_people_than_it_still_needs(world: Any) -> None:
    workflow = world.workflow(subjects=1, limit=3)
    subject = workflow.project.subjects.get()
    world.classify(workflow, subject)
    given = [bool(served(workflow, world.volunteer())) for _ in range(4)]
    assert given == [True, True, False, False]


def test_who_finds_everything_leased_is_told_when_to_ask_again(world: Any) -> None:
    workflow, first, second = world.workflow(subjects=3, limit=1), world.volunteer(), world.volunteer()
    assert len(served(workflow, first)) == 3
    found = select(workflow, second)
    assert (found.subjects, found.reason, found.is_finished, found.remaining) == ([], "all_leased", False, 3)
    assert found.retry_after == leases.LONGEST_WAIT
    Lease.objects.update(expires_at=timezone.now() + timedelta(seconds=7))
    assert select(workflow, second).retry_after in (6, 7)
    let_expire()
    assert len(served(workflow, second)) == 3


def test_own_leases_hide_nothing_and_asking_again_renews_them(world: Any) -> None:
    workflow, volunteer = world.workflow(subjects=3, limit=1), world.volunteer()
    ids = served(workflow, volunteer)
    Lease.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
    assert served(workflow, volunteer) == ids
    assert Lease.objects.count() == 3
    assert all((lease.expires_at - timezone.now()).total_seconds() > 100 for lease in Lease.objects.all())


def test_what_the_client_says_it_has_is_renewed_while_it_is_at_work(world: Any) -> None:
    workflow, volunteer = world.workflow(subjects=3, limit=2), world.volunteer()
    mine = served(workflow, volunteer, count=2)
    stranger = world.volunteer()
    served(workflow, stranger)
    Lease.objects.update(expires_at=timezone.now() + timedelta(seconds=20))
    served(workflow, volunteer, count=1, exclude=mine)
    left = {(lease.volunteer_id, lease.subject_id): lease.expires_at - timezone.now() for lease in Lease.objects.all()}
    renewed = {who for who, time in left.items() if time > timedelta(seconds=100)}
    assert renewed == {
        (volunteer.pk, subject_id) for subject_id in workflow.project.subjects.values_list("id", flat=True)
    }
    served(workflow, world.volunteer(), count=1, exclude=mine)
    assert Lease.objects.filter(subject__in=mine).exclude(volunteer__in=[volunteer, stranger]).count() == 0


def test_an_answered_lease_counts_no_longer_beside_its_answer(world: Any) -> None:
    workflow, first, second = world.workflow(subjects=1, limit=2), world.volunteer(), world.volunteer()
    subject = workflow.project.subjects.get()
    served(workflow, first)
    world.classify(workflow, subject, first)
    assert holders(workflow) == {(first.pk, subject.pk)}  # submitting costs no statement for it
    assert served(workflow, second) == {subject.pk}
    assert not served(workflow, world.volunteer())


def test_the_holders_answered_and_expired_leases_go_when_they_ask(world: Any) -> None:
    workflow, volunteer = world.workflow(subjects=3, limit=5), world.volunteer()
    answered, expired, _ = workflow.project.subjects.all()
    served(workflow, volunteer)
    world.classify(workflow, answered, volunteer)
    let_expire(subject=expired)
    served(workflow, volunteer, count=1, exclude=[expired.pk])
    assert {subject_id for _, subject_id in holders(workflow)} == {workflow.project.subjects.last().pk}


def test_visitors_who_never_answered_hold_nothing_but_respect_the_leases_of_others(world: Any) -> None:
    workflow = world.workflow(subjects=2, limit=1)
    assert len(served(workflow, None)) == 2
    assert not Lease.objects.exists()
    [taken] = served(workflow, world.volunteer(), count=1)
    assert served(workflow, None) == set(workflow.project.subjects.values_list("id", flat=True)) - {taken}


def test_leases_of_one_workflow_are_none_of_another(world: Any) -> None:
    from starsieve.projects.services import create_workflow, link_subject_set

    workflow = world.workflow(subjects=1, limit=1)
    subject = workflow.project.subjects.get()
    other = create_workflow(
        project=workflow.project, name="B", definition=workflow.current.definition, user=workflow.project.created_by
    )
    link_subject_set(workflow=other, subject_set=subject.subject_set)
    served(workflow, world.volunteer())
    assert served(other, world.volunteer()) == {subject.pk}


def test_a_reopened_subject_has_room_for_a_full_round(world: Any) -> None:
    workflow = world.workflow(subjects=1, limit=2)
    subject = workflow.project.subjects.get()
    for _ in range(2):
        world.classify(workflow, subject)
    reopen_subject(workflow=workflow, subject=subject)
    assert [bool(served(workflow, world.volunteer())) for _ in range(3)] == [True, True, False]


def test_a_client_that_asks_and_asks_cannot_lease_a_workflow_away(world: Any) -> None:
    workflow = world.workflow(subjects=leases.MOST_HELD + 15, limit=1)
    hostile, other = world.volunteer(), world.volunteer()
    held: set[int] = set()
    for _ in range(10):
        held |= served(workflow, hostile, exclude=sorted(held)[: selection.MOST_EXCLUDED])
    assert len(held) == Lease.objects.count() == leases.MOST_HELD
    assert served(workflow, hostile) <= held
    assert len(served(workflow, other)) == 15
    rest = select(workflow, hostile, exclude=sorted(held)[: selection.MOST_EXCLUDED])
    assert {subject.pk for subject in rest.subjects} == set(sorted(held)[selection.MOST_EXCLUDED :])


def test_who_holds_as_much_as_one_may_is_told_to_wait(world: Any, monkeypatch: Any) -> None:
    workflow, volunteer = world.workflow(subjects=leases.MOST_HELD + 5, limit=1), world.volunteer()
    subjects = list(workflow.project.subjects.all())
    Lease.objects.bulk_create(
        Lease(
            workflow=workflow, subject=each, volunteer=volunteer, expires_at=timezone.now() + timedelta(minutes=5)
        )
        for each in subjects[: leases.MOST_HELD]
    )  # fmt: skip
    for each in subjects[selection.MOST_EXCLUDED : leases.MOST_HELD]:
        retire_subject(workflow=workflow, subject=each)
    found = select(workflow, volunteer, exclude=[each.pk for each in subjects[: selection.MOST_EXCLUDED]])
    assert (found.subjects, found.reason) == ([], "all_leased")
    world.classify(workflow, subjects[0], volunteer)
    assert len(served(workflow, volunteer, exclude=[each.pk for each in subjects[:50]])) == 1


def test_a_late_answer_to_a_subject_retired_meanwhile_is_kept_and_flagged(world: Any) -> None:
    workflow, volunteer = world.workflow(subjects=1, limit=1), world.volunteer()
    subject = workflow.project.subjects.get()
    served(workflow, volunteer)
    let_expire()
    world.classify(workflow, subject)
    receipt = world.classify(workflow, subject, volunteer)
    assert (receipt.created, receipt.retired) == (True, True)
    assert volunteer.classifications.get().after_retirement
    assert select(workflow, world.volunteer()).reason == "all_retired"


def test_a_withdrawn_subject_is_not_served_to_its_holder_either(world: Any) -> None:
    from starsieve.projects.services import link_subject_set, unlink_subject_set

    workflow, volunteer = world.workflow(subjects=2, limit=1), world.volunteer()
    served(workflow, volunteer)
    subject_set = workflow.project.subject_sets.get()
    unlink_subject_set(workflow=workflow, subject_set=subject_set)
    assert select(workflow, volunteer).reason == "empty"
    link_subject_set(workflow=workflow, subject_set=subject_set)
    assert len(served(workflow, volunteer)) == 2
    assert select(workflow, world.volunteer()).reason == "all_leased"


def test_a_visitors_leases_are_the_users_after_signing_in(world: Any) -> None:
    workflow, user = world.workflow(subjects=4, limit=2), world.user("ada")
    own, visitor = world.volunteer(user), world.volunteer()
    both = served(workflow, own, count=2)
    ids = served(workflow, visitor, count=4)
    merge_visitor(user=user, visitor=visitor.visitor)
    assert holders(workflow) == {(own.pk, subject_id) for subject_id in ids | both}
    assert len(served(workflow, own)) == 4


def test_expired_leases_are_deleted_and_others_are_not(world: Any) -> None:
    workflow, first, second = world.workflow(subjects=2, limit=2), world.volunteer(), world.volunteer()
    served(workflow, first)
    served(workflow, second)
    let_expire(volunteer=first)
    for _ in ("once", "again"):
        delete_expired_leases()
        assert {volunteer for volunteer, _ in holders(workflow)} == {second.pk}


def test_the_task_is_on_the_schedule() -> None:
    from starsieve.celery import app

    app.loader.import_default_modules()
    schedule = app.conf.beat_schedule["delete-expired-leases"]
    assert schedule["task"] in app.tasks
    assert schedule["schedule"] <= 60


def test_the_api_says_that_all_is_leased_and_when_to_come_back(world: Any, get_next: Any) -> None:
    workflow = world.workflow(subjects=1, limit=1)
    served(workflow, world.volunteer())
    browser = Client()
    browser.force_login(world.user("ada"))
    response = get_next(workflow, by=browser)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["subjects"], answer["finished"], answer["reason"]) == ([], False, "all_leased")
    assert response.headers["Retry-After"] == str(answer["retry_after"]) == "30"
    let_expire()
    response = get_next(workflow, by=browser)
    assert (len(response.json()["subjects"]), response.json()["retry_after"]) == (1, None)
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize("n_leased", [0, 1])
def test_excluding_what_one_holds_is_told_apart_from_others_holding_the_rest(world: Any, n_leased: int) -> None:
    workflow, volunteer = world.workflow(subjects=2, limit=1), world.volunteer()
    other = served(workflow, world.volunteer(), count=1) if n_leased else set()
    mine = served(workflow, volunteer)
    assert len(mine) == 2 - n_leased
    assert not mine & other
    found = select(workflow, volunteer, exclude=mine)
    assert (found.subjects, found.reason, found.remaining) == ([], "all_leased" if n_leased else "", 2)


def test_leases_do_not_change_progress(world: Any) -> None:
    workflow = world.workflow(subjects=3)
    before = list(SubjectProgress.objects.order_by("id").values())
    served(workflow, world.volunteer())
    assert list(SubjectProgress.objects.order_by("id").values()) == before


def test_where_no_count_retires_nothing_is_leased_and_nobody_waits(world: Any) -> None:
    from starsieve.projects.services import publish_version

    workflow = world.workflow(subjects=1, limit=1)
    definition = {**workflow.current.definition, "retirement": {"never": True}}
    publish_version(workflow=workflow, definition=definition, user=workflow.project.created_by)
    assert [len(served(workflow, world.volunteer())) for _ in range(4)] == [1] * 4
    assert not Lease.objects.exists()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL's leases are in a table that is not logged")
@pytest.mark.django_db(transaction=True)
def test_after_a_lease_sqlite_waits_for_the_disk_again(world: Any) -> None:
    workflow = world.workflow()
    for _ in ("once", "again"):
        assert served(workflow, world.volunteer())
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
