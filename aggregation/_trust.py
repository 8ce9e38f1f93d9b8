"""How far to trust a machine: a tempered and shifted log-likelihood ratio, fitted to known answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import log_softmax, softmax

from aggregation._votes import BoolArray, FloatArray

#: How far a trust may stray from 0, and a log-likelihood ratio be shifted, before the data have spoken (standard
#: deviations of normal priors; nats).
_SPREAD_TRUST = 2.0
_SPREAD_BIAS = 2.0
_FOLDS = 5


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
    def fit(cls, x: FloatArray, known: FloatArray) -> Trust:
        """Most probable trust (not negative) and bias, given P(answer) of each subject."""
        prior = log_prior_of(known)
        start = np.zeros(1 + x.shape[1])
        spread = np.array([_SPREAD_TRUST] + [_SPREAD_BIAS] * x.shape[1])

        def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
            logits = prior + parameters[0] * x + parameters[1:]
            miss = softmax(logits, axis=1) - known
            gradient = np.concatenate([[(miss * x).sum()], miss.sum(axis=0)]) + parameters / spread**2
            value = -(known * log_softmax(logits, axis=1)).sum() + 0.5 * ((parameters / spread) ** 2).sum()
            return float(value), gradient

        bounds = [(0.0, None)] + [(None, None)] * x.shape[1]
        best = optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
        return cls(float(best[0]), np.asarray(best[1:]))


def log_prior_of(known: FloatArray) -> FloatArray:
    """Log of how common each answer is among the known, with one subject of each to start with."""
    common = known.sum(axis=0) + 1.0
    prior: FloatArray = np.log(common / common.sum())
    return prior


def losses_of(evidence: FloatArray, known: FloatArray, log_prior: FloatArray) -> FloatArray:
    """Log loss of each known subject, float (n,)."""
    loss: FloatArray = -(known * log_softmax(log_prior + evidence, axis=1)).sum(axis=1)
    return loss


def is_better(loss: FloatArray, other: FloatArray) -> bool:
    """Whether the mean loss is below the other by more than one standard error of their difference."""
    gain = other - loss
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def folds_of(known: FloatArray, x: FloatArray, seed: int) -> list[BoolArray]:
    """Subjects of each fold; ranked by answer and score first, so that the folds are alike."""
    order = np.lexsort((*x.T[::-1], *known.T[::-1]))
    rng = np.random.default_rng(seed)
    deals = rng.permuted(np.tile(np.arange(_FOLDS), (-(-len(x) // _FOLDS), 1)), axis=1).ravel()
    fold = np.empty(len(x), dtype=np.int64)
    fold[order] = deals[: len(x)]
    return [fold == each for each in range(_FOLDS)]
