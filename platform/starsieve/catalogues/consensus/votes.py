"""The votes of a workflow in columns, task by task, as the numeric core reads them."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, Task
from starsieve.projects.task_types.boxes import SIDES

IntArray = npt.NDArray[np.int64]

#: Looked, and drew nothing.
_NOTHING: dict[str, Any] = {**dict.fromkeys(SIDES, float("nan")), "tool": 0}


class TaskVotes(NamedTuple):
    """Codes from 0 of each vote, and the ids that the codes stand for, increasing."""

    subject: IntArray
    volunteer: IntArray
    answer: IntArray
    subject_ids: IntArray
    volunteer_ids: IntArray


class TaskMarks(NamedTuple):
    """A row per drawn box, and one with four nan for a classification without any; codes as in `TaskVotes`."""

    subject: IntArray
    volunteer: IntArray
    boxes: npt.NDArray[np.float64]
    tool: IntArray
    subject_ids: IntArray
    volunteer_ids: IntArray


class VoteTable:
    """Collects votes and marks on every task that has a method of consensus; 24 bytes per vote, 56 per mark."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.definition = definition
        tasks = {key: task for key, task in definition.tasks.items() if task.consensus is not None}
        self._columns = {key: (array("q"), array("q"), array("q")) for key in tasks}
        self._boxes = {key: array("d") for key, task in tasks.items() if isinstance(task, BoxesTask)}

    def add(self, subject_id: int, volunteer_id: int, annotations: Iterable[dict[str, Any]]) -> None:
        """Note the answers of one classification that counts; skipped tasks are no votes."""
        for annotation in annotations:
            key, value = annotation["task"], annotation["value"]
            if value is None or key not in self._columns:
                continue
            if key in self._boxes:
                self._add_marks(key, subject_id, volunteer_id, value)
            else:
                self._add_row(key, subject_id, volunteer_id, answer_code(self.definition.tasks[key], value))

    def add_answers(
        self, key: str, subject_id: IntArray, volunteer_id: IntArray, code: IntArray, values: Sequence[Any]
    ) -> None:
        """Note many answers to one task: subject and volunteer of each, and `values[code[i]]`, none of them None."""
        if key not in self._columns:
            return
        if key in self._boxes:
            drawn = [value or [_NOTHING] for value in values]
            n_marks = np.array([len(boxes) for boxes in drawn], dtype=np.int64)
            sides = np.array([[box[side] for side in SIDES] for boxes in drawn for box in boxes], dtype=np.float64)
            tools = np.array([box["tool"] for boxes in drawn for box in boxes], dtype=np.int64)
            rows = np.repeat(np.arange(len(code)), n_marks[code])
            within = np.arange(len(rows)) - np.repeat(np.cumsum(n_marks[code]) - n_marks[code], n_marks[code])
            mark = (np.cumsum(n_marks) - n_marks)[code[rows]] + within
            self._boxes[key].frombytes(sides[mark].tobytes())
            answers = tools[mark]
        else:
            rows = np.arange(len(code))
            answers = np.array([answer_code(self.definition.tasks[key], value) for value in values])[code]
        for column, found in zip(self._columns[key], (subject_id[rows], volunteer_id[rows], answers), strict=True):
            column.frombytes(found.astype(np.int64, copy=False).tobytes())

    def _add_marks(self, key: str, subject_id: int, volunteer_id: int, drawn: list[dict[str, Any]]) -> None:
        for box in drawn or [_NOTHING]:
            self._add_row(key, subject_id, volunteer_id, box["tool"])
            self._boxes[key].extend(box[side] for side in SIDES)

    def _add_row(self, key: str, subject_id: int, volunteer_id: int, code: int) -> None:
        subjects, volunteers, codes = self._columns[key]
        subjects.append(subject_id)
        volunteers.append(volunteer_id)
        codes.append(code)

    def marks_of(self, task: str) -> TaskMarks:
        """The marks of a task in which boxes are drawn."""
        votes = self.of(task)
        boxes = np.frombuffer(self._boxes[task], dtype=np.float64).reshape(-1, len(SIDES))
        return TaskMarks(
            votes.subject, votes.volunteer, boxes.copy(), votes.answer, votes.subject_ids, votes.volunteer_ids
        )

    def of(self, task: str) -> TaskVotes:
        """The task's votes, ready for aggregation."""
        subjects, volunteers, answers = (np.frombuffer(column, dtype=np.int64) for column in self._columns[task])
        subject_ids, subject = np.unique(subjects, return_inverse=True)
        volunteer_ids, volunteer = np.unique(volunteers, return_inverse=True)
        return TaskVotes(subject, volunteer, answers.copy(), subject_ids, volunteer_ids)


def answer_code(task: Task, value: Any) -> int:
    """An answer's place among the task's columns: the index of a single answer, the place of a grade in GRADES."""
    return GRADES.index(value) if isinstance(task, GradeTask) else int(value)
