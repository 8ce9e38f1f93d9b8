"""Consensus over a whole decision tree: the answer to each question, and whether the question applies at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt

from aggregation._pooled_rounds import MAX_ITERATIONS, TOLERANCE
from aggregation._votes import FloatArray, IntArray
from aggregation.calibration import CalibrationMap
from aggregation.sharded import PooledShard, ShardedPooled


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
    subject, task
        Codes of each vote, int (n,). Repeats count as often as they are given: see `last_votes`.
    volunteer
        Codes or ids of whoever gave it, int (n,).
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
    shard = PooledShard.of_tree(subject, volunteer, task, answer, next_task, gold, first=first, n_subjects=n_subjects)
    model = ShardedPooled(next_task, first, max_iterations, tolerance)
    fit, (said,), _ = model.run([shard])
    return PooledTree(
        posterior=said.posterior,
        reach=said.reach,
        n_votes=said.n_votes,
        held_out=said.held_out,
        calibration=fit.calibration,
        prior=fit.prior,
        crowd=fit.crowd,
        strength=fit.strength,
        muddled=fit.muddled,
        correlation=fit.correlation,
        guess=fit.guess,
        evidence=said.evidence,
        off_path=fit.off_path,
        confusion=fit.confusion,
        volunteers=fit.volunteers,
        n_given=fit.n_given,
        log_likelihood=fit.log_likelihood,
        n_iterations=fit.n_iterations,
        converged=fit.converged,
    )
