"""Each reducer: its state grows answer by answer, its summary says what the aggregation package says."""

import json
from typing import Any

import pytest

from classify.reducers import REDUCERS
from starsieve.projects.definitions import parse_definition
from starsieve.projects.task_types import TASK_TYPES, Frame, Task

FRAMES = [Frame(100, 80)]
ANSWERS = [{"key": key, "label": key} for key in ("smooth", "disk", "star")]


def task_of(kind: str, **fields: Any) -> Task:
    task = {"type": kind, "question": "Q", **fields}
    data = {"first": "T0", "tasks": {"T0": task}, "retirement": {"classification_count": 3}}
    return parse_definition(data).tasks["T0"]


TASKS = {
    "single": task_of("single", answers=ANSWERS),
    "multiple": task_of("multiple", answers=ANSWERS),
    "grade": task_of("grade"),
    "boxes": task_of("boxes", tools=[{"key": "clump", "label": "Clump"}, {"key": "star", "label": "Star"}]),
    "text": task_of("text"),
}


def reduce(kind: str, values: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    reducer, task = REDUCERS[kind], TASKS[kind]
    state = reducer.empty(task)
    for i, value in enumerate(values):
        before = json.dumps(state)
        new = reducer.add(task, state, value, volunteer_id=i)
        assert json.dumps(state) == before, "add changed the state it was given"
        state = json.loads(json.dumps(new))
        assert state == new
    summary = reducer.summarise(task, state, FRAMES)
    json.dumps(summary, allow_nan=False)
    return state, summary


def box(x: float, y: float = 10, size: float = 10, tool: int = 0) -> dict[str, Any]:
    return {"x": x, "y": y, "width": size, "height": size, "tool": tool}


def test_every_task_type_has_a_reducer() -> None:
    assert set(REDUCERS) == set(TASK_TYPES)


@pytest.mark.parametrize("kind", TASKS)
def test_nobody_answered_yet(kind: str) -> None:
    _, summary = reduce(kind, [])
    assert summary.get("n", summary.get("n_seen")) == 0
    assert all(fraction is None for fraction in summary.get("fractions", [None]) if not isinstance(fraction, str))


def test_single_counts_votes_and_their_fractions() -> None:
    state, summary = reduce("single", [1, 1, 0, 1])
    assert state == {"n": 4, "counts": [1, 3, 0]}
    assert summary["fractions"] == [0.25, 0.75, 0.0]
    assert (summary["n"], summary["answer"], summary["agreement"]) == (4, 1, 0.75)


def test_multiple_divides_by_the_volunteers_and_counts_an_empty_choice() -> None:
    state, summary = reduce("multiple", [[0, 2], [2], [], [2]])
    assert state == {"n": 4, "counts": [1, 0, 3]}
    assert summary["fractions"] == [0.25, 0.0, 0.75]


def test_grades_average_on_the_scale_without_the_interesting_ones() -> None:
    state, summary = reduce("grade", ["A", "A", "X", "I"])
    assert state == {"n": 4, "counts": {"A": 2, "B": 0, "C": 0, "I": 1, "X": 1}}
    assert summary["grade"] == "A"
    assert summary["expected_grade"] == 2.0
    assert (summary["n_on_scale"], summary["agreement"]) == (3, 0.5)
    assert summary["fractions"] == {"A": 0.5, "B": 0.0, "C": 0.0, "I": 0.25, "X": 0.25}


def test_only_interesting_votes_have_no_expected_grade() -> None:
    _, summary = reduce("grade", ["I"])
    assert (summary["grade"], summary["expected_grade"]) == ("I", None)


def test_boxes_drawn_in_one_place_become_one_clump() -> None:
    state, summary = reduce("boxes", [[box(10), box(60, tool=1)], [box(11)], [box(12, tool=1)], []])
    assert state["n_seen"] == 4
    assert len(state["marks"]) == 4
    clump = summary["clumps"][0]
    assert (clump["n_marks"], clump["fraction"]) == (3, 0.75)
    assert clump["x"] == pytest.approx(11, abs=1)
    assert clump["label_fractions"] == {"clump": pytest.approx(2 / 3), "star": pytest.approx(1 / 3)}


def test_one_volunteers_two_marks_do_not_back_each_other() -> None:
    _, summary = reduce("boxes", [[box(10), box(10.5)], [], [], []])
    assert [clump["n_marks"] for clump in summary["clumps"]] == [1, 1]


def test_texts_are_counted_if_not_empty() -> None:
    assert reduce("text", ["an arc?", "", "ring"])[1] == {"n": 2}
