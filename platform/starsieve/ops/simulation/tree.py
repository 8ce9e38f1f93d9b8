"""Walking a workflow's decision tree with many at once, and writing down what they said on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from starsieve.ops.simulation.crowd import Coded
from starsieve.ops.simulation.plan import Ints
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import SingleTask, Task

#: The value of each of these rows (indices into the block's rows) for a task; a value of None is a skipped task.
Draw = Callable[[Task, Ints], Coded]


@dataclass(frozen=True)
class Step:
    """The rows that reached a task, ascending, and their values."""

    task: Task
    rows: Ints
    said: Coded


def task_order(definition: WorkflowDefinition) -> list[Task]:
    """Every task after all that lead to it."""
    done: dict[str, None] = {}

    def visit(key: str) -> None:
        for _, target in definition.tasks[key].targets():
            if target is not None and target not in done:
                visit(target)
        done[key] = None

    visit(definition.first)
    return [definition.tasks[key] for key in reversed(done)]


def walk(definition: WorkflowDefinition, n_rows: int, draw: Draw) -> list[Step]:
    """Who reaches which task, given what `draw` says; the steps of any one row are in the order of its path."""
    order = task_order(definition)
    number = {task.key: i for i, task in enumerate(order)}
    at = np.full(n_rows, number[definition.first])
    steps = []
    for i, task in enumerate(order):
        rows = np.flatnonzero(at == i)
        if not len(rows):
            continue
        said = draw(task, rows)
        targets = [_target(task, value, number) for value in said.values] if isinstance(task, SingleTask) else None
        at[rows] = np.array(targets)[said.codes] if targets is not None else _target(task, None, number)
        steps.append(Step(task, rows, said))
    return steps


def _target(task: Task, value: Any, number: dict[str, int]) -> int:
    key = task.next_task(value)
    return number[key] if key is not None else -1


def joined(steps: Sequence[Step], n_rows: int, fragment: Callable[[Task, Any], str]) -> list[str]:
    """For each row the fragments of its steps with commas between; each distinct combination is joined once."""
    whole = np.zeros(n_rows, dtype=np.int64)
    columns: list[tuple[Ints, list[str]]] = []
    for step in steps:
        column = np.zeros(n_rows, dtype=np.int64)
        column[step.rows] = step.said.codes + 1
        fragments = [fragment(step.task, value) for value in step.said.values]
        columns.append((column, fragments))
        whole = np.unique(whole * (len(fragments) + 1) + column, return_inverse=True)[1]
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    texts = [
        ", ".join(fragments[column[row] - 1] for column, fragments in columns if column[row]) for row in first.tolist()
    ]
    return [texts[i] for i in which.tolist()]
