"""Consensus over a whole decision tree: the answer to each question, and whether the question applies at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation import _em, _pooled_em
from aggregation._question import Question
from aggregation._votes import FloatArray, IntArray, Votes, check_codes, check_same_length
from aggregation.calibration import CalibrationMap
from aggregation.pooled import MAX_ITERATIONS, TOLERANCE, fit_tree, settle
from aggregation.tallies import topological_order


@dataclass(frozen=True)
class PooledTree:
    """Result of `pooled_tree`; row i is subject code i, lists and columns follow the tasks.

    Attributes
    ----------
    posterior
        Per task, P(true answer | all votes, the question applies), float (n_subjects, n_answers of the task).
    reach
        P(the question applies to the subject | all votes), float (n_subjects, n_tasks).
    n_votes
        Votes of each subject on each task, int (n_subjects, n_tasks).
    held_out
        As `posterior`, of gold subjects as if their own gold were not known.
    calibration
        Per task, the map that gold taught; None without gold on the task.
    prior, crowd, strength, muddled, correlation
        Per task, as in `PooledDawidSkene`.
    guess, evidence
        Per task, as in `PooledDawidSkene`.
    off_path
        Per task, how often each answer is given where the task does not apply, float (n_answers of the task,).
    confusion
        Per task, ``[j, k, y]`` = P(volunteer says y | the truth is k), float (n, K, K) for its `volunteers`.
    volunteers
        Per task, codes of those who answered it, increasing, int (n,).
    n_given
        Per task, their votes on it, int (n,).
    log_likelihood, n_iterations, converged
        Of EM over all tasks together.
    """

    posterior: list[FloatArray]
    reach: FloatArray
    n_votes: IntArray
    held_out: list[FloatArray]
    calibration: list[CalibrationMap | None]
    prior: list[FloatArray]
    crowd: list[FloatArray]
    strength: list[float]
    muddled: list[float]
    correlation: list[float]
    guess: list[FloatArray]
    evidence: list[FloatArray]
    off_path: list[FloatArray]
    confusion: list[FloatArray]
    volunteers: list[IntArray]
    n_given: list[IntArray]
    log_likelihood: float
    n_iterations: int
    converged: bool


def pooled_tree(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    task: npt.ArrayLike,
    answer: npt.ArrayLike,
    next_task: Sequence[Sequence[int]],
    gold: npt.ArrayLike | None = None,
    *,
    first: int = 0,
    n_subjects: int | None = None,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> PooledTree:
    """Fit `pooled_dawid_skene` to all questions of a decision tree at once.

    The true state of a subject is a path: one answer per question that applies to it. A vote on a question on the
    path comes from the volunteer's confusion matrix there; a vote on a question off the path, given by somebody
    who strayed, from ``B^q[y]``, how such votes fall, learnt from the crowd. So stray votes neither vanish nor
    poison the question for those subjects to which it applies. Sums over all paths go through the tree as
    messages, exactly: with ``R_q(k) = P(votes at q | k) / P(votes at q | off-path)``,
    ``V_q = sum_k prior_q(k) R_q(k) V_next(q,k)`` upwards and the shares of the sum downwards.

    Parameters
    ----------
    subject, volunteer, task
        Codes of each vote, int (n,). Repeats count as often as they are given: see `last_votes`.
    answer
        Code of each vote among the answers of its task, int (n,).
    next_task
        For each task, the task that each of its answers leads to; -1 ends the classification.
    gold
        Known answers, int (n_subjects, n_tasks), -1 where unknown: the true answer if the question applies.
    first
        The task every classification starts with.
    n_subjects
        By default the largest code + 1.
    max_iterations, tolerance
        As for `pooled_dawid_skene`.

    Returns
    -------
    PooledTree

    Raises
    ------
    ValueError
        If the tasks form a cycle, a task cannot be reached, or codes and shapes disagree.

    Examples
    --------
    >>> smooth_or_featured, arms = [-1, 1], [-1, -1]
    >>> result = pooled_tree([0, 0, 0, 1, 1], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0],
    ...                      [smooth_or_featured, arms])
    >>> bool(result.reach[0, 1] > result.reach[1, 1])
    True
    """
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    volunteers, _ = check_codes("volunteer", volunteer)
    tasks, _ = check_codes("task", task, len(next_task))
    answers, _ = check_codes("answer", answer)
    check_same_length(subject=subjects, volunteer=volunteers, task=tasks, answer=answers)
    order = _check_order(next_task, first)
    known = _check_gold(gold, n_subjects, next_task)
    people, questions = [], []
    for code, leads_to in enumerate(next_task):
        here = np.flatnonzero(tasks == code)
        given, _ = check_codes(f"answer to task {code}", answers[here], len(leads_to))
        who, local = np.unique(volunteers[here], return_inverse=True)
        people.append(who)
        questions.append(Question.of(Votes(subjects[here], local, given, n_subjects, len(who), len(leads_to))))
    nothing = [None] * len(next_task)
    tree = _pooled_em.Tree(questions, next_task, order, known, nothing, nothing)
    fit, final = fit_tree(tree, max_iterations, tolerance)
    settled = [settle(tree, code, fit, final) for code in range(len(next_task))]
    return PooledTree(
        posterior=[_em.clamp(held_out, known[:, code]) for code, (held_out, _) in enumerate(settled)],
        reach=final.beliefs.reach,
        n_votes=np.stack([question.n_votes for question in questions], axis=1),
        held_out=[held_out for held_out, _ in settled],
        calibration=[calibration for _, calibration in settled],
        prior=[each.prior for each in fit.parameters],
        crowd=[each.skills.crowd for each in fit.parameters],
        strength=[each.skills.strength for each in fit.parameters],
        muddled=[each.muddled for each in fit.parameters],
        correlation=final.correlation,
        guess=[question.guess for question in questions],
        evidence=final.log_clear,
        off_path=[each.off_path for each in fit.parameters],
        confusion=[each.skills.cells().transpose(0, 2, 1) for each in fit.parameters],
        volunteers=people,
        n_given=[question.n_given for question in questions],
        log_likelihood=fit.beliefs.log_likelihood,
        n_iterations=fit.n_iterations,
        converged=fit.converged,
    )


def _check_order(next_task: Sequence[Sequence[int]], first: int) -> list[int]:
    if not 0 <= first < len(next_task):
        raise ValueError(f"the first task is {first}, but there are {len(next_task)} tasks")
    for task, targets in enumerate(next_task):
        if not len(targets) or any(not -1 <= target < len(next_task) for target in targets):
            raise ValueError(
                f"task {task} leads to {list(targets)}: tasks are 0 to {len(next_task) - 1}, the end is -1"
            )
    order = topological_order(next_task, first)
    missing = sorted(set(range(len(next_task))) - set(order))
    if missing:
        raise ValueError(f"task {missing[0]} cannot be reached from task {first}")
    return order


def _check_gold(gold: npt.ArrayLike | None, n_subjects: int, next_task: Sequence[Sequence[int]]) -> IntArray:
    shape = (n_subjects, len(next_task))
    if gold is None:
        return np.full(shape, -1, dtype=np.int64)
    table = np.asarray(gold)
    if table.shape != shape or (table.size and table.dtype.kind not in "iu"):
        raise ValueError(f"gold must be integers of shape (n_subjects, n_tasks) = {shape}, got {table.shape}")
    sizes = np.array([len(targets) for targets in next_task])
    wrong = np.argwhere((table < -1) | (table >= sizes))
    if len(wrong):
        row, task = wrong[0]
        raise ValueError(f"gold[{row}, {task}] is {table[row, task]}: an answer code below {sizes[task]} or -1")
    return table.astype(np.int64)
