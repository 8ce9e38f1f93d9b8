"""Agreement of ordinal grades: quadratic-weighted kappa, error in levels, and who agrees with whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import ndtri

from aggregation._votes import FloatArray, IntArray, Votes, check_codes, check_votes, count, ratio
from aggregation.grades import LENS_LEVELS
from aggregation.tallies import count_votes

#: Graders compared with all others at a time: bounds the table of pairs.
_BLOCK = 256


@dataclass(frozen=True)
class KappaReport:
    """Agreement of each grader with the others; row j is grader code j.

    Attributes
    ----------
    kappa
        Quadratic-weighted kappa of the grader's grades and the consensus of the others on the same subjects, float
        (n_graders,); nan where there is nothing to compare, or no disagreement would be possible.
    low, high
        Its interval, float (n_graders,).
    n_compared
        Subjects that the grader and another have graded on the scale, int (n_graders,).
    pairwise_mean
        Mean kappa over pairs of graders, weighted by the subjects that they have in common; nan without such a pair.
    pairwise_low, pairwise_high
        Its interval.
    n_pairs
        Pairs with a kappa.
    """

    kappa: FloatArray
    low: FloatArray
    high: FloatArray
    n_compared: IntArray
    pairwise_mean: float
    pairwise_low: float
    pairwise_high: float
    n_pairs: int


def quadratic_weighted_kappa(a: npt.ArrayLike, b: npt.ArrayLike, n_levels: int = len(LENS_LEVELS)) -> float:
    """Agreement beyond chance of two gradings, a disagreement weighing by its square (Cohen 1968).

    ``1 - n sum_i (a_i - b_i)² / sum_ij (a_i - b_j)²``: 1 is agreement, 0 what chance would give with the same
    frequencies of levels.

    Parameters
    ----------
    a, b
        Level codes of the same subjects, int (n,). Subjects with -1 (unknown) or `n_levels` (the escape class, which
        has no distance to the levels) in either are left out.
    n_levels
        Number of ordinal levels.

    Returns
    -------
    float
        nan if nothing is left, or both give one and the same level always.

    Examples
    --------
    >>> round(quadratic_weighted_kappa([0, 1, 2, 3], [0, 1, 3, 3]), 3)
    0.917
    """
    first, second = _check_levels("a", a, n_levels), _check_levels("b", b, n_levels)
    if first.shape != second.shape:
        raise ValueError(f"a and b must grade the same subjects, got {len(first)} and {len(second)}")
    both = (first >= 0) & (second >= 0)
    x, y = first[both].astype(float), second[both].astype(float)
    if not x.size:
        return float("nan")
    by_chance = (x**2).mean() + (y**2).mean() - 2 * x.mean() * y.mean()
    return float(1.0 - ((x - y) ** 2).mean() / by_chance) if by_chance > 0 else float("nan")


def mean_absolute_level_error(expected: npt.ArrayLike, truth: npt.ArrayLike, n_levels: int = len(LENS_LEVELS)) -> float:
    """Mean distance between expected and true level over the subjects that are truly on the scale.

    Parameters
    ----------
    expected
        Mean level, float (n,), as `OrdinalGrades.expected`; nan (nothing said on the scale) is left out.
    truth
        Level codes, int (n,), -1 where unknown, `n_levels` for the escape class: those are left out.
    n_levels
        Number of ordinal levels.

    Returns
    -------
    float
        nan if nothing is left.

    Examples
    --------
    >>> mean_absolute_level_error([0.5, 2.0, 3.0], [0, 2, -1])
    0.25
    """
    level, true = np.asarray(expected, dtype=float), _check_levels("truth", truth, n_levels)
    if level.shape != true.shape:
        raise ValueError(f"one truth per expected level is needed, got {level.shape} and {true.shape}")
    used = (true >= 0) & ~np.isnan(level)
    return float(np.abs(level[used] - true[used]).mean()) if used.any() else float("nan")


def kappa_report(
    subject: npt.ArrayLike,
    grader: npt.ArrayLike,
    grade: npt.ArrayLike,
    n_levels: int = len(LENS_LEVELS),
    *,
    n_graders: int | None = None,
    level: float = 0.95,
) -> KappaReport:
    """Quadratic-weighted kappa of each grader with the consensus of the others, and of graders in pairs.

    The consensus of the others on a subject is the median of their grades, the lower of two. The interval of a
    grader's kappa is asymptotic (the delta method over subjects, Fleiss, Cohen & Everitt 1969); that of the pairwise
    mean is a jackknife over graders. Votes for the escape class (code `n_levels`) are left out.

    Parameters
    ----------
    subject, grader, grade
        Codes of each vote, int (n,), as for `ordinal_grades`; one vote of a grader on a subject (see `last_votes`).
    n_levels
        Number of ordinal levels.
    n_graders
        Size of the result; by default the largest code + 1.
    level
        Of the intervals.

    Returns
    -------
    KappaReport

    Examples
    --------
    >>> votes = [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [3, 3, 2, 0, 0, 1]   # A A B, X X C
    >>> kappa_report(*votes).kappa.round(2)
    array([0.86, 0.86, 0.6 ])
    """
    if n_levels < 1:
        raise ValueError(f"n_levels must be at least 1, got {n_levels}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    votes = _on_scale(check_votes(subject, grader, grade, n_levels + 1, n_volunteers=n_graders), n_levels)
    half_width = float(ndtri(0.5 + 0.5 * level))
    kappa, error, n_compared = _with_the_others(votes)
    mean, spread, n_pairs = _in_pairs(votes)
    return KappaReport(
        kappa=kappa,
        low=np.maximum(kappa - half_width * error, -1.0),
        high=np.minimum(kappa + half_width * error, 1.0),
        n_compared=n_compared,
        pairwise_mean=mean,
        pairwise_low=max(mean - half_width * spread, -1.0),
        pairwise_high=min(mean + half_width * spread, 1.0),
        n_pairs=n_pairs,
    )


def _check_levels(name: str, levels: npt.ArrayLike, n_levels: int) -> IntArray:
    """Levels with -1 for whatever is off the scale."""
    array = np.asarray(levels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be a list of integer level codes, got shape {array.shape} of {array.dtype}")
    array = array.astype(np.int64)
    check_codes(name, array[array >= 0], n_levels + 1)
    if array.size and array.min() < -1:
        raise ValueError(f"{name}[{int(array.argmin())}] is {int(array.min())}: a level code from 0, or -1 if unknown")
    array[array == n_levels] = -1
    return array


def _on_scale(votes: Votes, n_levels: int) -> Votes:
    keep = votes.answer < n_levels
    columns = votes.subject[keep], votes.volunteer[keep], votes.answer[keep]
    return Votes(*columns, votes.n_subjects, votes.n_volunteers, n_levels)


def _with_the_others(votes: Votes) -> tuple[FloatArray, FloatArray, IntArray]:
    """Kappa of each grader with the lower median of the others, its standard error, and the subjects compared."""
    others = count_votes(votes.subject, votes.answer, votes.n_subjects, votes.n_answers)[votes.subject]
    others[np.arange(len(others)), votes.answer] -= 1
    compared = others.sum(axis=1) > 0
    others = others[compared]
    median = (2 * np.cumsum(others, axis=1) >= others.sum(axis=1, keepdims=True)).argmax(axis=1)
    who, x, y = votes.volunteer[compared], votes.answer[compared].astype(float), median.astype(float)
    n = count(who, votes.n_volunteers)

    def mean(values: FloatArray) -> FloatArray:
        return ratio(np.bincount(who, weights=values, minlength=votes.n_volunteers), n)

    mean_x, mean_y, apart, square = mean(x), mean(y), mean((x - y) ** 2), mean(x**2 + y**2)
    by_chance = square - 2 * mean_x * mean_y
    kappa = 1.0 - ratio(apart, by_chance)
    # Influence of each subject on apart / by_chance: the delta method.
    moved = x**2 + y**2 - 2 * (mean_y[who] * x + mean_x[who] * y) - (square - 4 * mean_x * mean_y)[who]
    share = ratio(apart, by_chance)[who]
    influence = ratio((x - y) ** 2 - apart[who] - share * moved, by_chance[who])
    return kappa, np.sqrt(ratio(mean(influence**2), n)), n


def _in_pairs(votes: Votes) -> tuple[float, float, int]:
    """Weighted mean kappa over pairs of graders, its jackknife error, and the number of pairs.

    From sums over the subjects that two graders share: n, sum x, sum x², sum x y.
    """
    shape = (votes.n_subjects, votes.n_volunteers)
    place = (votes.subject, votes.volunteer)
    level = votes.answer.astype(float)
    gave, x, square = (
        sparse.coo_matrix((values, place), shape=shape).tocsc() for values in (np.ones_like(level), level, level**2)
    )
    weighted, weight = np.zeros(votes.n_volunteers), np.zeros(votes.n_volunteers)
    n_pairs = 0
    for start in range(0, votes.n_volunteers, _BLOCK):
        rows = slice(start, start + _BLOCK)
        kappa, common = _block_of_pairs(gave, x, square, rows)
        used = ~np.isnan(kappa)
        weighted[rows] = np.where(used, kappa * common, 0.0).sum(axis=1)
        weight[rows] = np.where(used, common, 0.0).sum(axis=1)
        n_pairs += int(used.sum())
    # Every pair was met twice, once from either side.
    total, total_weight = weighted.sum() / 2, weight.sum() / 2
    without = ratio(total - weighted, total_weight - weight)
    without = without[(weight > 0) & ~np.isnan(without)]
    mean = float(ratio(total, total_weight))
    n = len(without)
    spread = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())) if n > 1 else float("nan")
    return mean, spread, n_pairs // 2


def _block_of_pairs(
    gave: sparse.csc_matrix, x: sparse.csc_matrix, square: sparse.csc_matrix, rows: slice
) -> tuple[FloatArray, FloatArray]:
    """Kappa of some graders with all, and the subjects in common; nan on the diagonal and without disagreement."""
    common = (gave[:, rows].T @ gave).toarray()
    own, other = (x[:, rows].T @ gave).toarray(), (gave[:, rows].T @ x).toarray()
    squares = (square[:, rows].T @ gave + gave[:, rows].T @ square).toarray()
    apart = squares - 2 * (x[:, rows].T @ x).toarray()
    by_chance = squares - 2 * ratio(own * other, common, empty=0.0)
    kappa = 1.0 - ratio(apart, by_chance)
    n_rows = len(kappa)
    kappa[np.arange(n_rows), rows.start + np.arange(n_rows)] = np.nan
    return kappa, common
