"""Consensus of all tasks of a workflow at once, by the name of a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray, check_codes, check_same_length
from aggregation.calibration import CalibrationMap
from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.majority import majority
from aggregation.pooled import PooledDawidSkene, pooled_dawid_skene
from aggregation.tree import pooled_tree
from aggregation.weighted import weighted_votes

#: Names of the methods, as the command line and workflow settings write them.
METHODS = ("majority", "weighted", "dawid-skene", "one-coin", "pooled")
#: The most accurate and the best calibrated of these on the gold tables that they were measured on.
DEFAULT_METHOD = "pooled"
#: Methods that estimate a confusion matrix per volunteer and can learn from gold answers.
MODELS: dict[str, Callable[..., DawidSkene | PooledDawidSkene]] = {
    "dawid-skene": dawid_skene,
    "one-coin": one_coin,
    "pooled": pooled_dawid_skene,
}


@dataclass(frozen=True)
class TaskConfusion:
    """Confusion matrices of one task.

    Attributes
    ----------
    volunteer
        Codes of those who answered the task, increasing, int (n,).
    n_given
        Their votes on it, int (n,).
    confusion
        ``confusion[j, k, y]`` = P(volunteer[j] says y | the truth is k), float (n, K, K).
    """

    volunteer: IntArray
    n_given: IntArray
    confusion: FloatArray


@dataclass(frozen=True)
class TaskConsensus:
    """Consensus of each subject on each task that has votes, ordered by subject and task.

    Attributes
    ----------
    subject, task
        Codes of each row, int (n_rows,).
    n_votes
        Int (n_rows,).
    answer
        The most probable answer of the task, int (n_rows,).
    posterior
        Float (n_rows, largest number of answers); nan beyond the answers of the row's task.
    held_out
        As `posterior`, of gold subjects as if their own gold were not known; the posterior itself for methods
        that cannot tell (all but "pooled").
    reach
        P(the task applies to the subject | all votes), float (n_rows,); nan where no tree was given.
    calibration
        By task code, the map that gold taught; only of "pooled", with gold.
    confusion
        By task code; empty for `majority` and `weighted`.
    converged
        Whether every fit settled.
    """

    subject: IntArray
    task: IntArray
    n_votes: IntArray
    answer: IntArray
    posterior: FloatArray
    held_out: FloatArray
    reach: FloatArray
    calibration: dict[int, CalibrationMap]
    confusion: dict[int, TaskConfusion]
    converged: bool


@dataclass(frozen=True)
class _Stack:
    """Votes with one code per subject and task that has any."""

    pair: IntArray
    volunteer: IntArray
    task: IntArray
    answer: IntArray
    pair_subject: IntArray
    pair_task: IntArray
    n_answers: IntArray


def aggregate_tasks(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    task: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: Sequence[int] | None = None,
    *,
    method: str = DEFAULT_METHOD,
    gold: npt.ArrayLike | None = None,
    next_task: Sequence[Sequence[int]] | None = None,
    max_iterations: int = 1000,
) -> TaskConsensus:
    """Apply one method to the votes of several tasks.

    A model is fitted to each task by itself, `pooled` to a whole decision tree where it is given one (`pooled_tree`).
    `weighted` gives a volunteer one weight over all tasks, as Galaxy Zoo 2 did.

    Parameters
    ----------
    subject, volunteer, task
        Codes of each vote, int (n,). Repeats count as often as they are given: see `last_votes`.
    answer
        Code of each vote among the answers of its own task, int (n,).
    n_answers
        Number of answers of each task; by default the largest code given + 1.
    method
        One of `METHODS`.
    gold
        Known answers, int (n_subjects, n_tasks), -1 where unknown; for `MODELS` only.
    next_task
        For each task, the task that each of its answers leads to, -1 for the end; the first task is 0. For
        `pooled` only.
    max_iterations
        Limit for `MODELS`.

    Returns
    -------
    TaskConsensus

    Examples
    --------
    >>> result = aggregate_tasks([0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [2, 3], method="majority")
    >>> result.task, result.posterior
    (array([0, 1]), array([[ 0.,  1., nan],
           [ 1.,  0.,  0.]]))
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if gold is not None and method not in MODELS:
        raise ValueError(f"the method {method!r} has no use for gold answers; choose one of {', '.join(MODELS)}")
    if next_task is not None and method != "pooled":
        raise ValueError(f"the method {method!r} takes tasks one by one; only 'pooled' knows what to do with a tree")
    sizes = n_answers if next_task is None else [len(targets) for targets in next_task]
    stack = _stack(subject, volunteer, task, answer, sizes)
    if next_task is not None:
        return _fit_tree(stack, next_task, _subject_gold(gold, stack), max_iterations)
    if method in MODELS:
        return _fit_each(stack, MODELS[method], _pair_gold(gold, stack), max_iterations)
    return _vote(stack, method)


def _stack(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    task: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: Sequence[int] | None,
) -> _Stack:
    subjects, _ = check_codes("subject", subject)
    volunteers, _ = check_codes("volunteer", volunteer)
    tasks, n_tasks = check_codes("task", task, None if n_answers is None else len(n_answers))
    answers, _ = check_codes("answer", answer)
    check_same_length(subject=subjects, volunteer=volunteers, task=tasks, answer=answers)
    given = np.zeros(n_tasks, dtype=np.int64)
    np.maximum.at(given, tasks, answers + 1)
    sizes = given if n_answers is None else np.asarray(n_answers, dtype=np.int64)
    if np.any(given > sizes):
        wrong = int(np.flatnonzero(given > sizes)[0])
        raise ValueError(f"task {wrong} has {sizes[wrong]} answers, but a vote for answer {given[wrong] - 1}")
    pairs, pair = np.unique(subjects * max(n_tasks, 1) + tasks, return_inverse=True)
    return _Stack(pair, volunteers, tasks, answers, pairs // max(n_tasks, 1), pairs % max(n_tasks, 1), sizes)


def _subject_gold(gold: npt.ArrayLike | None, stack: _Stack) -> IntArray | None:
    """Known answers of the subjects that have votes, (n_subjects, n_tasks)."""
    if gold is None:
        return None
    table: IntArray = np.asarray(gold)
    n_subjects = int(stack.pair_subject.max(initial=-1)) + 1
    if table.ndim != 2 or len(table) < n_subjects or table.shape[1] != len(stack.n_answers):
        raise ValueError(
            f"gold must have shape (n_subjects, n_tasks) = ({n_subjects}, {len(stack.n_answers)}), got {table.shape}"
        )
    return table[:n_subjects]


def _pair_gold(gold: npt.ArrayLike | None, stack: _Stack) -> IntArray | None:
    table = _subject_gold(gold, stack)
    return None if table is None else table[stack.pair_subject, stack.pair_task]


def _vote(stack: _Stack, method: str) -> TaskConsensus:
    """Majority or weighted vote: one call, as neither mixes the answers of different rows."""
    width = int(stack.n_answers.max(initial=0))
    options = stack.n_answers[stack.pair_task]
    votes = (stack.pair, stack.volunteer, stack.answer, width)
    result = majority(*votes) if method == "majority" else weighted_votes(*votes, n_options=options)
    posterior = np.where(np.arange(width) < options[:, np.newaxis], result.posterior, np.nan)
    return _consensus(stack, result.n_votes, result.answer, posterior)


def _consensus(stack: _Stack, n_votes: IntArray, answer: IntArray, posterior: FloatArray) -> TaskConsensus:
    """The rows of the stack, with nothing that only a model knows."""
    unknown = np.full(len(posterior), np.nan)
    return TaskConsensus(
        stack.pair_subject, stack.pair_task, n_votes, answer, posterior, posterior, unknown, {}, {}, converged=True
    )


def _fit_each(
    stack: _Stack,
    model: Callable[..., DawidSkene | PooledDawidSkene],
    gold: IntArray | None,
    max_iterations: int,
) -> TaskConsensus:
    n_rows = len(stack.pair_subject)
    posterior = np.full((n_rows, int(stack.n_answers.max(initial=0))), np.nan)
    held_out = posterior.copy()
    n_votes = np.zeros(n_rows, dtype=np.int64)
    answer = np.full(n_rows, -1, dtype=np.int64)
    calibration: dict[int, CalibrationMap] = {}
    confusion = {}
    converged = True
    for task in np.unique(stack.pair_task).tolist():
        votes = stack.task == task
        rows = np.flatnonzero(stack.pair_task == task)
        people, volunteer = np.unique(stack.volunteer[votes], return_inverse=True)
        size = int(stack.n_answers[task])
        fit = model(
            np.searchsorted(rows, stack.pair[votes]),
            volunteer,
            stack.answer[votes],
            size,
            None if gold is None else gold[rows],
            max_iterations=max_iterations,
        )
        posterior[rows, :size] = held_out[rows, :size] = fit.posterior
        n_votes[rows] = fit.n_votes
        answer[rows] = fit.answer
        confusion[task] = TaskConfusion(people, fit.n_given, fit.confusion)
        converged &= fit.converged
        if isinstance(fit, PooledDawidSkene):
            held_out[rows, :size] = fit.held_out
            if fit.calibration is not None:
                calibration[task] = fit.calibration
    plain = _consensus(stack, n_votes, answer, posterior)
    return replace(plain, held_out=held_out, calibration=calibration, confusion=confusion, converged=converged)


def _fit_tree(
    stack: _Stack, next_task: Sequence[Sequence[int]], gold: IntArray | None, max_iterations: int
) -> TaskConsensus:
    fit = pooled_tree(
        stack.pair_subject[stack.pair],
        stack.volunteer,
        stack.task,
        stack.answer,
        next_task,
        gold,
        max_iterations=max_iterations,
    )
    n_rows = len(stack.pair_subject)
    posterior = np.full((n_rows, int(stack.n_answers.max(initial=0))), np.nan)
    held_out = posterior.copy()
    for task, size in enumerate(stack.n_answers.tolist()):
        rows = np.flatnonzero(stack.pair_task == task)
        posterior[rows, :size] = fit.posterior[task][stack.pair_subject[rows]]
        held_out[rows, :size] = fit.held_out[task][stack.pair_subject[rows]]
    people = zip(fit.volunteers, fit.n_given, fit.confusion, strict=True)
    plain = _consensus(
        stack,
        fit.n_votes[stack.pair_subject, stack.pair_task],
        np.nan_to_num(posterior, nan=-1.0).argmax(axis=1) if n_rows else np.zeros(0, dtype=np.int64),
        posterior,
    )
    return replace(
        plain,
        held_out=held_out,
        reach=fit.reach[stack.pair_subject, stack.pair_task],
        calibration={task: each for task, each in enumerate(fit.calibration) if each is not None},
        confusion={task: TaskConfusion(*each) for task, each in enumerate(people)},
        converged=fit.converged,
    )
