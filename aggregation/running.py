"""Running forms of the reducers of votes: a vote at a time, and the batch result after a sweep.

Every class has `add` (one vote; O(K) or O(K²) for K answers), `posterior` (of one subject, now) and `sweep` (the
batch function on all votes so far, after which `posterior` gives the batch rows). Codes of subjects and volunteers
grow as they come. Between sweeps only the subject of a vote moves; what the vote teaches of others comes with the
next sweep.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import exp, log
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from aggregation._em import safe_log
from aggregation._pooled_rounds import MISLEADING
from aggregation._question import FIRST_GUESS_VOTES, Question, first_guess, incidence
from aggregation._votes import FloatArray, IntArray, Votes, check_votes, ratio
from aggregation.calibration import CalibrationMap
from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.majority import Majority, majority
from aggregation.pooled import PooledDawidSkene, fit_pooled
from aggregation.swap_em import SwapEM, swap_em
from aggregation.weighted import WeightedVotes, weighted_votes

Result = TypeVar("Result")

#: Pseudo-votes per cell of the models without a crowd, as their `smoothing`.
_SMOOTHING = 0.01


class Running(ABC, Generic[Result]):
    """Votes as they come, the last of a volunteer on a subject counting, and known answers.

    Parameters
    ----------
    n_answers
        Number of possible answers K.
    """

    def __init__(self, n_answers: int) -> None:
        if n_answers < 1:
            raise ValueError(f"n_answers must be at least 1, got {n_answers}")
        self.n_answers = n_answers
        self.gold: dict[int, int] = {}
        self._said: dict[tuple[int, int], int] = {}
        self._n_subjects = 0
        self._n_volunteers = 0

    def add(self, subject: int, volunteer: int, answer: int) -> None:
        """Count one vote; an earlier one of the volunteer on the subject stops counting."""
        if not 0 <= answer < self.n_answers:
            raise ValueError(f"answer {answer} is outside the {self.n_answers} answers")
        if subject < 0 or volunteer < 0:
            raise ValueError(f"codes start at 0, got subject {subject} and volunteer {volunteer}")
        if subject >= self._n_subjects:
            self._new_subjects(subject + 1 - self._n_subjects)
            self._n_subjects = subject + 1
        if volunteer >= self._n_volunteers:
            self._new_volunteers(volunteer + 1 - self._n_volunteers)
            self._n_volunteers = volunteer + 1
        pair = (subject, volunteer)
        before = self._said.get(pair)
        self._said[pair] = answer
        if before is not None:
            self._count(subject, volunteer, before, -1)
        self._count(subject, volunteer, answer, 1)

    @abstractmethod
    def posterior(self, subject: int) -> FloatArray:
        """P(answer | votes so far) of one subject, float (n_answers,)."""

    def sweep(self) -> Result:
        """Batch result of all votes so far; running posteriors are its rows from now on."""
        pairs = np.array(list(self._said), dtype=np.int64).reshape(-1, 2)
        answer = np.fromiter(self._said.values(), dtype=np.int64, count=len(self._said))
        return self._fit(pairs[:, 0], pairs[:, 1], answer)

    @abstractmethod
    def _new_subjects(self, n: int) -> None: ...

    @abstractmethod
    def _new_volunteers(self, n: int) -> None: ...

    @abstractmethod
    def _count(self, subject: int, volunteer: int, answer: int, times: int) -> None: ...

    @abstractmethod
    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> Result: ...

    def _known(self) -> IntArray | None:
        if not self.gold:
            return None
        known = np.full(self._n_subjects, -1, dtype=np.int64)
        for subject, answer in self.gold.items():
            if subject < self._n_subjects:
                known[subject] = answer
        return known


class _RunningFractions(Running[Result]):
    """Weighted counts of each subject; the weights stay until the next sweep."""

    def __init__(self, n_answers: int) -> None:
        super().__init__(n_answers)
        self._counts: list[list[float]] = []
        self._weight: list[float] = []

    def posterior(self, subject: int) -> FloatArray:
        counts = np.array(self._counts[subject])
        total = counts.sum()
        return ratio(counts, total, empty=1.0 / self.n_answers)

    def _new_subjects(self, n: int) -> None:
        self._counts.extend([0.0] * self.n_answers for _ in range(n))

    def _new_volunteers(self, n: int) -> None:
        self._weight.extend([1.0] * n)

    def _count(self, subject: int, volunteer: int, answer: int, times: int) -> None:
        row = self._counts[subject]
        row[answer] = max(row[answer] + times * self._weight[volunteer], 0.0)


class RunningMajority(_RunningFractions[Majority]):
    """Running form of `majority`; always equal to it.

    Examples
    --------
    >>> running = RunningMajority(n_answers=2)
    >>> running.add(subject=0, volunteer=0, answer=1)
    >>> running.posterior(0)
    array([0., 1.])
    """

    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> Majority:
        return majority(subject, volunteer, answer, self.n_answers, n_subjects=self._n_subjects)


class RunningWeighted(_RunningFractions[WeightedVotes]):
    """Running form of `weighted_votes`; a volunteer's weight is that of the last sweep, 1 before it."""

    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> WeightedVotes:
        sizes = {"n_subjects": self._n_subjects, "n_volunteers": self._n_volunteers}
        result = weighted_votes(subject, volunteer, answer, self.n_answers, **sizes)
        self._counts = result.weighted_counts.tolist()
        self._weight = np.nan_to_num(result.weight, nan=1.0).tolist()
        return result


class _Subject:
    """Evidence on one subject: sums over its votes of the log probability of each."""

    __slots__ = ("clear", "guess", "n")

    def __init__(self, clear: list[float], guess: float, n: int) -> None:
        self.clear, self.guess, self.n = clear, guess, n


class _Crowd(NamedTuple):
    """What the last sweep found of all volunteers together; before it, a first guess."""

    prior: list[float]
    crowd: list[list[float]]
    strength: float
    guess: list[float]
    muddled: float
    correlation: float
    misleading: float
    calibration: CalibrationMap | None


class _RunningConfusion(Running[Result]):
    """Naive-Bayes update by confusion matrices that learn from each vote (incremental EM, Neal & Hinton 1998).

    ``log L_i += log A^j[., y]`` and ``C^j[., y] += T_i`` with A from the expected votes C and the crowd's mean.
    """

    def __init__(self, n_answers: int) -> None:
        super().__init__(n_answers)
        even = [1.0 / n_answers] * n_answers
        crowd = first_guess(n_answers).tolist()
        self._crowd = _Crowd(even, crowd, FIRST_GUESS_VOTES, even, 0.0, 0.0, 0.0, None)
        self._subjects: list[_Subject] = []
        self._soft: list[list[float]] = []  # per volunteer and class: expected votes per answer, and their sum

    def posterior(self, subject: int) -> FloatArray:
        known = self.gold.get(subject)
        if known is not None:
            certain: FloatArray = np.eye(self.n_answers)[known]
            return certain
        believed = np.array(self._believe(self._subjects[subject])[0])
        crowd = self._crowd
        believed = (1.0 - crowd.misleading) * believed + crowd.misleading * np.array(crowd.prior)
        return believed if crowd.calibration is None else crowd.calibration.apply(believed[np.newaxis])[0]

    def _believe(self, evidence: _Subject) -> tuple[list[float], list[float]]:
        """P(class), and P(class and clear): the same formulas as `_question.weigh` and `tempering`, for one row."""
        crowd = self._crowd
        share = 1.0 / (1.0 + crowd.correlation * (evidence.n - 1)) if evidence.n > 1 else 1.0
        guess = evidence.guess * share
        clear = [each * share for each in evidence.clear]
        scale = max(*clear, guess)
        flat = crowd.muddled * exp(guess - scale)
        seen = [p * (1.0 - crowd.muddled) * exp(each - scale) for p, each in zip(crowd.prior, clear, strict=True)]
        total = sum(seen) + flat
        return [(s + p * flat) / total for s, p in zip(seen, crowd.prior, strict=True)], [s / total for s in seen]

    def _new_subjects(self, n: int) -> None:
        self._subjects.extend(_Subject([0.0] * self.n_answers, 0.0, 0) for _ in range(n))

    def _new_volunteers(self, n: int) -> None:
        self._soft.extend([0.0] * (self.n_answers * (self.n_answers + 1)) for _ in range(n))

    def _count(self, subject: int, volunteer: int, answer: int, times: int) -> None:
        crowd, evidence, soft = self._crowd, self._subjects[subject], self._soft[volunteer]
        width, strength = self.n_answers + 1, crowd.strength
        evidence.n += times
        evidence.guess += times * log(crowd.guess[answer])
        clear = evidence.clear
        for k in range(self.n_answers):
            at = k * width
            cell = (soft[at + answer] + strength * crowd.crowd[k][answer]) / (soft[at + width - 1] + strength)
            clear[k] += times * log(cell)
        known = self.gold.get(subject)
        weight = self._believe(evidence)[1] if known is None else [float(k == known) for k in range(self.n_answers)]
        for k, each in enumerate(weight):
            at = k * width
            soft[at + answer] = max(soft[at + answer] + times * each, 0.0)
            soft[at + width - 1] = max(soft[at + width - 1] + times * each, 0.0)

    def _load(self, crowd: _Crowd, clear: FloatArray, guess: FloatArray, n_votes: IntArray, soft: FloatArray) -> None:
        """Go on from a sweep; `soft[j, y, k]` are expected votes."""
        self._crowd = crowd
        rows = zip(clear.tolist(), guess.tolist(), n_votes.tolist(), strict=True)
        self._subjects = [_Subject(*row) for row in rows]
        by_class = soft.transpose(0, 2, 1)
        with_sums = np.concatenate([by_class, by_class.sum(axis=2, keepdims=True)], axis=2)
        self._soft = with_sums.reshape(len(soft), self.n_answers * (self.n_answers + 1)).tolist()

    def _load_confusion(self, votes: Votes, result: DawidSkene | SwapEM) -> None:
        """Go on from a model that has confusion matrices and nothing else."""
        said = incidence(votes)
        cells = result.confusion.transpose(0, 2, 1)
        clear = said @ safe_log(cells).reshape(said.shape[1], self.n_answers)
        given = (said.T @ result.posterior).reshape(cells.shape).sum(axis=1, keepdims=True)
        even = [1.0 / self.n_answers] * self.n_answers
        rows = [even] * self.n_answers
        crowd = _Crowd(result.prior.tolist(), rows, _SMOOTHING * self.n_answers, even, 0.0, 0.0, 0.0, None)
        self._load(crowd, clear, np.zeros(votes.n_subjects), result.n_votes, cells * given)


class RunningDawidSkene(_RunningConfusion[DawidSkene]):
    """Running form of `dawid_skene`.

    Examples
    --------
    >>> running = RunningDawidSkene(n_answers=2)
    >>> for vote in [(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0)]:
    ...     running.add(*vote)
    >>> running.posterior(0).round(2)
    array([0.16, 0.84])
    >>> running.sweep().answer
    array([1, 0])
    """

    _model = staticmethod(dawid_skene)

    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> DawidSkene:
        sizes = {"n_subjects": self._n_subjects, "n_volunteers": self._n_volunteers}
        votes = check_votes(subject, volunteer, answer, self.n_answers, **sizes)
        result = self._model(subject, volunteer, answer, self.n_answers, self._known(), **sizes)
        self._load_confusion(votes, result)
        return result


class RunningOneCoin(RunningDawidSkene):
    """Running form of `one_coin`; between sweeps a volunteer's matrix is free to become uneven."""

    _model = staticmethod(one_coin)


class RunningSwapEM(_RunningConfusion[SwapEM]):
    """Running form of `swap_em`; the crowd is that of the last sweep."""

    def __init__(self) -> None:
        super().__init__(2)

    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> SwapEM:
        n_subjects, n_volunteers = self._n_subjects, self._n_volunteers
        votes = check_votes(subject, volunteer, answer, 2, n_subjects=n_subjects, n_volunteers=n_volunteers)
        result = swap_em(subject, volunteer, answer, self._known(), n_subjects=n_subjects, n_volunteers=n_volunteers)
        self._load_confusion(votes, result)
        return result


class RunningPooled(_RunningConfusion[PooledDawidSkene]):
    """Running form of `pooled_dawid_skene`; crowd, correlation and calibration are those of the last sweep.

    Examples
    --------
    >>> running = RunningPooled(n_answers=2)
    >>> for vote in [(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0)]:
    ...     running.add(*vote)
    >>> bool(np.allclose(running.sweep().posterior[0], running.posterior(0)))
    True
    """

    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> PooledDawidSkene:
        sizes = {"n_subjects": self._n_subjects, "n_volunteers": self._n_volunteers}
        question = Question.of(check_votes(subject, volunteer, answer, self.n_answers, **sizes))
        result, soft = fit_pooled(question, self._known())
        crowd = _Crowd(
            prior=result.prior.tolist(),
            crowd=result.crowd.tolist(),
            strength=result.strength,
            guess=question.guess.tolist(),
            muddled=result.muddled,
            correlation=result.correlation,
            misleading=MISLEADING,
            calibration=result.calibration,
        )
        self._load(crowd, result.evidence, question.log_guess, result.n_votes, soft)
        return result
