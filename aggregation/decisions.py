"""What to do with a subject and whose vote to ask for next: expected loss, expected information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from aggregation._votes import FloatArray, IntArray, check_codes, check_same_length


@dataclass(frozen=True)
class BayesRisk:
    """Result of `bayes_risk`; row i is subject i.

    Attributes
    ----------
    action
        Row of the loss matrix with the least expected loss, the lowest among equals, int (n_subjects,).
    risk
        Its expected loss, float (n_subjects,), in units of the loss matrix.
    """

    action: IntArray
    risk: FloatArray


def zero_one_loss(n_answers: int) -> FloatArray:
    """Loss matrix under which every wrong answer costs 1: risk is the probability of being wrong.

    Returns
    -------
    numpy.ndarray
        Float (n_answers, n_answers).

    Examples
    --------
    >>> zero_one_loss(2)
    array([[0., 1.],
           [1., 0.]])
    """
    if n_answers < 1:
        raise ValueError(f"n_answers must be at least 1, got {n_answers}")
    return 1.0 - np.eye(n_answers)


def lens_loss(missed: float = 1000.0, false_alarm: float = 1.0) -> FloatArray:
    """Loss matrix of a search for something rare: row 0 rejects a subject, row 1 keeps it; column 1 is a lens.

    With this loss and `retire`, a subject of P(lens) = p is rejected at ``p <= max_risk / missed`` and kept at
    ``1 - p <= max_risk / false_alarm``.

    Parameters
    ----------
    missed
        Cost of rejecting a lens.
    false_alarm
        Cost of keeping what is none: the time of those who look next.

    Returns
    -------
    numpy.ndarray
        Float (2, 2).

    Examples
    --------
    >>> bayes_risk([[0.998, 0.002]], lens_loss()).action       # 2 to 1000 that it is one: worth another look
    array([1])
    """
    for name, value in (("missed", missed), ("false_alarm", false_alarm)):
        if not 0.0 < value < np.inf:
            raise ValueError(f"{name} must be a positive cost, got {value}")
    return np.array([[0.0, missed], [false_alarm, 0.0]])


def bayes_risk(posterior: npt.ArrayLike, loss: npt.ArrayLike) -> BayesRisk:
    """Find the action of least expected loss: ``risk_i = min_a sum_k T_ik L[a, k]``.

    Parameters
    ----------
    posterior
        T, float (n_subjects, n_answers).
    loss
        L, cost of action a if k is true, float (n_actions, n_answers); actions need not be the answers: a row of
        equal costs is "let an expert look".

    Returns
    -------
    BayesRisk

    Examples
    --------
    >>> result = bayes_risk([[0.9, 0.1], [0.4, 0.6]], zero_one_loss(2))
    >>> result.action, result.risk
    (array([0, 1]), array([0.1, 0.4]))
    """
    p = check_posterior(posterior)
    expected = p @ check_loss(loss, p.shape[1]).T
    action = expected.argmin(axis=1)
    return BayesRisk(action.astype(np.int64), expected[np.arange(len(p)), action])


def vote_worth(n_votes: npt.ArrayLike, correlation: float) -> FloatArray:
    """Share of an independent vote that the next one is worth on a subject with `n_votes`.

    n votes of the correlation rho count as ``n / (1 + rho (n - 1))`` independent ones (Kish 1965, Survey Sampling),
    so the next one adds ``(1 - rho) / ((1 + rho n) (1 + rho (n - 1)))``.

    Parameters
    ----------
    n_votes
        Votes of each subject so far, any shape.
    correlation
        rho, 0 to 1; `PooledDawidSkene.correlation`.

    Returns
    -------
    numpy.ndarray
        Float, the shape of `n_votes`; 1 for a subject without votes.

    Examples
    --------
    >>> vote_worth([0, 1, 10], 0.1).round(3)
    array([1.   , 0.818, 0.237])
    """
    if not 0.0 <= correlation <= 1.0:
        raise ValueError(f"correlation must be between 0 and 1, got {correlation}")
    n = np.asarray(n_votes, dtype=float)
    if n.size and n.min() < 0:
        raise ValueError(f"n_votes must not be negative, got {n.min():g}")
    worth = np.ones_like(n)
    some = n > 0
    worth[some] = (1.0 - correlation) / ((1.0 + correlation * n[some]) * (1.0 + correlation * (n[some] - 1.0)))
    return worth


def expected_information_gain(
    posterior: npt.ArrayLike,
    confusion: npt.ArrayLike,
    *,
    subject: npt.ArrayLike | None = None,
    volunteer: npt.ArrayLike | None = None,
    n_votes: npt.ArrayLike | None = None,
    correlation: float = 0.0,
) -> FloatArray:
    """Tell how much the next vote is expected to say about the true answer.

    ``EIG(i, j) = H[T_i] - sum_y P_ij(y) H[T_i | y]`` with ``P_ij(y) = sum_k T_ik A^j[k, y]``: the mutual information
    of vote and truth (Lindley 1956, Ann. Math. Stat. 27, 986; MacKay 1992, Neural Comp. 4, 590). Computed as
    ``H[P_ij] - sum_k T_ik H[A^j[k, .]]``, which is the same.

    Votes on one subject resemble each other. With `n_votes` and `correlation` the gain is that of a vote which is
    fresh evidence with the probability `vote_worth` and says nothing new otherwise: the product of the two.

    Parameters
    ----------
    posterior
        T, float (n_subjects, n_answers).
    confusion
        A, ``confusion[j, k, y]`` = P(volunteer j says y | the truth is k), float (n_volunteers, n_answers, n_answers).
    subject, volunteer
        Codes of pairs to look at, int (n,). None: all pairs.
    n_votes
        Votes of each subject so far, int (n_subjects,); with `correlation`.
    correlation
        Of votes on one subject, 0 to 1.

    Returns
    -------
    numpy.ndarray
        Nats, float (n_subjects, n_volunteers), or (n,) for pairs.

    Examples
    --------
    >>> sharp, blind = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]]
    >>> expected_information_gain([[0.5, 0.5], [0.99, 0.01]], [sharp, blind]).round(3)
    array([[0.368, 0.   ],
           [0.017, 0.   ]])
    """
    p, skill = _check_pair(posterior, confusion)
    noise = entr(skill).sum(axis=2)
    if subject is None and volunteer is None:
        gain = -(p @ noise.T)
        for answer in range(p.shape[1]):
            gain += entr(p @ skill[:, :, answer].T)
        return _at_worth(gain, n_votes, correlation, len(p))
    i, j = _check_pairs(subject, volunteer, p, skill)
    said = np.einsum("mk,mky->my", p[i], skill[j])
    gain = entr(said).sum(axis=1) - (p[i] * noise[j]).sum(axis=1)
    return _at_worth(gain, n_votes, correlation, len(p), i)


def expected_risk_reduction(
    posterior: npt.ArrayLike,
    confusion: npt.ArrayLike,
    loss: npt.ArrayLike,
    *,
    subject: npt.ArrayLike | None = None,
    volunteer: npt.ArrayLike | None = None,
    n_votes: npt.ArrayLike | None = None,
    correlation: float = 0.0,
) -> FloatArray:
    """Tell by how much the next vote is expected to lower the Bayes risk.

    ``min_a sum_k T_ik L[a, k] - sum_y min_a sum_k T_ik A^j[k, y] L[a, k]``, never negative: the expected value of
    sample information (Raiffa & Schlaifer 1961). It is 0 where no single vote could change the action, though two
    together might; `retire` looks further ahead.

    Parameters
    ----------
    posterior, confusion, subject, volunteer, n_votes, correlation
        As for `expected_information_gain`.
    loss
        L, float (n_actions, n_answers).

    Returns
    -------
    numpy.ndarray
        In units of the loss, float (n_subjects, n_volunteers), or (n,) for pairs.

    Examples
    --------
    >>> sharp = [[0.9, 0.1], [0.1, 0.9]]
    >>> expected_risk_reduction([[0.5, 0.5], [0.95, 0.05]], [sharp], zero_one_loss(2)).round(3)
    array([[0.4],
           [0. ]])
    """
    p, skill = _check_pair(posterior, confusion)
    cost = check_loss(loss, p.shape[1])
    now = (p @ cost.T).min(axis=1)
    if subject is None and volunteer is None:
        after = np.zeros((len(p), len(skill)))
        for answer in range(p.shape[1]):
            after += np.min([(p * row) @ skill[:, :, answer].T for row in cost], axis=0)
        return _at_worth(np.maximum(now[:, np.newaxis] - after, 0.0), n_votes, correlation, len(p))
    i, j = _check_pairs(subject, volunteer, p, skill)
    after = np.einsum("mk,mky,ak->mya", p[i], skill[j], cost).min(axis=2).sum(axis=1)
    return _at_worth(np.maximum(now[i] - after, 0.0), n_votes, correlation, len(p), i)


def _at_worth(
    gain: FloatArray, n_votes: npt.ArrayLike | None, correlation: float, n_subjects: int, row: IntArray | None = None
) -> FloatArray:
    """`gain` in the share that a vote is worth on each subject."""
    if n_votes is None:
        if correlation:
            raise ValueError("correlation needs n_votes: how many votes each subject has so far")
        return gain
    worth = vote_worth(check_n_votes(n_votes, n_subjects), correlation)
    return gain * (worth[:, np.newaxis] if row is None else worth[row])


def check_posterior(posterior: npt.ArrayLike) -> FloatArray:
    p = np.asarray(posterior, dtype=float)
    if p.ndim != 2:
        raise ValueError(f"the posterior must have the shape (n_subjects, n_answers), not {p.shape}")
    if not (p >= 0.0).all():
        row = int(np.flatnonzero(~(p >= 0.0).all(axis=1))[0])
        raise ValueError(f"posterior[{row}] is {p[row].tolist()}: probabilities are needed")
    return p


def check_loss(loss: npt.ArrayLike, n_answers: int | None) -> FloatArray:
    table = np.asarray(loss, dtype=float)
    if table.ndim != 2 or not table.size or (n_answers is not None and table.shape[1] != n_answers):
        wanted = "n_answers" if n_answers is None else str(n_answers)
        raise ValueError(f"the loss must have the shape (n_actions, {wanted}), not {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("losses must be finite numbers")
    return table


def check_confusion(confusion: npt.ArrayLike | None, n_answers: int) -> FloatArray:
    if confusion is None:
        raise ValueError("vote_cost needs confusion: the matrices of the volunteers who may be asked")
    skill = np.asarray(confusion, dtype=float)
    if skill.ndim != 3 or skill.shape[1:] != (n_answers, n_answers):
        raise ValueError(f"confusion must have the shape (n_volunteers, {n_answers}, {n_answers}), not {skill.shape}")
    wrong = np.flatnonzero(~((skill >= 0.0).all(axis=(1, 2)) & (np.abs(skill.sum(axis=2) - 1.0) < 1e-6).all(axis=1)))
    if wrong.size:
        raise ValueError(f"confusion[{int(wrong[0])}] is no confusion matrix: its rows must be probabilities")
    return skill


def _check_pair(posterior: npt.ArrayLike, confusion: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    p = check_posterior(posterior)
    return p, check_confusion(confusion, p.shape[1])


def _check_pairs(
    subject: npt.ArrayLike | None, volunteer: npt.ArrayLike | None, p: FloatArray, skill: FloatArray
) -> tuple[IntArray, IntArray]:
    if subject is None or volunteer is None:
        raise ValueError("pairs need both subject and volunteer")
    i, _ = check_codes("subject", subject, len(p))
    j, _ = check_codes("volunteer", volunteer, len(skill))
    check_same_length(subject=i, volunteer=j)
    return i, j


def check_n_votes(n_votes: npt.ArrayLike, n_subjects: int) -> IntArray:
    n = np.asarray(n_votes)
    if n.shape != (n_subjects,) or (n.size and n.dtype.kind not in "iu"):
        raise ValueError(f"n_votes must hold one integer per subject ({n_subjects}); got shape {n.shape} of {n.dtype}")
    return n.astype(np.int64)
