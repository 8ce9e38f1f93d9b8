"""Each distinct text of annotations is read once, and its answers are codes."""

import json
from typing import Any

import numpy as np
import pytest

from classify.vocabulary import Vocabulary
from starsieve.projects.definitions import parse_definition

TASKS: dict[str, Any] = {
    "T0": {"type": "single", "question": "?", "next": "T1",
           "answers": [{"key": "a", "label": "A"}, {"key": "b", "label": "B"}]},
    "T1": {"type": "multiple", "question": "?", "required": False, "next": "T2",
           "answers": [{"key": "a", "label": "A"}, {"key": "b", "label": "B"}]},
    "T2": {"type": "text", "question": "?", "required": False},
}  # fmt: skip


@pytest.fixture
def vocabulary() -> Vocabulary:
    definition = {"first": "T0", "tasks": TASKS, "retirement": {"classification_count": 3}}
    return Vocabulary(parse_definition(definition).tasks)


def text(*values: Any) -> str:
    return json.dumps([{"task": f"T{i}", "value": value} for i, value in enumerate(values)])


def test_equal_texts_have_one_number_and_equal_values_one_code(vocabulary: Vocabulary) -> None:
    one, other = text(1, [0, 1], "odd"), text(1, [], "odd")
    assert vocabulary.numbers_of([one, other, one]).tolist() == [0, 1, 0]
    assert vocabulary.numbers_of([other]).tolist() == [1]
    assert vocabulary.values["T0"] == [1]
    assert vocabulary.values["T1"] == [[0, 1], []]
    assert vocabulary.n_characters == len(one) + len(other)


def test_answers_go_by_subject_and_leave_out_what_was_skipped(vocabulary: Vocabulary) -> None:
    numbers = vocabulary.numbers_of([text(0, None, None), text(1, [1], None), text(0, None, None)])
    found = vocabulary.answers(np.array([5, 5, 7]), numbers)
    assert sorted(found) == ["T0", "T1"]
    assert found["T0"].subject.tolist() == [5, 5, 7]
    assert [found["T0"].values[code] for code in found["T0"].code.tolist()] == [0, 1, 0]
    assert found["T1"].subject.tolist() == [5]


def test_a_task_of_another_workflow_is_an_error(vocabulary: Vocabulary) -> None:
    with pytest.raises(KeyError, match="T9"):
        vocabulary.numbers_of(['[{"task": "T9", "value": 0}]'])
