"""The gold standard of a workflow as codes of answers, and as boxes."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from classify.retirement import answer_code
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import BoxesTask


class KnownAnswers(NamedTuple):
    """Task key → subject id → what gold takes for right.

    `accepted` has all accepted codes, `exact` the one code where there is one, `boxes` the true boxes of a task in
    which boxes are drawn.
    """

    accepted: dict[str, dict[int, frozenset[int]]]
    exact: dict[str, dict[int, int]]
    boxes: dict[str, dict[int, list[dict[str, float]]]]


def known_answers(definition: WorkflowDefinition, gold: Iterable[tuple[int, str, Any]]) -> KnownAnswers:
    """Read (subject id, task key, value) rows; tasks without a consensus, or that are gone, are passed over.

    A value that the task does not take any more (an answer was removed since) is passed over too: gold is checked
    when it is set, against the version of then.
    """
    accepted: dict[str, dict[int, frozenset[int]]] = {}
    exact: dict[str, dict[int, int]] = {}
    boxes: dict[str, dict[int, list[dict[str, float]]]] = {}
    for subject_id, key, value in gold:
        if isinstance(definition.tasks.get(key), BoxesTask):
            boxes.setdefault(key, {})[subject_id] = value
            continue
        codes = _codes(definition, key, value)
        if not codes:
            continue
        accepted.setdefault(key, {})[subject_id] = codes
        if len(codes) == 1:
            exact.setdefault(key, {})[subject_id] = next(iter(codes))
    return KnownAnswers(accepted, exact, boxes)


def gold_by_subject(rows: Iterable[tuple[int, str, Any]]) -> Mapping[int, dict[str, Any]]:
    """The same rows by subject: what a release freezes."""
    found: dict[int, dict[str, Any]] = {}
    for subject_id, key, value in rows:
        found.setdefault(subject_id, {})[key] = value
    return found


def _codes(definition: WorkflowDefinition, key: str, value: Any) -> frozenset[int]:
    task = definition.tasks.get(key)
    if task is None or task.consensus is None:
        return frozenset()
    values = value if isinstance(value, list) else [value]
    try:
        return frozenset(answer_code(task, task.check_value(each, ())) for each in values)
    except ValueError:
        return frozenset()
