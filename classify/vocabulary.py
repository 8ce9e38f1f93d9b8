"""What classifications say, each distinct text of annotations read once: most say what others said too."""

import json
from array import array
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from classify.tallying import Answers, Codes
from starsieve.projects.task_types import GradeTask, MultipleTask, SingleTask, Task

SKIPPED = -1


class Vocabulary:
    """Texts of annotations by number, and the answers in them as codes of each task's values.

    `values[key]` are the task's values so far; those of a task that is counted are there once each.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.tasks = tasks
        self.values: dict[str, list[Any]] = {key: [] for key in tasks}
        self.n_characters = 0
        self._numbers: dict[str, int] = {}
        self._known: dict[str, dict[Hashable, int]] = {key: {} for key in tasks}
        # Of each text, for each task: the code of its value.
        self._codes = {key: array("i") for key in tasks}

    def numbers_of(self, texts: Iterable[str]) -> Codes:
        """The number of each JSON text; new ones are read. Raises KeyError for a task that is not of this workflow."""
        return np.array([self._number_of(text) for text in texts], dtype=np.int64)

    def answers(self, subject: Codes, number: Codes) -> dict[str, Answers]:
        """What classifications answer to each task: row i says text `number[i]` of subject `subject[i]`.

        Skipped tasks are no answers; a task that nobody answered is absent. Rows keep their order.
        """
        found = {}
        for key, values in self.values.items():
            code = np.array(self._codes[key], dtype=np.int64)[number]
            rows = np.flatnonzero(code != SKIPPED)
            if rows.size:
                found[key] = Answers(subject[rows], code[rows], values)
        return found

    def learn(self, annotations: list[dict[str, Any]]) -> None:
        """Note the next text's annotations."""
        for codes in self._codes.values():
            codes.append(SKIPPED)
        for annotation in annotations:
            key, value = annotation["task"], annotation["value"]
            if value is not None:
                self._codes[key][-1] = self._code_of(key, value)

    def _number_of(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            self.learn(json.loads(text))
            number = self._numbers[text] = len(self._numbers)
            self.n_characters += len(text)
        return number

    def _code_of(self, key: str, value: Any) -> int:
        match self.tasks[key]:
            case SingleTask() | GradeTask():
                name = value
            case MultipleTask():
                name = tuple(value)
            case _:  # texts and drawings hardly ever repeat
                name = len(self.values[key])
        known = self._known[key]
        code = known.get(name)
        if code is None:
            code = known[name] = len(self.values[key])
            self.values[key].append(value)
        return code
