"""Vote fractions weighted by each volunteer's consistency with the others (Galaxy Zoo 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray, Votes, check_votes, count, modal_answer, ratio
from aggregation.majority import uniform_where_unknown
from aggregation.tallies import count_votes


@dataclass(frozen=True)
class WeightedVotes:
    """Consistency-weighted vote fractions; row i is subject code i.

    Attributes
    ----------
    posterior
        Weighted fraction of votes, float (n_subjects, n_answers), rows sum to 1; uniform without votes.
    answer
        The answer with the largest weighted count, the lowest code among equals, -1 without votes.
    n_votes
        Votes of each subject, unweighted, int (n_subjects,).
    counts, weighted_counts
        Votes for each answer before (int) and after (float) weighting, (n_subjects, n_answers).
    weight, consistency
        Of each volunteer, float (n_volunteers,); nan for a volunteer without votes. The consistency is the one
        with the final fractions.
    """

    posterior: FloatArray
    answer: IntArray
    n_votes: IntArray
    counts: IntArray
    weighted_counts: FloatArray
    weight: FloatArray
    consistency: FloatArray


def weighted_votes(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    *,
    n_options: npt.ArrayLike | None = None,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    passes: int = 3,
    threshold: float = 0.6,
    exponent: float = 8.5,
) -> WeightedVotes:
    """Weight votes by consistency as Galaxy Zoo 2 did (Willett et al. 2013, MNRAS 435, 2835, section 3.2).

    A vote for answer r on a question of K answers has the consistency ``(2 f_r + K - 2) / K``: the mean over
    the answers of f (for the chosen one) or 1 - f (for the others). With k_j the mean over the votes of
    volunteer j, ``w_j = min(1, (k_j / 0.6)^8.5)``; then the fractions are recomputed with the weights, three
    times in all.

    Consistency is at least (K-2)/K, so one question with K >= 5 alone leaves every weight at 1. Give all
    questions of the tree at once: one subject code per subject and question, with `n_options`.

    Parameters
    ----------
    subject, volunteer, answer
        Codes of each vote, int (n,). A volunteer who appears twice on a subject counts twice: see `last_votes`.
    n_answers, n_subjects, n_volunteers
        Sizes of the result; by default the largest code + 1.
    n_options
        Number of answers K of the question that each subject code belongs to, int (n_subjects,); `n_answers`
        everywhere if None.
    passes
        Number of times that weights are computed; 0 is the plain majority.
    threshold, exponent
        0.6 and 8.5 of the equation.

    Returns
    -------
    WeightedVotes

    Examples
    --------
    >>> result = weighted_votes([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 0])
    >>> result.weight.round(3)          # volunteer 2 disagrees with the others twice
    array([1., 1., 0.])
    """
    votes = check_votes(subject, volunteer, answer, n_answers, n_subjects=n_subjects, n_volunteers=n_volunteers)
    options = _check_options(n_options, votes)[votes.subject]
    counts = count_votes(votes.subject, votes.answer, votes.n_subjects, votes.n_answers)
    n_given = count(votes.volunteer, votes.n_volunteers)
    weight = np.ones(votes.n_volunteers)
    weighted = counts.astype(float)
    consistency = _mean_consistency(votes, options, weighted, n_given)
    for _ in range(passes):
        weight = np.minimum(1.0, (consistency / threshold) ** exponent)
        weighted = _weighted_counts(votes, weight)
        consistency = _mean_consistency(votes, options, weighted, n_given)
    known = votes.n_votes > 0
    return WeightedVotes(
        posterior=uniform_where_unknown(_fractions(weighted)),
        answer=modal_answer(weighted, known),
        n_votes=votes.n_votes,
        counts=counts,
        weighted_counts=weighted,
        weight=np.where(n_given > 0, weight, np.nan),
        consistency=consistency,
    )


def _check_options(n_options: npt.ArrayLike | None, votes: Votes) -> IntArray:
    if n_options is None:
        return np.full(votes.n_subjects, votes.n_answers, dtype=np.int64)
    options = np.asarray(n_options)
    if options.shape != (votes.n_subjects,) or (options.size and options.dtype.kind not in "iu"):
        raise ValueError(
            f"n_options must hold one integer per subject code ({votes.n_subjects}), "
            f"got shape {options.shape} of {options.dtype}"
        )
    outside = np.flatnonzero(votes.answer >= options[votes.subject])
    if outside.size:
        row = int(outside[0])
        raise ValueError(
            f"answer[{row}] is {int(votes.answer[row])}, but its question has "
            f"{int(options[votes.subject[row]])} answers"
        )
    return options.astype(np.int64)


def _weighted_counts(votes: Votes, weight: FloatArray) -> FloatArray:
    cells = votes.subject * votes.n_answers + votes.answer
    flat = np.bincount(cells, weights=weight[votes.volunteer], minlength=votes.n_subjects * votes.n_answers)
    # Without votes, bincount forgets that its weights are float.
    return flat.astype(np.float64, copy=False).reshape(votes.n_subjects, votes.n_answers)


def _fractions(weighted: FloatArray) -> FloatArray:
    return ratio(weighted, weighted.sum(axis=1, keepdims=True))


def _mean_consistency(votes: Votes, options: IntArray, weighted: FloatArray, n_given: IntArray) -> FloatArray:
    """k_j of each volunteer, float (n_volunteers,); nan without votes."""
    fraction = _fractions(weighted)[votes.subject, votes.answer]
    consistency = (2.0 * fraction + options - 2.0) / options
    total = np.bincount(votes.volunteer, weights=consistency, minlength=votes.n_volunteers)
    return ratio(total, n_given)
