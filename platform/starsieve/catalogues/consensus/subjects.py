"""What the models say of each subject, in plain numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from starsieve.catalogues.consensus.boxes import BoxOutcome
from starsieve.catalogues.consensus.outcome import Outcome
from starsieve.catalogues.consensus.votes import IntArray
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, GradeTask, SingleTask, Task


class SubjectTable:
    """Looks up a subject in the outcomes of all tasks; the outcomes stay arrays, however many subjects there are."""

    def __init__(self, outcomes: Mapping[str, Outcome | BoxOutcome], definition: WorkflowDefinition) -> None:
        self._outcomes = outcomes
        self._tasks = definition.tasks

    @property
    def subject_ids(self) -> IntArray:
        """Subjects of which some task knows something, increasing."""
        ids = [np.empty(0, dtype=np.int64), *(outcome.subject_ids for outcome in self._outcomes.values())]
        return np.unique(np.concatenate(ids))

    def of(self, subject_id: int) -> dict[str, dict[str, Any]]:
        """Task key → {"n", "p", "answer", …} or {"n", "clumps", …} of one subject; a task that nobody did is absent."""
        found = {}
        for key, outcome, row in self._rows_of(subject_id):
            values = {name: _plain(value) for name, value in outcome.said_of(row).items()}
            if "answer" in values:
                values["answer"] = answer_name(self._tasks[key], values["answer"])
            found[key] = values
        return found

    def rows_of(self, key: str, subject_ids: IntArray) -> tuple[Outcome | BoxOutcome | None, IntArray]:
        """The outcome of one task, and the row in it of each of these subjects, -1 where it says nothing."""
        outcome = self._outcomes.get(key)
        if outcome is None:
            return None, np.full(len(subject_ids), -1)
        row = np.minimum(np.searchsorted(outcome.subject_ids, subject_ids), len(outcome.subject_ids) - 1)
        return outcome, np.where(outcome.subject_ids[row] == subject_ids, row, -1)

    def marks_on(self, subject_id: int) -> dict[str, dict[str, Any]]:
        """Task key → marks and who drew them, of the tasks in which boxes are drawn."""
        rows = self._rows_of(subject_id)
        return {key: outcome.marks_on(row) for key, outcome, row in rows if isinstance(outcome, BoxOutcome)}

    def _rows_of(self, subject_id: int) -> Iterator[tuple[str, Outcome | BoxOutcome, int]]:
        for key, outcome in self._outcomes.items():
            ids = outcome.subject_ids
            row = int(np.searchsorted(ids, subject_id))
            if row < len(ids) and ids[row] == subject_id:
                yield key, outcome, row


def answer_name(task: Task, code: int) -> int | str:
    """An answer as annotations write it: the letter of a grade, the index of an answer."""
    return GRADES[code] if isinstance(task, GradeTask) else code


def answer_labels(task: Task) -> list[str]:
    """Names of the columns of a task's posterior."""
    if isinstance(task, GradeTask):
        return list(GRADES)
    assert isinstance(task, SingleTask)
    return [answer.label for answer in task.answers]


def _plain(value: Any) -> Any:
    """None for nan, which JSON does not have: the grade of a subject that everybody puts beside the scale."""
    return None if value != value else value
