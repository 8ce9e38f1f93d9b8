"""The rounds of a pooled fit: what shards are asked, what they answer, and what follows from all answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import TypeVar

import numpy as np

from aggregation._correlation import best_correlation
from aggregation._packing import pack, unpack
from aggregation._pooled_counts import Counted, Counts, Totals, maximise
from aggregation._pooled_em import Parameters
from aggregation._question import Skills
from aggregation._votes import FloatArray, IntArray
from aggregation.calibration import CalibrationMap, cross_calibrated

#: Share of subjects on which everybody may be misled alike: votes never make the posterior surer than this.
MISLEADING = 0.01

MAX_ITERATIONS = 1000
TOLERANCE = 3e-5

#: In this order: START and EXPECT once per start, HELD_OUT only where there is gold.
SURVEY, START, EXPECT, RESEMBLE, HELD_OUT, FINISH = "survey", "start", "expect", "resemble", "held_out", "finish"


@dataclass(frozen=True)
class Fit:
    """How EM from one start ended: `believed` made the last beliefs, and `taught` are the parameters they teach."""

    believed: list[Parameters]
    taught: list[Parameters]
    log_likelihood: float
    n_iterations: int
    converged: bool


@dataclass(frozen=True)
class Surveyed:
    """Answer to SURVEY: what the shard holds, per question."""

    totals: list[Totals]


@dataclass(frozen=True)
class Resemblance:
    """Answer to RESEMBLE: log-likelihood of hidden votes, float (n_questions, n_correlations)."""

    log_likelihood: FloatArray


@dataclass(frozen=True)
class HeldOut:
    """Answer to HELD_OUT: per question, what is believed of gold subjects without their gold, (n, K), and it, (n,)."""

    believed: list[FloatArray]
    gold: list[IntArray]


@dataclass(frozen=True)
class PooledPosteriors:
    """What a sharded fit says of the subjects of one shard; lists and columns follow the questions.

    Attributes
    ----------
    posterior
        P(true answer | all votes, the question applies), float (n_subjects, n_answers) per question.
    held_out
        As `posterior`, of gold subjects as if their own gold were not known.
    reach
        P(the question applies | all votes), float (n_subjects, n_questions).
    n_votes
        Votes of each subject, int (n_subjects, n_questions).
    evidence
        Per question, as in `PooledDawidSkene`, float (n_subjects, n_answers).
    """

    posterior: list[FloatArray]
    held_out: list[FloatArray]
    reach: FloatArray
    n_votes: IntArray
    evidence: list[FloatArray]


Report = Surveyed | Counted | Resemblance | HeldOut | PooledPosteriors
R = TypeVar("R", Surveyed, Counted, Resemblance, HeldOut)


@dataclass(frozen=True)
class PooledRound:
    """What every shard is asked next, and all that a sharded fit knows so far; made by `ShardedPooled`.

    Attributes
    ----------
    step
        What is asked; after the answers to "finish" there is nothing more to do.
    totals
        What all shards hold, per question.
    start
        Where EM started from: 0 vote fractions, 1 the gold answers alone.
    parameters
        Of the E-step that is asked.
    n_iterations, log_likelihood
        Number of that E-step from 1, and what the one before gave.
    best
        The better of the fits that have ended.
    correlation
        Per question.
    calibration
        Per question, the map that gold taught; None without gold on the question.
    own_gold
        Per question, calibrated posterior of gold subjects by maps learnt without them, of the shards one after
        the other, float (n, K); and how many are each shard's, int (n_shards,).
    """

    step: str = SURVEY
    totals: list[Totals] = field(default_factory=list)
    start: int = 0
    parameters: list[Parameters] = field(default_factory=list)
    n_iterations: int = 0
    log_likelihood: float = -np.inf
    best: Fit | None = None
    correlation: list[float] = field(default_factory=list)
    calibration: list[CalibrationMap | None] = field(default_factory=list)
    own_gold: list[tuple[FloatArray, IntArray]] = field(default_factory=list)

    @property
    def is_last(self) -> bool:
        """Whether its answers are the posteriors."""
        return self.step == FINISH

    @property
    def fit(self) -> Fit:
        """The fit that is kept. Raises ValueError while EM goes on."""
        if self.best is None:
            raise ValueError(f"nothing is fitted yet in the round that asks {self.step!r}")
        return self.best

    def gold_of_shard(self, task: int, place: int) -> FloatArray:
        """Calibrated posterior of the gold subjects of the shard at `place`."""
        rows, sizes = self.own_gold[task]
        first = int(sizes[:place].sum())
        return rows[first : first + int(sizes[place])]


_MESSAGES = (PooledRound, Surveyed, Counted, Resemblance, HeldOut, PooledPosteriors, Totals, Counts, Parameters,
             Skills, Fit, CalibrationMap)  # fmt: skip


def to_bytes(message: PooledRound | Report) -> bytes:
    """A round, or a shard's answer to it, as bytes (npz without pickle) to send to another process.

    Examples
    --------
    >>> round_from_bytes(to_bytes(PooledRound())).step
    'survey'
    """
    return pack(message, _MESSAGES)


def round_from_bytes(content: bytes | memoryview) -> PooledRound:
    """Inverse of `to_bytes` for a round. Raises ValueError for anything else.

    Examples
    --------
    >>> round_from_bytes(to_bytes(PooledRound(start=1))).start
    1
    """
    return _of_kind(PooledRound, unpack(content, _MESSAGES))


def report_from_bytes(content: bytes | memoryview) -> Report:
    """Inverse of `to_bytes` for a shard's answer. Raises ValueError for anything else.

    Examples
    --------
    >>> report_from_bytes(to_bytes(Resemblance(np.zeros((1, 2))))).log_likelihood
    array([[0., 0.]])
    """
    message = unpack(content, _MESSAGES)
    if not isinstance(message, Report):
        raise ValueError(f"an answer of a shard is needed, not {type(message).__name__}")
    return message


def next_round(
    done: PooledRound, reports: Sequence[Report], first: int, max_iterations: int, tolerance: float
) -> PooledRound:
    """The round after `done`, from the answers of all shards; `first` is the question that always applies."""
    if done.step == SURVEY:
        totals = [reduce(add, each) for each in zip(*(r.totals for r in _all(reports, Surveyed)), strict=True)]
        return replace(done, step=START, totals=totals)
    if done.step == START:
        counted = reduce(add, _all(reports, Counted))
        parameters = _maximise(done, counted, first)
        return replace(done, step=EXPECT, parameters=parameters, n_iterations=1, log_likelihood=-np.inf)
    if done.step == EXPECT:
        return _after_expectation(done, reduce(add, _all(reports, Counted)), first, max_iterations, tolerance)
    if done.step == RESEMBLE:
        tables = reduce(np.add, (each.log_likelihood for each in _all(reports, Resemblance)))
        correlation = [best_correlation(row) for row in tables]
        if any(each.n_gold for each in done.totals):
            return replace(done, step=HELD_OUT, correlation=correlation)
        return replace(done, step=FINISH, correlation=correlation, calibration=[None] * len(correlation))
    if done.step == HELD_OUT:
        return _calibrated(done, _all(reports, HeldOut))
    raise ValueError("the last round is done: its answers are the posteriors")


def _all(reports: Sequence[Report], kind: type[R]) -> list[R]:
    if not reports:
        raise ValueError("at least one shard is needed")
    return [_of_kind(kind, report) for report in reports]


M = TypeVar("M")


def _of_kind(kind: type[M], message: object) -> M:
    if not isinstance(message, kind):
        raise ValueError(f"{kind.__name__} is needed here, not {type(message).__name__}: an answer to another round?")
    return message


def _maximise(done: PooledRound, counted: Counted, first: int) -> list[Parameters]:
    pairs = zip(counted.counts, done.totals, strict=True)
    return [maximise(counts, total, is_first=task == first) for task, (counts, total) in enumerate(pairs)]


def _after_expectation(
    done: PooledRound, counted: Counted, first: int, max_iterations: int, tolerance: float
) -> PooledRound:
    """Go on until the log-likelihood changes by less than `tolerance` of its size; then the other start, or the end."""
    gain = abs(counted.log_likelihood - done.log_likelihood)
    converged = bool(gain <= tolerance * abs(counted.log_likelihood))
    taught = _maximise(done, counted, first)
    if not converged and done.n_iterations < max_iterations:
        return replace(
            done, parameters=taught, n_iterations=done.n_iterations + 1, log_likelihood=counted.log_likelihood
        )
    fit = Fit(done.parameters, taught, counted.log_likelihood, done.n_iterations, converged)
    best = fit if done.best is None or fit.log_likelihood > done.best.log_likelihood else done.best
    ended = replace(done, parameters=[], log_likelihood=-np.inf, best=best)
    if done.start == 0 and any(each.n_gold for each in done.totals):
        return replace(ended, step=START, start=1)
    return replace(ended, step=RESEMBLE)


def _calibrated(done: PooledRound, reports: Sequence[HeldOut]) -> PooledRound:
    """Maps from the gold of all shards."""
    maps: list[CalibrationMap | None] = []
    own: list[tuple[FloatArray, IntArray]] = []
    for task in range(len(done.totals)):
        believed = np.concatenate([report.believed[task] for report in reports])
        gold = np.concatenate([report.gold[task] for report in reports])
        calibrated = cross_calibrated(believed, gold)
        maps.append(calibrated.map if gold.size else None)
        own.append((calibrated.posterior, np.array([len(report.gold[task]) for report in reports], dtype=np.int64)))
    return replace(done, step=FINISH, calibration=maps, own_gold=own)
