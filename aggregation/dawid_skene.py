"""Confusion-matrix models of volunteers, fitted by expectation-maximisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation import _em
from aggregation._question import incidence
from aggregation._votes import (
    BoolArray,
    FloatArray,
    IntArray,
    Votes,
    check_gold,
    check_votes,
    count,
    modal_answer,
    ratio,
)
from aggregation.tallies import count_votes


@dataclass(frozen=True)
class DawidSkene:
    """Result of `dawid_skene` and `one_coin`; row i is subject code i.

    Attributes
    ----------
    posterior
        P(true answer | all votes), float (n_subjects, n_answers), rows sum to 1. Without votes: the prior.
    answer
        The most probable answer, the lowest code among equals, -1 where there is neither vote nor gold.
    n_votes
        Votes of each subject, int (n_subjects,).
    prior
        How common each answer is, float (n_answers,); uniform in `one_coin`.
    confusion
        ``confusion[j, k, y]`` = P(volunteer j says y | the truth is k), float (n_volunteers, n_answers,
        n_answers), rows sum to 1. A row that no vote informs is uniform.
    n_given
        Votes given by each volunteer, int (n_volunteers,).
    log_likelihood
        Of all votes under the final parameters (the posterior belongs to the same parameters).
    n_iterations, converged
        EM steps made, and whether the objective had settled by then.
    """

    posterior: FloatArray
    answer: IntArray
    n_votes: IntArray
    prior: FloatArray
    confusion: FloatArray
    n_given: IntArray
    log_likelihood: float
    n_iterations: int
    converged: bool


class _Parameters(NamedTuple):
    prior: FloatArray
    confusion: FloatArray
    log_likelihood: float


def dawid_skene(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    gold: npt.ArrayLike | None = None,
    *,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    smoothing: float = 0.01,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """Fit a full confusion matrix per volunteer (Dawid & Skene 1979, Appl. Statist. 28, 20).

    E-step: ``T_ik ∝ pi_k prod_j prod_y A^j[k,y]^n_ijy``. M-step: ``A^j[k,y] ∝ s + sum_i T_ik n_ijy`` and
    ``pi_k = mean_i T_ik``. It starts from the vote fractions (with gold also from what the gold answers teach, and
    keeps the better optimum), works in logarithms and ends on an E-step. Each step increases
    ``log L + s sum log A``.

    Parameters
    ----------
    subject, volunteer, answer
        Codes of each vote, int (n,). Repeated votes are independent evidence here: see `last_votes`.
    n_answers, n_subjects, n_volunteers
        Sizes of the result; by default the largest code + 1.
    gold
        Known answers, int (n_subjects,), -1 where unknown. Their posterior is fixed, and they teach the
        confusion matrices but not the prior.
    smoothing
        Pseudo-votes s per cell of A; 0 is the published maximum-likelihood estimate.
    max_iterations, tolerance
        Stop when the objective grows by less than `tolerance` of its size.

    Returns
    -------
    DawidSkene

    Examples
    --------
    >>> result = dawid_skene([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 0])
    >>> result.answer
    array([0, 1])
    """
    votes = check_votes(subject, volunteer, answer, n_answers, n_subjects=n_subjects, n_volunteers=n_volunteers)
    _check_smoothing(smoothing)

    def estimate(soft: FloatArray) -> tuple[FloatArray, float]:
        confusion = _normalise_rows(soft + smoothing)
        return confusion, smoothing * float(np.log(confusion[_heard(soft)]).sum()) if smoothing else 0.0

    return _fit(votes, gold, estimate, True, max_iterations, tolerance)


def one_coin(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    gold: npt.ArrayLike | None = None,
    *,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    smoothing: float = 0.01,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """Fit one number per volunteer: the chance p_j to be right (the one-coin Dawid-Skene model).

    ``A^j[k,k] = p_j`` and ``A^j[k,y] = (1 - p_j) / (K - 1)`` for the other K - 1 answers, fitted by EM with
    ``p_j = (s + sum_i T_i,y_ij) / (2 s + n_j)`` and every answer equally common beforehand (Zhang et al. 2016,
    JMLR 17, 102). It needs fewer votes per volunteer than `dawid_skene`, but cannot learn which answers a
    volunteer confuses, nor that an answer is rare: with the frequencies fitted too, one number per volunteer
    cannot hold them back and the commonest answer swallows the others.

    Parameters and result are those of `dawid_skene`; the skill is ``confusion[j, 0, 0]``.

    Examples
    --------
    >>> result = one_coin([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 0])
    >>> result.confusion[:, 0, 0].round(2)
    array([1., 1., 0.])
    """
    votes = check_votes(subject, volunteer, answer, n_answers, n_subjects=n_subjects, n_volunteers=n_volunteers)
    _check_smoothing(smoothing)

    def estimate(soft: FloatArray) -> tuple[FloatArray, float]:
        skill = _skill(soft, smoothing)
        heard = skill[_heard(soft)]
        log_prior = np.log(heard * (1.0 - heard)).sum() if smoothing and votes.n_answers > 1 else 0.0
        return _one_coin_confusion(skill, votes.n_answers), smoothing * float(log_prior)

    return _fit(votes, gold, estimate, False, max_iterations, tolerance)


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < np.inf:
        raise ValueError(f"smoothing must be a number of votes, 0 or more, got {smoothing}")


def _fit(
    votes: Votes,
    gold: npt.ArrayLike | None,
    estimate: Callable[[FloatArray], tuple[FloatArray, float]],
    fit_prior: bool,
    max_iterations: int,
    tolerance: float,
) -> DawidSkene:
    """Run EM; `estimate` turns soft counts (volunteer, truth, said) into confusion and its log prior."""
    known = check_gold(gold, votes.n_subjects, votes.n_answers)
    counted = _em.counted_in_prior(votes, known) & fit_prior  # nothing counted: a uniform prior
    said = incidence(votes)
    counts = count_votes(votes.subject, votes.answer, votes.n_subjects, votes.n_answers)
    shape = (votes.n_volunteers, votes.n_answers, votes.n_answers)

    def step(posterior: FloatArray) -> tuple[FloatArray, _Parameters, float]:
        prior = _em.class_prior(posterior, counted)
        # Rows of the products are (volunteer, said), columns the truth: swap the last two axes to and fro.
        soft = (said.T @ posterior).reshape(shape).transpose(0, 2, 1)
        confusion, log_prior = estimate(soft)
        log_cells = _em.safe_log(confusion).transpose(0, 2, 1).reshape(said.shape[1], votes.n_answers)
        posterior, log_likelihood = _em.expectation(said @ log_cells, prior, known)
        return posterior, _Parameters(prior, confusion, log_likelihood), log_likelihood + log_prior

    fits = [
        _em.iterate(step, start, max_iterations=max_iterations, tolerance=tolerance)
        for start in _em.start_posteriors(counts, known, with_gold=bool((known >= 0).any()))
    ]
    fit = max(fits, key=lambda each: each.objective)
    return DawidSkene(
        posterior=fit.posterior,
        answer=modal_answer(fit.posterior, (votes.n_votes > 0) | (known >= 0)),
        n_votes=votes.n_votes,
        prior=fit.parameters.prior,
        confusion=fit.parameters.confusion,
        n_given=count(votes.volunteer, votes.n_volunteers),
        log_likelihood=fit.parameters.log_likelihood,
        n_iterations=fit.n_iterations,
        converged=fit.converged,
    )


def _normalise_rows(soft: FloatArray) -> FloatArray:
    """Divide by the sum over the last axis; uniform where it is 0 (no vote informs the row)."""
    return ratio(soft, soft.sum(axis=-1, keepdims=True), empty=1.0 / max(soft.shape[-1], 1))


def _heard(soft: FloatArray) -> BoolArray:
    """Volunteers with votes: what is only numbered must not count in the objective."""
    heard: BoolArray = soft.sum(axis=(1, 2)) > 0
    return heard


def _skill(soft: FloatArray, smoothing: float) -> FloatArray:
    """p_j, (n_volunteers,); 1/K for a volunteer of whom nothing is known, and 1 if there is only one answer."""
    n_volunteers, n_answers, _ = soft.shape
    if n_answers <= 1:
        return np.ones(n_volunteers)
    n_given = soft.sum(axis=(1, 2))
    right = np.where(n_given > 0, np.trace(soft, axis1=1, axis2=2) + smoothing, 0.0)
    skill = ratio(right, np.where(n_given > 0, n_given + 2.0 * smoothing, 0.0), empty=1.0 / n_answers)
    # The trace can exceed the sum by rounding.
    return np.clip(skill, 0.0, 1.0)


def _one_coin_confusion(skill: FloatArray, n_answers: int) -> FloatArray:
    confusion = np.empty((len(skill), n_answers, n_answers))
    confusion[:] = ((1.0 - skill) / max(n_answers - 1, 1))[:, np.newaxis, np.newaxis]
    confusion[:, np.arange(n_answers), np.arange(n_answers)] = skill[:, np.newaxis]
    return confusion
