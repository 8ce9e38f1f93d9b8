"""Posteriors of single subjects as votes come in, by what a sweep has learnt of the crowd.

A sweep (`pooled_dawid_skene`, `pooled_tree`, or any posterior) is turned into a `LiveModel`, the confusion matrices of
the volunteers and the evidence on each subject. From there on a vote costs a few additions, and what is believed of a
subject follows from its evidence and its vote counts alone: whoever keeps those can start again anywhere. Skills stay
as the sweep found them, so the result does not depend on which subject was voted on first; `running.py` has the forms
that go on learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation._pooled_rounds import MISLEADING, PooledPosteriors
from aggregation._question import Question, estimate_skills, expected_votes
from aggregation._votes import FloatArray, check_votes
from aggregation.calibration import CalibrationMap
from aggregation.pooled import PooledDawidSkene
from aggregation.sharded import PooledFit
from aggregation.tallies import topological_order
from aggregation.tree import PooledTree

#: No cell of a confusion matrix counts as less: one vote must not rule out an answer for good.
LEAST = 1e-6
_TINY = 1e-300
#: A question that hardly applies has nothing to tell.
_UNREACHED = 0.01


@dataclass(frozen=True)
class LiveQuestion:
    """What is known of the crowd on one question.

    Attributes
    ----------
    prior
        P(answer k | the question applies), float (K,).
    crowd
        ``crowd[k, y]`` = P(y | k) of a volunteer of whom nothing is known, float (K, K).
    guess
        How often each answer is given on subjects that nobody can see, float (K,).
    off_path
        How often each answer is given where the question does not apply, float (K,).
    muddled, correlation, misleading
        As in `PooledDawidSkene`; 0 for models that do without.
    leads_to
        Place of the question that each answer leads to, -1 for the end.
    calibration
        The map that gold taught, or None.
    """

    prior: FloatArray
    crowd: FloatArray
    guess: FloatArray
    off_path: FloatArray
    muddled: float = 0.0
    correlation: float = 0.0
    misleading: float = 0.0
    leads_to: tuple[int, ...] = ()
    calibration: CalibrationMap | None = None

    def to_dict(self) -> dict[str, Any]:
        """In lists and numbers, for a JSON column; `from_dict` reads it."""
        arrays = {name: getattr(self, name).tolist() for name in ("prior", "crowd", "guess", "off_path")}
        numbers = {name: float(getattr(self, name)) for name in ("muddled", "correlation", "misleading")}
        calibration = self.calibration.to_dict() if self.calibration is not None else None
        return {**arrays, **numbers, "leads_to": list(self.leads_to), "calibration": calibration}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> LiveQuestion:
        """Inverse of `to_dict`."""
        prior, crowd, guess, off_path = (
            np.asarray(stored[name], dtype=float) for name in ("prior", "crowd", "guess", "off_path")
        )
        calibration = stored["calibration"]
        return cls(
            prior, crowd, guess, off_path, stored["muddled"], stored["correlation"], stored["misleading"],
            tuple(stored["leads_to"]), CalibrationMap.from_dict(calibration) if calibration is not None else None,
        )  # fmt: skip

    def gain(self, posterior: Sequence[float]) -> float:
        """Mutual information of the answer, believed as `posterior`, and an independent vote of the crowd, nats."""
        plain = self._plain
        said = [sum(t * row[y] for t, row in zip(posterior, plain.crowd, strict=True)) for y in range(len(posterior))]
        entropy = -sum(each * log(each) for each in said if each > 0.0)
        return entropy - sum(t * each for t, each in zip(posterior, plain.noise, strict=True))

    @cached_property
    def _plain(self) -> _Plain:
        noise = [-sum(p * log(p) for p in row if p > 0.0) for row in self.crowd.tolist()]
        log_guess, log_off = (np.log(np.maximum(each, LEAST)).tolist() for each in (self.guess, self.off_path))
        return _Plain(self.prior.tolist(), log_guess, log_off, self.crowd.tolist(), noise)


class _Plain(NamedTuple):
    """The arrays as lists: rows are short, and Python's floats are quicker there."""

    prior: list[float]
    log_guess: list[float]
    log_off: list[float]
    crowd: list[list[float]]
    noise: list[float]


class LiveBelief(NamedTuple):
    """What is believed of one subject: per question P(answer | it applies), and P(it applies)."""

    posterior: list[list[float]]
    reach: list[float]


@dataclass(frozen=True)
class LiveModel:
    """The questions of a workflow that are answered together; the first of them always applies.

    Evidence on a subject is, per question, ``sum over votes of log A^j[k, y]``, float (K,), zeros where nobody voted
    (`add`); with the votes for each answer, int (K,), it is all that `believe` needs.

    Examples
    --------
    >>> even, sharp = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> model = LiveModel((LiveQuestion(even, sharp, even, even, leads_to=(-1, -1)),))
    >>> evidence = add([0.0, 0.0], sharp.tolist(), 1)
    >>> [round(p, 3) for p in model.believe([evidence], [[0, 1]]).posterior[0]]
    [0.1, 0.9]
    """

    questions: tuple[LiveQuestion, ...]

    @cached_property
    def _order(self) -> list[int]:
        """Places of the questions, each after those that lead to it."""
        return topological_order([list(question.leads_to) for question in self.questions], 0)

    def believe(self, evidence: Sequence[Sequence[float]], counts: Sequence[Sequence[int]]) -> LiveBelief:
        """What the votes on one subject say: the E-step of `pooled_tree` for one row, tempered as there.

        Parameters
        ----------
        evidence
            Per question, float (K,).
        counts
            Per question, votes for each answer, int (K,).
        """
        answer: list[list[float]] = [[]] * len(self.questions)
        value = [0.0] * (len(self.questions) + 1)  # log sum over the paths from here on; the last: the end
        for place in reversed(self._order):
            answer[place], value[place] = self._up(place, evidence[place], counts[place], value)
        reach = [0.0] * (len(self.questions) + 1)
        reach[self._order[0]] = 1.0
        for place in self._order:
            for p, child in zip(answer[place], self.questions[place].leads_to, strict=True):
                reach[child] += reach[place] * p
        settled = [self._settled(place, each) for place, each in enumerate(answer)]
        return LiveBelief(settled, reach[:-1])

    def _up(
        self, place: int, evidence: Sequence[float], counts: Sequence[int], value: Sequence[float]
    ) -> tuple[list[float], float]:
        """P(answer | the question applies) and the log sum over paths from the question on, off-path votes apart."""
        question, plain = self.questions[place], self.questions[place]._plain
        n = sum(counts)
        onward = [value[child] for child in question.leads_to]
        if not n and not any(onward):  # nobody was here or further on
            return plain.prior, 0.0
        share = 1.0 / (1.0 + question.correlation * (n - 1)) if n > 1 else 1.0
        guess = share * sum(c * each for c, each in zip(counts, plain.log_guess, strict=True) if c)
        off = share * sum(c * each for c, each in zip(counts, plain.log_off, strict=True) if c)
        clear = [share * each for each in evidence]
        scale = max(*clear, guess)
        flat = question.muddled * exp(guess - scale)
        top = max(onward)
        weight = [
            p * ((1.0 - question.muddled) * exp(each - scale) + flat) * exp(after - top)
            for p, each, after in zip(plain.prior, clear, onward, strict=True)
        ]
        total = max(sum(weight), _TINY)
        is_first = place == self._order[0]
        return [each / total for each in weight], log(total) + scale + top - (0.0 if is_first else off)

    def _settled(self, place: int, answer: list[float]) -> list[float]:
        question = self.questions[place]
        prior = question._plain.prior
        if question.misleading and answer is not prior:
            answer = [
                (1.0 - question.misleading) * p + question.misleading * q for p, q in zip(answer, prior, strict=True)
            ]
        if question.calibration is None:
            return answer
        calibrated: list[float] = question.calibration.apply(np.array([answer]))[0].tolist()
        return calibrated

    def information(self, belief: LiveBelief, counts: Sequence[Sequence[int]]) -> float:
        """Expected information of the next vote of a volunteer of whom nothing is known, nats.

        ``sum_q reach_q worth_q (H[P_q] - sum_k T_qk H[A_q[k, .]])``: `expected_information_gain` with `vote_worth`,
        summed over the questions that apply (those surer than one in a hundred).
        """
        rows = zip(self.questions, belief.posterior, belief.reach, counts, strict=True)
        return sum(
            reach * question.gain(p) * worth(sum(votes), question.correlation)
            for question, p, reach, votes in rows
            if reach > _UNREACHED
        )

    @cached_property
    def first_information(self) -> float:
        """`information` of the first vote on a subject, nats."""
        evidence = [[0.0] * len(question.prior) for question in self.questions]
        counts = [[0] * len(question.prior) for question in self.questions]
        return self.information(self.believe(evidence, counts), counts)


def add(evidence: Sequence[float], cells: Sequence[Sequence[float]], answer: int) -> list[float]:
    """The evidence with one more vote, ``cells[k][y]`` being the volunteer's P(y | k)."""
    return [each + log(max(row[answer], LEAST)) for each, row in zip(evidence, cells, strict=True)]


def worth(n_votes: int, correlation: float) -> float:
    """`vote_worth` of one number."""
    if not n_votes:
        return 1.0
    return (1.0 - correlation) / ((1.0 + correlation * n_votes) * (1.0 + correlation * (n_votes - 1)))


class Started(NamedTuple):
    """A sweep in the form that goes on vote by vote.

    `evidence[i]`, float (n_subjects, K), per subject; `cells[j]`, float (n_volunteers, K, K), per volunteer.
    """

    question: LiveQuestion
    evidence: FloatArray
    cells: FloatArray


def start_pooled(fit: PooledDawidSkene) -> Started:
    """Go on from `pooled_dawid_skene`: without a vote more, `LiveModel.believe` gives its `held_out`; of gold subjects
    by the map that all gold taught, not by that of the other folds.
    """
    question = LiveQuestion(
        fit.prior, fit.crowd, fit.guess, fit.guess, fit.muddled, fit.correlation, MISLEADING,
        (-1,) * len(fit.prior), fit.calibration,
    )  # fmt: skip
    return Started(question, fit.evidence, fit.confusion)


def start_tree(fit: PooledTree, next_task: Sequence[Sequence[int]]) -> list[Started]:
    """Go on from `pooled_tree`, one entry per task; `cells` are of the task's own `volunteers`."""
    return _start_each(fit, fit.evidence, next_task)


def start_sharded(fit: PooledFit, said: PooledPosteriors, next_task: Sequence[Sequence[int]]) -> list[Started]:
    """Go on from a shard of a `ShardedPooled`, one entry per task: `evidence` is of the shard's subjects, `cells` of
    the task's `volunteers` in all shards.
    """
    return _start_each(fit, said.evidence, next_task)


def _start_each(
    fit: PooledTree | PooledFit, evidence: Sequence[FloatArray], next_task: Sequence[Sequence[int]]
) -> list[Started]:
    return [
        Started(
            LiveQuestion(
                fit.prior[task], fit.crowd[task], fit.guess[task], fit.off_path[task], fit.muddled[task],
                fit.correlation[task], MISLEADING, tuple(leads_to), fit.calibration[task],
            ),
            evidence[task],
            fit.confusion[task],
        )
        for task, leads_to in enumerate(next_task)
    ]  # fmt: skip


def start_from_posterior(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    posterior: FloatArray,
    *,
    n_volunteers: int | None = None,
) -> Started:
    """Go on from any model's posterior, float (n_subjects, K), of these votes, int (n,).

    Its mean is the prior, ``log(posterior / prior)`` the evidence, and confusion matrices are what the posterior
    makes of the votes (one M-step, shrunk to the crowd); votes are taken as independent given the truth.
    """
    n_subjects, n_answers = posterior.shape
    sizes = {"n_subjects": n_subjects, "n_volunteers": n_volunteers}
    question = Question.of(check_votes(subject, volunteer, answer, n_answers, **sizes))
    skills = estimate_skills(expected_votes(question, posterior))
    prior = posterior.mean(axis=0) if n_subjects else np.full(n_answers, 1.0 / n_answers)
    live = LiveQuestion(prior, skills.crowd, question.guess, question.guess, leads_to=(-1,) * n_answers)
    evidence = np.log(np.maximum(posterior, _TINY)) - np.log(np.maximum(prior, _TINY))
    return Started(live, evidence, skills.cells().transpose(0, 2, 1))
