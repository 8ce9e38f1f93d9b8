"""The next parameters from expected counts, and the priors of volunteers and pictures from all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betainc, digamma, polygamma

from aggregation._box_counts import (
    EXPOSURE,
    FREEDOM,
    FREEDOM_HERE,
    LAPSED,
    NOTICED,
    SQUARES,
    SQUARES_HERE,
    STRAYS,
    STRAYS_EXPECTED,
    STRAYS_HERE,
    Shared,
)
from aggregation._box_model import BINS, DETECTABILITY, Field, Pictures, Population, Skills
from aggregation._votes import FloatArray

# Marks are drawn with a pointer on a screen: no scatter is finer than these parts of a typical side.
_LEAST_VARIANCE = 0.01**2
_LEAST_SIZE_VARIANCE = 0.03**2
_LEAST_SIZE_SPREAD = 1e-4
_LARGEST_SHAPE = 500.0  # a prior that is this narrow is one value

# What is believed of detectability before the data: objects mostly seen, decoys taken for one by one in three.
REAL_BETA, REAL_PSEUDO = (4.0, 2.0), 2.0
DECOY_BETA, DECOY_PSEUDO = (7.0, 13.0), 30.0
_DECOY_RATE = (0.5, 5.0)  # pseudo-counts of decoys and of subjects
_GROWTH_SPREAD, _LARGEST_GROWTH = 0.5, 1.5
_FIELD_PSEUDO = 20.0
_RATE_PSEUDO = 0.5


@dataclass(frozen=True)
class Priors:
    """How volunteers, pictures and things vary; estimated together with them.

    Attributes
    ----------
    attention
        a, b of the Beta distribution of volunteers' attention.
    false_rate
        Shape and mean of the Gamma distribution of their stray marks per classification.
    scatter
        Degrees of freedom and scale of the inverse-χ² distribution of their variance.
    clutter
        Shape of the Gamma distribution (mean 1) of the pictures' clutter.
    blur
        Degrees of freedom of the inverse-χ² distribution (scale 1) of the pictures' blur.
    real, decoy
        a, b of the Beta distributions of detectability.
    """

    attention: tuple[float, float]
    false_rate: tuple[float, float]
    scatter: tuple[float, float]
    clutter: float = 20.0
    blur: float = 50.0
    real: tuple[float, float] = REAL_BETA
    decoy: tuple[float, float] = DECOY_BETA


def learn_skills(counts: FloatArray, priors: Priors) -> tuple[Skills, Priors]:
    """Posterior means of each volunteer, (n_volunteers, 10) counts, and the priors that suit all of them best."""
    a, b = priors.attention[0] + counts[:, NOTICED], priors.attention[1] + counts[:, LAPSED]
    shape, mean = priors.false_rate
    strays, exposure = shape + counts[:, STRAYS], shape / mean + counts[:, EXPOSURE]
    freedom, scale = priors.scatter
    half = 0.5 * (freedom + counts[:, FREEDOM])
    squares = 0.5 * (freedom * scale + counts[:, SQUARES])
    skills = Skills(
        attention=np.clip(a / (a + b), 0.005, 0.995),
        false_rate=np.maximum(strays / exposure, 1e-4),
        variance=np.maximum(squares / half, _LEAST_VARIANCE),
    )
    if not len(counts):
        return skills, priors
    beta = fit_beta((digamma(a) - digamma(a + b)).mean(), (digamma(b) - digamma(a + b)).mean(), priors.attention)
    average = float((strays / exposure).mean())
    spread = np.log(average) - (digamma(strays) - np.log(exposure)).mean()
    inverse = float((half / squares).mean())
    narrow = (np.log(squares) - digamma(half)).mean() + np.log(inverse)
    return skills, replace(
        priors,
        attention=beta,
        false_rate=(shape_of_gamma(spread), average),
        scatter=(2.0 * shape_of_gamma(narrow), max(1.0 / inverse, _LEAST_VARIANCE)),
    )


def learn_pictures(counts: FloatArray, priors: Priors) -> tuple[Pictures, Priors]:
    """Posterior means of each subject, (n_subjects, 4) counts, and the shapes of their priors."""
    shape, rate = priors.clutter + counts[:, STRAYS_HERE], priors.clutter + counts[:, STRAYS_EXPECTED]
    half = 0.5 * (priors.blur + counts[:, FREEDOM_HERE])
    squares = 0.5 * (priors.blur + counts[:, SQUARES_HERE])
    pictures = Pictures(clutter=shape / rate, blur=squares / half)
    if not len(counts):
        return pictures, priors
    uneven = (pictures.clutter - 1.0 - digamma(shape) + np.log(rate)).mean()
    blurred = (half / squares - 1.0 + np.log(squares) - digamma(half)).mean()
    return pictures, replace(priors, clutter=shape_of_gamma(uneven), blur=2.0 * shape_of_gamma(blurred))


def learn_population(
    counts: Shared, population: Population, priors: Priors, start: Population
) -> tuple[Population, Priors]:
    """What all subjects share; fields shrink to those of the `start`."""
    real = _detectability_prior(counts.real, priors.real, REAL_BETA, REAL_PSEUDO)
    # Marks alone hardly tell decoys from faint objects, so the belief is strong; known decoys replace it.
    decoy = _detectability_prior(counts.decoy, priors.decoy, DECOY_BETA, DECOY_PSEUDO / (1.0 + counts.decoys[2]))
    rates = counts.rates + _RATE_PSEUDO * start.rate_weights * len(start.rate_weights)
    squares, freedom = counts.scatter
    n, sizes = counts.sizes[0], counts.sizes[1:]
    size_mean, size_spread = population.size_mean, population.size_spread
    if n > 1:
        size_mean = sizes[:2] / n
        size_spread = max(0.5 * float(sizes[2] / n - size_mean @ size_mean), _LEAST_SIZE_SPREAD)
    found = Population(
        real=beta_bins(*real),
        decoy=beta_bins(*decoy),
        rate_weights=rates / rates.sum(),
        decoy_rate=float((counts.decoys[0] + _DECOY_RATE[0]) / (counts.decoys[1] + _DECOY_RATE[1])),
        objects=_fit_field(population.objects, counts.objects, start.objects),
        strays=_fit_field(population.strays, counts.strays, start.strays),
        size_mean=size_mean,
        size_spread=size_spread,
        # One pseudo-count keeps the start where hardly any two marks agree.
        size_variance=max(float((squares + start.size_variance) / (freedom + 1.0)), _LEAST_SIZE_VARIANCE),
        growth=_next_growth(counts.growth, population.growth),
    )
    return found, replace(priors, real=real, decoy=decoy)


def _next_growth(counts: FloatArray, growth: float) -> float:
    """One step of Newton's method for the exponent g of σ ∝ side^g, with a normal prior around 0."""
    slope, freedom, first, second = counts
    spread = second - first * first / freedom if freedom > 0 else 0.0
    precision = 1.0 / _GROWTH_SPREAD**2
    step = (slope - precision * growth) / (4.0 * spread + precision)
    return float(np.clip(growth + step, 0.0, _LARGEST_GROWTH))


def _detectability_prior(
    counts: FloatArray, beta: tuple[float, float], expected: tuple[float, float], pseudo: float
) -> tuple[float, float]:
    """Beta distribution that suits the counts over bins and `pseudo` things of the expected distribution."""
    a, b = expected
    total = counts.sum() + pseudo
    log_p = counts @ np.log(DETECTABILITY) + pseudo * (digamma(a) - digamma(a + b))
    log_q = counts @ np.log1p(-DETECTABILITY) + pseudo * (digamma(b) - digamma(a + b))
    return fit_beta(float(log_p / total), float(log_q / total), beta)


def beta_bins(a: float, b: float, floor: float = 0.01) -> FloatArray:
    """Weights of the detectability bins under Beta(a, b); none is so small that EM could not return to it."""
    weights = np.diff(betainc(a, b, BINS))
    bins: FloatArray = (1.0 - floor) * weights / weights.sum() + floor / len(weights)
    return bins


def _fit_field(field: Field, moments: FloatArray, start: Field) -> Field:
    total, n, x, y, xx, xy, yy = moments
    weight = n + _FIELD_PSEUDO
    mean = (np.array([x, y]) + _FIELD_PSEUDO * start.mean) / weight
    second = np.array([[xx, xy], [xy, yy]]) + _FIELD_PSEUDO * (start.covariance + np.outer(start.mean, start.mean))
    covariance = second / weight - np.outer(mean, mean)
    return Field(mean, covariance, float((total - n + 2.0) / (total + 12.0)), field.log_area)


def shape_of_gamma(gap: float) -> float:
    """The k, at most 500, with log k - ψ(k) = gap: the shape of a Gamma distribution with log E x - E log x = gap.

    Newton's method from the approximation of Minka (2002), "Estimating a Gamma distribution".
    """
    if gap <= 0.5 / _LARGEST_SHAPE:
        return _LARGEST_SHAPE
    k = float((3.0 - gap + np.sqrt((gap - 3.0) ** 2 + 24.0 * gap)) / (12.0 * gap))
    for _ in range(20):
        k = max(k - float((np.log(k) - digamma(k) - gap) / (1.0 / k - polygamma(1, k))), 1e-2)
    return min(k, _LARGEST_SHAPE)


def fit_beta(log_p: float, log_q: float, start: tuple[float, float]) -> tuple[float, float]:
    """a, b of the Beta distribution with E log p = log_p and E log(1-p) = log_q, by Newton's method.

    a + b stays below 500 and both above 0.05.
    """
    a, b = start
    for _ in range(100):
        gradient = np.array([digamma(a + b) - digamma(a) + log_p, digamma(a + b) - digamma(b) + log_q])
        both = polygamma(1, a + b)
        curvature = np.array([[both - polygamma(1, a), both], [both, both - polygamma(1, b)]])
        step = np.linalg.solve(curvature, gradient)
        # Half the way to zero at most: the likelihood is concave, but Newton may overshoot the border.
        length = min([1.0, *(0.5 * value / move for value, move in ((a, step[0]), (b, step[1])) if move > 0)])
        a, b = a - length * float(step[0]), b - length * float(step[1])
        if np.abs(step).max() < 1e-9 * (a + b) or a + b > _LARGEST_SHAPE:
            break
    shrink = min(1.0, _LARGEST_SHAPE / (a + b))
    return max(a * shrink, 0.05), max(b * shrink, 0.05)


def learn_rate(hits: FloatArray, trials: FloatArray) -> tuple[FloatArray, float]:
    """Rates of several people that share a Beta prior, which is estimated too; and its mean. By EM."""
    prior = (1.0, 1.0)
    misses = np.maximum(trials - hits, 0.0)
    for _ in range(10 if len(hits) else 0):
        a, b = prior[0] + hits, prior[1] + misses
        both = digamma(a + b)
        prior = fit_beta(float((digamma(a) - both).mean()), float((digamma(b) - both).mean()), prior)
    for_it, against = prior
    rate: FloatArray = (for_it + hits) / (for_it + against + hits + misses)
    return rate, for_it / (for_it + against)
