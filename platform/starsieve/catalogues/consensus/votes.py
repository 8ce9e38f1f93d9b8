"""The votes of a workflow in columns, task by task, as the numeric core reads them."""

import hashlib
import json
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation.codes import coded
from classify.retirement import answer_code
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import BoxesTask
from starsieve.projects.task_types.boxes import SIDES

IntArray = npt.NDArray[np.int64]

TEXTS_AT_ONCE = 200

_sides_of = itemgetter(*SIDES)
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
    """Collects votes and marks on the tasks that have a method of consensus (of `keys`, if given); 24 bytes per vote,
    56 per mark.
    """

    def __init__(self, definition: WorkflowDefinition, keys: Collection[str] | None = None) -> None:
        self.definition = definition
        tasks = {
            key: task
            for key, task in definition.tasks.items()
            if task.consensus is not None and (keys is None or key in keys)
        }
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

    def _add_marks(self, key: str, subject_id: int, volunteer_id: int, drawn: list[dict[str, Any]]) -> None:
        for box in drawn or [_NOTHING]:
            self._add_row(key, subject_id, volunteer_id, box["tool"])
            self._boxes[key].extend(_sides_of(box))

    def _add_row(self, key: str, subject_id: int, volunteer_id: int, code: int) -> None:
        subjects, volunteers, codes = self._columns[key]
        subjects.append(subject_id)
        volunteers.append(volunteer_id)
        codes.append(code)

    def add_columns(self, subjects: IntArray, volunteers: IntArray, texts: Sequence[str], said: IntArray) -> None:
        """Note many classifications that count: row i is of `subjects[i]` by `volunteers[i]`, with the annotations that
        `texts[said[i]]` holds as JSON. The same as `add` row by row; each text that was said is decoded once.
        """
        used, said = coded(said)
        once = VoteTable(self.definition, self._columns)
        for number, annotations in enumerate(_decoded([texts[place] for place in used.tolist()])):
            once.add(number, 0, annotations)
        for key, (numbers, _, codes) in once._columns.items():
            # Votes of text t are entries first[t] to first[t + 1] of what was decoded.
            first = np.searchsorted(np.frombuffer(numbers, dtype=np.int64), np.arange(len(used) + 1))
            rows, entries = _spread(first[said], first[said + 1])
            kept = (subjects[rows], volunteers[rows], np.frombuffer(codes, dtype=np.int64)[entries])
            for column, values in zip(self._columns[key], kept, strict=True):
                column.frombytes(np.ascontiguousarray(values, dtype=np.int64).tobytes())
            if key in self._boxes:
                boxes = np.frombuffer(once._boxes[key], dtype=np.float64).reshape(-1, len(SIDES))
                self._boxes[key].frombytes(boxes[entries].tobytes())

    def marks_of(self, task: str) -> TaskMarks:
        """The marks of a task in which boxes are drawn."""
        votes = self.of(task)
        boxes = np.frombuffer(self._boxes[task], dtype=np.float64).reshape(-1, len(SIDES))
        return TaskMarks(
            votes.subject, votes.volunteer, boxes.copy(), votes.answer, votes.subject_ids, votes.volunteer_ids
        )

    def columns_of(self, task: str) -> tuple[IntArray, IntArray, IntArray]:
        """Ids of subjects, ids of volunteers, and answers, a row per vote; views of what is collected so far."""
        subjects, volunteers, answers = (np.frombuffer(column, dtype=np.int64) for column in self._columns[task])
        return subjects, volunteers, answers

    def checksum(self) -> str:
        """SHA-256 of all votes, in the order in which they came."""
        digest = hashlib.sha256()
        for key, columns in self._columns.items():
            digest.update(f"{key} {len(columns[0])};".encode())
            for column in columns:
                digest.update(column)
        return digest.hexdigest()

    def of(self, task: str) -> TaskVotes:
        """The task's votes, ready for aggregation."""
        subjects, volunteers, answers = self.columns_of(task)
        subject_ids, subject = coded(subjects)
        volunteer_ids, volunteer = coded(volunteers)
        return TaskVotes(subject, volunteer, answers.copy(), subject_ids, volunteer_ids)


def _decoded(texts: list[str]) -> Iterator[Any]:
    """The values of JSON texts, many at once but not so many that the collector of garbage goes over them again."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        yield from json.loads(f"[{','.join(texts[start : start + TEXTS_AT_ONCE])}]")


def _spread(starts: IntArray, ends: IntArray) -> tuple[IntArray, IntArray]:
    """All (row, entry) with starts[row] ≤ entry < ends[row], in order."""
    counts = ends - starts
    rows = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return rows, np.arange(len(rows)) - np.repeat(before - starts, counts)
