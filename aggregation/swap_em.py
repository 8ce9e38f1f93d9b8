"""The model of SWAP fitted to all votes at once, by expectation-maximisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation import _em
from aggregation._swap_stream import information
from aggregation._votes import FloatArray, IntArray, Votes, check_gold, check_votes, count
from aggregation.tallies import count_votes


@dataclass(frozen=True)
class SwapEM:
    """Result of `swap_em`.

    Attributes
    ----------
    posterior
        P(answer is true | all votes), float (n_subjects, 2), certain for gold. Without votes: the prior.
    n_votes
        Votes of each subject, int (n_subjects,).
    prior
        How common each answer is among the test subjects, float (2,).
    confusion, skill, n_given
        As in `Swap`.
    log_likelihood
        Of all votes.
    n_iterations, converged
        EM steps made, and whether the posterior had settled by then.
    """

    posterior: FloatArray
    n_votes: IntArray
    prior: FloatArray
    confusion: FloatArray
    skill: FloatArray
    n_given: IntArray
    log_likelihood: float
    n_iterations: int
    converged: bool


def swap_em(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    gold: npt.ArrayLike | None = None,
    *,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    pseudo_votes: float = 4.0,
    toward_crowd: bool = True,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> SwapEM:
    """Fit the model of `swap` to all votes at once: the offline analysis, without order, trend or preset prior.

    E-step: ``tau_i = pi prod_j L_ij / (pi prod_j L_ij + (1 - pi) prod_j L'_ij)`` with L_ij = PL_j or 1 - PL_j and
    L'_ij = 1 - PD_j or PD_j, as volunteer j said positive or negative; gold is certain. M-step:
    ``PL_j = (s m + sum_i tau_i [said positive]) / (s + sum_i tau_i)``, likewise PD_j, and ``pi`` = mean of tau over
    the test subjects. It starts from the vote fractions (with gold also from what the gold answers teach, and keeps
    the likelier optimum) and ends on an E-step.

    The published offline analysis replaces the product by a mean over the votes, ``tau_i <- mean_j [tau_i L_ij /
    (tau_i L_ij + (1 - tau_i) L'_ij)]``. That is no E-step: each round takes the previous tau as the prior and so
    counts every vote once more, and tau drifts to 0 or 1 however few the votes are. It also leaves pi unused.

    Parameters
    ----------
    subject, volunteer, answer, gold, n_subjects, n_volunteers
        As in `swap`. Neither the order of the votes nor which answer is the rare one makes a difference.
    pseudo_votes, toward_crowd
        s votes that each volunteer's PL and PD start from: m is what the whole crowd does, or with
        ``toward_crowd=False`` it is 1/2 (``pseudo_votes=2`` then gives the published M-step).
    max_iterations, tolerance
        Stop when no posterior changes by more than `tolerance`.

    Returns
    -------
    SwapEM

    Examples
    --------
    >>> result = swap_em([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 1, 0], gold=[1, 0, -1])
    >>> result.posterior[:, 1].round(2)
    array([1. , 0. , 0.5])
    """
    votes = check_votes(subject, volunteer, answer, 2, n_subjects=n_subjects, n_volunteers=n_volunteers)
    known = check_gold(gold, votes.n_subjects, 2)
    _check_em(pseudo_votes, max_iterations)
    step = _em_step(votes, known, pseudo_votes, toward_crowd)
    counts = count_votes(votes.subject, votes.answer, votes.n_subjects, 2)
    starts = _em.start_posteriors(counts, known, with_gold=bool((known >= 0).any()))
    fits = [_settle(step, start, max_iterations, tolerance) for start in starts]
    fit = max(fits, key=lambda each: each.parameters.log_likelihood)
    confusion = fit.parameters.confusion
    return SwapEM(
        posterior=fit.posterior,
        n_votes=votes.n_votes,
        prior=fit.parameters.prior,
        confusion=confusion,
        skill=information(confusion[:, 1, 1], confusion[:, 0, 0]),
        n_given=count(votes.volunteer, votes.n_volunteers),
        log_likelihood=fit.parameters.log_likelihood,
        n_iterations=fit.n_iterations,
        converged=fit.converged,
    )


class _Parameters(NamedTuple):
    prior: FloatArray
    confusion: FloatArray
    log_likelihood: float


def _check_em(pseudo_votes: float, max_iterations: int) -> None:
    if not 0.0 < pseudo_votes < np.inf:
        raise ValueError(f"pseudo_votes must be a number of votes above 0, got {pseudo_votes}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")


def _em_step(
    votes: Votes, gold: IntArray, pseudo_votes: float, toward_crowd: bool
) -> Callable[[FloatArray], tuple[FloatArray, _Parameters]]:
    """One M-step and the E-step after it, from posterior to posterior."""
    counted = _em.counted_in_prior(votes, gold)
    cell = votes.volunteer * 2 + votes.answer
    n_cells = 2 * votes.n_volunteers

    def step(posterior: FloatArray) -> tuple[FloatArray, _Parameters]:
        by_truth = [np.bincount(cell, weights=posterior[votes.subject, k], minlength=n_cells) for k in (0, 1)]
        soft = np.stack(by_truth).reshape(2, votes.n_volunteers, 2)
        crowd = 1.0 + soft.sum(axis=1, keepdims=True)
        centre = crowd / crowd.sum(axis=2, keepdims=True) if toward_crowd else 0.5
        confusion = (soft + pseudo_votes * centre) / (soft.sum(axis=2, keepdims=True) + pseudo_votes)
        log_cells = np.log(confusion).reshape(2, n_cells)
        sums = [np.bincount(votes.subject, weights=row[cell], minlength=votes.n_subjects) for row in log_cells]
        prior = _em.class_prior(posterior, counted)
        posterior, log_likelihood = _em.expectation(np.stack(sums, axis=1), prior, gold)
        return posterior, _Parameters(prior, confusion.transpose(1, 0, 2), log_likelihood)

    return step


def _settle(
    step: Callable[[FloatArray], tuple[FloatArray, _Parameters]],
    posterior: FloatArray,
    max_iterations: int,
    tolerance: float,
) -> _em.EMResult[_Parameters]:
    """Repeat `step` until no posterior moves: the likelihood of all votes hardly shows what a rare class still does."""
    for n_iterations in range(1, max_iterations + 1):
        previous = posterior
        posterior, parameters = step(previous)
        converged = bool(np.abs(posterior - previous).max(initial=0.0) <= tolerance)
        if converged or n_iterations == max_iterations:
            break
    return _em.EMResult(posterior, parameters, parameters.log_likelihood, n_iterations, converged)
