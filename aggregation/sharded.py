"""The pooled model of more subjects than one process should hold: shards of subjects, and sums that go between.

A shard holds all votes on its subjects. The E-step, and whatever else looks at a subject, is done shard by shard; the
M-step needs of each shard only sums over its subjects. `pooled_dawid_skene` and `pooled_tree` are the case of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation import _em, _pooled_em
from aggregation._pooled_counts import Totals, count_up, totals_of
from aggregation._pooled_em import Beliefs, Calibrated, Parameters, Tree
from aggregation._pooled_rounds import (
    EXPECT,
    HELD_OUT,
    MAX_ITERATIONS,
    MISLEADING,
    RESEMBLE,
    START,
    SURVEY,
    TOLERANCE,
    HeldOut,
    PooledPosteriors,
    PooledRound,
    Report,
    Resemblance,
    Surveyed,
    next_round,
)
from aggregation._pooled_table import TreeShape, check_ids, code_question, code_tree
from aggregation._question import guess_of
from aggregation._votes import FloatArray, IntArray, scramble
from aggregation.calibration import CalibrationMap


def shard_of(subject: npt.ArrayLike, n_shards: int) -> IntArray:
    """The shard of each subject, int (n,) below `n_shards`, by a hash of its id: the same wherever it is asked.

    Parameters
    ----------
    subject
        Ids, not negative, int (n,).
    n_shards
        Number of shards, 1 or more.

    Examples
    --------
    >>> shard_of([1, 2, 3, 4, 5, 6, 7, 8], 2)
    array([1, 0, 1, 0, 0, 0, 1, 0])
    """
    if n_shards < 1:
        raise ValueError(f"n_shards must be at least 1, got {n_shards}")
    shard: IntArray = (scramble(check_ids("subject", subject).astype(np.uint64)) % np.uint64(n_shards)).astype(np.int64)
    return shard


@dataclass(frozen=True)
class PooledFit:
    """What a sharded fit found of all shards together; lists follow the questions.

    Attributes
    ----------
    prior, crowd, strength, muddled, correlation, machine, calibration, guess
        As in `PooledDawidSkene`.
    off_path
        How often each answer is given where the question does not apply, float (n_answers,).
    confusion
        ``[j, k, y]`` = P(volunteer says y | the truth is k), float (n, K, K) for the `volunteers` of the question.
    volunteers
        Ids of those who answered, increasing, int (n,).
    n_given
        Their votes, int (n,).
    log_likelihood, n_iterations, converged
        Of EM over all questions together.
    """

    prior: list[FloatArray]
    crowd: list[FloatArray]
    strength: list[float]
    muddled: list[float]
    correlation: list[float]
    machine: list[FloatArray | None]
    calibration: list[CalibrationMap | None]
    guess: list[FloatArray]
    off_path: list[FloatArray]
    confusion: list[FloatArray]
    volunteers: list[IntArray]
    n_given: list[IntArray]
    log_likelihood: float
    n_iterations: int
    converged: bool


class PooledShard:
    """All votes on some of the subjects; answers the rounds of a `ShardedPooled`.

    Made by `of_question` or `of_tree`. Subjects are codes of this shard from 0; volunteers are ids that mean the same
    person in every shard, of any size. Beliefs are kept from one round to the next, and made again from the round's
    parameters if this process did not see the round before: any process that holds the same votes may answer any
    round.
    """

    def __init__(self, tree: Tree, volunteers: Sequence[IntArray]) -> None:
        self._own = tree
        self._volunteers = volunteers
        self._joined: tuple[list[Totals], Tree] | None = None
        self._beliefs: tuple[list[Parameters], Beliefs] | None = None
        self._calibrated: tuple[PooledRound, Calibrated] | None = None

    @classmethod
    def of_question(
        cls,
        subject: npt.ArrayLike,
        volunteer: npt.ArrayLike,
        answer: npt.ArrayLike,
        n_answers: int,
        gold: npt.ArrayLike | None = None,
        *,
        n_subjects: int | None = None,
        evidence: npt.ArrayLike | None = None,
        machine: npt.ArrayLike | None = None,
    ) -> PooledShard:
        """A shard of one question; parameters as for `pooled_dawid_skene`, volunteers are ids."""
        return cls(*code_question(subject, volunteer, answer, n_answers, gold, n_subjects, evidence, machine))

    @classmethod
    def of_tree(
        cls,
        subject: npt.ArrayLike,
        volunteer: npt.ArrayLike,
        task: npt.ArrayLike,
        answer: npt.ArrayLike,
        next_task: Sequence[Sequence[int]],
        gold: npt.ArrayLike | None = None,
        *,
        first: int = 0,
        n_subjects: int | None = None,
    ) -> PooledShard:
        """A shard of a decision tree; parameters as for `pooled_tree`, volunteers are ids."""
        shape = TreeShape.of(next_task, first)
        return cls(*code_tree(subject, volunteer, task, answer, shape, gold, n_subjects))

    def carry_out(self, asked: PooledRound, place: int = 0) -> Report:
        """Answer a round; `place` is this shard's among the answers. The same round again: the same answer."""
        if asked.step == SURVEY:
            self._joined = self._beliefs = self._calibrated = None
            return Surveyed([totals_of(self._own, task, ids) for task, ids in enumerate(self._volunteers)])
        tree = self._among_all(asked)
        if asked.step == START:
            return count_up(tree, asked.totals, _start(tree, asked))
        if asked.step == EXPECT:
            return count_up(tree, asked.totals, self._believe(tree, asked.parameters))
        if asked.step == RESEMBLE:
            beliefs = self._believe(tree, asked.fit.believed)
            return Resemblance(_pooled_em.resemblance(tree, asked.fit.taught, beliefs))
        if asked.step == HELD_OUT:
            return self._held_out_gold(tree, asked)
        return self._posteriors(tree, asked, place)

    def calibrated(self, asked: PooledRound) -> Calibrated:
        """Beliefs with each vote held out of the skill that weighs it; `asked` must know the correlation."""
        tree = self._among_all(asked)
        if self._calibrated is not None:
            known, result = self._calibrated
            if known.correlation == asked.correlation and _same(known.fit.taught, asked.fit.taught):
                return result
        self._calibrated = None
        beliefs = self._believe(tree, asked.fit.believed)
        result = _pooled_em.calibrate(tree, asked.fit.taught, beliefs, asked.correlation)
        self._calibrated = asked, result
        return result

    def _among_all(self, asked: PooledRound) -> Tree:
        """The shard's votes, coded by the volunteers of all shards."""
        if self._joined is not None:
            totals, tree = self._joined
            if totals is asked.totals or all(one.same(other) for one, other in zip(totals, asked.totals, strict=True)):
                return tree
        self._joined = self._beliefs = self._calibrated = None
        questions = []
        for question, ids, total in zip(self._own.questions, self._volunteers, asked.totals, strict=True):
            alone = np.array_equal(total.volunteers, ids) and np.array_equal(total.given, question.given)
            place = np.searchsorted(total.volunteers, ids)
            questions.append(question if alone else question.among(place, total.given))
        tree = replace(self._own, questions=questions)
        self._joined = asked.totals, tree
        return tree

    def _believe(self, tree: Tree, parameters: list[Parameters]) -> Beliefs:
        if self._beliefs is not None and _same(self._beliefs[0], parameters):
            return self._beliefs[1]
        self._beliefs = self._calibrated = None  # as large as the votes: make room for the next
        beliefs = _pooled_em.expect(tree, parameters)
        self._beliefs = parameters, beliefs
        return beliefs

    def _held_out_gold(self, tree: Tree, asked: PooledRound) -> HeldOut:
        held_out = self.calibrated(asked).held_out
        believed, gold = [], []
        for task, each in enumerate(asked.fit.taught):
            rows = np.flatnonzero(tree.gold[:, task] >= 0)
            believed.append(_cautious(held_out.answer[task][rows], each))
            gold.append(tree.gold[rows, task])
        return HeldOut(believed, gold)

    def _posteriors(self, tree: Tree, asked: PooledRound, place: int) -> PooledPosteriors:
        final = self.calibrated(asked)
        posterior, held_out = [], []
        for task, (each, calibration) in enumerate(zip(asked.fit.taught, asked.calibration, strict=True)):
            said = _cautious(final.held_out.answer[task], each)
            if calibration is not None:
                said = calibration.apply(said)
                said[tree.gold[:, task] >= 0] = asked.gold_of_shard(task, place)
            held_out.append(said)
            posterior.append(_em.clamp(said, tree.gold[:, task]))
        n_votes = np.stack([question.n_votes for question in tree.questions], axis=1)
        return PooledPosteriors(posterior, held_out, final.beliefs.reach, n_votes, final.log_clear)


def _start(tree: Tree, asked: PooledRound) -> Beliefs:
    """Vote fractions; or, with gold, the gold answers alone, which may lead to the better optimum."""
    return _pooled_em.start_from(
        tree,
        [
            _em.start_posteriors(question.counts, tree.gold[:, task], with_gold=asked.start > 0)[asked.start]
            for task, question in enumerate(tree.questions)
        ],
    )


def _same(one: Sequence[Parameters], other: Sequence[Parameters]) -> bool:
    return one is other or all(
        np.array_equal(a.prior, b.prior) and np.array_equal(a.skills.soft, b.skills.soft)
        for a, b in zip(one, other, strict=True)
    )


def _cautious(believed: FloatArray, parameters: Parameters) -> FloatArray:
    """One subject in a hundred is taken to mislead everybody."""
    return (1.0 - MISLEADING) * believed + MISLEADING * parameters.prior


class Ended(NamedTuple):
    """A fit in this process: the model, the posteriors of each shard, and the last round."""

    fit: PooledFit
    posteriors: list[PooledPosteriors]
    last: PooledRound


@dataclass(frozen=True)
class ShardedPooled:
    """Fits the pooled model to shards of subjects, wherever they are: asks rounds, adds up the answers.

    `begin` gives the first round; every `PooledShard` carries it out; `advance` makes the next one of all answers,
    until a round `is_last`, whose answers are the posteriors and from which `fitted` reads the model. All that is
    known is in the round: rounds and answers travel as bytes (`to_bytes`, `round_from_bytes`, `report_from_bytes`),
    and between two rounds nothing has to stay in memory. k shards give what one gives, up to the order in which
    floating-point numbers are summed.

    Attributes
    ----------
    next_task
        For each question, the question that each of its answers leads to; -1 ends the classification.
    first
        The question every classification starts with.
    max_iterations, tolerance
        As for `pooled_dawid_skene`.

    Raises
    ------
    ValueError
        If the questions form a cycle or one cannot be reached; if shards disagree about answers or machine.

    Examples
    --------
    >>> left = PooledShard.of_question([0, 0, 0, 1, 1, 1], [7, 8, 9, 7, 8, 9], [0, 0, 1, 0, 0, 0], n_answers=2)
    >>> right = PooledShard.of_question([0, 0, 0], [7, 8, 9], [1, 1, 1], n_answers=2)
    >>> model = ShardedPooled.of_question(2)
    >>> asked = model.begin()
    >>> while not asked.is_last:
    ...     asked = model.advance(asked, [left.carry_out(asked, 0), right.carry_out(asked, 1)])
    >>> right.carry_out(asked, 1).posterior[0].argmax(axis=1)
    array([1])
    >>> model.fitted(asked).volunteers[0]
    array([7, 8, 9])
    """

    next_task: Sequence[Sequence[int]]
    first: int = 0
    max_iterations: int = MAX_ITERATIONS
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if [list(leads) for leads in self.next_task] != [[]]:  # no votes, no answers: nothing can be asked after them
            TreeShape.of(self.next_task, self.first)

    @classmethod
    def of_question(
        cls, n_answers: int, *, max_iterations: int = MAX_ITERATIONS, tolerance: float = TOLERANCE
    ) -> ShardedPooled:
        """Of one question alone."""
        return cls([[-1] * n_answers], max_iterations=max_iterations, tolerance=tolerance)

    def begin(self) -> PooledRound:
        """The first round."""
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")
        return PooledRound()

    def advance(self, done: PooledRound, reports: Sequence[Report]) -> PooledRound:
        """The round after `done`, from the answers of all shards in the order of their places."""
        asked = next_round(done, reports, self.first, self.max_iterations, self.tolerance)
        found, expected = [total.given.shape[1] for total in asked.totals], [len(leads) for leads in self.next_task]
        if found != expected:
            raise ValueError(f"the shards have numbers of answers {found}, the model was made for {expected}")
        return asked

    def fitted(self, last: PooledRound) -> PooledFit:
        """The model that the last round knows."""
        fit = last.fit
        given = [total.given.sum(axis=1).astype(np.int64) for total in last.totals]
        return PooledFit(
            prior=[each.prior for each in fit.taught],
            crowd=[each.skills.crowd for each in fit.taught],
            strength=[each.skills.strength for each in fit.taught],
            muddled=[each.muddled for each in fit.taught],
            correlation=last.correlation,
            machine=[each.machine for each in fit.taught],
            calibration=last.calibration,
            guess=[guess_of(total.given) for total in last.totals],
            off_path=[each.off_path for each in fit.taught],
            confusion=[each.skills.cells().transpose(0, 2, 1) for each in fit.taught],
            volunteers=[total.volunteers for total in last.totals],
            n_given=given,
            log_likelihood=fit.log_likelihood,
            n_iterations=fit.n_iterations,
            converged=fit.converged,
        )

    def run(self, shards: Sequence[PooledShard]) -> Ended:
        """Carry out all rounds in this process."""
        asked = self.begin()
        while True:
            reports = [shard.carry_out(asked, place) for place, shard in enumerate(shards)]
            if asked.is_last:
                posteriors = [each for each in reports if isinstance(each, PooledPosteriors)]
                return Ended(self.fitted(asked), posteriors, asked)
            asked = self.advance(asked, reports)
