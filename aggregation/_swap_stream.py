"""The streaming part of SWAP: one subject and one volunteer move with each vote."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from scipy.special import entr, zeta

from aggregation._votes import BoolArray, FloatArray, IntArray, Votes

LearnFrom = Literal["gold", "all"]
AfterRejection = Literal["count", "ignore"]

#: Volunteers are only human: nobody is ever taken to be surer than this (Space Warps' own limits).
LOWEST_SKILL, HIGHEST_SKILL = 0.01, 0.99
#: Odds above this are all one probability to a float; the limit keeps a long run of votes from overflowing.
_HIGHEST_ODDS = 1.0 / float(np.finfo(float).eps)
#: Of the logarithm of a number between the two limits no distribution has a larger variance (Popoviciu 1935).
_LARGEST_VARIANCE = (float(np.log(HIGHEST_SKILL / LOWEST_SKILL)) / 2.0) ** 2
_IGNORED = (float("nan"),) * 4


@dataclass(frozen=True, kw_only=True)
class SwapSettings:
    """The keywords that `aggregation.swap` and `aggregation.RunningSwap` share; `swap` says what they mean."""

    positive: int = 1
    prior: float = 2e-4
    detection: float = 0.95
    rejection: float = 1e-7
    floor: float = 2e-8
    initial_skill: float = 0.5
    pseudo_votes: float = 4.0
    learn_from: LearnFrom = "all"
    after_rejection: AfterRejection = "count"
    level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.positive not in (0, 1):
            raise ValueError(f"positive must be the answer code 0 or 1, got {self.positive}")
        if not 0.0 < self.floor < self.rejection < self.prior < self.detection < 1.0:
            raise ValueError(
                "0 < floor < rejection < prior < detection < 1 is needed, got "
                f"floor {self.floor}, rejection {self.rejection}, prior {self.prior}, detection {self.detection}"
            )
        if not LOWEST_SKILL <= self.initial_skill <= HIGHEST_SKILL:
            raise ValueError(f"initial_skill must lie in {LOWEST_SKILL} to {HIGHEST_SKILL}, got {self.initial_skill}")
        if not 0.0 < self.pseudo_votes < np.inf:
            raise ValueError(f"pseudo_votes must be a number of votes above 0, got {self.pseudo_votes}")
        if self.learn_from not in get_args(LearnFrom):
            raise ValueError(f"learn_from must be one of {get_args(LearnFrom)}, got {self.learn_from!r}")
        if self.after_rejection not in get_args(AfterRejection):
            raise ValueError(f"after_rejection must be one of {get_args(AfterRejection)}, got {self.after_rejection!r}")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, got {self.level}")


@dataclass
class Stream:
    """Where every subject and every volunteer stands; plain lists, which Python changes faster than arrays.

    Attributes
    ----------
    odds
        Of being positive, one per subject.
    truth
        1.0 or 0.0 for a training subject, None for a test subject.
    crossed
        Number of the vote that first took the subject over a threshold, -1 before.
    closed
        Whether further votes on the subject are ignored.
    pl, nl, pd, nd
        Per volunteer P("positive" | positive), the votes behind it, P("negative" | negative), the votes behind it.
    """

    settings: SwapSettings
    odds: list[float] = field(default_factory=list)
    truth: list[float | None] = field(default_factory=list)
    crossed: list[int] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    pl: list[float] = field(default_factory=list)
    nl: list[float] = field(default_factory=list)
    pd: list[float] = field(default_factory=list)
    nd: list[float] = field(default_factory=list)

    def grow(self, n_subjects: int, n_volunteers: int) -> None:
        """Make room for codes below these numbers."""
        more = n_subjects - len(self.odds)
        if more > 0:
            self.odds += [odds_of(self.settings.prior)] * more
            self.truth += [None] * more
            self.crossed += [-1] * more
            self.closed += [False] * more
        more = n_volunteers - len(self.pl)
        if more > 0:
            for skill, votes in ((self.pl, self.nl), (self.pd, self.nd)):
                skill += [self.settings.initial_skill] * more
                votes += [self.settings.pseudo_votes] * more

    def take_back(self, subject: int, volunteer: int, positive: bool) -> None:
        """Undo a vote's step of its subject, by what is known of the volunteer now."""
        if not self.closed[subject]:
            self.odds[subject] /= _ratio(self.pl[volunteer], self.pd[volunteer], positive)

    def set_gold(self, gold: IntArray) -> None:
        """Mark the training subjects; `gold` holds an answer code or -1 for each of the first subjects."""
        positive = self.settings.positive
        self.truth[: len(gold)] = [None if code < 0 else float(code == positive) for code in gold.tolist()]

    def gold(self) -> IntArray:
        """What `set_gold` was given, for every subject so far."""
        positive = self.settings.positive
        codes = [-1 if truth is None else positive if truth else 1 - positive for truth in self.truth]
        return np.array(codes, dtype=np.int64)


def follow(
    stream: Stream,
    votes: Iterable[tuple[int, int, bool]],
    first: int,
    record: Callable[[tuple[float, float, float, float]], None],
) -> None:
    """Take in votes (subject, volunteer, said positive) in order, numbered from `first`.

    `record` is given the volunteer's (PL, NL, PD, ND) as they stood before each vote, nans for a vote ignored.
    """
    settings = stream.settings
    odds, truth, crossed, closed = stream.odds, stream.truth, stream.crossed, stream.closed
    all_pl, all_nl, all_pd, all_nd = stream.pl, stream.nl, stream.pd, stream.nd
    floor, lowest, highest = odds_of(settings.floor), odds_of(settings.rejection), odds_of(settings.detection)
    learns_from_all, closes = settings.learn_from == "all", settings.after_rejection == "ignore"
    for number, (i, j, positive) in enumerate(votes, first):
        if closed[i]:
            record(_IGNORED)
            continue
        pl, nl, pd, nd = all_pl[j], all_nl[j], all_pd[j], all_nd[j]
        record((pl, nl, pd, nd))
        before = odds[i]
        after = before * (pl / (1.0 - pd) if positive else (1.0 - pl) / pd)
        odds[i] = floor if after < floor else after if after < _HIGHEST_ODDS else _HIGHEST_ODDS
        weight = truth[i]
        if not lowest <= after <= highest:
            if crossed[i] < 0:
                crossed[i] = number
            closed[i] = closes and after < lowest and weight is None
        if weight is None:
            if not learns_from_all:
                continue
            weight = before / (1.0 + before)
        if weight > 0.0:
            pl = (pl * nl + weight if positive else pl * nl) / (nl + weight)
            all_pl[j] = LOWEST_SKILL if pl < LOWEST_SKILL else pl if pl < HIGHEST_SKILL else HIGHEST_SKILL
            all_nl[j] = nl + weight
        if weight < 1.0:
            weight = 1.0 - weight
            pd = (pd * nd if positive else pd * nd + weight) / (nd + weight)
            all_pd[j] = LOWEST_SKILL if pd < LOWEST_SKILL else pd if pd < HIGHEST_SKILL else HIGHEST_SKILL
            all_nd[j] = nd + weight


def replay(settings: SwapSettings, votes: Votes, gold: IntArray) -> tuple[Stream, FloatArray]:
    """Follow all votes from the beginning: where it ends, and what `follow` records, float (n_votes, 4)."""
    stream = Stream(settings)
    stream.grow(votes.n_subjects, votes.n_volunteers)
    stream.set_gold(gold)
    trace = array("d")
    columns = (votes.subject, votes.volunteer, votes.answer == settings.positive)
    follow(stream, zip(*(column.tolist() for column in columns), strict=True), 0, trace.extend)
    return stream, np.array(trace, dtype=np.float64).reshape(-1, 4)


def _ratio(pl: float, pd: float, positive: bool) -> float:
    return pl / (1.0 - pd) if positive else (1.0 - pl) / pd


def odds_of(probability: float) -> float:
    return probability / (1.0 - probability)


def information(pl: FloatArray, pd: FloatArray) -> FloatArray:
    """Bits that a vote is expected to tell of a subject that is as likely positive as not, 0 to 1.

    ``I = H[(PL + 1 - PD) / 2] - (H[PL] + H[PD]) / 2``, the mutual information of truth and vote.
    """
    nats = _entropy((pl + 1.0 - pd) / 2.0) - (_entropy(pl) + _entropy(pd)) / 2.0
    # Equal rows of a confusion matrix tell nothing; rounding can make that a little less than nothing.
    bits: FloatArray = np.maximum(nats / np.log(2.0), 0.0)
    return bits


def _entropy(p: FloatArray) -> FloatArray:
    entropy: FloatArray = entr(p) + entr(1.0 - p)
    return entropy


def log_ratio_variance(trace: FloatArray, positive: BoolArray) -> FloatArray:
    """Variance of each vote's log likelihood ratio that comes from not knowing its giver's skill, (n_votes,).

    With PL ~ Beta(PL NL, (1 - PL) NL), ``Var[log PL] = psi1(PL NL) - psi1(NL)``; psi1 is the trigamma function.
    """
    pl, nl, pd, nd = trace.T
    of_positive = np.where(positive, pl, 1.0 - pl)
    of_negative = np.where(positive, 1.0 - pd, pd)
    return _log_variance(of_positive, nl) + _log_variance(of_negative, nd)


def _log_variance(share: FloatArray, votes: FloatArray) -> FloatArray:
    variance: FloatArray = zeta(2.0, share * votes) - zeta(2.0, votes)  # zeta(2, x) is the trigamma function
    return np.minimum(variance, _LARGEST_VARIANCE)
