"""Distribution of ordinal grades (X < C < B < A) with a class outside the scale (I, interesting but no lens)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray, check_codes, check_same_length, ratio
from aggregation.tallies import count_votes, tally_from_counts

#: Lens grades from worst to best: X not a lens, C possible, B probable, A definite.
LENS_LEVELS = ("X", "C", "B", "A")
#: Interesting, but not a lens: no place on the scale.
LENS_ESCAPE = "I"


@dataclass(frozen=True)
class GradeDistribution:
    """Grades of each subject; row i is subject code i, columns are the levels and then the escape class.

    Attributes
    ----------
    counts
        Votes for each grade, int (n_subjects, n_grades).
    n_votes
        Int (n_subjects,).
    fractions
        Float (n_subjects, n_grades); nan without votes.
    grade
        Code of the grade with most votes, -1 without votes. Among equals the lowest code: the more cautious
        level, and any level before the escape class.
    expected
        Mean level, 0 for the worst, over the votes on the scale; nan if there is none. A vote for the escape
        class is never turned into a number.
    n_on_scale
        Votes on the scale, int (n_subjects,).
    agreement
        Fraction of the grade with most votes, float (n_subjects,); nan without votes.
    """

    counts: IntArray
    n_votes: IntArray
    fractions: FloatArray
    grade: IntArray
    expected: FloatArray
    n_on_scale: IntArray
    agreement: FloatArray


def grade_distribution(
    subject: npt.ArrayLike,
    grade: npt.ArrayLike,
    n_levels: int = len(LENS_LEVELS),
    *,
    escape: bool = True,
    n_subjects: int | None = None,
) -> GradeDistribution:
    """Count grades and average those on the ordinal scale.

    ``expected_i = sum_g g c_ig / sum_g c_ig`` over the levels g = 0 .. n_levels - 1, the mean grade of the
    Space Warps experts (More et al. 2016, MNRAS 455, 1191) with X C B A = 0 1 2 3.

    Parameters
    ----------
    subject
        Codes, int (n,).
    grade
        Level codes from worst (0) to best (n_levels - 1), and n_levels for the escape class; int (n,).
    n_levels
        Number of ordinal levels.
    escape
        Whether there is an escape class.
    n_subjects
        By default the largest code + 1.

    Returns
    -------
    GradeDistribution

    Examples
    --------
    >>> result = grade_distribution([0, 0, 0], [3, 2, 4])   # A, B, I
    >>> result.expected, result.counts
    (array([2.5]), array([[0, 0, 1, 1, 1]]))
    """
    if n_levels < 1:
        raise ValueError(f"n_levels must be at least 1, got {n_levels}")
    n_grades = n_levels + int(escape)
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    grades, _ = check_codes("grade", grade, n_grades)
    check_same_length(subject=subjects, grade=grades)
    return grades_from_counts(count_votes(subjects, grades, n_subjects, n_grades), n_levels)


def grades_from_counts(counts: npt.ArrayLike, n_levels: int = len(LENS_LEVELS)) -> GradeDistribution:
    """Derive the distribution from counts (of a `RunningTally`, say): the batch result, exactly.

    Parameters
    ----------
    counts
        Votes for each grade, int (n_subjects, n_grades); columns from `n_levels` on are off the scale.
    n_levels
        Number of ordinal levels.

    Returns
    -------
    GradeDistribution
    """
    tally = tally_from_counts(counts)
    if not 1 <= n_levels <= tally.counts.shape[1]:
        raise ValueError(f"{tally.counts.shape[1]} columns of counts cannot hold {n_levels} levels")
    on_scale = tally.counts[:, :n_levels]
    n_on_scale = on_scale.sum(axis=1)
    total = (on_scale * np.arange(n_levels)).sum(axis=1)
    return GradeDistribution(
        counts=tally.counts,
        n_votes=tally.n_voters,
        fractions=tally.fractions,
        grade=tally.answer,
        expected=ratio(total, n_on_scale),
        n_on_scale=n_on_scale,
        agreement=tally.agreement,
    )
