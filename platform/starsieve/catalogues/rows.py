"""A chunk of the subject table, column by column (columns.py)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from aggregation.grades import grades_from_counts
from aggregation.tallies import tally_from_counts
from classify.reducers.grade import COLUMNS as ON_SCALE
from classify.tallying import Codes, sums_of
from ml_worker.models import ModelVersion
from starsieve.catalogues.clumps import TaskClumps
from starsieve.catalogues.columns import EXPECTED_ERRORS, Layout, TaskColumns
from starsieve.catalogues.consensus.boxes import BoxOutcome
from starsieve.catalogues.consensus.outcome import Outcome
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.frozen import FrozenColumns
from starsieve.catalogues.reduction import Reduced
from starsieve.catalogues.writers.base import Values
from starsieve.projects.task_types import GRADES, GradeTask, MultipleTask

Columns = dict[str, Values]


def subject_columns(
    layout: Layout, reduced: Reduced, clumps: Mapping[str, TaskClumps], models: SubjectTable | None
) -> Columns:
    """Column name → values, one for each of the chunk's subjects. `clumps` has the tasks in which boxes are drawn."""
    frozen = reduced.frozen
    values: Columns = {
        **{name: getattr(frozen, name) for name in ("name", "subject_set", "origin", "ra", "dec", "ml_score")},
        "subject_id": np.array(frozen.subject_id, dtype=np.int64),
        "n_classifications": reduced.n_classifications,
        "retired": [bool(reason) for reason in frozen.retirement_reason],
        "retirement_reason": [reason or None for reason in frozen.retirement_reason],
        "ml_model": _model_names(frozen),
        "is_control": frozen.is_control,
    }
    for columns in layout.tasks:
        if columns.n_clumps:
            values |= _box_values(columns, clumps[columns.task.key], reduced, models)
        else:
            values |= _vote_values(columns, reduced)
            if columns.probabilities:
                assert models is not None
                values |= _model_values(columns, values, reduced, models)
    return values


def _model_names(frozen: FrozenColumns) -> list[str | None]:
    used = {pk for pk in frozen.ml_model_id if pk is not None}
    names = {model.pk: str(model) for model in ModelVersion.objects.filter(pk__in=used)} if used else {}
    return [None if pk is None else names[pk] for pk in frozen.ml_model_id]


def _box_values(columns: TaskColumns, clumps: TaskClumps, reduced: Reduced, models: SubjectTable | None) -> Columns:
    values: Columns = {
        columns.n: clumps.n_seen,
        columns.n_clumps: np.bincount(clumps.place, minlength=reduced.n_subjects),
    }
    if columns.errors:
        assert models is not None
        outcome, row = models.rows_of(columns.task.key, np.array(reduced.frozen.subject_id))
        for name, error in zip(columns.errors, EXPECTED_ERRORS, strict=True):
            known = outcome.errors[error] if isinstance(outcome, BoxOutcome) else np.full(1, np.nan)
            values[name] = _at(row, known)
    return values


def _vote_values(columns: TaskColumns, reduced: Reduced) -> Columns:
    """Counts and what follows from them, as the reducers' summaries have it."""
    sums = _sums(columns, reduced)
    values: Columns = {columns.n: sums[:, 0]}
    if not columns.counts:
        return values
    votes = sums[:, 1:]
    if isinstance(columns.task, GradeTask):
        found = grades_from_counts(votes[:, [GRADES.index(grade) for grade in ON_SCALE]])
        fractions = found.fractions[:, [ON_SCALE.index(grade) for grade in GRADES]]
        values[columns.grade] = np.array([*ON_SCALE, None], dtype=object)[found.grade]  # -1, nobody's: the last
        values |= {columns.expected_grade: found.expected, columns.agreement: found.agreement}
    else:
        tally = tally_from_counts(votes, sums[:, 0] if isinstance(columns.task, MultipleTask) else None)
        fractions = tally.fractions
        values[columns.agreement] = tally.agreement
    values |= dict(zip(columns.counts, votes.T, strict=True))
    return values | dict(zip(columns.fractions, fractions.T, strict=True))


def _sums(columns: TaskColumns, reduced: Reduced) -> Codes:
    answers = reduced.answers.get(columns.task.key)
    if answers is None:
        return np.zeros((reduced.n_subjects, 1 + len(columns.counts)), dtype=np.int64)
    return sums_of(columns.task, answers, reduced.n_subjects)


def _model_values(columns: TaskColumns, counted: Columns, reduced: Reduced, models: SubjectTable) -> Columns:
    """What the task's model says; empty where nobody did the task."""
    outcome, row = models.rows_of(columns.task.key, np.array(reduced.frozen.subject_id))
    if not isinstance(outcome, Outcome):
        floats = filter(None, (*columns.probabilities, columns.applies, columns.rank, columns.rank_error))
        texts = {columns.answer: [None] * len(row)} if columns.answer else {}
        flags = {columns.adjudicate: np.zeros(len(row), dtype=bool)} if columns.adjudicate else {}
        return {**{name: np.full(len(row), np.nan) for name in floats}, **texts, **flags}
    said = outcome.rounded
    values: Columns = dict(zip(columns.probabilities, _at(row, said["p"]).T, strict=True))
    answer = np.where(row >= 0, said["answer"][row], -1)
    if columns.grade:
        grades, expected = np.array([*GRADES, None], dtype=object)[answer], said["expected_grade"][row]
        values[columns.grade] = np.where(row >= 0, grades, counted[columns.grade])
        values[columns.expected_grade] = np.where(row >= 0, expected, counted[columns.expected_grade])
        values |= {columns.rank: _at(row, said["rank"]), columns.rank_error: _at(row, said["rank_error"])}
        values[columns.adjudicate] = (row >= 0) & said["adjudicate"][row]
    else:
        keys = [each.key for each in columns.task.answers]  # type: ignore[attr-defined]
        values[columns.answer] = np.array([*keys, None], dtype=object)[answer]
    if columns.applies:
        values[columns.applies] = _at(row, said["reach"])
    return values


def _at(row: Codes, numbers: Any) -> Any:
    """`numbers[row]`, nan where the row is -1."""
    found = numbers[row].astype(np.float64)
    found[row < 0] = np.nan
    return found
