"""When a workflow's models are fitted anew, and how a run that takes long says that it is at work."""

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection

from classify.models import Classification, SubjectProgress
from starsieve.catalogues.consensus import heartbeat, runs
from starsieve.catalogues.consensus.heartbeat import Heartbeat
from starsieve.catalogues.models import ConsensusRun, Snapshot
from starsieve.catalogues.snapshots.refresh import refresh_snapshot
from tests.platform.catalogues.conftest import GRADE, Survey
from tests.support.databases import shared_database

QUESTION = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [{"key": "smooth", "label": "Smooth"}, {"key": "features", "label": "Features"}],
    },
}  # fmt: skip


@pytest.fixture
def fitted(survey: Any) -> Any:
    """A workflow whose three classifications a run has read."""
    workflow = survey.workflow(QUESTION, limit=100)
    for value in (0, 0, 1):
        survey.answer(workflow, "one", value)
    runs.run_consensus(workflow=workflow)
    return workflow


def test_nothing_is_due_while_nothing_comes(fitted: Any) -> None:
    assert not runs.is_due(fitted)
    refresh_snapshot(workflow=fitted)
    assert not runs.is_due(fitted)


@pytest.mark.parametrize("in_snapshot", [True, False])
def test_a_new_classification_makes_it_due(survey: Any, fitted: Any, in_snapshot: bool) -> None:
    survey.answer(fitted, "two", 0)
    if in_snapshot:
        refresh_snapshot(workflow=fitted)
    assert runs.is_due(fitted)
    assert runs.refresh_consensus(workflow=fitted)
    assert not runs.is_due(fitted)


def test_counts_of_subjects_that_are_wrong_do_not_make_it_due(fitted: Any) -> None:
    SubjectProgress.objects.filter(workflow=fitted).update(classification_count=500)
    assert not runs.is_due(fitted)


def test_second_looks_and_old_versions_do_not_make_it_due_for_ever(survey: Any, make_user: Any) -> None:
    from classify.models import Volunteer
    from classify.volunteers import merge_visitor
    from starsieve.projects.services import publish_version

    workflow, user, visitor = survey.workflow(GRADE, limit=100), make_user("ada"), survey.volunteer()
    survey.answer(workflow, "one", "A", volunteer=Volunteer.objects.create(user=user))
    survey.answer(workflow, "one", "B", volunteer=visitor)
    merge_visitor(user=user, visitor=visitor.visitor)
    definition = {"first": "T0", "tasks": QUESTION, "retirement": {"classification_count": 100}}
    publish_version(workflow=workflow, definition=definition, user=survey.owner)
    workflow.refresh_from_db()
    assert not runs.is_due(workflow)  # nobody has answered the new question
    survey.answer(workflow, "two", 0)
    assert runs.refresh_consensus(workflow=workflow)
    last = ConsensusRun.objects.latest_done(workflow)
    assert last is not None
    assert (last.n_classifications, last.n_read) == (1, 3)
    assert not runs.is_due(workflow)


def test_deleted_classifications_make_it_due(fitted: Any) -> None:
    Classification.objects.filter(workflow=fitted).order_by("id")[0].delete()
    Snapshot.objects.all().delete()
    assert runs.refresh_consensus(workflow=fitted)
    assert not runs.is_due(fitted)


def test_a_large_workflow_waits_until_a_hundredth_has_come(
    survey: Any, fitted: Any, django_assert_max_num_queries: Any
) -> None:
    last = ConsensusRun.objects.latest_done(fitted)
    assert last is not None
    part = fitted.snapshot.parts.get()
    part.n_rows, last.n_read = 300, 300
    part.save()
    last.save()
    for n in range(2):
        survey.answer(fitted, "two", 0)
        assert not runs.is_due(fitted), n
    survey.answer(fitted, "two", 0)
    with django_assert_max_num_queries(4):
        assert runs.is_due(fitted)


# --- Heartbeat --------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_run_says_that_it_is_at_work_while_it_fits(
    transactional_db: None, make_user: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten, beat, fit = threading.Event(), runs._beat, runs.outcomes_of

    def beat_and_tell(run: ConsensusRun) -> None:
        beat(run)
        beaten.set()

    def slow_fit(*arguments: Any) -> Any:
        before = ConsensusRun.objects.get().heartbeat_at
        for _ in range(2):  # the first may have begun before
            beaten.clear()
            assert beaten.wait(20)
        assert ConsensusRun.objects.get().heartbeat_at > before
        return fit(*arguments)

    monkeypatch.setattr(runs, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(runs, "_beat", beat_and_tell)
    monkeypatch.setattr(runs, "outcomes_of", slow_fit)
    with shared_database(tmp_path):
        survey = Survey(make_user("owner"))
        workflow = survey.workflow(QUESTION)
        survey.answer(workflow, "one", 0)
        assert runs.run_consensus(workflow=workflow).state == "done"
        assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_run_that_has_ended_is_not_touched_by_a_late_beat(fitted: Any) -> None:
    run = ConsensusRun.objects.latest_done(fitted)
    assert run is not None
    runs._beat(run)
    assert ConsensusRun.objects.get(pk=run.pk).heartbeat_at == run.heartbeat_at


def test_a_beat_that_fails_is_logged_and_the_next_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    beats, again, warned = [], threading.Event(), []
    monkeypatch.setattr(heartbeat.logger, "warning", lambda *said, **more: warned.append((said, more)))

    def beat() -> None:
        beats.append(1)
        if len(beats) == 1:
            raise OperationalError("the server has gone away")
        again.set()

    with Heartbeat(beat, 0.01):
        assert again.wait(20)
    assert warned == [(("heartbeat_missed",), {"error": "the server has gone away"})]


def test_a_fault_of_the_work_itself_goes_on_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), Heartbeat(lambda: None, 60):
        raise ZeroDivisionError
    assert connection.vendor  # the thread has closed its own connection, not this one's
