"""What the box model assumes: how objects come to be marked, and how volunteers, pictures and objects differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregation._votes import FloatArray, IntArray

LOG_2PI = float(np.log(2.0 * np.pi))

#: Detectability: the chance that an attentive volunteer sees the object. Integrals over it are sums over bins.
BINS = np.linspace(0.0, 1.0, 13)
DETECTABILITY = 0.5 * (BINS[1:] + BINS[:-1])

#: Objects per subject on average: the prior of each subject's own rate is a set of weights on these.
RATES = np.array([0.01, 0.1, 0.25, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0, 6.0, 9.0, 14.0, 22.0, 40.0])


@dataclass(frozen=True)
class Field:
    """Where things lie: a normal distribution over a uniform one, both fitted; densities per square unit."""

    mean: FloatArray
    covariance: FloatArray
    uniform: float
    log_area: float

    def log_density(self, place: FloatArray) -> FloatArray:
        """Logarithm of the density at each place (n, 2)."""
        peaked, flat = self.parts(place)
        return np.logaddexp(peaked, flat)

    def parts(self, place: FloatArray) -> tuple[FloatArray, float]:
        """Logarithms of the normal part at each place, and of the uniform part."""
        (xx, xy), (_, yy) = self.covariance.tolist()
        determinant = xx * yy - xy * xy
        x, y = (place - self.mean).T
        distance = (yy * x * x - 2.0 * xy * x * y + xx * y * y) / determinant
        peaked = np.log1p(-self.uniform) - LOG_2PI - 0.5 * np.log(determinant) - 0.5 * distance
        return peaked, float(np.log(self.uniform)) - self.log_area


@dataclass(frozen=True)
class Skills:
    """Of each volunteer, (n_volunteers,) each.

    Attributes
    ----------
    attention
        Chance to mark an object of detectability 1.
    false_rate
        Stray marks per classification.
    variance
        Of the place of a mark of unit side around its object, per axis, in square units.
    """

    attention: FloatArray
    false_rate: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class Pictures:
    """Of each subject, (n_subjects,) each: how many stray marks it draws, and how far it scatters marks, around 1."""

    clutter: FloatArray
    blur: FloatArray


@dataclass(frozen=True)
class Population:
    """What all subjects share.

    Attributes
    ----------
    real, decoy
        Weights of the detectability bins among objects and among things that many take for one, (n_bins,).
    rate_weights
        Weights of `RATES`, (n_rates,).
    decoy_rate
        Decoys per subject.
    objects, strays
        Where objects and stray marks lie.
    size_mean, size_spread
        Mean of log width and log height, (2,), and variance of either among objects.
    size_variance
        Of log width and log height of a mark around its object's.
    growth
        Exponent with which the scatter of places grows with the side of a mark: 0, the same for all sizes, to 1.5.
    """

    real: FloatArray
    decoy: FloatArray
    rate_weights: FloatArray
    decoy_rate: float
    objects: Field
    strays: Field
    size_mean: FloatArray
    size_spread: float
    size_variance: float
    growth: float

    @property
    def rate(self) -> float:
        """Objects per subject on average."""
        return float(self.rate_weights @ RATES)


@dataclass(frozen=True)
class Scene:
    """Some subjects' marks with all that their association needs; subjects counted from 0 within the scene.

    Attributes
    ----------
    subject, volunteer
        Int (n_marks,); marks are sorted by subject.
    sums
        Terms of each mark that add up over the marks of an object, float (n_marks, N_SUMS).
    seen
        log odds of a mark against none for each detectability, float (n_marks, n_bins).
    unseen
        log P(none of the viewers marks it) for each detectability, float (n_subjects, n_bins).
    log_kinds
        log of expected objects and decoys per bin, float (n_bins,).
    population
        The shared parameters.
    """

    subject: IntArray
    volunteer: IntArray
    sums: FloatArray
    seen: FloatArray
    unseen: FloatArray
    log_kinds: FloatArray
    population: Population

    def part(self, marks: IntArray) -> Scene:
        """The scene with some of its marks only."""
        return Scene(
            self.subject[marks],
            self.volunteer[marks],
            self.sums[marks],
            self.seen[marks],
            self.unseen,
            self.log_kinds,
            self.population,
        )


# Columns of Scene.sums: precision p with p·x, p·y, p·(x² + y²); the same of the sizes; log-norms; stray evidence.
P, PX, PY, PXX, R, RU, RV, RUU, LOGS, STRAY = range(10)
N_SUMS = 10


def mark_sums(
    place: FloatArray, size: FloatArray, variance: FloatArray, log_false_rate: FloatArray, population: Population
) -> FloatArray:
    """Columns of `Scene.sums` for marks of the given scatter and stray rate; (n_marks, N_SUMS)."""
    sums = np.empty((len(place), N_SUMS))
    offset = size - population.size_mean
    precision = 1.0 / variance
    grip = 1.0 / population.size_variance
    sums[:, P] = precision
    sums[:, PX : PY + 1] = precision[:, np.newaxis] * place
    sums[:, PXX] = precision * (place**2).sum(axis=1)
    sums[:, R] = grip
    sums[:, RU : RV + 1] = grip * offset
    sums[:, RUU] = grip * (offset**2).sum(axis=1)
    sums[:, LOGS] = np.log(precision) + np.log(grip) - 2.0 * LOG_2PI
    spread = population.size_spread + population.size_variance
    shape = -LOG_2PI - np.log(spread) - 0.5 * (offset**2).sum(axis=1) / spread
    sums[:, STRAY] = log_false_rate + population.strays.log_density(place) + shape
    return sums


def place_evidence(sums: FloatArray, population: Population) -> FloatArray:
    """Log of the density of marks as scattered around one object, whose place and size are integrated out.

    Per axis ``∫ g(θ) Π_j N(x_j | θ, 1/p_j) dθ ≈ g(x̄) Π_j √(p_j/2π) √(2π/P) exp(-½ (Σ p x² - (Σ p x)²/P))``; sizes
    alike, exactly, with a normal prior of variance W.
    """
    total = sums[:, P]
    place = sums[:, PX : PY + 1] / total[:, np.newaxis]
    apart = sums[:, PXX] - (sums[:, PX : PY + 1] * place).sum(axis=1)
    where = LOG_2PI - np.log(total) - 0.5 * np.maximum(apart, 0.0) + population.objects.log_density(place)
    spread, grip = population.size_spread, sums[:, R]
    pulled = (sums[:, RU] ** 2 + sums[:, RV] ** 2) / (grip + 1.0 / spread)
    shape = -np.log1p(spread * grip) - 0.5 * np.maximum(sums[:, RUU] - pulled, 0.0)
    evidence: FloatArray = sums[:, LOGS] + where + shape
    return evidence


def log_sum_exp(terms: FloatArray) -> FloatArray:
    """Log Σ exp over the last axis, safe against underflow."""
    top = terms.max(axis=-1)
    total: FloatArray = top + np.log(np.exp(terms - top[..., np.newaxis]).sum(axis=-1))
    return total


def group_value(sums: FloatArray, seen: FloatArray, subject: IntArray, scene: Scene) -> FloatArray:
    """Log of the evidence of each group of marks: one object or decoy, or nothing but strays; (n_groups,)."""
    pattern = log_sum_exp(scene.unseen[subject] + seen + scene.log_kinds)
    return np.logaddexp(place_evidence(sums, scene.population) + pattern, sums[:, STRAY])
