"""When a subject has been seen enough: the rules of a workflow's definition, read and checked.

`"retirement": {"classification_count": 40, "agreement": {…}, "posterior": {…}, "risk": {…}, "blank": {…},
"expert": true, "settled": true}` or `{"never": true}`: docs/guide/workflows.md says what each means,
classify/retirement.py applies them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, Problems, SingleTask, Task, shown

MOST_CLASSIFICATIONS = 10_000
#: A rule on the share of votes or on a posterior wants some votes first, unless it says otherwise.
AFTER = 5


@dataclass(frozen=True)
class Agreement:
    """The answer given most has at least `share` of the answers to the task, of which there are at least `after`."""

    task: str
    share: float
    after: int


@dataclass(frozen=True)
class Posterior:
    """After `after` answers to the task the probability of one of its answers is at least the answer's threshold."""

    task: str
    thresholds: tuple[float, ...]
    after: int


@dataclass(frozen=True)
class Risk:
    """After `after` answers the least expected loss is at most `most`: ``min_a sum_k p_k loss[a][k]``."""

    task: str
    loss: tuple[tuple[float, ...], ...]
    most: float
    after: int


@dataclass(frozen=True)
class Blank:
    """The first `count` answers to the task all say that there is nothing: one of `answers`, or no box at all."""

    task: str
    answers: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Retirement:
    """What retires a subject, whichever comes first; no `classification_count` means: nothing but a person does.

    `settled`: when a consensus run finds its boxes settled. `expert`: an expert's classification.
    """

    classification_count: int | None
    settled: bool = False
    expert: bool = False
    agreement: Agreement | None = None
    posterior: Posterior | None = None
    risk: Risk | None = None
    blank: Blank | None = None

    @property
    def is_by_posterior(self) -> bool:
        """Whether what a consensus run has learnt decides."""
        return self.posterior is not None or self.risk is not None

    @property
    def is_by_count_alone(self) -> bool:
        """Whether the number of classifications decides, and nothing else that follows from them."""
        rules = (self.agreement, self.posterior, self.risk, self.blank)
        return not self.expert and all(rule is None for rule in rules)


def read_retirement(data: Any, tasks: Mapping[str, Task], problems: Problems) -> Retirement:
    """The `retirement` of a definition with these tasks; every fault goes into `problems`."""
    if not isinstance(data, dict):
        problems.add("retirement.classification_count", "must be a whole number between 1 and 10000")
        return Retirement(None)
    reader = _Reader(data, tasks, problems)
    problems.unknown_fields(data, ("never", "classification_count", *_FLAGS, *_RULES), "retirement")
    if reader.flag("never"):
        for name in sorted(set(data) & {"classification_count", *_FLAGS, *_RULES}):
            problems.add(f"retirement.{name}", 'goes without "never": true')
        return Retirement(None)
    settled, expert = reader.flag("settled"), reader.flag("expert")
    rules = {name: reader.rule(name, read) for name, read in _RULES.items() if name in data}
    count = reader.whole(data, "classification_count", "retirement", 1, MOST_CLASSIFICATIONS)
    if settled and not any(_has_method(task, "skills") for task in tasks.values()):
        problems.add("retirement.settled", 'needs a task of type boxes whose consensus has the method "skills"')
    return Retirement(count, settled, expert, **rules)


class _Reader:
    """Reads the fields of one definition's retirement."""

    def __init__(self, data: dict[str, Any], tasks: Mapping[str, Task], problems: Problems) -> None:
        self.data, self.tasks, self.problems = data, tasks, problems

    def flag(self, name: str) -> bool:
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            self.problems.add(f"retirement.{name}", "must be true or false")
            return False
        return value

    def rule(self, name: str, read: "Callable[[_Reader, dict[str, Any], str, Task], Any]") -> Any:
        place, rule = f"retirement.{name}", self.data[name]
        if not isinstance(rule, dict):
            self.problems.add(place, "must be an object")
            return None
        key = rule.get("task")
        task = self.tasks.get(key) if isinstance(key, str) else None
        if task is None:
            self.problems.add(f"{place}.task", f"names no task: {shown(key)}")
            return None
        return read(self, rule, place, task)

    def whole(self, data: dict[str, Any], name: str, place: str, least: int, most: int, default: int = 0) -> int:
        value = data.get(name, default or None)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.problems.add(f"{place}.{name}", f"must be a whole number between {least} and {most}")
            return least
        return value

    def number(self, value: Any, place: str, least: float, most: float) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or not least <= value <= most:
            self.problems.add(place, f"must be a number between {least:g} and {most:g}")
            return least
        return float(value)

    def after(self, rule: dict[str, Any], place: str) -> int:
        return self.whole(rule, "after", place, 1, MOST_CLASSIFICATIONS, default=AFTER)

    def answer(self, key: Any, place: str, names: list[str]) -> int:
        if key not in names:
            self.problems.add(place, f"{shown(key)} is no answer of the task; they are {', '.join(names)}")
            return 0
        return names.index(key)


def _read_agreement(reader: _Reader, rule: dict[str, Any], place: str, task: Task) -> Agreement:
    reader.problems.unknown_fields(rule, ("task", "share", "after"), place)
    _answers_of(reader, place, task)
    share = reader.number(rule.get("share"), f"{place}.share", 0.5, 1.0)
    return Agreement(task.key, share, reader.after(rule, place))


def _read_posterior(reader: _Reader, rule: dict[str, Any], place: str, task: Task) -> Posterior:
    reader.problems.unknown_fields(rule, ("task", "threshold", "thresholds", "after"), place)
    names = _answers_of(reader, place, task)
    _needs_probabilities(reader, place, task)
    each = rule.get("thresholds")
    if each is None:
        limit = reader.number(rule.get("threshold"), f"{place}.threshold", 0.5, 1.0)
        thresholds = [limit] * len(names)
    else:
        thresholds = [2.0] * len(names)  # an answer that is not named retires nothing
        if not isinstance(each, dict) or not each or "threshold" in rule:
            reader.problems.add(f"{place}.thresholds", 'must be an object {answer: probability}, without "threshold"')
            each = {}
        for key, value in each.items():
            where = f"{place}.thresholds"
            thresholds[reader.answer(key, where, names)] = reader.number(value, f"{where}.{key}", 0.0, 1.0)
    return Posterior(task.key, tuple(thresholds), reader.after(rule, place))


def _read_risk(reader: _Reader, rule: dict[str, Any], place: str, task: Task) -> Risk:
    reader.problems.unknown_fields(rule, ("task", "most", "loss", "after"), place)
    n = len(_answers_of(reader, place, task))
    _needs_probabilities(reader, place, task)
    loss = rule.get("loss")
    if loss is None:
        table = [[0.0 if a == k else 1.0 for k in range(n)] for a in range(n)]
    elif isinstance(loss, list) and loss and all(isinstance(row, list) and len(row) == n for row in loss):
        table = [
            [reader.number(value, f"{place}.loss[{a}][{k}]", 0.0, 1e9) for k, value in enumerate(row)]
            for a, row in enumerate(loss)
        ]
    else:
        reader.problems.add(f"{place}.loss", f"must be a list of rows with {n} numbers each, a row per decision")
        table = [[0.0] * n]
    most = reader.number(rule.get("most"), f"{place}.most", 0.0, 1e9)
    return Risk(task.key, tuple(tuple(row) for row in table), most, reader.after(rule, place))


def _read_blank(reader: _Reader, rule: dict[str, Any], place: str, task: Task) -> Blank:
    reader.problems.unknown_fields(rule, ("task", "answers", "count"), place)
    count = reader.whole(rule, "count", place, 1, MOST_CLASSIFICATIONS)
    if isinstance(task, BoxesTask):
        if "answers" in rule:
            reader.problems.add(f"{place}.answers", "is for questions; without a box a picture is blank")
        return Blank(task.key, (), count)
    names, given = _answers_of(reader, place, task), rule.get("answers")
    if not isinstance(given, list) or not given:
        reader.problems.add(f"{place}.answers", "must be a list of the answers that mean: nothing here")
        given = []
    return Blank(task.key, tuple(sorted({reader.answer(key, f"{place}.answers", names) for key in given})), count)


def _answers_of(reader: _Reader, place: str, task: Task) -> list[str]:
    """Keys of the task's answers; a fault for a task that has no single answer."""
    if isinstance(task, SingleTask):
        return [answer.key for answer in task.answers]
    if isinstance(task, GradeTask):
        return list(GRADES)
    reader.problems.add(f"{place}.task", f"task {task.key} has the type {task.type}; it must be single or grade")
    return []


def _needs_probabilities(reader: _Reader, place: str, task: Task) -> None:
    counted = ("majority", "fractions", "weighted")
    if task.consensus is not None and task.consensus.method in counted:
        reader.problems.add(
            f"{place}.task", f"task {task.key} has the method {task.consensus.method!r}, which gives no probabilities"
        )


def _has_method(task: Task, method: str) -> bool:
    return isinstance(task, BoxesTask) and task.consensus is not None and task.consensus.method == method


_FLAGS = ("settled", "expert")
_RULES: Mapping[str, Callable[[_Reader, dict[str, Any], str, Task], Any]] = {
    "agreement": _read_agreement,
    "posterior": _read_posterior,
    "risk": _read_risk,
    "blank": _read_blank,
}
