"""Scores of a posterior against known answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._votes import BoolArray, FloatArray, IntArray, check_codes, count, ratio
from aggregation.intervals import wilson_interval

#: Smallest probability that `log_loss` uses; part of its definition, a certain error would be infinite.
LOG_LOSS_CLIP = 1e-6


@dataclass(frozen=True)
class Reliability:
    """Promised and delivered frequency in bins of probability; see `reliability`.

    Attributes
    ----------
    edges
        Of the bins, float (n_bins + 1,); each bin holds its lower edge, the last one both.
    n
        Subjects per bin, int (n_bins,).
    confidence, accuracy
        Mean probability promised and share that came true, float (n_bins,); nan in an empty bin.
    low, high
        Wilson interval of `accuracy`, float (n_bins,); 0 and 1 in an empty bin.
    """

    edges: FloatArray
    n: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class CompletenessCurve:
    """What is found and what is falsely found above each threshold; see `completeness_curve`.

    Attributes
    ----------
    threshold
        Distinct scores, decreasing, float (n_thresholds,); a subject is taken if its score is at least this.
    completeness
        Share of the positives taken (true-positive rate), float (n_thresholds,); nan without positives.
    false_positive_rate
        Share of the negatives taken, float (n_thresholds,); nan without negatives.
    purity
        Share of positives among those taken, float (n_thresholds,).
    n_positive, n_negative
        Subjects of either kind.
    """

    threshold: FloatArray
    completeness: FloatArray
    false_positive_rate: FloatArray
    purity: FloatArray
    n_positive: int
    n_negative: int


def accuracy(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Share of subjects whose most probable answer is the true one (lowest code among equals).

    Parameters
    ----------
    posterior
        Float (n_subjects, n_answers).
    truth
        Answer codes, int (n_subjects,), -1 where unknown: those subjects are left out (here and below).

    Returns
    -------
    float
        nan if no truth is known.

    Examples
    --------
    >>> accuracy([[0.9, 0.1], [0.4, 0.6]], [0, 0])
    0.5
    """
    p, true = check_posterior(posterior, truth)
    return float((p.argmax(axis=1) == true).mean()) if len(p) else float("nan")


def brier(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Mean of ``sum_k (p_k - [k is true])²``: 0 is perfect, 2 is certain and wrong (Brier 1950).

    Examples
    --------
    >>> round(brier([[0.9, 0.1]], [0]), 3)
    0.02
    """
    p, true = check_posterior(posterior, truth)
    if not len(p):
        return float("nan")
    return float(((p - np.eye(p.shape[1])[true]) ** 2).sum(axis=1).mean())


def log_loss(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Mean of ``-log p_true`` in nats, p clipped at 1e-6.

    Examples
    --------
    >>> round(log_loss([[0.5, 0.5]], [1]), 4)
    0.6931
    """
    p, true = check_posterior(posterior, truth)
    if not len(p):
        return float("nan")
    return float(-np.log(np.clip(p[np.arange(len(p)), true], LOG_LOSS_CLIP, 1.0)).mean())


def balanced_accuracy(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Mean over the answers that occur of the share found right: a rare answer weighs as much as a common one.

    Examples
    --------
    >>> balanced_accuracy([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], [0, 0, 1])
    0.5
    """
    found = confusion_counts(posterior, truth)
    n_true = found.sum(axis=1)
    return float((np.diag(found)[n_true > 0] / n_true[n_true > 0]).mean()) if n_true.any() else float("nan")


def confusion_counts(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> IntArray:
    """Count subjects by true answer (row) and most probable answer (column), int (n_answers, n_answers).

    Examples
    --------
    >>> confusion_counts([[0.9, 0.1], [0.4, 0.6]], [0, 0])
    array([[1, 1],
           [0, 0]])
    """
    p, true = check_posterior(posterior, truth)
    n_answers = p.shape[1]
    given = p.argmax(axis=1) if len(p) else true
    return count(true * n_answers + given, n_answers**2).reshape(n_answers, n_answers)


def reliability(
    posterior: npt.ArrayLike,
    truth: npt.ArrayLike,
    n_bins: int = 15,
    *,
    answer: int | None = None,
    equal: str = "width",
    level: float = 0.95,
) -> Reliability:
    """Compare the probability promised with the share delivered, in bins of the promised probability.

    Parameters
    ----------
    posterior, truth
        As for `accuracy`.
    n_bins
        Bins between 0 and 1.
    answer
        None: of the largest probability, how often the most probable answer is right. An answer code: of the
        probability of this answer, how often it is the truth (one against the rest).
    equal
        ``"width"``: bins of equal width. ``"count"``: bins of nearly equal numbers of subjects; equal
        probabilities share a bin, so that there may be fewer.
    level
        Coverage of the interval of each bin.

    Returns
    -------
    Reliability
    """
    p, true = check_posterior(posterior, truth)
    promised, came_true = promises(p, true, answer)
    edges, bins = _bins(promised, n_bins, equal)
    size = len(edges) - 1
    n = count(bins, size)
    right = count(bins[came_true], size)
    low, high = wilson_interval(right, n, level)
    total = np.bincount(bins, weights=promised, minlength=size)
    return Reliability(edges, n, ratio(total, n), ratio(right, n), low, high)


def expected_calibration_error(
    posterior: npt.ArrayLike,
    truth: npt.ArrayLike,
    n_bins: int = 15,
    *,
    answer: int | None = None,
    equal: str = "width",
) -> float:
    """Mean over subjects of |promised - delivered| frequency of their bin (Guo et al. 2017, ICML).

    The bins are those of `reliability`; ``equal="count"`` is the adaptive form, whose bins are never nearly empty.

    Examples
    --------
    >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 3)
    0.4
    """
    table = reliability(posterior, truth, n_bins, answer=answer, equal=equal)
    used = table.n > 0
    if not used.any():
        return float("nan")
    gap = np.abs(table.confidence[used] - table.accuracy[used])
    return float((gap * table.n[used]).sum() / table.n.sum())


def auc(score: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Parameters
    ----------
    score
        Float (n,), higher means more probably positive.
    positive
        True or 1 for a positive, (n,).

    Returns
    -------
    float
        nan unless there are both positives and negatives.

    Examples
    --------
    >>> auc([0.1, 0.4, 0.8], [0, 1, 1])
    1.0
    """
    scores, is_positive = check_scores(score, positive)
    n_positive = int(is_positive.sum())
    n_negative = len(scores) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(ties) - (ties - 1) / 2  # mean rank of each distinct score, from 1
    rank_sum = float(rank[place][is_positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def completeness_curve(score: npt.ArrayLike, positive: npt.ArrayLike) -> CompletenessCurve:
    """Completeness, false-positive rate and purity of the sample above every threshold.

    Subjects of equal score are taken together or not at all.

    Parameters
    ----------
    score, positive
        As for `auc`.

    Returns
    -------
    CompletenessCurve

    Examples
    --------
    >>> completeness_curve([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0]).completeness
    array([0.5, 1. , 1. ])
    """
    scores, is_positive = check_scores(score, positive)
    distinct, place = np.unique(-scores, return_inverse=True)
    found = np.cumsum(count(place[is_positive], len(distinct)))
    false = np.cumsum(count(place[~is_positive], len(distinct)))
    n_positive = int(is_positive.sum())
    n_negative = len(scores) - n_positive
    return CompletenessCurve(
        -distinct,
        ratio(found, n_positive),
        ratio(false, n_negative),
        ratio(found, found + false),
        n_positive,
        n_negative,
    )


def completeness_at_false_positive_rate(score: npt.ArrayLike, positive: npt.ArrayLike, rate: float = 1e-3) -> float:
    """Largest share of the positives that a threshold finds while it lets at most `rate` of the negatives pass.

    No interpolation: at most ``floor(rate * n_negative)`` negatives may pass, and subjects of equal score pass
    together or not at all, so that a tie between positives and too many negatives counts as not found. With fewer
    than ``1 / rate`` negatives this is the completeness above the highest negative.

    Parameters
    ----------
    score, positive
        As for `auc`.
    rate
        Of false positives, from 0 to 1.

    Returns
    -------
    float
        nan unless there are both positives and negatives.

    Examples
    --------
    >>> completeness_at_false_positive_rate([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], rate=0.4)
    0.5
    """
    check_rate(rate)
    curve = completeness_curve(score, positive)
    if not curve.n_positive or not curve.n_negative:
        return float("nan")
    # In whole negatives: rate times n_negative must not lose one of them to rounding.
    passed = np.rint(curve.false_positive_rate * curve.n_negative)
    allowed = curve.completeness[passed <= negatives_allowed(rate, curve.n_negative)]
    return float(allowed[-1]) if len(allowed) else 0.0


def negatives_allowed(rate: float, n_negative: int) -> int:
    """``floor(rate * n_negative)``, safe against the rounding of the product (0.3 of 10 is 3)."""
    return int(np.floor(rate * n_negative * (1.0 + 1e-12)))


def check_rate(rate: float) -> None:
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"the false-positive rate must lie between 0 and 1, got {rate}")


def promises(p: FloatArray, true: IntArray, answer: int | None) -> tuple[FloatArray, BoolArray]:
    """Probability promised to each subject and whether it came true: of the top answer, or of `answer`."""
    if answer is None:
        if not len(p):
            return np.empty(0), np.empty(0, dtype=bool)
        return p.max(axis=1), p.argmax(axis=1) == true
    if not 0 <= answer < p.shape[1]:
        raise ValueError(f"answer {answer} is not one of the {p.shape[1]} answers of the posterior")
    return p[:, answer], true == answer


def width_bins(promised: FloatArray, n_bins: int) -> IntArray:
    """Bin of each probability among `n_bins` of equal width; 1 belongs to the last."""
    return np.clip((promised * n_bins).astype(np.int64), 0, n_bins - 1)


def _bins(promised: FloatArray, n_bins: int, equal: str) -> tuple[FloatArray, IntArray]:
    """Edges and the bin of each probability."""
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}")
    if equal not in ("width", "count"):
        raise ValueError(f'equal must be "width" or "count", got {equal!r}')
    if equal == "width" or not len(promised):
        return np.linspace(0.0, 1.0, n_bins + 1), width_bins(promised, n_bins)
    inner = np.quantile(promised, np.arange(1, n_bins) / n_bins, method="inverted_cdf")
    edges = np.unique(np.concatenate([[0.0, 1.0], inner]))
    return edges, np.clip(np.searchsorted(edges, promised, side="right") - 1, 0, len(edges) - 2)


def check_scores(score: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Scores and whether each subject is a positive, equally long and without nan."""
    scores, is_positive = np.asarray(score, dtype=float), np.asarray(positive).astype(bool)
    if scores.shape != is_positive.shape or scores.ndim != 1:
        raise ValueError(f"score and positive must be equally long lists, got {scores.shape} and {is_positive.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"score[{int(np.isnan(scores).argmax())}] is nan")
    return scores, is_positive


def check_posterior(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
    """Posterior and truth of the subjects whose truth is known."""
    p, true = np.asarray(posterior, dtype=float), np.asarray(truth)
    if p.ndim != 2 or true.shape != (len(p),):
        raise ValueError(f"one truth per row of the posterior is needed, got {p.shape} and {true.shape}")
    known = true >= 0
    codes, _ = check_codes("truth", true[known], p.shape[1])
    p = p[known]
    if np.isnan(p).any():
        raise ValueError("the posterior holds nan; a posterior sums to 1 (see majority for subjects without votes)")
    return p, codes
