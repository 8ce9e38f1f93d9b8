"""SWAP, the Space Warps analysis pipeline: the probability of a rare class, updated vote by vote."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri

from aggregation._swap_stream import (
    AfterRejection,
    LearnFrom,
    Stream,
    SwapSettings,
    follow,
    information,
    log_ratio_variance,
    odds_of,
    replay,
)
from aggregation._votes import (
    FloatArray,
    IntArray,
    Votes,
    check_gold,
    check_same_length,
    check_votes,
    count,
)

#: What a running stream does with the record of a vote: its sweep makes the record anew.
_FORGET = deque[float](maxlen=0).extend
#: Answer in the log of a vote that a later one has replaced.
_REPLACED = -1


@dataclass(frozen=True)
class Swap:
    """Result of `swap`; row i is subject code i, row j of the volunteers' arrays volunteer code j.

    Attributes
    ----------
    posterior
        P(answer is true | votes so far), float (n_subjects, 2); that of a training subject too is what the votes
        say, so that the training subjects tell how complete and how pure the detections are. Without votes: the prior.
    low, high
        Interval of P(positive) for what is not known of the volunteers' skills, float (n_subjects,).
    status
        "detected", "rejected" or "undecided", by the final posterior, str (n_subjects,).
    crossed_at
        Row of the vote that first took the posterior over a threshold, -1 if none did, int (n_subjects,).
    n_votes, n_counted
        Votes of each subject, and those of them that the posterior rests on, int (n_subjects,).
    confusion
        ``confusion[j, k, y]`` = P(volunteer j says y | the truth is k) at the end, float (n_volunteers, 2, 2);
        PL and PD of the paper are its diagonal.
    n_behind
        Votes and pseudo-votes behind each row of `confusion`, float (n_volunteers, 2); NL and ND of the paper.
    skill
        Bits that the volunteer's vote on an even subject is expected to tell, 0..1, float (n_volunteers,).
    contribution
        Sum of the skill that the volunteer had at each counted vote on a test subject, float (n_volunteers,).
    n_given, n_trained
        Votes given by each volunteer, and those on training subjects, int (n_volunteers,).
    """

    posterior: FloatArray
    low: FloatArray
    high: FloatArray
    status: npt.NDArray[np.str_]
    crossed_at: IntArray
    n_votes: IntArray
    n_counted: IntArray
    confusion: FloatArray
    n_behind: FloatArray
    skill: FloatArray
    contribution: FloatArray
    n_given: IntArray
    n_trained: IntArray


def swap(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    gold: npt.ArrayLike | None = None,
    *,
    created_at: npt.ArrayLike | None = None,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    positive: int = 1,
    prior: float = 2e-4,
    detection: float = 0.95,
    rejection: float = 1e-7,
    floor: float = 2e-8,
    initial_skill: float = 0.5,
    pseudo_votes: float = 4.0,
    learn_from: LearnFrom = "all",
    after_rejection: AfterRejection = "count",
    level: float = 0.95,
) -> Swap:
    """Follow a stream of yes/no votes in time order (Marshall et al. 2016, MNRAS 455, 1171).

    A volunteer is two numbers, ``PL = P(says positive | positive)`` and ``PD = P(says negative | negative)``. A vote
    moves the odds of its subject by ``PL / (1 - PD)`` if it says positive, else by ``(1 - PL) / PD``, and then its
    volunteer: on a training subject (one with gold) that is positive ``PL <- (PL NL + [said positive]) / (NL + 1)``,
    ``NL <- NL + 1``, else the same for PD and ND; on a test subject of probability p both, with the weights p and
    1 - p for the 1. PL and PD stay within 0.01..0.99, p above `floor`.

    The paper's own setting is ``learn_from="gold"``. Learning from test subjects too makes the posterior better
    calibrated. Its p is the one before the vote: a vote that has already moved p would confirm itself.

    `low` and `high` are ``logit p ± z sqrt(sum over the votes of Var[log likelihood ratio])``, PL and PD being beta
    distributed around their estimates with NL and ND votes: what the paper finds by drawing 50 trajectories with
    ``PL ~ Binomial(NL, PL) / NL`` for each vote. It reports their mean, here p is that of the estimates themselves.

    Parameters
    ----------
    subject, volunteer, answer
        Codes of each vote, int (n,), the answers 0 and 1. Repeated votes are independent evidence: see `last_votes`.
    gold
        Known answers, int (n_subjects,), -1 where unknown. Those with one are the training subjects.
    created_at
        Time of each vote, any sortable numbers (n,); of equal times the lower subject, then volunteer code goes
        first. None: the rows are in time order.
    n_subjects, n_volunteers
        Sizes of the result; by default the largest code + 1.
    positive
        Code of the rare answer that is looked for.
    prior
        P(positive) before any vote.
    detection, rejection
        Thresholds of p; the published ones by default.
    floor
        Smallest p that votes can lead to, so that a subject can still recover.
    initial_skill, pseudo_votes
        PL = PD of a new volunteer and the votes that this is worth (NL and ND).
    learn_from
        "gold": votes on training subjects alone teach a volunteer's skill. "all": test subjects too.
    after_rejection
        What becomes of votes on a test subject that come after its rejection. "count": they are evidence like any
        others and may take it back over the threshold. "ignore": rejection is final, they neither move p nor teach.
        Detected subjects stay live and training subjects are never retired, so all votes on them count.
    level
        Coverage of `low`..`high`.

    Returns
    -------
    Swap

    Examples
    --------
    >>> result = swap([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 0], gold=[1, -1], learn_from="gold")
    >>> result.posterior[1, 1].round(6)
    np.float64(0.000192)
    >>> result.skill.round(4)
    array([0.0073, 0.0073])
    """
    settings = SwapSettings(
        positive=positive,
        prior=prior,
        detection=detection,
        rejection=rejection,
        floor=floor,
        initial_skill=initial_skill,
        pseudo_votes=pseudo_votes,
        learn_from=learn_from,
        after_rejection=after_rejection,
        level=level,
    )
    votes = check_votes(subject, volunteer, answer, 2, n_subjects=n_subjects, n_volunteers=n_volunteers)
    if gold is None and learn_from == "gold":
        raise ValueError('learn_from="gold" teaches nothing without gold: give gold, or learn_from="all"')
    known = check_gold(gold, votes.n_subjects, 2)
    return _run(settings, votes, known, _time_order(votes, created_at))[0]


class RunningSwap:
    """The stream of `swap`, fed vote by vote, at the same cost for the first vote and the millionth.

    Between sweeps it is `swap` of the votes in the order of their delivery, but for one thing: a volunteer's changed
    vote replaces the earlier one in the subject's probability at once, and in the volunteer's skill at the next
    `sweep`. After a sweep it is exactly `swap` of the votes that count, in time order.

    Which votes count: with `created_at` the last of each volunteer on each subject (of two at the same time the one
    with the higher answer code), in whatever order they are delivered. Without it the order of delivery is the time
    order, a changed answer takes its own, later place, and a vote delivered again changes nothing. So delivering a
    log twice, or parts of it, leaves every result as it was.

    Parameters
    ----------
    gold
        Known answers of the first subjects, int, -1 where unknown; `set_gold` adds to them.
    settings
        The keywords of `swap` from `positive` to `level`.

    Examples
    --------
    >>> running = RunningSwap(gold=[1])
    >>> running.add(subject=0, volunteer=0, answer=1)
    >>> running.add(subject=1, volunteer=0, answer=1)
    >>> running.posterior(1).round(6)
    array([9.9976e-01, 2.4000e-04])
    """

    def __init__(self, gold: npt.ArrayLike | None = None, **settings: Any) -> None:
        self._settings = SwapSettings(**settings)
        self._log = _VoteLog()
        self._stream = Stream(self._settings)
        if gold is not None:
            known = np.asarray(gold)
            self._stream.grow(len(known), 0)
            self._stream.set_gold(check_gold(known, len(known), 2))

    def set_gold(self, subject: int, answer: int) -> None:
        """Make it a training subject from now on, and in `sweep` from the beginning; -1 makes it a test subject."""
        if answer not in (-1, 0, 1):
            raise ValueError(f"gold of subject {subject} is {answer}: an answer code 0 or 1, or -1")
        _check_code("subject", subject)
        self._stream.grow(subject + 1, 0)
        self._stream.truth[subject] = None if answer < 0 else float(answer == self._settings.positive)

    def add(self, subject: int, volunteer: int, answer: int, created_at: float | None = None) -> None:
        """Take in one vote; `created_at` with every vote or with none. Codes may be new."""
        if answer not in (0, 1):
            raise ValueError(f"answer is {answer}, not 0 or 1: swap looks for one answer against all others")
        _check_code("subject", subject)
        _check_code("volunteer", volunteer)
        replaced = self._log.enter(subject, volunteer, answer, created_at)
        if replaced is None:
            return
        self._stream.grow(subject + 1, volunteer + 1)
        stream, positive = self._stream, self._settings.positive
        if replaced >= 0:
            stream.take_back(subject, volunteer, replaced == positive)
        follow(stream, ((subject, volunteer, answer == positive),), len(self._log), _FORGET)

    def posterior(self, subject: int) -> FloatArray:
        """P(answer is true | votes so far), float (2,); the prior for a subject without votes."""
        odds = self._stream.odds
        known = odds[subject] if 0 <= subject < len(odds) else odds_of(self._settings.prior)
        row: FloatArray = _posterior(np.array([known]), self._settings)[0]
        return row

    def status(self, subject: int) -> str:
        """One of "detected", "rejected" and "undecided"."""
        return str(_status(self.posterior(subject)[[self._settings.positive]], self._settings)[0])

    def skill(self, volunteer: int) -> float:
        """Bits that the volunteer's vote on an even subject is expected to tell, 0..1."""
        stream, start = self._stream, self._settings.initial_skill
        is_known = 0 <= volunteer < len(stream.pl)
        pl, pd = (stream.pl[volunteer], stream.pd[volunteer]) if is_known else (start, start)
        return float(information(np.array(pl), np.array(pd)))

    def sweep(self) -> Swap:
        """Follow the votes that count once more, in time order: the result of `swap`, and the new state."""
        subject, volunteer, answer, created_at = self._log.votes()
        votes = Votes(subject, volunteer, answer, len(self._stream.odds), len(self._stream.pl), 2)
        order = _time_order(votes, created_at)
        result, self._stream = _run(self._settings, votes, self._stream.gold(), order)
        return result


def _check_code(name: str, code: int) -> None:
    if code < 0:
        raise ValueError(f"{name} is {code}: codes start at 0")


class _VoteLog:
    """All votes delivered, in order, and which of them count."""

    def __init__(self) -> None:
        self._subject, self._volunteer, self._answer = array("q"), array("q"), array("b")
        self._created_at = array("d")
        self._row: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._subject)

    def enter(self, subject: int, volunteer: int, answer: int, created_at: float | None) -> int | None:
        """Note a vote: the answer that it replaces, -1 for a first vote, None if it changes nothing."""
        if len(self) and (created_at is None) != (not self._created_at):
            raise ValueError("give created_at with every vote or with none")
        if created_at is not None and not isfinite(created_at):
            raise ValueError(f"created_at is {created_at}, not a time")
        replaced, row = -1, self._row.get((subject, volunteer))
        if row is not None:
            replaced = self._answer[row]
            if created_at is None:
                is_news = answer != replaced
            else:
                is_news = (created_at, answer) > (self._created_at[row], replaced)
            if not is_news:
                return None
            self._answer[row] = _REPLACED
        self._row[subject, volunteer] = len(self)
        self._subject.append(subject)
        self._volunteer.append(volunteer)
        self._answer.append(answer)
        if created_at is not None:
            self._created_at.append(created_at)
        return replaced

    def votes(self) -> tuple[IntArray, IntArray, IntArray, FloatArray | None]:
        """Subject, volunteer, answer and time of the votes that count, in order of delivery."""
        answer = np.array(self._answer, dtype=np.int64)
        counts = answer != _REPLACED
        subject, volunteer = (np.array(column, dtype=np.int64)[counts] for column in (self._subject, self._volunteer))
        created_at = np.array(self._created_at)[counts] if self._created_at else None
        return subject, volunteer, answer[counts], created_at


def _time_order(votes: Votes, created_at: npt.ArrayLike | None) -> IntArray:
    """Rows in time order; rows of equal time in an order that does not depend on how they came."""
    if created_at is None:
        return np.arange(len(votes.subject))
    times = np.asarray(created_at)
    check_same_length(subject=votes.subject, created_at=times)
    if times.dtype.kind == "f" and np.isnan(times).any():
        raise ValueError(f"created_at[{int(np.isnan(times).argmax())}] is nan; give every vote a time or none")
    return np.lexsort((votes.answer, votes.volunteer, votes.subject, times)).astype(np.int64)


def _run(settings: SwapSettings, votes: Votes, gold: IntArray, order: IntArray) -> tuple[Swap, Stream]:
    """Follow the votes in the given order of their rows."""
    ordered = replace(votes, subject=votes.subject[order], volunteer=votes.volunteer[order], answer=votes.answer[order])
    stream, trace = replay(settings, ordered, gold)
    odds, crossed = np.array(stream.odds), np.array(stream.crossed, dtype=np.int64)
    posterior = _posterior(odds, settings)
    low, high = _interval(odds, trace, ordered, settings)
    was_crossed = crossed >= 0
    crossed[was_crossed] = order[crossed[was_crossed]]
    is_counted = ~np.isnan(trace[:, 0])
    is_test = gold[ordered.subject] < 0
    shown = is_counted & is_test
    pl, pd = np.array(stream.pl), np.array(stream.pd)
    bits = information(trace[shown, 0], trace[shown, 2])
    result = Swap(
        posterior=posterior,
        low=low,
        high=high,
        status=_status(posterior[:, settings.positive], settings),
        crossed_at=crossed,
        n_votes=votes.n_votes,
        n_counted=count(ordered.subject[is_counted], votes.n_subjects),
        confusion=_by_answer(np.array([[pl, 1.0 - pl], [1.0 - pd, pd]]).transpose(2, 0, 1), settings, axes=(1, 2)),
        n_behind=_by_answer(np.array([stream.nl, stream.nd]).T, settings, axes=(1,)),
        skill=information(pl, pd),
        contribution=np.bincount(ordered.volunteer[shown], bits, votes.n_volunteers).astype(np.float64),
        n_given=count(votes.volunteer, votes.n_volunteers),
        n_trained=count(ordered.volunteer[~is_test], votes.n_volunteers),
    )
    return result, stream


def _posterior(odds: FloatArray, settings: SwapSettings) -> FloatArray:
    return _by_answer(np.stack([odds, np.ones_like(odds)], axis=1) / (1.0 + odds)[:, np.newaxis], settings, axes=(1,))


def _by_answer(positive_first: FloatArray, settings: SwapSettings, axes: tuple[int, ...]) -> FloatArray:
    """Put (positive, negative) in the order of the answer codes along the axes."""
    return np.flip(positive_first, axes) if settings.positive == 1 else positive_first


def _status(p: FloatArray, settings: SwapSettings) -> npt.NDArray[np.str_]:
    return np.where(p > settings.detection, "detected", np.where(p < settings.rejection, "rejected", "undecided"))


def _interval(
    odds: FloatArray, trace: FloatArray, votes: Votes, settings: SwapSettings
) -> tuple[FloatArray, FloatArray]:
    variance = log_ratio_variance(trace, votes.answer == settings.positive)
    total = np.bincount(votes.subject, weights=np.nan_to_num(variance), minlength=votes.n_subjects)
    reach = ndtri(0.5 + settings.level / 2.0) * np.sqrt(total)
    middle = np.log(odds)
    return np.maximum(expit(middle - reach), np.minimum(settings.floor, expit(middle))), expit(middle + reach)
