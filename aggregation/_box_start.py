"""Where the fit begins: scatter from the distances of marks, places and sizes from all marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from aggregation._box_learning import DECOY_BETA, REAL_BETA, Priors, beta_bins
from aggregation._box_model import RATES, Field, Population
from aggregation._box_partition import window_pairs
from aggregation._box_table import MarkTable
from aggregation._votes import FloatArray

_REACH = 1.0  # in typical sides
_BINS = 200
_USUAL_SCATTER = 0.1  # in typical sides, where nothing else is known; it counts as so many pairs of marks:
_USUAL_PAIRS = 10.0
_DECOYS = 0.3  # per subject
_STRAYS = 0.3  # part of the marks


class _Slices(Protocol):
    @property
    def marks(self) -> slice: ...
    @property
    def subjects(self) -> slice: ...


def start_population(table: MarkTable) -> Population:
    """A first guess of all that subjects share."""
    if not len(table.subject):
        field = Field(np.zeros(2), np.eye(2), 0.2, 0.0)
        return _population(field, np.zeros(2), 0.01, _USUAL_SCATTER**2)
    middle = np.median(table.centre, axis=0)
    low, high = np.quantile(table.centre, [0.002, 0.998], axis=0)
    # A picture is at least several marks wide, even if all marks that there are lie in one place.
    covariance = np.diag(_robust_variance(table.centre) + 1.0)
    field = Field(middle, covariance, 0.2, float(np.log(high - low + 4.0).sum()))
    spread = max(float(_robust_variance(table.size).mean()), 1e-4)
    return _population(field, np.median(table.size, axis=0), spread, min(0.3 * spread, 0.15**2))


def _robust_variance(values: FloatArray) -> FloatArray:
    """Variance per column from the median absolute deviation: a few marks in absurd places do not count."""
    deviation: FloatArray = np.median(np.abs(values - np.median(values, axis=0)), axis=0)
    return (1.4826 * deviation) ** 2


def _population(field: Field, size_mean: FloatArray, size_spread: float, size_variance: float) -> Population:
    weights = np.exp(-0.5 * RATES)
    return Population(
        real=beta_bins(*REAL_BETA),
        decoy=beta_bins(*DECOY_BETA),
        rate_weights=weights / weights.sum(),
        decoy_rate=_DECOYS,
        objects=field,
        strays=field,
        size_mean=size_mean,
        size_spread=size_spread,
        size_variance=max(size_variance, 0.03**2),
        growth=0.0,
    )


def start_priors(table: MarkTable, parts: Sequence[_Slices]) -> Priors:
    """Weak priors of the volunteers around what the marks suggest on the whole."""
    strays = _STRAYS * (len(table.subject) + 1.0) / (len(table.viewer_subject) + 1.0)
    return Priors(attention=(4.0, 2.0), false_rate=(1.0, strays), scatter=(6.0, _scatter(table, parts)))


def _scatter(table: MarkTable, parts: Sequence[_Slices]) -> float:
    """Variance of marks around their object, per axis, from the squared distances of marks by different people.

    Two marks of one object are ``4 σ²`` apart on average, exponentially distributed; marks of different things fill
    the plane. The mixture of an exponential and a uniform distribution is fitted to the histogram by EM.
    """
    counts = np.zeros(_BINS)
    for part in parts:
        volunteer, place = table.volunteer[part.marks], table.centre[part.marks]
        if len(place) < 2:
            continue
        reach = np.full(len(place), _REACH)
        i, j = window_pairs(table.subject[part.marks] - part.subjects.start, place[:, 0], reach)
        squared = ((place[i] - place[j]) ** 2).sum(axis=1) / _REACH**2
        kept = squared[(squared < 1.0) & (volunteer[i] != volunteer[j])]
        counts += np.bincount((kept * _BINS).astype(np.int64), minlength=_BINS)[:_BINS]
    if counts.sum() == 0:
        return _USUAL_SCATTER**2
    middle = (np.arange(_BINS) + 0.5) / _BINS
    share, mean = 0.5, 0.1
    for _ in range(100):
        near = share * np.exp(-middle / mean) / (mean * -np.expm1(-1.0 / mean))
        one_object = near / (near + 1.0 - share) * counts
        share = min(float(one_object.sum() / counts.sum()), 0.99)
        squares = one_object @ middle + _USUAL_PAIRS * 4.0 * _USUAL_SCATTER**2
        mean = min(float(squares / (one_object.sum() + _USUAL_PAIRS)), 0.5)
    return 0.25 * mean * _REACH**2
