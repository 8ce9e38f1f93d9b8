"""A release is frozen once, built by one worker at a time, and comes out the same whenever it is built."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from starsieve.catalogues import services, tasks
from starsieve.catalogues.building import ReleaseChanged
from starsieve.catalogues.files import release_folder
from starsieve.catalogues.models import Release
from starsieve.catalogues.release_settings import ReleaseSettings, SettingsProblem
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box

FileBytes = Callable[[Any], dict[str, bytes]]


def classified(survey: Any) -> Any:
    workflow = survey.workflow(BOXES, limit=3)
    survey.score(workflow, {"one": 0.9, "two": 0.1})
    for x in (10, 11, 12):
        survey.answer(workflow, "one", [box(x, 20), box(60, 40, tool=1)])
    survey.answer(workflow, "two", [])
    return workflow


def test_two_releases_of_the_same_inputs_have_the_same_bytes(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes
) -> None:
    workflow = classified(survey)
    first = make_release(workflow, include_classifications=True)
    second = make_release(workflow, include_classifications=True)
    assert (first.number, second.number) == (1, 2)
    assert file_bytes(first) == file_bytes(second)
    assert len(file_bytes(first)) == 11


def test_building_again_after_more_classifications_gives_the_same_bytes(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes
) -> None:
    workflow = classified(survey)
    release = make_release(workflow)
    before = file_bytes(release)
    survey.answer(workflow, "one", [box(80, 20)])
    survey.answer(workflow, "two", [box(80, 20)])
    survey.answer(workflow, "two", [box(80, 20)])  # now it is retired as well
    survey.score(workflow, {"one": 0.2})
    workflow.project.title = "Renamed"
    workflow.project.save()
    release.refresh_from_db()
    services.rebuild(release=release)
    assert file_bytes(release) == before


def test_a_later_release_counts_what_came_since(survey: Any, make_release: Callable[..., Any]) -> None:
    workflow = classified(survey)
    first = make_release(workflow)
    survey.answer(workflow, "two", [])
    second = make_release(workflow)
    assert second.watermark > first.watermark
    for release, n in ((first, 4), (second, 5)):
        release.refresh_from_db()
        assert release.provenance["n_classifications"] == n


def test_classifications_of_another_workflow_do_not_move_the_watermark(
    survey: Any, make_release: Callable[..., Any]
) -> None:
    workflow = classified(survey)
    first = make_release(workflow)
    survey.answer(survey.workflow(GRADE), "one", "A")
    assert make_release(workflow).watermark == first.watermark


def test_numbers_come_from_the_classifications_not_from_the_tallies(
    survey: Any, make_release: Callable[..., Any]
) -> None:
    from classify.models import SubjectProgress

    workflow = classified(survey)
    SubjectProgress.objects.filter(workflow=workflow).update(tallies={}, classification_count=99)
    release = make_release(workflow)
    release.refresh_from_db()
    assert release.provenance["n_classifications"] == 4


def test_a_retirement_after_the_watermark_was_read_does_not_count(survey: Any) -> None:
    from classify.services import retire_subject
    from starsieve.catalogues.freezing import freeze_subjects
    from starsieve.catalogues.models import FrozenSubject

    workflow = survey.workflow(GRADE)
    release = services.make_release(workflow=workflow, user=None, settings=ReleaseSettings(), build_in_background=False)
    FrozenSubject.objects.all().delete()
    retire_subject(workflow=workflow, subject=survey.named(workflow, "one"))
    freeze_subjects(release)
    assert set(FrozenSubject.objects.values_list("retirement_reason", flat=True)) == {""}


def test_a_retirement_by_hand_is_frozen_and_survives_a_reopening(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes
) -> None:
    from classify.services import reopen_subject, retire_subject

    workflow = survey.workflow(GRADE)
    one = survey.named(workflow, "one")
    retire_subject(workflow=workflow, subject=one)
    release = make_release(workflow, formats=("csv",))
    before = file_bytes(release)
    assert ",true,human," in before["subjects.csv"].decode()
    reopen_subject(workflow=workflow, subject=one)
    release.refresh_from_db()
    services.rebuild(release=release)
    assert file_bytes(release) == before


def test_a_second_look_left_by_a_merge_does_not_count_but_a_later_merge_changes_nothing(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes
) -> None:
    workflow = survey.workflow(GRADE, names=("one",), limit=9)
    ada, visitor, other = survey.volunteer(), survey.volunteer(), survey.volunteer()
    for volunteer in (ada, visitor, other):
        survey.answer(workflow, "one", "A", volunteer=volunteer)
    visitor.merged_into = ada
    visitor.save()
    release = make_release(workflow)
    before = file_bytes(release)
    assert json.loads(before["provenance.json"])["n_classifications"] == 2
    other.merged_into = ada
    other.save()
    release.refresh_from_db()
    services.rebuild(release=release)
    assert file_bytes(release) == before


def test_answers_to_other_questions_are_told_but_not_counted(survey: Any, make_release: Callable[..., Any]) -> None:
    from starsieve.projects.services import publish_version

    workflow = survey.workflow(GRADE, names=("one",))
    survey.answer(workflow, "one", "A")
    tree = {"first": "T0", "tasks": TREE, "retirement": {"classification_count": 3}}
    publish_version(workflow=workflow, definition=tree, user=survey.owner)
    workflow.refresh_from_db()
    survey.answer(workflow, "one", 0)
    release = make_release(workflow)
    release.refresh_from_db()
    assert release.provenance["classifications_by_version"] == {"2.1": 1}
    assert release.provenance["classifications_of_other_questions"] == {"1.1": 1}


def test_a_release_keeps_its_version_when_the_questions_change(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes
) -> None:
    from starsieve.projects.services import publish_version

    workflow = classified(survey)
    release = make_release(workflow)
    before = file_bytes(release)
    publish_version(
        workflow=workflow, user=survey.owner,
        definition={"first": "T0", "tasks": GRADE, "retirement": {"classification_count": 3}},
    )  # fmt: skip
    release.refresh_from_db()
    services.rebuild(release=release)
    assert file_bytes(release) == before


def test_scores_are_those_of_the_newest_batch_that_knows_the_subject(
    survey: Any, make_release: Callable[..., Any]
) -> None:
    workflow = survey.workflow(GRADE)
    survey.score(workflow, {"one": 0.1, "two": 0.2}, model="old")
    survey.score(workflow, {"one": 0.9}, model="new")
    frozen = make_release(workflow).subjects.order_by("subject__name").values_list("ml_score", "ml_model__name")
    assert list(frozen) == [(0.9, "new"), (0.2, "old")]


def test_of_an_unlinked_set_only_subjects_with_votes_stay(survey: Any, make_release: Callable[..., Any]) -> None:
    from starsieve.projects.services import unlink_subject_set

    workflow = survey.workflow(GRADE)
    survey.answer(workflow, "two", "A")
    unlink_subject_set(workflow=workflow, subject_set=workflow.subject_sets.get())
    frozen = make_release(workflow).subjects.values_list("subject__name", flat=True)
    assert list(frozen) == ["two"]


def test_many_subjects_come_in_chunks(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"s{i}" for i in range(7))
    workflow = survey.workflow(GRADE, names=names)
    for name in names:
        survey.answer(workflow, name, "B")
    whole = make_release(workflow, formats=("csv",))
    monkeypatch.setattr("starsieve.catalogues.by_subject.SUBJECTS_IN_PILE", 3)
    monkeypatch.setattr("starsieve.catalogues.by_subject.ROWS_DEALT", 2)
    monkeypatch.setattr("starsieve.catalogues.writers.base.BATCH_ROWS", 2)
    assert file_bytes(make_release(workflow, formats=("csv",))) == file_bytes(whole)


def test_a_changed_subject_is_noticed_and_the_published_files_stay(
    survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes
) -> None:
    workflow = classified(survey)
    release = make_release(workflow)
    before = file_bytes(release)
    workflow.project.subjects.filter(name="one").update(name="uno")
    release.refresh_from_db()
    with pytest.raises(ReleaseChanged, match=r"subjects\.csv.*edited since"):
        services.rebuild(release=release)
    release.refresh_from_db()
    assert (release.state, release.error) == ("done", "")
    assert file_bytes(release) == before


def test_lost_files_are_written_again(survey: Any, make_release: Callable[..., Any], file_bytes: FileBytes) -> None:
    release = make_release(classified(survey))
    before = file_bytes(release)
    (release_folder(release) / "subjects.csv").unlink()
    release.refresh_from_db()
    services.rebuild(release=release)
    assert file_bytes(release) == before


# --- Claims, faults, lost workers ---------------------------------------------------------------------------------
def test_of_two_workers_one_builds(survey: Any, make_release: Callable[..., Any]) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    assert services.build(release=release) is True
    assert services.build(release=release) is False


def test_the_task_builds_and_may_be_delivered_twice(survey: Any, make_release: Callable[..., Any]) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    tasks.build_release(release.pk)
    tasks.build_release(release.pk)
    release.refresh_from_db()
    assert (release.state, release.attempts, release.n_written) == ("done", 1, 2)


def test_a_fault_is_written_to_the_release_and_leaves_no_files(
    survey: Any, make_release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make_release(survey.workflow(GRADE), build=False)

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("starsieve.catalogues.building._write_all", full)
    tasks.build_release(release.pk)
    release.refresh_from_db()
    assert (release.state, release.error) == ("failed", "OSError: No space left on device")
    assert list(release_folder(release).parent.iterdir()) == []


def test_a_failed_release_can_be_tried_again(
    survey: Any, make_release: Callable[..., Any], django_capture_on_commit_callbacks: Any, enqueued: list[int]
) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    Release.objects.update(state="failed", error="x")
    with django_capture_on_commit_callbacks(execute=True):
        services.retry_release(release=release)
    assert enqueued == [release.pk]
    assert services.build(release=release) is True


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    ids: list[int] = []
    monkeypatch.setattr(tasks.build_release, "delay", ids.append)
    return ids


def test_making_a_release_tells_a_worker_after_the_commit(
    survey: Any, django_capture_on_commit_callbacks: Any, enqueued: list[int]
) -> None:
    workflow = survey.workflow(GRADE)
    with django_capture_on_commit_callbacks(execute=True):
        release = services.make_release(workflow=workflow, user=None, settings=ReleaseSettings())
    assert enqueued == [release.pk]


def test_a_broker_that_is_away_does_not_lose_the_release(
    survey: Any, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise tasks.build_release.OperationalError("connection refused")

    monkeypatch.setattr(tasks.build_release, "delay", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        release = services.make_release(workflow=survey.workflow(GRADE), user=None, settings=ReleaseSettings())
    assert release.state == "pending"


def silent_for(release: Release, minutes: int, **fields: Any) -> None:
    then = timezone.now() - timedelta(minutes=minutes)
    Release.objects.filter(pk=release.pk).update(heartbeat_at=then, created_at=then, **fields)


def test_a_killed_workers_release_is_built_by_another(
    survey: Any, make_release: Callable[..., Any], enqueued: list[int]
) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    silent_for(release, 10, state="running", attempts=1)
    assert services.requeue_lost_releases() == 1
    assert enqueued == [release.pk]
    tasks.build_release(release.pk)
    release.refresh_from_db()
    assert (release.state, release.attempts) == ("done", 2)


def test_a_release_whose_message_was_lost_is_enqueued_again(
    survey: Any, make_release: Callable[..., Any], enqueued: list[int]
) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    silent_for(release, 10)
    services.requeue_lost_releases()
    assert enqueued == [release.pk]


def test_a_release_that_is_being_worked_on_is_left_alone(
    survey: Any, make_release: Callable[..., Any], enqueued: list[int]
) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    silent_for(release, 1, state="running", attempts=1)
    assert services.requeue_lost_releases() == 0
    assert enqueued == []


def test_a_release_that_keeps_killing_workers_fails(
    survey: Any, make_release: Callable[..., Any], enqueued: list[int]
) -> None:
    release = make_release(survey.workflow(GRADE), build=False)
    silent_for(release, 10, state="running", attempts=services.MOST_ATTEMPTS)
    services.requeue_lost_releases()
    release.refresh_from_db()
    assert release.state == "failed"
    assert "memory" in release.error
    assert enqueued == []


# --- Settings -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("chosen", "field"),
    [({"method": "magic"}, "method"), ({"formats": ("csv", "xls")}, "formats"), ({"formats": ()}, "formats")],
)
def test_settings_that_are_not_offered_are_refused_by_name(chosen: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsProblem) as refusal:
        ReleaseSettings(**chosen)
    assert refusal.value.field == field


def test_more_columns_than_fits_takes_are_refused_before_anything_is_frozen(survey: Any) -> None:
    answers = [{"key": f"a{i}", "label": f"A {i}"} for i in range(50)]
    wide = {
        f"T{i}": {"type": "multiple", "question": "?", "answers": answers, "next": f"T{i + 1}" if i < 10 else None}
        for i in range(11)
    }
    workflow = survey.workflow(wide)
    with pytest.raises(SettingsProblem, match="FITS takes 999"):
        services.make_release(workflow=workflow, user=None, settings=ReleaseSettings())
    assert not Release.objects.exists()
    settings = ReleaseSettings(formats=("csv", "votable"))
    services.make_release(workflow=workflow, user=None, settings=settings, build_in_background=False)
