"""Training subjects: how often they come, to whom, and that nothing tells them apart."""

from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from classify import selection
from classify.models import Lease, SubjectProgress
from classify.services import retire_subject, set_gold_standard
from classify.versions import definition_of

GRADE = {"type": "grade", "question": "How sure are you?"}
OFTEN = [[0, 0.5], [4, 0.25], [8, 0]]


class School:
    """A workflow of `n_plain` ordinary and `n_training` training subjects, with a training schedule."""

    def __init__(self, world: Any, *, rates: Any = OFTEN, n_plain: int = 40, n_training: int = 30) -> None:
        from starsieve.projects.services import publish_version

        self.world = world
        self.workflow = world.workflow({"T0": GRADE}, subjects=n_plain, limit=50)
        self.plain = {subject.pk for subject in self.workflow.project.subjects.all()}
        self.training = set()
        for subject in world.subjects(self.workflow, n_training):
            teach(self.workflow, subject)
            self.training.add(subject.pk)
        if rates is not None:
            definition = {**self.workflow.current.definition, "training": {"rates": rates}}
            publish_version(workflow=self.workflow, definition=definition, user=self.workflow.project.created_by)

    def ask(self, volunteer: Any = None, count: int = 1, **options: Any) -> list[int]:
        found = self.select(volunteer, count, **options)
        return [subject.pk for subject in found.subjects]

    def select(self, volunteer: Any = None, count: int = 1, **options: Any) -> selection.Selection:
        return selection.select(
            workflow_id=self.workflow.pk,
            definition=definition_of(self.workflow.current),
            volunteer_id=volunteer.pk if volunteer is not None else None,
            count=count,
            **options,
        )

    def share(self, volunteer: Any = None, n: int = 120) -> float:
        served = [self.ask(volunteer)[0] for _ in range(n)]
        return sum(subject in self.training for subject in served) / n

    def answer(self, volunteer: Any, n: int) -> None:
        seen = set(volunteer.classifications.values_list("subject_id", flat=True))
        for subject in self.workflow.project.subjects.filter(pk__in=self.plain - seen)[:n]:
            self.world.classify(self.workflow, subject, volunteer, "X")


def teach(workflow: Any, subject: Any, **fields: Any) -> None:
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value="A", source="simulated", **fields)


@pytest.fixture
def chances(monkeypatch: Any) -> None:
    """The same chances and pivots in every run."""
    import random

    monkeypatch.setattr(selection.random, "random", random.Random(17).random)


def test_the_rate_falls_with_what_the_volunteer_has_answered(world: Any, chances: None) -> None:
    school, volunteer = School(world), world.volunteer()
    assert school.share(None) == pytest.approx(0.5, abs=0.15)
    assert school.share(volunteer) == pytest.approx(0.5, abs=0.15)
    school.answer(volunteer, 4)
    assert school.share(volunteer) == pytest.approx(0.25, abs=0.12)
    school.answer(volunteer, 4)
    assert school.share(volunteer) == 0


def test_each_place_of_a_larger_order_has_the_same_chance(world: Any, chances: None) -> None:
    school = School(world)
    places = Counter(i for _ in range(60) for i, pk in enumerate(school.ask(count=6)) if pk in school.training)
    assert sum(places.values()) / 360 == pytest.approx(0.5, abs=0.1)
    assert min(places[i] for i in range(6)) > 15


def test_an_order_has_its_full_number_and_nobody_twice(world: Any) -> None:
    school, volunteer = School(world), world.volunteer()
    for _ in range(10):
        served = school.ask(volunteer, count=15)
        assert len(served) == len(set(served)) == 15


def test_seen_and_excluded_training_subjects_do_not_come_again(world: Any) -> None:
    school, volunteer = School(world, rates=[[0, 1]], n_training=4), world.volunteer()
    first, second, *rest = sorted(school.training)
    world.classify(school.workflow, school.workflow.project.subjects.get(pk=first), volunteer, "A")
    served = school.ask(volunteer, count=20, exclude=[second])
    assert school.training & set(served) == set(rest)
    assert len(served) == 20


def test_retired_training_subjects_still_teach_and_withdrawn_ones_do_not(world: Any) -> None:
    from starsieve.projects.services import unlink_subject_set

    school = School(world, rates=[[0, 1]], n_training=3)
    for subject in school.workflow.project.subjects.filter(pk__in=school.training):
        retire_subject(workflow=school.workflow, subject=subject)
    assert set(school.ask(count=3)) == school.training
    unlink_subject_set(workflow=school.workflow, subject_set=subject.subject_set)
    assert not school.training & set(school.ask(count=20))


def test_with_a_schedule_training_subjects_come_by_that_alone(world: Any) -> None:
    school = School(world, rates=[[0, 0]], n_plain=12)
    found = school.select(count=20)
    assert {subject.pk for subject in found.subjects} == school.plain
    assert found.remaining == 12


def test_without_a_schedule_they_come_as_any_other(world: Any) -> None:
    school = School(world, rates=None, n_plain=5, n_training=5)
    assert set(school.ask(count=20)) == school.plain | school.training


def test_training_subjects_are_not_leased(world: Any) -> None:
    school, volunteer = School(world, rates=[[0, 0.5]]), world.volunteer()
    served = {pk for _ in range(5) for pk in school.ask(volunteer, count=10)}
    leased = set(Lease.objects.values_list("subject_id", flat=True))
    assert leased == served & school.plain
    assert served & school.training


def test_who_has_answered_all_ordinary_subjects_is_done(world: Any) -> None:
    school, volunteer = School(world, rates=[[0, 1]], n_plain=2), world.volunteer()
    school.answer(volunteer, 2)
    for count in (1, 5):
        found = school.select(volunteer, count)
        assert (found.subjects, found.reason, found.remaining) == ([], "seen_all", 0)


def test_who_waits_for_leased_subjects_may_train_meanwhile(world: Any) -> None:
    from starsieve.projects.services import publish_version

    school = School(world, rates=[[0, 1]], n_plain=2)
    definition = {**school.workflow.current.definition, "retirement": {"classification_count": 1}}
    publish_version(workflow=school.workflow, definition=definition, user=school.workflow.project.created_by)
    other = world.volunteer()
    Lease.objects.bulk_create(
        Lease(workflow=school.workflow, subject_id=pk, volunteer=other, expires_at="2036-01-01T00:00:00Z")
        for pk in school.plain
    )
    found = school.select(world.volunteer())
    assert (len(found.subjects), found.reason) == (1, "")
    assert found.subjects[0].pk in school.training


def test_a_visitors_first_subjects_teach_too_and_the_answer_tells_nothing(
    world: Any, get_next: Any, submit: Any, make_body: Any
) -> None:
    school = School(world, rates=[[0, 1]], n_plain=3)
    browser = Client()
    plain_browser = Client()
    answer = get_next(school.workflow, by=browser).json()
    [taught] = answer["subjects"]
    assert taught["id"] in school.training
    school_without = School(world, rates=None, n_training=0)
    [ordinary] = get_next(school_without.workflow, by=plain_browser).json()["subjects"]
    assert set(answer["subjects"][0]) == set(ordinary)
    receipt = submit(school.workflow, make_body(taught["id"], version="1.2", answer="A"), by=browser).json()
    assert receipt["feedback"][0]["is_right"]


@pytest.mark.parametrize(("who", "most"), [("signed in", 5), ("visitor", 4)])
def test_a_schedule_costs_one_statement_more(
    world: Any, get_next: Any, submit: Any, make_body: Any, django_assert_max_num_queries: Any, who: str, most: int
) -> None:
    from django.db import connection

    school, browser = School(world, rates=[[0, 0.5]]), Client()
    if who == "signed in":
        browser.force_login(world.user("ada"))
    submit(school.workflow, make_body(min(school.plain), version="1.2", answer="X"), by=browser)
    for _ in range(10):
        with django_assert_max_num_queries(most + (9 if connection.vendor == "sqlite" else 0)):
            assert len(get_next(school.workflow, by=browser, count=3).json()["subjects"]) == 3


# --- Which subjects train -----------------------------------------------------------------------------------------


def trains(workflow: Any) -> set[str]:
    return set(
        SubjectProgress.objects.filter(workflow=workflow, is_training=True).values_list("subject__name", flat=True)
    )


def test_a_gold_standard_that_gives_feedback_makes_a_training_subject(world: Any) -> None:
    workflow = world.workflow({"T0": GRADE, "T1": GRADE} | {"T0": {**GRADE, "next": "T1"}}, subjects=2)
    one, other = workflow.project.subjects.all()
    teach(workflow, one)
    teach(workflow, other, give_feedback=False)
    assert trains(workflow) == {one.name}
    set_gold_standard(workflow=workflow, subject=one, task="T1", value="A", source="expert", give_feedback=False)
    assert trains(workflow) == {one.name}
    teach(workflow, one, give_feedback=False)
    assert trains(workflow) == set()


def test_imported_gold_standards_train_unless_told_not_to(world: Any, tmp_path: Any) -> None:
    workflow = world.workflow({"T0": GRADE}, subjects=3)
    one, other, _ = workflow.project.subjects.all()
    file = tmp_path / "gold.csv"
    file.write_text(f"subject,answer\n{one.name},A\n{other.name},X\n")
    call_command("import_gold", str(workflow.pk), str(file))
    assert trains(workflow) == {one.name, other.name}
    call_command("import_gold", str(workflow.pk), str(file), "--no-feedback")
    assert trains(workflow) == set()


def test_a_subject_with_gold_trains_wherever_it_is_queued_later(world: Any) -> None:
    from starsieve.projects.services import link_subject_set, unlink_subject_set

    workflow = world.workflow({"T0": GRADE}, subjects=2)
    subject = workflow.project.subjects.first()
    unlink_subject_set(workflow=workflow, subject_set=subject.subject_set)
    SubjectProgress.objects.all().delete()
    teach(workflow, subject)
    link_subject_set(workflow=workflow, subject_set=subject.subject_set)
    assert trains(workflow) == {subject.name}


def test_answers_from_before_a_new_schedule_go_on_counting(world: Any) -> None:
    from starsieve.projects.services import publish_version

    school = School(world, rates=None, n_plain=1, n_training=0)
    subject = school.workflow.project.subjects.get()
    world.classify(school.workflow, subject, answer="X")
    definition = {**school.workflow.current.definition, "training": {"rates": [[0, 0.5]]}}
    publish_version(workflow=school.workflow, definition=definition, user=school.workflow.project.created_by)
    world.classify(school.workflow, subject, answer="A")
    assert world.progress(school.workflow, subject).classification_count == 2
