"""The reducers' states of many subjects at once: what adding their answers one by one gives (tests hold them to it).

Answers come coded: row i says that subject `subject[i]` got the value `values[code[i]]`, in the order of the
classifications' ids within each subject.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from classify.reducers import State
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, MultipleTask, SingleTask, Task

Codes = NDArray[np.int64]


class Answers(NamedTuple):
    """The answers to one task: row i says that subject `subject[i]` got `values[code[i]]`."""

    subject: Codes
    code: Codes
    values: Sequence[Any]


def sums_of(task: Task, answers: Answers, n_subjects: int) -> Codes:
    """How many answered a task that is counted, and the votes for each of its answers, (n_subjects, 1 + n_answers).

    Answers of a grade are in the order of GRADES; a text has none.
    """
    votes = _votes(task, answers.values)
    ones = np.ones(len(answers.code), dtype=np.int64)
    answered = csr_array((ones, (answers.subject, answers.code)), shape=(n_subjects, len(answers.values)))
    sums: Codes = answered @ votes
    return sums


def states_of(task: Task, subject: Codes, code: Codes, values: Sequence[Any], n_subjects: int) -> list[State | None]:
    """The state of the task's reducer for each subject 0 … n_subjects - 1; None for one without an answer."""
    if not len(subject):
        return [None] * n_subjects
    answers = Answers(subject, code, values)
    if isinstance(task, BoxesTask):
        return _box_states(answers, n_subjects)
    as_state = _as_state(task)
    counts = sums_of(task, answers, n_subjects).tolist()
    has_answer = np.bincount(subject, minlength=n_subjects) > 0
    return [as_state(row) if some else None for row, some in zip(counts, has_answer.tolist(), strict=True)]


def _votes(task: Task, values: Sequence[Any]) -> Codes:
    """What each value adds, (n_values, 1 + n_answers), the number of voters first."""
    match task:
        case SingleTask():
            return _one_hot([[value] for value in values], len(task.answers))
        case MultipleTask():
            return _one_hot(values, len(task.answers))
        case GradeTask():
            return _one_hot([[GRADES.index(value)] for value in values], len(GRADES))
        case _:
            return np.array([[1 if value else 0] for value in values], dtype=np.int64).reshape(-1, 1)


def _as_state(task: Task) -> Callable[[list[int]], State]:
    match task:
        case SingleTask() | MultipleTask():
            return _counted
        case GradeTask():
            return _graded
        case _:
            return _written


def _one_hot(chosen: Sequence[Sequence[int]], n_answers: int) -> NDArray[np.int64]:
    votes = np.zeros((len(chosen), 1 + n_answers), dtype=np.int64)
    votes[:, 0] = 1
    for row, indices in zip(votes, chosen, strict=True):
        row[[1 + index for index in indices]] = 1
    return votes


def _counted(row: list[int]) -> State:
    return {"n": row[0], "counts": row[1:]}


def _graded(row: list[int]) -> State:
    return {"n": row[0], "counts": dict(zip(GRADES, row[1:], strict=True))}


def _written(row: list[int]) -> State:
    return {"n": row[0]}


def _box_states(answers: Answers, n_subjects: int) -> list[State | None]:
    states: list[State | None] = [None] * n_subjects
    for who, which in zip(answers.subject.tolist(), answers.code.tolist(), strict=True):
        state = states[who]
        if state is None:
            state = states[who] = {"n_seen": 0, "marks": []}
        k = state["n_seen"]
        state["marks"] += [[k, b["x"], b["y"], b["width"], b["height"], b["tool"]] for b in answers.values[which]]
        state["n_seen"] = k + 1
    return states
