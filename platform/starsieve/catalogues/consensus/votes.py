"""The votes of a workflow in columns, task by task, as the numeric core reads them."""

from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, GradeTask, Task

IntArray = npt.NDArray[np.int64]


class TaskVotes(NamedTuple):
    """Codes from 0 of each vote, and the ids that the codes stand for, increasing."""

    subject: IntArray
    volunteer: IntArray
    answer: IntArray
    subject_ids: IntArray
    volunteer_ids: IntArray


class VoteTable:
    """Collects votes on every task that has a method of consensus; 24 bytes per vote."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.definition = definition
        self._columns = {
            key: (array("q"), array("q"), array("q"))
            for key, task in definition.tasks.items()
            if task.consensus is not None
        }

    def add(self, subject_id: int, volunteer_id: int, annotations: Iterable[dict[str, Any]]) -> None:
        """Note the answers of one classification that counts; skipped tasks are no votes."""
        for annotation in annotations:
            key, value = annotation["task"], annotation["value"]
            if value is None or key not in self._columns:
                continue
            subjects, volunteers, answers = self._columns[key]
            subjects.append(subject_id)
            volunteers.append(volunteer_id)
            answers.append(answer_code(self.definition.tasks[key], value))

    def of(self, task: str) -> TaskVotes:
        """The task's votes, ready for aggregation."""
        subjects, volunteers, answers = (np.frombuffer(column, dtype=np.int64) for column in self._columns[task])
        subject_ids, subject = np.unique(subjects, return_inverse=True)
        volunteer_ids, volunteer = np.unique(volunteers, return_inverse=True)
        return TaskVotes(subject, volunteer, answers.copy(), subject_ids, volunteer_ids)


def answer_code(task: Task, value: Any) -> int:
    """An answer's place among the task's columns: the index of a single answer, the place of a grade in GRADES."""
    return GRADES.index(value) if isinstance(task, GradeTask) else int(value)
