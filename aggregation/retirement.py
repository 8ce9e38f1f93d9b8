"""When to stop asking for votes on a subject.

Rules rest on the posterior. They pick out the subjects of which a model is surest, and with them those of which it is
too sure, so thresholds belong on calibrated posteriors (`pooled_dawid_skene` with gold, `cross_calibrated`) only, and
not before a few votes have told what the volunteers are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray
from aggregation.decisions import bayes_risk, check_confusion, check_loss, check_n_votes, check_posterior, vote_worth

#: Ways to go on with a subject, as `retire` names them.
STATUSES = ("ask", "retire", "unprofitable", "exhausted")

#: Outcomes of the votes ahead that a rule may have to weigh: more would not fit into a web request.
_MAX_OUTCOMES = 2000
#: Subjects whose votes ahead are weighed at once.
_BLOCK = 10_000


@dataclass(frozen=True)
class Retirement:
    """Result of `retire`; row i is subject i.

    Attributes
    ----------
    status
        "ask" for another vote; "retire", as the risk is small enough; "unprofitable", as no votes ahead are worth
        what they cost; "exhausted", as it has had all the votes it may have; str (n_subjects,).
    action, risk
        As in `BayesRisk`: what to do with the subject if asking ended now.
    """

    status: npt.NDArray[np.str_]
    action: IntArray
    risk: FloatArray


@dataclass(frozen=True)
class Verdict:
    """`Retirement` of one subject: `status`, `action` and `risk`."""

    status: str
    action: int
    risk: float


@dataclass(frozen=True)
class RetirementRule:
    """When to stop asking about a subject; `decide` answers for one subject within a web request.

    Attributes
    ----------
    loss
        L, float (n_actions, n_answers), as for `bayes_risk`.
    max_risk
        A subject retires once its Bayes risk is this or less (Branson et al. 2017, CVPR, with 0.02).
    min_votes
        Votes before which no subject ends; 0 lets a machine retire subjects that nobody has seen.
    max_votes
        Votes after which every subject ends.
    vote_cost
        What a vote costs, in units of the loss. None: votes cost nothing, and `unprofitable` does not occur.
    confusion
        Confusion matrices of the kinds of volunteers who may be asked, float (n_kinds, n_answers, n_answers); the
        crowd's mean, say. Needed with `vote_cost` only.
    votes_ahead
        A subject is unprofitable if for no number of votes up to this, by no kind of volunteer, the expected
        reduction of its risk reaches `vote_cost` per vote.
    correlation
        Of votes on one subject: reductions count by `vote_worth`.
    """

    loss: FloatArray
    max_risk: float = 0.02
    min_votes: int = 3
    max_votes: int = 40
    vote_cost: float | None = None
    confusion: FloatArray | None = None
    votes_ahead: int = 4
    correlation: float = 0.0

    def __post_init__(self) -> None:
        check_loss(self.loss, None)
        _check_limits(self)
        if self.vote_cost is not None:
            check_confusion(self.confusion, np.shape(self.loss)[1])

    @cached_property
    def _rows(self) -> list[list[float]]:
        rows: list[list[float]] = np.asarray(self.loss, dtype=float).tolist()
        return rows

    @cached_property
    def _ahead(self) -> _WaysAhead:
        loss = np.asarray(self.loss, dtype=float)
        return _ways_ahead(check_confusion(self.confusion, loss.shape[1]), loss, self.votes_ahead)

    def decide(self, posterior: Sequence[float] | FloatArray, n_votes: int) -> Verdict:
        """Status of one subject with `n_votes`, given P(answer), float (n_answers,)."""
        p = posterior.tolist() if isinstance(posterior, np.ndarray) else posterior
        rows = self._rows
        if len(p) != len(rows[0]):
            raise ValueError(f"the loss is of {len(rows[0])} answers, the posterior has {len(p)}")
        action, risk = 0, float("inf")
        for a, row in enumerate(rows):
            expected = sum([q * cost for q, cost in zip(p, row, strict=True)])
            if expected < risk:
                action, risk = a, expected
        return Verdict(self._status(p, risk, n_votes), action, risk)

    def _status(self, p: Sequence[float], risk: float, n_votes: int) -> str:
        if n_votes < self.min_votes:
            return "ask"
        if risk <= self.max_risk:
            return "retire"
        if n_votes >= self.max_votes:
            return "exhausted"
        if self.vote_cost is None:
            return "ask"
        best = self._best_reduction(np.array([p]), np.array([risk]), np.array([n_votes]))
        return "unprofitable" if best[0] < self.vote_cost else "ask"

    def _best_reduction(self, p: FloatArray, risk: FloatArray, n_votes: IntArray) -> FloatArray:
        """Largest expected reduction of risk per vote, over numbers of votes ahead and kinds of volunteers."""
        ahead = self._ahead
        after = (p @ ahead.cost).reshape(len(p), -1, len(self._rows)).min(axis=2)
        at_end = np.add.reduceat(after, ahead.first, axis=1)
        best: FloatArray = ((risk[:, np.newaxis] - at_end) / ahead.n_votes).max(axis=1)
        return best * vote_worth(n_votes, self.correlation) if self.correlation else best


def retire(
    posterior: npt.ArrayLike,
    n_votes: npt.ArrayLike,
    loss: npt.ArrayLike,
    *,
    max_risk: float = 0.02,
    min_votes: int = 3,
    max_votes: int = 40,
    vote_cost: float | None = None,
    confusion: npt.ArrayLike | None = None,
    votes_ahead: int = 4,
    correlation: float = 0.0,
) -> Retirement:
    """Decide for each subject whether to ask for another vote.

    A subject with at least `min_votes` retires once its Bayes risk is at most `max_risk` (Branson et al. 2017, CVPR);
    it is exhausted after `max_votes`; and with a `vote_cost` it is unprofitable if votes ahead are not expected to
    lower the risk by as much as they cost.

    Parameters
    ----------
    posterior
        Calibrated, float (n_subjects, n_answers).
    n_votes
        Votes of each subject, int (n_subjects,).
    loss, max_risk, min_votes, max_votes, vote_cost, confusion, votes_ahead, correlation
        Attributes of `RetirementRule`, which does the same for one subject.

    Returns
    -------
    Retirement

    Examples
    --------
    >>> wrong_costs_one = [[0, 1], [1, 0]]
    >>> result = retire([[0.99, 0.01], [0.8, 0.2], [0.5, 0.5]], [4, 4, 40], wrong_costs_one)
    >>> result.status.tolist()
    ['retire', 'ask', 'exhausted']
    """
    p = check_posterior(posterior)
    n = check_n_votes(n_votes, len(p))
    skill = None if confusion is None else np.asarray(confusion, dtype=float)
    table = np.asarray(loss, dtype=float)
    rule = RetirementRule(table, max_risk, min_votes, max_votes, vote_cost, skill, votes_ahead, correlation)
    now = bayes_risk(p, rule.loss)
    status = np.full(len(p), "ask", dtype=f"<U{max(map(len, STATUSES))}")
    if vote_cost is not None:
        for first in range(0, len(p), _BLOCK):
            part = slice(first, first + _BLOCK)
            best = rule._best_reduction(p[part], now.risk[part], n[part])
            status[part][best < vote_cost] = "unprofitable"
    status[n >= max_votes] = "exhausted"
    status[now.risk <= max_risk] = "retire"
    status[n < min_votes] = "ask"
    return Retirement(status, now.action, now.risk)


def risk_limit(risk: npt.ArrayLike, mean_risk: float, *, ceiling: float, retired: npt.ArrayLike = ()) -> float:
    """Tell up to which risk subjects may retire so that those retired keep a promise *on average*.

    A limit on each subject promises more than it says: most of those below it are far below. Where a catalogue
    promises that its answers are right 95 % of the time, the largest limit is the one at which the mean risk of all
    retired subjects is 0.05, and it needs fewer votes.

    Parameters
    ----------
    risk
        Bayes risk of subjects that could retire now, float (n,).
    mean_risk
        Largest mean risk of the retired.
    ceiling
        The limit is never above this: no subject may hide behind the others.
    retired
        Risk of the subjects that have retired before, float (m,).

    Returns
    -------
    float
        `max_risk` for `retire`; 0 if not even the surest subject may retire.

    Examples
    --------
    >>> risk_limit([0.01, 0.02, 0.06, 0.3], 0.03, ceiling=0.1)
    0.06
    """
    open_risk = np.sort(np.asarray(risk, dtype=float))
    before = np.asarray(retired, dtype=float)
    open_risk = open_risk[open_risk <= ceiling]
    n = len(before) + np.arange(1, len(open_risk) + 1)
    kept = np.flatnonzero(before.sum() + np.cumsum(open_risk) <= mean_risk * n)
    return float(open_risk[kept[-1]]) if kept.size else 0.0


@dataclass(frozen=True)
class _WaysAhead:
    """Outcomes of 1, 2, … votes by each kind of volunteer.

    `cost[k, (o, a)]` is P(outcome o | k) L[a, k]; outcomes from `first[m]` on belong to `n_votes[m]` votes.
    """

    cost: FloatArray
    first: IntArray
    n_votes: IntArray


def _ways_ahead(skill: FloatArray, loss: FloatArray, votes_ahead: int) -> _WaysAhead:
    """Multinomial probability of every tally of up to `votes_ahead` votes, times the losses."""
    n_answers = loss.shape[1]
    tallies = [
        [np.bincount(said, minlength=n_answers) for said in combinations_with_replacement(range(n_answers), n)]
        for n in range(1, votes_ahead + 1)
    ]
    if sum(map(len, tallies)) * len(skill) > _MAX_OUTCOMES:
        raise ValueError(
            f"{votes_ahead} votes ahead of {n_answers} answers by {len(skill)} kinds of volunteers have more than "
            f"{_MAX_OUTCOMES} outcomes; choose a smaller votes_ahead"
        )
    parts, first, n_votes, start = [], [], [], 0
    for matrix in skill:
        for n, outcomes in enumerate(tallies, start=1):
            ways = np.array([factorial(n) / prod(map(factorial, each.tolist())) for each in outcomes])
            chance = ways[:, np.newaxis] * np.prod(matrix ** np.array(outcomes)[:, np.newaxis, :], axis=2)
            parts.append((chance[:, np.newaxis, :] * loss).reshape(-1, n_answers))
            first.append(start)
            n_votes.append(n)
            start += len(outcomes)
    return _WaysAhead(np.concatenate(parts).T.copy(), np.array(first), np.array(n_votes))


def _check_limits(rule: RetirementRule) -> None:
    if not rule.max_risk >= 0.0:
        raise ValueError(f"max_risk must not be negative, got {rule.max_risk}")
    if not 0 <= rule.min_votes <= rule.max_votes:
        raise ValueError(f"0 <= min_votes <= max_votes is needed, got {rule.min_votes} and {rule.max_votes}")
    if rule.votes_ahead < 1:
        raise ValueError(f"votes_ahead must be at least 1, got {rule.votes_ahead}")
    if rule.vote_cost is not None and not rule.vote_cost >= 0.0:
        raise ValueError(f"vote_cost must not be negative, got {rule.vote_cost}")
    vote_worth(0, rule.correlation)
