"""Reading a gold standard from a CSV table, as people write it: subjects by name, answers by key."""

import csv
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import BoxesTask, GradeTask, MultipleTask, SingleTask, Task

COLUMNS = ("subject", "task", "answer")
#: Between several answers in one cell.
SEPARATOR = "|"


class GoldFileProblem(ValueError):
    """A row is refused; the text names row and column."""


class GoldRow(NamedTuple):
    """`number` counts lines from the header, which is 1."""

    number: int
    subject: str
    task: str
    value: Any


def read_gold(text: TextIO, definition: WorkflowDefinition) -> Iterator[GoldRow]:
    """Rows of a table with the columns subject, answer and (in a workflow of several tasks) task.

    An answer is a key, or several accepted ones joined by |; of a multiple choice all that are right; of grades the
    letters; of boxes a JSON list (empty: nothing is there). Raises GoldFileProblem.
    """
    rows = csv.DictReader(text)
    found = rows.fieldnames or []
    unknown = sorted(set(found) - set(COLUMNS))
    missing = [name for name in ("subject", "answer") if name not in found]
    if missing or unknown:
        problem = f"column {missing[0]!r} is missing" if missing else f"column {unknown[0]!r} is not known"
        raise GoldFileProblem(f"row 1: {problem}; there must be subject, answer and, with several tasks, task")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise GoldFileProblem(f"row {number}: has another number of fields than the header")
        task = _task(definition, row.get("task", ""), number)
        yield GoldRow(number, row["subject"], task.key, _value(task, row["answer"], number))


def _task(definition: WorkflowDefinition, given: str, number: int) -> Task:
    tasks = list(definition.tasks.values())
    named = [task for task in tasks if given in (task.key, task.name)]
    if not given and len(tasks) == 1:
        return tasks[0]
    if not named:
        known = ", ".join(task.name for task in tasks)
        raise GoldFileProblem(f"row {number}, column task: {given!r} is none of {known}")
    return named[0]


def _value(task: Task, answer: str, number: int) -> Any:
    parts = [part.strip() for part in answer.split(SEPARATOR)]
    if isinstance(task, BoxesTask):
        try:
            return json.loads(answer)
        except ValueError as error:
            raise GoldFileProblem(f"row {number}, column answer: is no JSON list of boxes ({error})") from None
    if isinstance(task, GradeTask):
        return parts if len(parts) > 1 else parts[0]
    if isinstance(task, SingleTask | MultipleTask):
        keys = [each.key for each in task.answers]
        wrong = [part for part in parts if part not in keys]
        if isinstance(task, MultipleTask) and not answer.strip():
            return []
        if wrong:
            raise GoldFileProblem(f"row {number}, column answer: {wrong[0]!r} is none of {', '.join(keys)}")
        codes = [keys.index(part) for part in parts]
        return codes if isinstance(task, MultipleTask) or len(codes) > 1 else codes[0]
    raise GoldFileProblem(f"row {number}, column task: a task of type {task.type} has no gold standard")
