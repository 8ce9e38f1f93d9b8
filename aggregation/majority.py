"""The vote fraction taken as a probability: the floor that every model must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray, check_votes
from aggregation.tallies import count_votes, tally_from_counts


@dataclass(frozen=True)
class Majority:
    """Vote fractions as a posterior; row i is subject code i.

    Attributes
    ----------
    posterior
        Fraction of votes for each answer, float (n_subjects, n_answers), rows sum to 1; uniform without votes.
    answer
        The answer with most votes, the lowest code among equals, -1 without votes; int (n_subjects,).
    n_votes
        Votes of each subject, int (n_subjects,).
    counts
        Votes for each answer, int (n_subjects, n_answers).
    agreement
        Largest fraction, float (n_subjects,); nan without votes.
    """

    posterior: FloatArray
    answer: IntArray
    n_votes: IntArray
    counts: IntArray
    agreement: FloatArray


def majority(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    *,
    n_subjects: int | None = None,
) -> Majority:
    """Take the answer that most volunteers gave.

    ``posterior_iy = c_iy / sum_y' c_iy'`` with c_iy the number of votes of subject i for answer y. It treats
    every volunteer alike and is not calibrated: on an easy subject ten of ten wrong votes are unlikely, yet
    seven of ten is called 0.7.

    Parameters
    ----------
    subject, volunteer, answer
        Codes of each vote, int (n,). A volunteer who appears twice on a subject counts twice: see `last_votes`.
    n_answers, n_subjects
        Sizes of the result; by default the largest code + 1.

    Returns
    -------
    Majority

    Examples
    --------
    >>> majority([0, 0, 0, 1], [0, 1, 2, 0], [1, 1, 0, 0]).answer
    array([1, 0])
    """
    votes = check_votes(subject, volunteer, answer, n_answers, n_subjects=n_subjects)
    counts = count_votes(votes.subject, votes.answer, votes.n_subjects, votes.n_answers)
    tally = tally_from_counts(counts)
    return Majority(
        posterior=uniform_where_unknown(tally.fractions),
        answer=tally.answer,
        n_votes=tally.n_voters,
        counts=counts,
        agreement=tally.agreement,
    )


def uniform_where_unknown(fractions: FloatArray) -> FloatArray:
    """Replace rows of nan (0 votes) by 1 / n_answers: a posterior always sums to 1."""
    return np.where(np.isnan(fractions), 1.0 / max(fractions.shape[1], 1), fractions)
