"""How far to trust a machine: a tempered and shifted log-likelihood ratio, fitted to known answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize
from scipy.special import softmax

from aggregation._votes import BoolArray, FloatArray

#: How far a trust may stray from 0, and a log-likelihood ratio be shifted, before the data have spoken (standard
#: deviations of normal priors; nats).
_SPREAD_TRUST = 2.0
_SPREAD_BIAS = 2.0
_FOLDS = 5
#: Probabilities enter logarithms no smaller than this.
_TINY = 1e-12


@dataclass(frozen=True)
class Known:
    """What is known of the subjects that a machine learns its trust from: gold, or what the volunteers say.

    Attributes
    ----------
    posterior
        P(answer k | votes), float (n, K); gold is certain.
    """

    posterior: FloatArray

    def take(self, rows: BoolArray) -> Known:
        return Known(self.posterior[rows])

    @cached_property
    def log_prior(self) -> FloatArray:
        """Log of how common each answer is, with one subject of each to start with, float (K,)."""
        common = self.posterior.sum(axis=0) + 1.0
        prior: FloatArray = np.log(common / common.sum())
        return prior

    @cached_property
    def likelihood(self) -> FloatArray:
        """P(votes | k) up to a factor per row, float (n, K): the posterior without the prior in it."""
        table = self.posterior / np.exp(self.log_prior)
        scaled: FloatArray = table / table.sum(axis=1, keepdims=True)
        return scaled


@dataclass(frozen=True)
class Trust:
    """``trust x_k + bias_k`` of log ratios x, float (n, K)."""

    trust: float
    bias: FloatArray

    def apply(self, x: FloatArray) -> FloatArray:
        """Log-likelihood of each answer, float (n, K)."""
        evidence: FloatArray = self.trust * x + self.bias
        return evidence

    @classmethod
    def fit(cls, x: FloatArray, known: Known) -> Trust:
        """Most probable trust (not negative) and bias: ``sum_i log sum_k P(k | x_i) P(votes_i | k)`` is largest.

        Fitted to the posterior itself instead, a machine would be trusted the less the fewer votes there were: what
        votes leave open would count as the machine's fault.
        """
        spread = np.array([_SPREAD_TRUST] + [_SPREAD_BIAS] * x.shape[1])

        def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
            logits = known.log_prior + parameters[0] * x + parameters[1:]
            predicted = softmax(logits, axis=1)
            joint = predicted * known.likelihood
            total = np.maximum(joint.sum(axis=1, keepdims=True), _TINY)
            miss = predicted - joint / total
            gradient = np.concatenate([[(miss * x).sum()], miss.sum(axis=0)]) + parameters / spread**2
            return float(-np.log(total).sum() + 0.5 * ((parameters / spread) ** 2).sum()), gradient

        start = np.concatenate([[1.0], np.zeros(x.shape[1])])
        bounds = [(0.0, None)] + [(None, None)] * x.shape[1]
        best = optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
        return cls(float(best[0]), np.asarray(best[1:]))


def losses_of(evidence: FloatArray, known: Known) -> FloatArray:
    """``-log sum_k P(k | evidence) P(votes | k)`` of each subject, float (n,); of gold that is its log loss."""
    predicted = softmax(known.log_prior + evidence, axis=1)
    loss: FloatArray = -np.log(np.maximum((predicted * known.likelihood).sum(axis=1), _TINY))
    return loss


def is_better(loss: FloatArray, other: FloatArray) -> bool:
    """Whether the mean loss is below the other by more than one standard error of their difference."""
    gain = other - loss
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def folds_of(known: Known, x: FloatArray, seed: int) -> list[BoolArray]:
    """Subjects of each fold; ranked by answer and score first, so that the folds are alike."""
    order = np.lexsort((*x.T[::-1], *known.posterior.T[::-1]))
    rng = np.random.default_rng(seed)
    deals = rng.permuted(np.tile(np.arange(_FOLDS), (-(-len(x) // _FOLDS), 1)), axis=1).ravel()
    fold = np.empty(len(x), dtype=np.int64)
    fold[order] = deals[: len(x)]
    return [fold == each for each in range(_FOLDS)]
