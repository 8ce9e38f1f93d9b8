"""What a posterior is worth, with the uncertainty that few known answers leave: intervals by bootstrap.

Every metric of `aggregation.metrics` is a function of how often each subject was drawn, once its scores are sorted
or binned. So a resample costs one pass over the subjects and never sorts them again; all metrics of `diagnose`
share the resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation import metrics
from aggregation._votes import BoolArray, FloatArray, IntArray, count
from aggregation.intervals import wilson_interval

#: Of completeness, where no other is asked for: one false alarm in a thousand.
DEFAULT_RATE = 1e-3
_N_BINS = 15
_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error (ECE-15)",
}

#: From (prediction, truth) to a number.
Metric = Callable[[npt.ArrayLike, npt.ArrayLike], float]
#: From how often each subject was drawn to the metrics of that resample.
_Kernel = Callable[[FloatArray], FloatArray]

#: Metrics of a whole posterior, in the order of `_overall_kernel` and of `Diagnostics`.
_OVERALL: tuple[Metric, ...] = (
    metrics.accuracy,
    metrics.balanced_accuracy,
    metrics.log_loss,
    metrics.brier,
    metrics.expected_calibration_error,
)


class _Figure(NamedTuple):
    """A metric on all subjects; `share_of` so many subjects, if it is a share."""

    metric: Metric
    value: float
    share_of: int = 0


class _Prepared(NamedTuple):
    """Metrics whose sorting and binning is done."""

    figures: tuple[_Figure, ...]
    kernel: _Kernel
    n_subjects: int


@dataclass(frozen=True)
class Estimate:
    """A metric and its bootstrap interval.

    Attributes
    ----------
    value
        On all subjects of known truth; nan where it is undefined (an AUC without positives).
    low, high
        Percentiles of the resamples in which the metric is defined; nan where it is in none.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Diagnostics:
    """Result of `diagnose`, on the subjects whose truth is known.

    Attributes
    ----------
    n_subjects
        Subjects of known truth.
    n_true
        Of them, by true answer, int (n_answers,).
    accuracy, balanced_accuracy, log_loss, brier, calibration_error
        Of the posterior; the calibration error is that of 15 equal-width bins of the largest probability (ECE-15).
    auc, completeness
        Of each answer against the rest, one Estimate per answer; completeness at false-positive rate `rate`.
    rate
        False-positive rate of `completeness`.
    level
        Coverage of every interval.
    confusion
        Subjects by true (row) and most probable answer (column), int (n_answers, n_answers).
    reliability
        Of the most probable answer.
    answer_reliability
        Of each answer against the rest, in bins of equal numbers.
    """

    n_subjects: int
    n_true: IntArray
    accuracy: Estimate
    balanced_accuracy: Estimate
    log_loss: Estimate
    brier: Estimate
    calibration_error: Estimate
    auc: tuple[Estimate, ...]
    completeness: tuple[Estimate, ...]
    rate: float
    level: float
    confusion: IntArray
    reliability: metrics.Reliability
    answer_reliability: tuple[metrics.Reliability, ...]

    def figures(self, answers: Sequence[str]) -> dict[str, Estimate]:
        """Every estimate by a name that a table can show; `answers` names the answers."""
        if len(answers) != len(self.auc):
            raise ValueError(f"{len(self.auc)} answers need as many names, got {len(answers)}")
        overall: dict[str, Estimate] = {title: getattr(self, field) for field, title in _TITLES.items()}
        for name, area, completeness in zip(answers, self.auc, self.completeness, strict=True):
            overall[f"AUC of {name}"] = area
            overall[f"completeness of {name} at false-positive rate {self.rate:g}"] = completeness
        return overall


def bootstrap_interval(
    metric: Metric,
    prediction: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Interval of a metric under resampling of the subjects with replacement (Efron 1979, Ann. Statist. 7, 1).

    The bounds are the ``(1 ± level) / 2`` percentiles of `n` resamples. A resample in which the metric is undefined
    (none of five lenses was drawn) does not count. A share of exactly 0 or 1 (`accuracy`,
    `completeness_at_false_positive_rate`) is the same in every resample, which is no certainty: its interval is
    Wilson's for that many subjects (positives). The expected calibration error is raised by the noise of its bins,
    and by that of a resample once more: its percentiles are reflected about the value (the basic bootstrap).

    Parameters
    ----------
    metric
        Any function of (prediction, truth). Those of this package are evaluated without sorting each resample:
        100,000 subjects take seconds. `completeness_at_false_positive_rate` at its own default rate; for another
        rate see `diagnose`.
    prediction, truth
        As the metric takes them: (n_subjects, n_answers) and codes, -1 where unknown; or scores and positives.
    n
        Number of resamples.
    level
        Coverage, between 0 and 1.
    seed
        Of the resampling.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> from aggregation import auc
    >>> estimate = bootstrap_interval(auc, [0.1, 0.4, 0.35, 0.8, 0.7, 0.2], [0, 0, 1, 1, 1, 0])
    >>> round(estimate.value, 3), round(estimate.low, 2), estimate.high
    (0.889, 0.5, 1.0)
    """
    _check_resampling(n, level)
    prepared, place = _prepare(metric, prediction, truth)
    return _resample([prepared], n, level, seed)[place]


def diagnose(
    posterior: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    rate: float = DEFAULT_RATE,
    n_bins: int = _N_BINS,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Diagnostics:
    """Measure a posterior against known answers: every metric with its bootstrap interval, and reliability curves.

    Give the posterior that was made without these answers (out-of-fold, see `cross_calibrated`; not clamped to
    gold), or the figures flatter.

    Parameters
    ----------
    posterior
        Float (n_subjects, n_answers), rows sum to 1.
    truth
        Answer codes, int (n_subjects,), -1 where unknown: those subjects are left out.
    rate
        False-positive rate at which completeness is given.
    n_bins
        Of the reliability curves (the calibration error keeps its 15).
    n, level, seed
        As for `bootstrap_interval`; the metrics share the resamples.

    Returns
    -------
    Diagnostics

    Examples
    --------
    >>> result = diagnose([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], n=100)
    >>> round(result.accuracy.value, 3), result.n_subjects
    (0.667, 3)
    """
    _check_resampling(n, level)
    metrics.check_rate(rate)
    p, true = metrics.check_posterior(posterior, truth)
    n_answers = p.shape[1]
    parts = [_overall(p, true)] + [_ranking(p[:, k], true == k, rate) for k in range(n_answers)]
    every = _resample(parts, n, level, seed)
    return Diagnostics(
        n_subjects=len(p),
        n_true=count(true, n_answers),
        accuracy=every[0],
        balanced_accuracy=every[1],
        log_loss=every[2],
        brier=every[3],
        calibration_error=every[4],
        auc=tuple(every[5::2]),
        completeness=tuple(every[6::2]),
        rate=rate,
        level=level,
        confusion=metrics.confusion_counts(p, true),
        reliability=metrics.reliability(p, true, n_bins, level=level),
        answer_reliability=tuple(
            metrics.reliability(p, true, n_bins, answer=k, equal="count", level=level) for k in range(n_answers)
        ),
    )


def _check_resampling(n: int, level: float) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1 resample, got {n}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")


def _resample(parts: Sequence[_Prepared], n: int, level: float, seed: int) -> list[Estimate]:
    """Draw subjects `n` times and estimate every figure of every part from the same draws."""
    n_subjects = parts[0].n_subjects
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(n):
        drawn = np.bincount(rng.integers(0, max(n_subjects, 1), n_subjects), minlength=n_subjects).astype(float)
        samples.append(np.concatenate([part.kernel(drawn) for part in parts]))
    figures = [figure for part in parts for figure in part.figures]
    return [_estimate(figure, column, level) for figure, column in zip(figures, np.array(samples).T, strict=True)]


def _estimate(figure: _Figure, samples: FloatArray, level: float) -> Estimate:
    """Percentiles of the defined samples, corrected where they are known to mislead."""
    value = figure.value
    defined = samples[~np.isnan(samples)]
    if np.isnan(value) or not len(defined):
        return Estimate(value, float("nan"), float("nan"))
    low, high = (float(bound) for bound in np.quantile(defined, [(1.0 - level) / 2.0, (1.0 + level) / 2.0]))
    if figure.metric is metrics.expected_calibration_error:
        low, high = max(0.0, 2.0 * value - high), max(value, 2.0 * value - low)
    if figure.share_of and value in (0.0, 1.0):
        wilson = wilson_interval(value * figure.share_of, figure.share_of, level)
        low, high = min(low, float(wilson[0])), max(high, float(wilson[1]))
    return Estimate(value, low, high)


def _prepare(metric: Metric, prediction: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[_Prepared, int]:
    """The part that holds `metric`, and its place in it."""
    if metric in _OVERALL:
        return _overall(*metrics.check_posterior(prediction, truth)), _OVERALL.index(metric)
    if metric in (metrics.auc, metrics.completeness_at_false_positive_rate):
        return _ranking(*metrics.check_scores(prediction, truth), DEFAULT_RATE), int(metric is not metrics.auc)
    table, answers = np.asarray(prediction), np.asarray(truth)
    if len(table) != len(answers):
        raise ValueError(f"one truth per prediction is needed, got {len(table)} and {len(answers)}")

    def kernel(drawn: FloatArray) -> FloatArray:
        rows = np.repeat(np.arange(len(table)), drawn.astype(np.int64))
        return np.array([metric(table[rows], answers[rows])])

    return _Prepared((_Figure(metric, float(metric(table, answers))),), kernel, len(table)), 0


def _overall(p: FloatArray, true: IntArray) -> _Prepared:
    """The metrics of `_OVERALL` as functions of the draws."""
    share_of = (len(p), 0, 0, 0, 0)
    figures = tuple(_Figure(metric, metric(p, true), n) for metric, n in zip(_OVERALL, share_of, strict=True))
    if not len(p):
        return _Prepared(figures, lambda drawn: np.full(len(_OVERALL), np.nan), 0)
    n_answers = p.shape[1]
    promised, right = metrics.promises(p, true, None)
    loss = -np.log(np.clip(p[np.arange(len(p)), true], metrics.LOG_LOSS_CLIP, 1.0))
    square = ((p - np.eye(n_answers)[true]) ** 2).sum(axis=1)
    each = np.stack([right, loss, square], axis=1).astype(float)
    gap = promised - right
    bins = metrics.width_bins(promised, _N_BINS)

    def kernel(drawn: FloatArray) -> FloatArray:
        total = drawn.sum()
        n_true = np.bincount(true, weights=drawn, minlength=n_answers)
        found = np.bincount(true, weights=drawn * each[:, 0], minlength=n_answers)
        balanced = (found[n_true > 0] / n_true[n_true > 0]).mean()
        share, mean_loss, mean_square = drawn @ each / total
        error = np.abs(np.bincount(bins, weights=drawn * gap, minlength=_N_BINS)).sum() / total
        return np.array([share, balanced, mean_loss, mean_square, error])

    return _Prepared(figures, kernel, len(p))


def _ranking(score: FloatArray, positive: BoolArray, rate: float) -> _Prepared:
    """AUC and completeness at false-positive rate `rate` as functions of the draws."""
    order = np.argsort(-score, kind="stable")
    n = len(order)
    starts = np.append(np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0.0), n)  # of ties, and the end
    tie = starts[np.searchsorted(starts, np.arange(n + 1), side="right") - 1]
    place = np.flatnonzero(positive[order])
    first, behind = tie[place], starts[np.searchsorted(starts, place, side="right")]
    negative = (~positive[order]).astype(float)

    def kernel(drawn: FloatArray) -> FloatArray:
        weight = drawn[order]
        found = weight[place]
        false = np.concatenate([[0.0], np.cumsum(weight * negative)])  # negatives before each place
        n_found, n_false = found.sum(), false[-1]
        if n_found == 0 or n_false == 0:
            return np.array([np.nan, np.nan])
        before = 0.5 * (false[first] + false[behind])  # those of equal score count half
        # Places before the first negative too many, back to where its ties begin: they pass together or not at all.
        too_many = np.searchsorted(false, metrics.negatives_allowed(rate, int(n_false)), side="right") - 1
        passed = np.searchsorted(place, tie[too_many])
        return np.array([1.0 - float(found @ before) / (n_found * n_false), found[:passed].sum() / n_found])

    figures = (
        _Figure(metrics.auc, metrics.auc(score, positive)),
        _Figure(
            metrics.completeness_at_false_positive_rate,
            metrics.completeness_at_false_positive_rate(score, positive, rate),
            int(positive.sum()),
        ),
    )
    return _Prepared(figures, kernel, len(score))
