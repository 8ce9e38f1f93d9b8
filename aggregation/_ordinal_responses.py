"""What each grader says along a latent trait: ordered probit with a hierarchical prior, and corrected rows.

Arrays over graders have shape (n_graders, ...); a grader's coefficients are ``(a, t_1 .. t_{L-1})``: slope and
cut points of ``P(says level k or better | theta) = Phi(a theta - t_k)``. Probabilities and soft counts of votes lie
as (n_graders, n_levels, n_nodes), so that they are operands of the E-step's matrix products as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, ndtr

from aggregation._votes import FloatArray

#: Share of votes that are slips of the mouse: any grader may give any grade, so no single vote is proof.
SLIP = 0.02
#: A grader of whom nothing is known counts as this many in the crowd's mean: one grader alone is no crowd.
_PRIOR_GRADERS = 1.0
#: Variance of the slope and of the cut points between graders before any is known.
_PRIOR_VARIANCE = (0.1, 0.2)
#: Graders whose step is made at once: their tables of levels x nodes stay in the processor's cache.
_BLOCK = 128
#: Times that a step is halved before a grader stays as before, and the relative fall that is no fall.
_HALVINGS, _ROUNDING = 6, 1e-12
_SMALLEST_GAP = 1e-3  # between neighbouring cut points
#: Votes that the fitted probit rows are worth against a grader's own counts; the data choose one.
STRENGTHS = 2.0 ** np.arange(-1, 16)
#: Soft counts of subjects that are not settled repeat what the model expects, which makes graders look more alike
#: than they are. In simulated crowds with rows of known strength the likelihood chose four times the true one.
_OVERSTATED = 4.0
_MOST_TURNS = 3


class Crowd(NamedTuple):
    """Normal distribution of the coefficients over graders: mean (L,), covariance (L, L)."""

    mean: FloatArray
    covariance: FloatArray


def level_probability(coefficients: FloatArray, nodes: FloatArray, slips: FloatArray) -> FloatArray:
    """P(grader j says level y | trait at node q), (n_graders, n_levels, n_nodes).

    `slips` (n_levels,) is how often each level is given by mistake; it keeps every probability above 0.
    """
    at_least = np.empty((len(coefficients), len(slips) + 1, len(nodes)))
    at_least[:, 0], at_least[:, -1] = 1.0, 0.0
    at_least[:, 1:-1] = ndtr(coefficients[:, :1, None] * nodes - coefficients[:, 1:, None])
    probability: FloatArray = at_least[:, :-1] - at_least[:, 1:]
    probability *= 1.0 - SLIP
    probability += SLIP * slips[:, None]
    return probability


def fit_coefficients(
    coefficients: FloatArray, soft: FloatArray, nodes: FloatArray, slips: FloatArray, crowd: Crowd
) -> tuple[FloatArray, FloatArray]:
    """One step of Fisher scoring for every grader; returns coefficients and their covariances."""
    blocks = [slice(start, start + _BLOCK) for start in range(0, max(len(coefficients), 1), _BLOCK)]
    fitted = [_fit_block(coefficients[block], soft[block], nodes, slips, crowd) for block in blocks]
    return np.concatenate([each for each, _ in fitted]), np.concatenate([each for _, each in fitted])


def _fit_block(
    coefficients: FloatArray, soft: FloatArray, nodes: FloatArray, slips: FloatArray, crowd: Crowd
) -> tuple[FloatArray, FloatArray]:
    """The step for some graders at once.

    Maximises ``sum_yq N_jyq log P_j(y | q) + log Normal(coefficients_j; crowd)``. A grader whose objective would
    fall takes half the step, a quarter, ...
    """
    precision = np.linalg.inv(crowd.covariance)

    def objective(each: FloatArray, votes: FloatArray, chance: FloatArray) -> FloatArray:
        off = each - crowd.mean
        fit = np.einsum("jyq,jyq->j", votes, np.log(chance))
        penalised: FloatArray = fit - 0.5 * np.einsum("ja,ab,jb->j", off, precision, off)
        return penalised

    probability, gradient, information = _score(coefficients, soft, nodes, slips)
    gradient -= (coefficients - crowd.mean) @ precision
    information += precision
    step = np.linalg.solve(information, gradient[..., None])[..., 0]
    least = objective(coefficients, soft, probability)
    least -= _ROUNDING * np.abs(least)
    fitted = _feasible(coefficients + step)
    worse = np.arange(len(fitted))
    for halvings in range(_HALVINGS):
        chance = level_probability(fitted[worse], nodes, slips)
        worse = worse[objective(fitted[worse], soft[worse], chance) < least[worse]]
        if not worse.size:
            break
        fitted[worse] = _feasible(coefficients[worse] + 0.5 ** (halvings + 1) * step[worse])
    fitted[worse] = coefficients[worse]
    return fitted, np.linalg.inv(information).astype(np.float64, copy=False)


def _feasible(coefficients: FloatArray) -> FloatArray:
    """A slope that is not negative, and cut points in order."""
    out = coefficients.copy()
    out[:, 0] = np.maximum(out[:, 0], 0.0)
    apart = _SMALLEST_GAP * np.arange(out.shape[1] - 1)
    out[:, 1:] = np.maximum.accumulate(out[:, 1:] - apart, axis=1) + apart
    return out


def _score(
    coefficients: FloatArray, soft: FloatArray, nodes: FloatArray, slips: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Level probabilities, and gradient (n_graders, L) and Fisher information (n_graders, L, L) of the votes."""
    n_graders, n_levels = coefficients.shape
    probability = level_probability(coefficients, nodes, slips)
    argument = coefficients[:, :1, None] * nodes - coefficients[:, 1:, None]
    density = (1.0 - SLIP) * np.exp(-0.5 * argument**2) / np.sqrt(2 * np.pi)
    # d P_y / d coefficient: P_y lies between the cut points y and y + 1.
    slope = np.zeros((n_levels, *probability.shape))
    slope[0, :, 1:] = density * nodes
    slope[0, :, :-1] -= density * nodes
    for cut in range(1, n_levels):
        slope[cut, :, cut] = -density[:, cut - 1]
        slope[cut, :, cut - 1] = density[:, cut - 1]
    gradient = np.einsum("jyq,ajyq->ja", soft / probability, slope)
    weighted = slope * (soft.sum(axis=1)[:, None] / probability)
    wide = (n_graders, n_levels, n_levels * len(nodes))
    flat = slope.transpose(1, 0, 2, 3).reshape(wide)
    information = weighted.transpose(1, 0, 2, 3).reshape(wide) @ flat.transpose(0, 2, 1)
    return probability, gradient, information


def fit_crowd(coefficients: FloatArray, covariances: FloatArray, before: Crowd) -> Crowd:
    """Empirical Bayes: mean and spread of the coefficients, the uncertainty of each grader included."""
    n_graders, size = coefficients.shape
    mean = (coefficients.sum(axis=0) + _PRIOR_GRADERS * before.mean) / (n_graders + _PRIOR_GRADERS)
    off = coefficients - mean
    prior_weight = size + 2
    prior = np.diag(np.r_[_PRIOR_VARIANCE[0], np.full(size - 1, _PRIOR_VARIANCE[1])])
    scatter = off.T @ off + covariances.sum(axis=0) + prior_weight * prior
    return Crowd(mean, scatter / (n_graders + prior_weight))


def reliability(coefficients: FloatArray, spread: float) -> FloatArray:
    """Share of the variance of a grader's impressions that is the subject's, ``a² s² / (1 + a² s²)``, (n_graders,)."""
    signal = (coefficients[:, 0] * spread) ** 2
    share: FloatArray = signal / (1.0 + signal)
    return share


def consensus(coefficients: FloatArray, spread: float, prior: Crowd) -> tuple[float, FloatArray]:
    """Slope of the typical grader, and where the crowd draws the lines between levels, (n_levels - 1,).

    Means over graders weighted by `reliability` for a trait of standard deviation `spread`: who says nothing has no
    say in what a grade means. The line ``c_k = sum_j w_j t_jk / sum_j w_j a_j``.
    """
    everyone = np.vstack([coefficients, prior.mean])
    weight = reliability(everyone, spread) + 1e-12
    weight[-1] *= _PRIOR_GRADERS
    typical = weight @ everyone / weight.sum()
    slope = max(float(typical[0]), 1e-6)
    return slope, typical[1:] / slope


class Rows(NamedTuple):
    """Factor on the probit rows by true level, (n_graders, n_levels said, n_levels true), and its strength.

    `strength` is a place in `STRENGTHS`; `trend` is the direction in which it last moved, `turns` how often it turned.
    """

    factor: FloatArray
    strength: int
    trend: int
    turns: int


def fit_rows(soft: FloatArray, probit: FloatArray, trait: FloatArray, bands: FloatArray, before: Rows | None) -> Rows:
    """Let each grader's own counts bend the probit rows where the crowd is not purely ordinal.

    The row of grader j at true level k is ``(n_jk. + s m_jk.) / (n_jk + s)``: the votes, and s votes' worth of what
    the probit expects. s is one number for the crowd, moved one step along `STRENGTHS` towards the larger
    Dirichlet-multinomial likelihood (Minka 2000; a quarter of it), so that a crowd which follows the probit keeps it.
    Rows and strength lean on each other and can chase one another for ever: after a few turns the strength stays.
    """
    said = soft @ bands
    expected = (probit * (soft.sum(axis=1)[:, None] + 1e-6 * trait)) @ bands
    seen = said.sum(axis=1, keepdims=True)
    mean = expected / np.maximum(expected.sum(axis=1, keepdims=True), 1e-300)
    mean = np.maximum(mean, 1e-12)
    strength, trend, turns = (len(STRENGTHS) - 1, 0, 0) if before is None else before[1:]
    if turns < _MOST_TURNS:
        near = [place for place in (strength - 1, strength, strength + 1) if 0 <= place < len(STRENGTHS)]
        best = max(near, key=lambda place: _row_likelihood(said, seen, mean, _OVERSTATED * float(STRENGTHS[place])))
        move = best - strength
        turns += move * trend < 0
        strength, trend = best, move or trend
    votes = STRENGTHS[strength]
    return Rows((said + votes * mean) / ((seen + votes) * mean), strength, trend, turns)


def _row_likelihood(said: FloatArray, seen: FloatArray, mean: FloatArray, votes: float) -> float:
    own = gammaln(said + votes * mean) - gammaln(votes * mean)
    return float(own.sum() - (gammaln(seen + votes) - gammaln(votes)).sum())


def bend(probit: FloatArray, rows: Rows, bands: FloatArray) -> FloatArray:
    """Probit probabilities times the factor of the true level that each node lies in, normalised."""
    bent = probit * (rows.factor @ bands.T)
    bent /= bent.sum(axis=1, keepdims=True)
    out: FloatArray = bent
    return out
