"""The decision tree of those questions that one pooled model can hold."""

from dataclasses import dataclass

from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import SingleTask, Task


@dataclass(frozen=True)
class TaskTree:
    """Task keys, and for each the place in `tasks` that each of its answers leads to, -1 for the end."""

    tasks: tuple[str, ...]
    next_task: tuple[tuple[int, ...], ...]


def tree_of(definition: WorkflowDefinition) -> TaskTree | None:
    """The tree of the tasks whose method is "pooled", other tasks being passed through; the first comes first.

    None where there are fewer than two, and where a question in between branches by itself: what follows it cannot
    be told from the pooled answers alone, so each task is fitted on its own.
    """
    pooled = {
        key: task
        for key, task in definition.tasks.items()
        if isinstance(task, SingleTask) and task.consensus is not None and task.consensus.method == "pooled"
    }
    if len(pooled) < 2:
        return None
    try:
        first = _pooled_from(definition, definition.first, pooled)
        onward = {
            key: [_pooled_from(definition, task.next_task(answer), pooled) for answer in range(len(task.answers))]
            for key, task in pooled.items()
        }
    except _Branches:
        return None
    if first is None:
        return None
    order = (first, *(key for key in pooled if key != first))
    place = {key: number for number, key in enumerate(order)}
    return TaskTree(order, tuple(tuple(-1 if to is None else place[to] for to in onward[key]) for key in order))


class _Branches(Exception):
    """A question that the model does not hold decides what comes next."""


def _pooled_from(definition: WorkflowDefinition, key: str | None, pooled: dict[str, SingleTask]) -> str | None:
    """The first pooled task at or after `key`; None at the end."""
    while key is not None and key not in pooled:
        key = _only_target(definition.tasks[key])
    return key


def _only_target(task: Task) -> str | None:
    targets = {target for _, target in task.targets()}
    if len(targets) != 1:
        raise _Branches
    return targets.pop()
