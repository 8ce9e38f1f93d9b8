"""Scores of a posterior against known answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray, check_codes, count, ratio

#: Smallest probability that `log_loss` uses; part of its definition, a certain error would be infinite.
LOG_LOSS_CLIP = 1e-6


@dataclass(frozen=True)
class Reliability:
    """Promised and delivered accuracy in equal bins of the largest posterior; see `reliability`.

    Attributes
    ----------
    edges
        Of the bins, float (n_bins + 1,).
    n
        Subjects per bin, int (n_bins,).
    confidence, accuracy
        Mean largest posterior and share of right answers, float (n_bins,); nan in an empty bin.
    """

    edges: FloatArray
    n: IntArray
    confidence: FloatArray
    accuracy: FloatArray


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
    p, true = _check(posterior, truth)
    return float((p.argmax(axis=1) == true).mean()) if len(p) else float("nan")


def brier(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Mean of ``sum_k (p_k - [k is true])²``: 0 is perfect, 2 is certain and wrong (Brier 1950).

    Examples
    --------
    >>> round(brier([[0.9, 0.1]], [0]), 3)
    0.02
    """
    p, true = _check(posterior, truth)
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
    p, true = _check(posterior, truth)
    if not len(p):
        return float("nan")
    return float(-np.log(np.clip(p[np.arange(len(p)), true], LOG_LOSS_CLIP, 1.0)).mean())


def reliability(posterior: npt.ArrayLike, truth: npt.ArrayLike, n_bins: int = 15) -> Reliability:
    """Compare the probability promised with the share delivered, in bins of the largest posterior.

    Parameters
    ----------
    posterior, truth
        As for `accuracy`.
    n_bins
        Bins of equal width between 0 and 1.

    Returns
    -------
    Reliability
    """
    p, true = _check(posterior, truth)
    confidence = p.max(axis=1) if len(p) else np.empty(0)
    right = (p.argmax(axis=1) == true).astype(float) if len(p) else np.empty(0)
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    n = count(bins, n_bins)

    def mean(values: FloatArray) -> FloatArray:
        total = np.bincount(bins, weights=values, minlength=n_bins)
        return ratio(total, n)

    return Reliability(np.linspace(0.0, 1.0, n_bins + 1), n, mean(confidence), mean(right))


def expected_calibration_error(posterior: npt.ArrayLike, truth: npt.ArrayLike, n_bins: int = 15) -> float:
    """Mean over subjects of |promised - delivered| accuracy of their bin (Guo et al. 2017, ICML).

    Examples
    --------
    >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 3)
    0.4
    """
    table = reliability(posterior, truth, n_bins)
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
    scores, is_positive = np.asarray(score, dtype=float), np.asarray(positive).astype(bool)
    if scores.shape != is_positive.shape or scores.ndim != 1:
        raise ValueError(f"score and positive must be equally long lists, got {scores.shape} and {is_positive.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"score[{int(np.isnan(scores).argmax())}] is nan")
    n_positive = int(is_positive.sum())
    n_negative = len(scores) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(ties) - (ties - 1) / 2  # mean rank of each distinct score, from 1
    rank_sum = float(rank[place][is_positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _check(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
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
