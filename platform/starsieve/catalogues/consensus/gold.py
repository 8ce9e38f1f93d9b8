"""The gold standard of a workflow as codes of answers."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from starsieve.catalogues.consensus.votes import answer_code
from starsieve.projects.definitions import WorkflowDefinition


class KnownAnswers(NamedTuple):
    """Task key → subject id → what gold takes for right: all accepted codes, and the one code where there is one."""

    accepted: dict[str, dict[int, frozenset[int]]]
    exact: dict[str, dict[int, int]]


def known_answers(definition: WorkflowDefinition, gold: Iterable[tuple[int, str, Any]]) -> KnownAnswers:
    """Read (subject id, task key, value) rows; tasks without a consensus, or that are gone, are passed over.

    A value that the task does not take any more (an answer was removed since) is passed over too: gold is checked
    when it is set, against the version of then.
    """
    accepted: dict[str, dict[int, frozenset[int]]] = {}
    exact: dict[str, dict[int, int]] = {}
    for subject_id, key, value in gold:
        codes = _codes(definition, key, value)
        if not codes:
            continue
        accepted.setdefault(key, {})[subject_id] = codes
        if len(codes) == 1:
            exact.setdefault(key, {})[subject_id] = next(iter(codes))
    return KnownAnswers(accepted, exact)


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
