"""Rebuilding from the classifications gives exactly what running work gave."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classify.models import Classification, SubjectProgress
from classify.rebuild import rebuild_results
from classify.services import reopen_subject, retire_subject
from classify.volunteers import merge_visitor

LETTERS = {"type": "grade", "question": "How sure are you?"}
TOOLS = [{"key": "clump", "label": "Clump"}, {"key": "star", "label": "Star"}]


def state_of(workflow: Any) -> list[tuple[Any, ...]]:
    rows = SubjectProgress.objects.filter(workflow=workflow).order_by("subject_id")
    return list(
        rows.values_list(
            "subject_id", "classification_count", "tallies", "tallied_version", "retired_at", "retirement_reason"
        )
    )


def spoil(workflow: Any) -> None:
    SubjectProgress.objects.filter(workflow=workflow).update(
        classification_count=77, tallies={"T0": {"n": 5, "counts": [5, 0]}}
    )


# --- Random workflows and answers ---------------------------------------------------------------------------------


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """A workflow's tasks: each may lead to any later one, or end; the ones that nothing reaches are left out."""
    n = draw(st.integers(1, 4))
    tasks: dict[str, dict[str, Any]] = {}
    for i in range(n):
        later = st.sampled_from([None, *(f"T{j}" for j in range(i + 1, n))])
        task: dict[str, Any] = {"question": f"Q{i}", "next": draw(later), "required": draw(st.booleans())}
        match draw(st.sampled_from(["single", "multiple", "grade", "boxes", "text"])):
            case "single":
                answers = [{"key": f"a{k}", "label": "A", "next": draw(later)} for k in range(draw(st.integers(2, 4)))]
                task |= {"type": "single", "answers": answers}
            case "multiple":
                task |= {"type": "multiple", "answers": [{"key": f"a{k}", "label": "A"} for k in range(3)]}
            case "boxes":
                task |= {"type": "boxes", "tools": TOOLS}
            case other:
                task |= {"type": other}
        tasks[f"T{i}"] = task
    return only_reached(tasks)


def only_reached(tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    reached, found = set(), ["T0"]
    while found:
        key = found.pop()
        reached.add(key)
        task = tasks[key]
        found += {answer["next"] for answer in task.get("answers", []) if answer.get("next")} - reached
        if task["next"] and (task["type"] != "single" or not task["required"]):
            found.append(task["next"])
    for key in reached:  # a `next` that no answer takes must still name a task
        if tasks[key]["next"] not in reached:
            tasks[key]["next"] = None
    return {key: task for key, task in tasks.items() if key in reached}


def value_of(task: dict[str, Any], draw: Any) -> Any:
    if not task["required"] and draw(st.booleans()):
        return None
    match task["type"]:
        case "single":
            return draw(st.integers(0, len(task["answers"]) - 1))
        case "multiple":
            return draw(st.lists(st.integers(0, 2), unique=True))
        case "grade":
            return draw(st.sampled_from("ABCIX"))
        case "boxes":
            side = st.floats(0.5, 79, allow_nan=False)
            box = st.fixed_dictionaries(
                {"x": side, "y": side, "width": side, "height": side, "tool": st.integers(0, 1)}
            )
            return draw(st.lists(box, max_size=3))
        case _:
            return draw(st.text("ab é", max_size=3))


def answers_to(tasks: dict[str, Any], draw: Any) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    key = "T0"
    while key is not None:
        value = value_of(tasks[key], draw)
        annotations.append({"task": key, "value": value})
        is_choice = tasks[key]["type"] == "single" and value is not None
        key = tasks[key]["answers"][value]["next"] if is_choice else tasks[key]["next"]
    return annotations


PROPERTY = settings(
    max_examples=40,
    deadline=None,
    # Examples share the test's database; each has a workflow of its own.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@PROPERTY
@given(data=st.data())
def test_running_and_rebuilt_are_equal_for_any_tree_and_any_answers(world: Any, data: st.DataObject) -> None:
    tasks = data.draw(trees())
    workflow = world.workflow(tasks, limit=data.draw(st.integers(1, 4)), subjects=2)
    subjects = list(workflow.project.subjects.all())
    volunteers = [world.volunteer() for _ in range(4)]
    pairs = st.tuples(st.sampled_from(subjects), st.sampled_from(volunteers))
    for subject, volunteer in data.draw(st.lists(pairs, unique=True, max_size=8)):
        world.classify(workflow, subject, volunteer, annotations=answers_to(tasks, data.draw))
        match data.draw(st.integers(0, 9)):
            case 0:
                retire_subject(workflow=workflow, subject=subject)
            case 1:
                reopen_subject(workflow=workflow, subject=subject)
    running = state_of(workflow)

    assert rebuild_results(workflow=workflow) == 0
    spoil(workflow)
    assert rebuild_results(workflow=workflow) == 2
    assert state_of(workflow) == running


@PROPERTY
@given(data=st.data())
def test_running_and_rebuilt_are_equal_when_visitors_sign_in(world: Any, data: st.DataObject) -> None:
    from starsieve.accounts.models import User

    tasks = {"T0": {"type": "boxes", "question": "Mark", "tools": TOOLS, "required": True, "next": None}}
    workflow = world.workflow(tasks, limit=2, subjects=3)
    subjects = list(workflow.project.subjects.all())
    user = User.objects.create_user(f"u{workflow.pk}")
    people = [world.volunteer(user), *(world.volunteer() for _ in range(3))]
    pairs = st.tuples(st.sampled_from(subjects), st.sampled_from(people))
    for subject, volunteer in data.draw(st.lists(pairs, unique=True, max_size=12)):
        world.classify(workflow, subject, volunteer, annotations=answers_to(tasks, data.draw))
    for visitor in data.draw(st.lists(st.sampled_from(people[1:]), unique=True)):
        merge_visitor(user=user, visitor=visitor.visitor)
    running = state_of(workflow)

    assert rebuild_results(workflow=workflow) == 0
    spoil(workflow)
    rebuild_results(workflow=workflow)
    assert state_of(workflow) == running


# --- Versions -----------------------------------------------------------------------------------------------------

SINGLE = {
    "type": "single",
    "question": "What is it?",
    "answers": [{"key": "smooth", "label": "Smooth"}, {"key": "disk", "label": "Disk"}],
}


def test_a_new_wording_keeps_the_tallies(world: Any) -> None:
    workflow = world.workflow({"T0": SINGLE})
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=1)
    assert world.publish(workflow, {"T0": {**SINGLE, "question": "What do you see?"}}).number == "1.2"
    world.classify(workflow, subject, answer=0)
    world.classify(workflow, subject, answer=0, workflow_version="1.1")
    assert world.progress(workflow, subject).tallies == {"T0": {"n": 3, "counts": [2, 1]}}
    running = state_of(workflow)
    rebuild_results(workflow=workflow)
    assert state_of(workflow)[0] == running[0]


def test_new_questions_begin_new_tallies_and_old_answers_stay_truth(world: Any) -> None:
    workflow = world.workflow({"T0": SINGLE}, limit=3)
    subject = workflow.project.subjects.first()
    for _ in range(2):
        world.classify(workflow, subject, answer=1)
    three = {**SINGLE, "answers": [*SINGLE["answers"], {"key": "star", "label": "Star"}]}
    assert world.publish(workflow, {"T0": three}).number == "2.1"

    world.classify(workflow, subject, answer=2)
    late = world.classify(workflow, subject, answer=1, workflow_version="1.1")

    progress = world.progress(workflow, subject)
    assert late.created is True
    assert progress.tallies == {"T0": {"n": 1, "counts": [0, 0, 1]}}
    assert progress.classification_count == 1
    assert Classification.objects.count() == 4
    rebuild_results(workflow=workflow)
    assert world.progress(workflow, subject).tallies == progress.tallies


def test_a_change_of_the_limit_alone_keeps_the_tallies_and_decides_retirement_anew(world: Any) -> None:
    workflow = world.workflow({"T0": SINGLE}, limit=2)
    subject = workflow.project.subjects.first()
    for _ in range(2):
        world.classify(workflow, subject)
    assert world.progress(workflow, subject).retired_at is not None
    assert world.publish(workflow, {"T0": SINGLE}, limit=4).number == "2.1"

    rebuild_results(workflow=workflow)
    progress = world.progress(workflow, subject)
    assert (progress.classification_count, progress.retired_at) == (2, None)

    world.publish(workflow, {"T0": SINGLE}, limit=1)
    assert world.classify(workflow, subject).retired is True
    progress = world.progress(workflow, subject)
    assert progress.classification_count == 3
    assert progress.retired_at == Classification.objects.earliest("id").created_at


def test_rebuilding_after_new_questions_reopens_what_the_old_ones_had_retired(world: Any) -> None:
    workflow = world.workflow({"T0": SINGLE}, limit=1)
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject)
    world.publish(workflow, {"T0": LETTERS}, limit=1)
    rebuild_results(workflow=workflow)
    progress = world.progress(workflow, subject)
    assert (progress.classification_count, progress.tallies, progress.retired_at) == (0, {}, None)


# --- The command --------------------------------------------------------------------------------------------------


def test_decisions_by_hand_survive(world: Any) -> None:
    workflow = world.workflow(limit=1)
    by_hand, reopened, by_count = workflow.project.subjects.all()
    retire_subject(workflow=workflow, subject=by_hand, reason="expert")
    world.classify(workflow, reopened)
    reopen_subject(workflow=workflow, subject=reopened)
    world.classify(workflow, by_count)
    running = state_of(workflow)
    spoil(workflow)
    rebuild_results(workflow=workflow)
    assert state_of(workflow) == running
    assert [row[5] for row in running] == ["expert", "", "classification_count"]


def test_a_lost_progress_row_comes_back(world: Any) -> None:
    workflow = world.workflow(subjects=2)
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=1)
    running = state_of(workflow)
    SubjectProgress.objects.filter(subject=subject).delete()
    rebuild_results(workflow=workflow)
    assert sorted(state_of(workflow)) == sorted(running)


def test_a_lost_row_of_an_unlinked_set_comes_back_outside_the_queue(world: Any) -> None:
    from starsieve.projects.services import unlink_subject_set

    workflow = world.workflow(subjects=1)
    subject = workflow.project.subjects.get()
    world.classify(workflow, subject)
    unlink_subject_set(workflow=workflow, subject_set=subject.subject_set)
    SubjectProgress.objects.all().delete()
    rebuild_results(workflow=workflow)
    progress = world.progress(workflow, subject)
    assert (progress.classification_count, progress.is_withdrawn) == (1, True)


def test_other_workflows_are_left_alone(world: Any) -> None:
    workflow, other = world.workflow(), world.workflow()
    spoil(other)
    spoilt = state_of(other)
    rebuild_results(workflow=workflow)
    assert state_of(other) == spoilt


def test_many_subjects_are_taken_in_chunks_with_progress(world: Any, monkeypatch: Any) -> None:
    from classify import rebuild

    monkeypatch.setattr(rebuild, "SUBJECTS_AT_ONCE", 3)
    workflow = world.workflow(subjects=7)
    for subject in workflow.project.subjects.all():
        world.classify(workflow, subject)
    running = state_of(workflow)
    spoil(workflow)
    told: list[tuple[int, int]] = []
    assert rebuild_results(workflow=workflow, on_progress=lambda done, total: told.append((done, total))) == 7
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert state_of(workflow) == running


def test_the_command_rebuilds_and_says_what_changed(world: Any) -> None:
    workflow = world.workflow()
    spoil(workflow)
    out = StringIO()
    call_command("rebuild_results", str(workflow.pk), stdout=out)
    assert "3 of 3 subjects" in out.getvalue()
    assert state_of(workflow)[0][1] == 0


@pytest.mark.parametrize("name", ["12345", "nowhere", "9" * 30])
def test_the_command_names_an_unknown_workflow(db: None, name: str) -> None:
    with pytest.raises(CommandError, match=name):
        call_command("rebuild_results", name, stdout=StringIO())
