"""Many at once, each on a connection of its own: nothing twice, nothing lost, no deadlock."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from classify.errors import AlreadyClassified, ForeignClassificationId
from classify.leases import delete_expired_leases
from classify.models import Classification, Lease, SubjectProgress, Volunteer
from classify.rebuild import rebuild_results
from classify.selection import select
from classify.services import Route, route_subjects
from classify.versions import definition_of
from classify.volunteers import merge_visitor
from tests.support.databases import shared_database

pytestmark = pytest.mark.django_db(transaction=True)
N_THREADS = 8


@pytest.fixture(autouse=True)
def database_of_processes(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """Threads need what processes have: connections of their own."""
    with shared_database(tmp_path):
        yield


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Results of the jobs, or the exceptions they raised; all begin together."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        try:
            barrier.wait(30)
            return job()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def state_of(workflow: Any) -> list[tuple[Any, ...]]:
    rows = SubjectProgress.objects.filter(workflow=workflow).order_by("subject_id")
    return list(rows.values_list("subject_id", "classification_count", "tallies", "retired_at", "retirement_reason"))


def test_many_volunteers_on_one_subject_are_all_counted_once(world: Any) -> None:
    workflow = world.workflow(limit=5, subjects=1)
    subject = workflow.project.subjects.get()
    volunteers = [world.volunteer() for _ in range(N_THREADS)]

    receipts = at_once([lambda v=v, a=i % 2: world.classify(workflow, subject, v, a) for i, v in enumerate(volunteers)])

    assert [receipt.created for receipt in receipts] == [True] * N_THREADS
    progress = world.progress(workflow, subject)
    assert progress.classification_count == N_THREADS
    assert progress.tallies == {"T0": {"n": N_THREADS, "counts": [N_THREADS // 2] * 2}}
    # The fifth in the order of ids retired the subject; who came later is flagged, and told so.
    flags = list(Classification.objects.order_by("id").values_list("after_retirement", flat=True))
    assert flags == [False] * 5 + [True] * (N_THREADS - 5)
    assert Counter(receipt.retired for receipt in receipts) == {False: 4, True: N_THREADS - 4}
    running = state_of(workflow)
    assert rebuild_results(workflow=workflow) == 0
    assert state_of(workflow) == running


def test_the_same_delivery_many_times_is_stored_once(world: Any) -> None:
    workflow = world.workflow(subjects=1)
    subject = workflow.project.subjects.get()
    volunteer, client_id = world.volunteer(world.user("ada")), uuid4()

    receipts = at_once([lambda: world.classify(workflow, subject, volunteer, client_id=client_id)] * N_THREADS)

    assert Counter(receipt.created for receipt in receipts) == {True: 1, False: N_THREADS - 1}
    assert len({(receipt.id, receipt.retired) for receipt in receipts}) == 1
    assert Classification.objects.count() == 1
    assert world.progress(workflow, subject).classification_count == 1


def test_two_tabs_of_one_volunteer_store_one_classification(world: Any) -> None:
    workflow = world.workflow(subjects=1)
    subject = workflow.project.subjects.get()
    volunteer = world.volunteer(world.user("ada"))

    outcomes = at_once([lambda: world.classify(workflow, subject, volunteer)] * N_THREADS)

    assert Counter(type(outcome) for outcome in outcomes)[AlreadyClassified] == N_THREADS - 1
    assert world.progress(workflow, subject).classification_count == 1


def test_one_id_sent_by_two_people_for_two_subjects_is_stored_once(world: Any) -> None:
    workflow = world.workflow(subjects=2)
    client_id = uuid4()
    pairs = [(subject, world.volunteer()) for subject in workflow.project.subjects.all()]

    outcomes = at_once([lambda s=s, v=v: world.classify(workflow, s, v, client_id=client_id) for s, v in pairs])

    assert Counter(type(outcome) for outcome in outcomes)[ForeignClassificationId] == 1
    assert Classification.objects.count() == 1
    assert rebuild_results(workflow=workflow) == 0


def test_first_answers_of_one_browser_make_one_volunteer(world: Any, make_body: Any, submit: Any) -> None:
    from django.test import Client

    workflow, user = world.workflow(subjects=N_THREADS), world.user("ada")
    browser = Client()
    browser.force_login(user)
    cookies = dict(browser.cookies)

    def send(subject_id: int) -> int:
        tab = Client()
        tab.cookies.update(cookies)
        status: int = submit(workflow, make_body(subject_id), by=tab).status_code
        return status

    ids = workflow.project.subjects.values_list("id", flat=True)
    assert at_once([lambda i=i: send(i) for i in ids]) == [201] * N_THREADS
    assert Volunteer.objects.get().classifications.count() == N_THREADS


def test_signing_in_while_classifying_loses_and_doubles_nothing(world: Any) -> None:
    workflow = world.workflow(subjects=6, limit=2)
    subjects = list(workflow.project.subjects.all())
    user = world.user("ada")
    own, visitor = world.volunteer(user), world.volunteer()
    for subject in subjects[:2]:
        world.classify(workflow, subject, own)
        world.classify(workflow, subject, visitor)

    def work(volunteer: Any, subject: Any) -> Any:
        return world.classify(workflow, subject, volunteer)

    outcomes = at_once(
        [
            lambda: merge_visitor(user=user, visitor=visitor.visitor),
            *(lambda s=s: work(visitor, s) for s in subjects[2:5]),
            *(lambda s=s: work(own, s) for s in subjects[3:6]),
        ]
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert all(isinstance(outcome, AlreadyClassified) for outcome in refused), refused
    counted = Classification.objects.counted()
    assert set(counted.values_list("volunteer", flat=True)) == {own.pk}
    assert set(counted.values_list("subject", flat=True)) == {subject.pk for subject in subjects}
    running = state_of(workflow)
    assert [row[1] for row in running] == [1] * 6
    rebuild_results(workflow=workflow)
    assert state_of(workflow) == running


def test_rebuilding_and_routing_while_volunteers_go_on(world: Any) -> None:
    workflow = world.workflow(subjects=4, limit=3)
    subjects = list(workflow.project.subjects.all())
    volunteers = [world.volunteer() for _ in range(4)]
    routes = [Route(subject.pk, bucket=70 + i) for i, subject in enumerate(reversed(subjects))]

    def go_on(volunteer: Any) -> None:
        for subject in subjects:
            world.classify(workflow, subject, volunteer)

    outcomes = at_once(
        [
            *(lambda v=v: go_on(v) for v in volunteers),
            lambda: rebuild_results(workflow=workflow),
            lambda: route_subjects(workflow=workflow, routes=routes),
        ]
    )

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    running = state_of(workflow)
    assert [row[1] for row in running] == [4] * 4
    assert rebuild_results(workflow=workflow) == 0
    assert sorted(SubjectProgress.objects.values_list("bucket", flat=True)) == [70, 71, 72, 73]


@pytest.mark.parametrize(("n_volunteers", "n_subjects", "limit"), [(64, 20, 3), (16, 5, 1), (8, 3, 30)])
def test_many_who_ask_and_answer_give_no_subject_more_answers_than_it_takes(
    world: Any, n_volunteers: int, n_subjects: int, limit: int
) -> None:
    workflow = world.workflow(subjects=n_subjects, limit=limit)
    volunteers = [world.volunteer() for _ in range(n_volunteers)]

    ends = at_once(
        [lambda v=v, i=i: _work_to_the_end(world, workflow, v, count=1 + i % 3) for i, v in enumerate(volunteers)]
    )

    assert set(ends) <= {"seen_all", "all_retired"}, ends
    counts = SubjectProgress.objects.filter(workflow=workflow).values_list("classification_count", flat=True)
    assert list(counts) == [min(limit, n_volunteers)] * n_subjects
    assert not Classification.objects.filter(after_retirement=True).exists()


def _work_to_the_end(world: Any, workflow: Any, volunteer: Any, count: int) -> str:
    """Ask, answer all that came, ask again, whoever holds the rest; how it ended."""
    definition, subjects = definition_of(workflow.current), set()
    for _ in range(5000):
        found = select(workflow_id=workflow.pk, definition=definition, volunteer_id=volunteer.pk, count=count)
        if found.is_finished:
            return found.reason
        assert bool(found.subjects) != (found.reason == "all_leased"), found
        for subject in found.subjects:
            assert subject.pk not in subjects
            subjects.add(subject.pk)
            assert world.classify(workflow, subject, volunteer).created
    raise AssertionError("never came to an end")


def test_two_tabs_of_one_volunteer_ask_at_once(world: Any) -> None:
    """Their leases are the same rows: nobody waits for the other for ever, and each gets something."""
    workflow, volunteer = world.workflow(subjects=12, limit=1), world.volunteer()
    definition = definition_of(workflow.current)

    def ask() -> None:
        for _ in range(15):
            select(workflow_id=workflow.pk, definition=definition, volunteer_id=volunteer.pk, count=5)

    assert at_once([ask] * N_THREADS) == [None] * N_THREADS
    assert Lease.objects.filter(volunteer=volunteer).count() <= 12


def test_signing_in_while_asking_breaks_nothing(world: Any) -> None:
    workflow, user = world.workflow(subjects=12, limit=2), world.user("ada")
    own, visitor = world.volunteer(user), world.volunteer()
    definition = definition_of(workflow.current)

    def ask(volunteer: Any) -> None:
        for _ in range(10):
            select(workflow_id=workflow.pk, definition=definition, volunteer_id=volunteer.pk, count=6)

    ask(visitor)
    jobs = [lambda: ask(own), lambda: merge_visitor(user=user, visitor=visitor.visitor), delete_expired_leases]
    assert [end for end in at_once(jobs) if isinstance(end, Exception)] == []
    assert not Lease.objects.filter(volunteer=visitor).exists()
