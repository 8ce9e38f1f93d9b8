"""Cumulative distributions of log10 vote fraction, and how they change with magnitude, size and redshift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from aggregation._votes import BoolArray, FloatArray, IntArray, count, ratio

#: log10 f from which on a distribution is fitted; below, single votes make steps.
_LOWEST = -1.5
#: Below any vote fraction; keeps the exponentials finite.
_SMALLEST = -30.0
#: Where distributions are counted and compared, closer towards f = 1, where most galaxies of a common answer lie.
_X = _LOWEST * np.linspace(1.0, 0.0, 61)[:-1] ** 2
_CLIP_SIGMA = 2.0
_TERMS: dict[str, Callable[[FloatArray], FloatArray]] = {"linear": lambda s: s, "log": np.log, "exp": np.exp}
#: k and c between which each function is sought: those of Hart et al. (2016), but k down to 0.02 and not 0.5, for an
#: answer that most galaxies lack.
_RANGES = {"logistic": ((0.02, 6.0), (-7.5, 0.0)), "stretched": ((0.02, 10.0), (0.01, 3.0))}
_STEPS = (280, 120)
_SLICES_AT_ONCE = 256


@dataclass(frozen=True)
class AnswerCurve:
    """How the distribution of one answer's vote fraction depends on magnitude, size and redshift.

    Attributes
    ----------
    function
        "logistic": ``F = (1 + e^c) / (1 + exp(c - k x))``; "stretched": ``F = exp(-k (-x)^c)``; x = log10 f.
    terms
        Form g of each variable for k and for c: "linear", "log" or "exp" of s, the variable in units of its median.
    coefficients
        A0, A_M, A_R, A_z of k and of c, float (2, 4): ``k = A0 + A_M g(s_M) + A_R g(s_R) + A_z g(s_z)``, with
        s_M from ``-M_r``.
    limits
        Smallest and largest k and c of any slice, float (2, 2): what is predicted is clipped to them.
    units
        Medians of -M_r, R50 and z, float (3,).
    n_slices
        Slices of the sample that were fitted.
    residual
        Root mean square difference of the fitted and the counted distributions.
    """

    function: str
    terms: tuple[tuple[str, str, str], tuple[str, str, str]]
    coefficients: FloatArray
    limits: FloatArray
    units: FloatArray
    n_slices: int
    residual: float

    def at(self, variables: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Parameters k and c of galaxies with -M_r, R50 and z in the columns of `variables`."""
        scaled = variables / self.units
        k, c = (
            np.clip(_design(scaled, terms) @ coefficients, *limits)
            for terms, coefficients, limits in zip(self.terms, self.coefficients, self.limits, strict=True)
        )
        return k, c

    def move(self, x: FloatArray, here: FloatArray, there: FloatArray) -> FloatArray:
        """log10 f' at the variables `there` with the same F as log10 f = x has at `here`."""
        (k, c), (k0, c0) = self.at(here), self.at(there)
        x = np.maximum(x, _SMALLEST)
        if self.function == "stretched":
            stretched: FloatArray = -((k / k0 * np.maximum(-x, 0.0) ** c) ** (1.0 / c0))
            return stretched
        # (1 + e^c0) / F - 1 with F written out; F <= 1 keeps it positive.
        odds = (1.0 + np.exp(c0)) / (1.0 + np.exp(c)) * (1.0 + np.exp(c - k * x)) - 1.0
        logistic: FloatArray = np.minimum((c0 - np.log(odds)) / k0, 0.0)
        return logistic


def log_fraction(f: FloatArray) -> FloatArray:
    """log10 f, and far below any vote where f is 0."""
    return np.asarray(np.log10(np.maximum(f, 10.0**_SMALLEST)))


def fit_curve(x: FloatArray, variables: FloatArray, slices: IntArray) -> AnswerCurve | None:
    """Fit every slice by each function, keep the better function, and regress its k and c on the variables.

    None if there are fewer slices than a regression needs.
    """
    n_slices = int(slices.max(initial=-1)) + 1
    size = count(slices[slices >= 0], n_slices)
    if n_slices < 8:
        return None
    used = slices >= 0
    place = np.stack(
        [np.bincount(slices[used], weights=column[used], minlength=n_slices) for column in variables.T], axis=1
    ) / np.maximum(size, 1)[:, np.newaxis]  # fmt: skip
    counted = _cumulative(x[used], slices[used], n_slices)
    filled = size > 0
    fits = {name: _fit_function(name, counted[filled]) for name in _RANGES}
    function = min(fits, key=lambda name: float(fits[name][1].sum()))
    parameters, loss = fits[function]
    units = np.median(variables, axis=0)
    regressions = [_regress(place[filled] / units, values) for values in parameters.T]
    return AnswerCurve(
        function=function,
        terms=(regressions[0][0], regressions[1][0]),
        coefficients=np.stack([coefficients for _, coefficients in regressions]),
        limits=np.stack([parameters.min(axis=0), parameters.max(axis=0)], axis=1),
        units=units,
        n_slices=int(filled.sum()),
        residual=float(np.sqrt(loss.mean())),
    )


def _cumulative(x: FloatArray, slices: IntArray, n_slices: int) -> FloatArray:
    """Share of each slice at or below each of `_X`, float (n_slices, n_x)."""
    n_x = len(_X)
    step = np.searchsorted(_X, x, side="left")  # first grid point at or above x; n_x above the last
    table = count(slices * (n_x + 1) + step, n_slices * (n_x + 1)).reshape(n_slices, n_x + 1)
    return ratio(np.cumsum(table, axis=1)[:, :n_x], table.sum(axis=1, keepdims=True), empty=0.0)


def _fit_function(name: str, counted: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Best (k, c) of each slice on a fine grid, float (n_slices, 2), and its mean square residual, float (n_slices,).

    Every galaxy weighs the same, so a point of `_X` weighs as many as lie at it. The square is expanded, so that
    matrix products compare every slice with every grid point.
    """
    (k_low, k_high), (c_low, c_high) = _RANGES[name]
    k, c = np.meshgrid(np.geomspace(k_low, k_high, _STEPS[0]), np.linspace(c_low, c_high, _STEPS[1]), indexing="ij")
    grid = np.stack([k.ravel(), c.ravel()], axis=1)
    k, c = grid[:, :1], grid[:, 1:]
    logistic = name == "logistic"
    model = (1.0 + np.exp(c)) / (1.0 + np.exp(c - k * _X)) if logistic else np.exp(-k * (-_X) ** c)
    weight = np.diff(counted, axis=1, prepend=0.0)
    weight = ratio(weight, weight.sum(axis=1, keepdims=True), empty=1.0 / len(_X))
    squares = model**2
    best = np.empty(len(counted), dtype=np.int64)
    loss = np.empty(len(counted))
    for first in range(0, len(counted), _SLICES_AT_ONCE):
        rows = slice(first, first + _SLICES_AT_ONCE)
        table = weight[rows] @ squares.T - 2.0 * (weight[rows] * counted[rows]) @ model.T
        best[rows], loss[rows] = table.argmin(axis=1), table.min(axis=1)
    return grid[best], np.maximum(loss + (weight * counted**2).sum(axis=1), 0.0)


def _design(scaled: FloatArray, terms: tuple[str, str, str]) -> FloatArray:
    columns = [_TERMS[term](column) for term, column in zip(terms, scaled.T, strict=True)]
    return np.stack([np.ones(len(scaled)), *columns], axis=1)


def _regress(scaled: FloatArray, values: FloatArray) -> tuple[tuple[str, str, str], FloatArray]:
    """Forms and coefficients of least residual, slices beyond two standard deviations left out once."""
    least, chosen = np.inf, (("linear", "linear", "linear"), np.zeros(4))
    for terms in product(_TERMS, _TERMS, _TERMS):
        design = _design(scaled, terms)
        coefficients = _least_squares(design, values, np.ones(len(values), dtype=bool))
        residual = np.abs(values - design @ coefficients)
        keep = residual <= _CLIP_SIGMA * max(float(residual.std()), 1e-12) + 1e-12
        if keep.sum() >= 2 * design.shape[1]:
            coefficients = _least_squares(design, values, keep)
        spread = float(np.median(np.abs(values - design @ coefficients)))
        if spread < least - 1e-12:
            least, chosen = spread, (terms, coefficients)
    return chosen


def _least_squares(design: FloatArray, values: FloatArray, keep: BoolArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(design[keep], values[keep], rcond=None)[0])
