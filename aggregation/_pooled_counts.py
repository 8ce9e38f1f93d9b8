"""What the M-step needs of each shard of subjects: sums that add up to those of all subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from aggregation._pooled_em import Beliefs, Parameters, Tree
from aggregation._question import estimate_skills, expected_votes, guess_of, row_sum
from aggregation._votes import BoolArray, FloatArray, IntArray

#: Pseudo-subjects that hold the share of muddled ones off 0 and 1.
_MUDDLED_EVIDENCE = 0.01


@dataclass(frozen=True)
class Totals:
    """What a shard holds of one question, or all shards together: `a + b`.

    Attributes
    ----------
    volunteers
        Ids of the volunteers, increasing, int (n_volunteers,).
    given
        Their votes for each answer, float (n_volunteers, K).
    n_free, n_gold
        Subjects with votes whose answer is not known; subjects whose answer is known.
    n_bins
        Bins of the machine's score, -1 without a machine.
    """

    volunteers: IntArray
    given: FloatArray
    n_free: int
    n_gold: int
    n_bins: int

    def __add__(self, other: Totals) -> Totals:
        if self.given.shape[1] != other.given.shape[1]:
            raise ValueError(
                f"a question has {self.given.shape[1]} answers in one shard and {other.given.shape[1]} in another"
            )
        if (self.n_bins < 0) != (other.n_bins < 0):
            raise ValueError("one shard has a machine and another has none: give it to all; -1 where it has no say")
        volunteers = np.union1d(self.volunteers, other.volunteers)
        given = np.zeros((len(volunteers), self.given.shape[1]))
        for each in (self, other):
            given[np.searchsorted(volunteers, each.volunteers)] += each.given
        n_bins = max(self.n_bins, other.n_bins)
        return Totals(volunteers, given, self.n_free + other.n_free, self.n_gold + other.n_gold, n_bins)

    def same(self, other: Totals) -> bool:
        """Whether the volunteers and their votes are the same."""
        return np.array_equal(self.volunteers, other.volunteers) and np.array_equal(self.given, other.given)


@dataclass(frozen=True)
class Counts:
    """Sums over the subjects of a shard for one question, expected by its beliefs; `a + b` is those of both.

    Attributes
    ----------
    soft
        Expected votes ``soft[j, y, k]`` of volunteer j for answer y on clear subjects of class k.
    common
        Subjects of each class among those that tell how common it is, float (K,).
    applies, seen
        Subjects to which the question applies among those that tell so, and of these the clear ones.
    strayed
        Votes for each answer on subjects to which the question does not apply, float (K,).
    machine
        Subjects of class k in each bin of the machine's score, float (K, n_bins), or None.
    """

    soft: FloatArray
    common: FloatArray
    applies: float
    seen: float
    strayed: FloatArray
    machine: FloatArray | None

    def __add__(self, other: Counts) -> Counts:
        machine = None if self.machine is None or other.machine is None else self.machine + other.machine
        return Counts(
            self.soft + other.soft,
            self.common + other.common,
            self.applies + other.applies,
            self.seen + other.seen,
            self.strayed + other.strayed,
            machine,
        )


@dataclass(frozen=True)
class Counted:
    """Counts of all questions, and the log-likelihood of the votes under the beliefs behind them."""

    counts: list[Counts]
    log_likelihood: float

    def __add__(self, other: Counted) -> Counted:
        return Counted(added([self.counts, other.counts]), self.log_likelihood + other.log_likelihood)


def added(shards: Sequence[list[Counts]]) -> list[Counts]:
    """Counts per question of all shards."""
    return [reduce(add, each) for each in zip(*shards, strict=True)]


def totals_of(tree: Tree, task: int, volunteers: IntArray) -> Totals:
    """What this shard holds of a question; `volunteers` are the ids behind its codes."""
    question, bins = tree.questions[task], tree.machine[task]
    known = tree.gold[:, task] >= 0
    n_bins = -1 if bins is None else int(bins.max(initial=-1)) + 1
    n_free = int(((question.n_votes > 0) & ~known).sum())
    return Totals(volunteers, question.given, n_free, int(known.sum()), n_bins)


def count_up(tree: Tree, totals: Sequence[Totals], beliefs: Beliefs) -> Counted:
    """Sums of this shard for the M-step; `totals` are those of all shards."""
    counts = [_count(tree, task, each, beliefs) for task, each in enumerate(totals)]
    return Counted(counts, beliefs.log_likelihood)


def _count(tree: Tree, task: int, total: Totals, beliefs: Beliefs) -> Counts:
    question, known = tree.questions[task], tree.gold[:, task] >= 0
    counted = question.n_votes > 0
    if total.n_free:  # gold subjects are chosen, not typical; better than nothing
        counted &= ~known
    reached = beliefs.reach[:, task]
    joint = beliefs.answer[task] * reached[:, np.newaxis]
    weight = counted.astype(float)
    # A machine tells how common answers are on subjects without votes too: those it was sure of may get none.
    telling = (counted | (_machine_speaks(tree, task) & ~known)).astype(float)
    return Counts(
        soft=expected_votes(question, beliefs.clear[task]),
        common=telling @ joint,
        applies=float(weight @ reached),
        seen=float(weight @ row_sum(beliefs.clear[task])),
        strayed=(1.0 - reached) @ question.counts,
        machine=_binned(tree.machine[task], joint, total.n_bins),
    )


def _machine_speaks(tree: Tree, task: int) -> BoolArray:
    """Subjects of which something is known beside the votes, bool (n_subjects,)."""
    speaks = np.zeros(len(tree.gold), dtype=bool)
    evidence, bins = tree.evidence[task], tree.machine[task]
    if evidence is not None:
        speaks |= evidence.any(axis=1)
    if bins is not None:
        speaks |= bins >= 0
    return speaks


def _binned(bins: IntArray | None, joint: FloatArray, n_bins: int) -> FloatArray | None:
    if bins is None:
        return None
    seen = np.flatnonzero(bins >= 0)
    return np.stack([np.bincount(bins[seen], column[seen], minlength=n_bins) for column in joint.T])


def maximise(counts: Counts, total: Totals, *, is_first: bool) -> Parameters:
    """M-step of one question from the sums over all subjects; the first question of a tree always applies."""
    common = counts.common + 1.0
    hidden = counts.applies - counts.seen
    evidence = _MUDDLED_EVIDENCE
    muddled = (hidden + evidence * counts.applies + 1.0) / (counts.applies * (1.0 + 2.0 * evidence) + 2.0)
    off_path = guess_of(total.given)
    if not is_first:
        strayed = 1.0 + counts.strayed
        off_path = strayed / strayed.sum()
    return Parameters(
        skills=estimate_skills(counts.soft),
        prior=common / common.sum(),
        muddled=muddled,
        off_path=off_path,
        machine=_machine(counts.machine),
    )


def _machine(each: FloatArray | None) -> FloatArray | None:
    """P(score bin | class k), with one pseudo-score per class spread as the scores are."""
    if each is None:
        return None
    table: FloatArray = each + (each.sum(axis=0) + 1.0) / (each.sum() + each.shape[1])
    table /= table.sum(axis=1, keepdims=True)
    return table
