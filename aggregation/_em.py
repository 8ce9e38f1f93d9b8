"""Parts that every expectation-maximisation model of votes shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from aggregation._votes import BoolArray, FloatArray, IntArray, Votes, ratio

P = TypeVar("P")

#: Decimals of a posterior that the order of the votes cannot change.
_DECIMALS = 12


@dataclass(frozen=True)
class EMResult(Generic[P]):
    """Outcome of `iterate`: the posterior belongs to the parameters (the last step is an E-step)."""

    posterior: FloatArray
    parameters: P
    objective: float
    n_iterations: int
    converged: bool


def iterate(
    step: Callable[[FloatArray], tuple[FloatArray, P, float]],
    posterior: FloatArray,
    *,
    max_iterations: int,
    tolerance: float,
) -> EMResult[P]:
    """Repeat `step` (M, then E: posterior → posterior, parameters, objective) until it settles.

    It has settled when the objective grows by less than `tolerance` times its own size.
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    previous = -np.inf
    for n_iterations in range(1, max_iterations + 1):
        posterior, parameters, objective = step(posterior)
        converged = bool(objective - previous <= tolerance * abs(objective))
        if converged or n_iterations == max_iterations:
            return EMResult(posterior, parameters, objective, n_iterations, converged)
        previous = objective
    raise AssertionError("unreachable: the last iteration returns")


def start_posteriors(counts: IntArray | FloatArray, gold: IntArray, with_gold: bool) -> list[FloatArray]:
    """Where to start from, each (n_subjects, n_answers): vote fractions; with gold also the gold answers alone.

    EM finds the optimum next to its start. If most volunteers are wrong in the same way, vote fractions lead to
    the mirror image of the truth, whatever the gold answers say.
    """
    n_votes = counts.sum(axis=1, keepdims=True)
    fractions = clamp(ratio(counts, n_votes, empty=1.0 / max(counts.shape[1], 1)), gold)
    if not with_gold:
        return [fractions]
    nearly_nothing = np.full(fractions.shape, 0.01 / max(counts.shape[1], 1))
    return [fractions, clamp(nearly_nothing, gold)]


def clamp(posterior: FloatArray, gold: IntArray) -> FloatArray:
    """Return the posterior with certainty at the known answers."""
    known = np.flatnonzero(gold >= 0)
    if not known.size:
        return posterior
    clamped = posterior.copy()
    clamped[known] = 0.0
    clamped[known, gold[known]] = 1.0
    return clamped


def counted_in_prior(votes: Votes, gold: IntArray) -> BoolArray:
    """Mark the subjects that inform the class prior, (n_subjects,).

    Gold subjects are chosen, often half of them of the rare class, so they say nothing of how common a class
    is (they do when there is nothing else).
    """
    voted = votes.n_votes > 0
    free = voted & (gold < 0)
    return free if free.any() else voted


def class_prior(posterior: FloatArray, counted: BoolArray) -> FloatArray:
    """Mean posterior of the counted subjects, (n_answers,); uniform if there is none."""
    n_answers = posterior.shape[1]
    if not counted.any():
        return np.full(n_answers, 1.0 / max(n_answers, 1))
    weight = posterior[counted].sum(axis=0)
    prior: FloatArray = weight / weight.sum()
    return prior


def expectation(log_likelihood: FloatArray, prior: FloatArray, gold: IntArray) -> tuple[FloatArray, float]:
    """E-step: posterior ∝ prior x likelihood, and the log-likelihood of all votes.

    Parameters
    ----------
    log_likelihood
        log P(votes of subject i | class k), (n_subjects, n_answers); may hold -inf.
    prior
        (n_answers,).
    gold
        Known answers, -1 where unknown; their votes count conditionally on the answer.
    """
    if log_likelihood.size == 0:
        return log_likelihood.copy(), 0.0
    log_joint = log_likelihood + safe_log(prior)
    # The largest term of each row becomes exp(0): no row can underflow to 0 altogether.
    top = log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint - top)
    total = joint.sum(axis=1, keepdims=True)
    row = (top + np.log(total))[:, 0]
    known = gold >= 0
    row[known] = log_likelihood[known, gold[known]]
    # Where two answers are equally good, EM stands on a ridge, and the last bits, which depend on the order of the
    # votes, would push it to one side: they are cut off.
    return clamp(np.round(joint / total, _DECIMALS), gold), float(row.sum())


def safe_log(probability: FloatArray) -> FloatArray:
    """Logarithm with log 0 = -inf and no warning."""
    with np.errstate(divide="ignore"):
        return np.log(probability)
