"""How the answers to a task become one consensus: a method by name, and its settings.

`"consensus": {"method": "weighted", "threshold": 0.6}` in a task's definition. Texts have no consensus, and several
answers at a time have vote fractions only; the others choose here. Vote counts and fractions are kept whatever the
method: it adds a posterior to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starsieve.projects.task_types.problems import Problems, shown


@dataclass(frozen=True)
class Setting:
    """A number that a method takes."""

    default: float
    least: float
    most: float


#: Methods of each task type, the default first, with their settings; aggregation's functions say what they mean.
METHODS: Mapping[str, Mapping[str, Mapping[str, Setting]]] = {
    "single": {
        "pooled": {},
        "dawid-skene": {"smoothing": Setting(0.01, 0, 100)},
        "one-coin": {"smoothing": Setting(0.01, 0, 100)},
        "weighted": {"threshold": Setting(0.6, 0.01, 1), "exponent": Setting(8.5, 0, 100), "passes": Setting(3, 0, 20)},
        "majority": {},
    },
    "grade": {"ordinal": {}, "fractions": {}},
    "boxes": {"skills": {"min_probability": Setting(0.5, 0, 1)}, "voting": {}},
}


@dataclass(frozen=True)
class Consensus:
    """A method and every setting it takes, as (name, value) pairs in the order of METHODS."""

    method: str
    settings: tuple[tuple[str, float], ...] = ()


def default_consensus(task_type: str) -> Consensus | None:
    """What a task has that says nothing; None for a type without a choice."""
    if task_type not in METHODS:
        return None
    method = next(iter(METHODS[task_type]))
    return Consensus(method, tuple((name, setting.default) for name, setting in METHODS[task_type][method].items()))


def read_consensus(task_type: str, data: dict[str, Any], place: str, problems: Problems) -> Consensus | None:
    """The `consensus` of a task's definition; every fault goes into `problems`."""
    chosen = default_consensus(task_type)
    if "consensus" not in data:
        return chosen
    if chosen is None:
        problems.add(f"{place}.consensus", f"tasks of type {task_type} have no method to choose; leave it out")
        return None
    where, entry = f"{place}.consensus", data["consensus"]
    if not isinstance(entry, dict):
        problems.add(where, 'must be an object such as {"method": "' + chosen.method + '"}')
        return chosen
    methods = METHODS[task_type]
    method = entry.get("method", chosen.method)
    if not isinstance(method, str) or method not in methods:
        problems.add(f"{where}.method", f"unknown method {shown(method)}; known here: {', '.join(methods)}")
        return chosen
    problems.unknown_fields(entry, ("method", *methods[method]), where)
    return Consensus(
        method,
        tuple((name, _read_number(entry, name, setting, where, problems)) for name, setting in methods[method].items()),
    )


def _read_number(entry: dict[str, Any], name: str, setting: Setting, where: str, problems: Problems) -> float:
    value = entry.get(name, setting.default)
    whole = isinstance(setting.default, int)
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not is_number or not setting.least <= value <= setting.most:
        kind = "whole number" if whole else "number"
        problems.add(f"{where}.{name}", f"must be a {kind} between {setting.least:g} and {setting.most:g}")
        return setting.default
    return int(value) if whole else float(value)
