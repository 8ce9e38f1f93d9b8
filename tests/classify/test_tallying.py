"""Tallies of many subjects at once equal those of the reducers, answer by answer."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.reducers import REDUCERS
from classify.tallying import states_of
from starsieve.projects.definitions import parse_definition

ANSWERS = [{"key": key, "label": key} for key in ("a", "b", "c")]
TASKS = parse_definition(
    {
        "first": "single",
        "tasks": {
            "single": {"type": "single", "question": "?", "answers": ANSWERS, "next": "multiple"},
            "multiple": {"type": "multiple", "question": "?", "answers": ANSWERS, "next": "grade"},
            "grade": {"type": "grade", "question": "?", "next": "boxes"},
            "boxes": {"type": "boxes", "question": "?", "tools": ANSWERS, "next": "text"},
            "text": {"type": "text", "question": "?"},
        },
        "retirement": {"classification_count": 3},
    }
).tasks
BOX = st.fixed_dictionaries({side: st.floats(1, 9) for side in ("x", "y", "width", "height")} | {"tool": st.just(1)})
VALUES = {
    "single": st.integers(0, 2),
    "multiple": st.lists(st.integers(0, 2), unique=True).map(sorted),
    "grade": st.sampled_from("ABCIX"),
    "boxes": st.lists(BOX, max_size=3),
    "text": st.text(max_size=2),
}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_many_at_once_equal_one_by_one(data: st.DataObject) -> None:
    task = TASKS[data.draw(st.sampled_from(sorted(TASKS)))]
    values = data.draw(st.lists(VALUES[task.type], min_size=1, max_size=4))
    rows = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, len(values) - 1)), max_size=15))
    reducer, states = REDUCERS[task.type], {}
    for subject, code in rows:
        states[subject] = reducer.add(task, states.get(subject) or reducer.empty(task), values[code], 7)
    columns: Any = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    assert states_of(task, columns[0], columns[1], values, 5) == [states.get(subject) for subject in range(5)]
