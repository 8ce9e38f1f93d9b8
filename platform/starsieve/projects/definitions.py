"""A workflow's definition: reading it, validating it as a graph, and checking annotations against it.

A definition is `{"first": key, "tasks": {key: {"type", "question", …}}, "retirement": {"classification_count": n, …}}`:
docs/guide/workflows.md describes every field.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starsieve.api import strict_json
from starsieve.projects.retirement import Retirement, read_retirement
from starsieve.projects.task_types import TASK_TYPES, Frame, Problems, Task, ValueProblem, shown
from starsieve.projects.training import Training, read_training

MOST_TASKS = 200
MOST_PROBLEMS = 100
LONGEST_TEXT = 1_000_000
LONGEST_HELP = 200_000  # characters of all tasks together: each look at the classify page renders them
TASK_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
FIELDS = ("first", "tasks", "retirement", "training")


class DefinitionError(ValueError):
    """A definition is refused. `problems` lists every (place, message)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems[:MOST_PROBLEMS])
        if len(problems) > MOST_PROBLEMS:
            self.problems.append(("definition", f"has {len(problems) - MOST_PROBLEMS} further problems"))
        super().__init__("; ".join(f"{place}: {message}" for place, message in self.problems))


class AnnotationError(ValueError):
    """Annotations do not fit the definition. `place` names the field, e.g. `annotations[1].value`."""

    def __init__(self, place: str, message: str) -> None:
        self.place = place
        self.message = message
        super().__init__(f"{place}: {message}")


@dataclass(frozen=True)
class WorkflowDefinition:
    first: str
    tasks: dict[str, Task]
    retirement: Retirement
    training: Training | None = None

    def without_texts(self) -> "WorkflowDefinition":
        """What stays the same when only wording or how often is trained changes: equal means that classifications
        compare.
        """
        return replace(self, tasks={key: task.without_texts() for key, task in self.tasks.items()}, training=None)

    def check_annotations(self, annotations: Any, frames: Sequence[Frame]) -> list[dict[str, Any]]:
        """The annotations in canonical form: the reached tasks in order, from the first to the end of the tree.

        Raises AnnotationError naming the field for an unknown, repeated, unreachable or missing task and for a value
        that does not fit.
        """
        if not isinstance(annotations, list):
            raise AnnotationError("annotations", "must be a list")
        checked: list[dict[str, Any]] = []
        expected: str | None = self.first
        for i, annotation in enumerate(annotations):
            place = f"annotations[{i}]"
            task = self._task_of(annotation, place, expected)
            value = _check_value(task, annotation.get("value"), place, frames)
            checked.append({"task": task.key, "value": value})
            expected = task.next_task(value)
        if expected is not None:
            raise AnnotationError("annotations", f"stops before task {expected}, which these answers lead to")
        return checked

    def _task_of(self, annotation: Any, place: str, expected: str | None) -> Task:
        if not isinstance(annotation, dict):
            raise AnnotationError(place, "must be an object with task and value")
        for name in sorted(set(annotation) - {"task", "value"}):
            raise AnnotationError(place, f"{shown(name)} is not a field of an annotation")
        key = annotation.get("task")
        if not isinstance(key, str) or key not in self.tasks:
            raise AnnotationError(f"{place}.task", f"is not a task of this workflow: {shown(key)}")
        if key != expected:
            where = f"task {expected} comes here" if expected else "the tree ends before it"
            raise AnnotationError(f"{place}.task", f"task {key} is not reached by these answers; {where}")
        return self.tasks[key]


def _check_value(task: Task, value: Any, place: str, frames: Sequence[Frame]) -> Any:
    if value is None:
        if task.required:
            raise AnnotationError(f"{place}.value", f"task {task.key} needs an answer")
        return None
    try:
        return task.check_value(value, frames)
    except ValueProblem as problem:
        raise AnnotationError(f"{place}.value{problem.place}", problem.message) from None


def read_definition(text: str | bytes) -> Any:
    """A definition's JSON text as plain data, still to be validated by parse_definition.

    Raises DefinitionError for text that is no JSON, is nested too deeply, or gives an object the same key twice (which
    JSON readers otherwise settle in silence by keeping the last).
    """
    if len(text) > LONGEST_TEXT:
        raise DefinitionError([("definition", f"is longer than {LONGEST_TEXT:,} characters")])
    try:
        return strict_json.loads(text)
    except strict_json.JsonProblem as problem:
        raise DefinitionError([(problem.place, problem.message)]) from None


def parse_definition(data: Any) -> WorkflowDefinition:
    """Read and validate a definition; raises DefinitionError with every fault and its place."""
    problems = Problems()
    if not isinstance(data, dict):
        raise DefinitionError([("definition", "must be an object")])
    problems.unknown_fields(data, FIELDS, "")
    tasks = _read_tasks(data.get("tasks"), problems)
    first = data.get("first")
    # A task with a fault of its own is named all the same: one mistake gives one message.
    if not isinstance(first, str) or not isinstance(data.get("tasks"), dict) or first not in data["tasks"]:
        problems.add("first", f"names no task: {shown(first)}")
    retirement = read_retirement(data.get("retirement"), tasks, problems)
    training = read_training(data.get("training"), problems)
    if not problems.found:
        _check_graph(str(first), tasks, problems)
    if problems.found:
        raise DefinitionError(problems.found)
    return WorkflowDefinition(str(first), tasks, retirement, training)


def _read_tasks(data: Any, problems: Problems) -> dict[str, Task]:
    if not isinstance(data, dict) or not data:
        problems.add("tasks", "must be an object with at least one task")
        return {}
    if len(data) > MOST_TASKS:
        problems.add("tasks", f"has {len(data)} tasks, at most {MOST_TASKS} are taken")
        return {}
    tasks: dict[str, Task] = {}
    for key, task in data.items():
        place = f"tasks.{key}"
        if not isinstance(key, str) or not TASK_KEY.match(key):
            problems.add("tasks", f"{shown(key)} is no task key: letters, digits, - and _ only, at most 40")
        elif not isinstance(task, dict):
            problems.add(place, "must be an object")
        elif not isinstance(task.get("type"), str) or task["type"] not in TASK_TYPES:
            problems.add(f"{place}.type", f"unknown type {shown(task.get('type'))}; known: {', '.join(TASK_TYPES)}")
        else:
            tasks[key] = TASK_TYPES[task["type"]].from_json(key, task, place, problems)
    n_characters = sum(len(task.help) for task in tasks.values())
    if n_characters > LONGEST_HELP:
        problems.add("tasks", f"have {n_characters:,} characters of help in all; at most {LONGEST_HELP:,} are taken")
    names: dict[str, str] = {}
    for task_ in tasks.values():
        name = task_.name.lower()  # FITS column names have no case
        if name in names:
            problems.add(f"tasks.{task_.key}.name", f"repeats the name of task {names[name]}")
        names.setdefault(name, task_.key)
    return tasks


def _check_graph(first: str, tasks: dict[str, Task], problems: Problems) -> None:
    """Every `next` names a task, every task can be reached, and no path returns to a task it has passed."""
    for task in tasks.values():
        # A task's own `next` is checked even where no answer leads through it.
        for place, target in sorted({*task.targets(), ("next", task.next)}, key=lambda way: way[0]):
            if target is not None and target not in tasks:
                problems.add(f"tasks.{task.key}.{place}", f"names no task: {shown(target)}")
    if problems.found:
        return
    reached, cycle = _walk(first, tasks)
    if cycle:
        problems.add(f"tasks.{cycle[-2]}", f"leads back to {cycle[-1]}: {' → '.join(cycle)}")
    for key in tasks:
        if key not in reached:
            problems.add(f"tasks.{key}", f"cannot be reached from {first}")


def _walk(first: str, tasks: dict[str, Task]) -> tuple[set[str], list[str]]:
    """Depth-first from the first task: the keys reached, and one cycle as a path (empty if there is none)."""
    done: set[str] = set()
    on_path: dict[str, None] = {first: None}
    cycle: list[str] = []
    stack = [(first, tasks[first].targets())]
    while stack:
        key, targets = stack[-1]
        target = next((t for _, t in targets if t is not None and t not in done), None)
        if target is None:
            stack.pop()
            on_path.pop(key)
            done.add(key)
        elif target in on_path:
            path = list(on_path)
            cycle = cycle or [*path[path.index(target) :], target]
        else:
            on_path[target] = None
            stack.append((target, tasks[target].targets()))
    return done, cycle
