"""Expectation-maximisation of pooled confusion matrices over the questions of a decision tree.

One question alone is a tree of one node. The true state of a subject is a path through the tree; a question on
the path has a true answer there, a question off the path is answered all the same by volunteers who strayed.

The E-step looks at each subject by itself, so that subjects may be divided into shards; the M-step needs of each shard
what `_pooled_counts` adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aggregation._correlation import CORRELATIONS, hidden_votes, predictability, sampled_rows
from aggregation._question import (
    Evidence,
    Question,
    Skills,
    held_out_log_clear,
    log_clear,
    row_max,
    row_sum,
    tempering,
    weigh,
)
from aggregation._votes import FloatArray, IntArray

#: Share of subjects that no volunteer can see, to start with.
_MUDDLED = 0.05


@dataclass(frozen=True)
class Tree:
    """Questions, where their answers lead (-1: the end), and an order in which each comes after its parents.

    `gold` holds known answers (n_subjects, n_questions), -1 where unknown. What is known beside the votes comes per
    question: `evidence`, log-likelihoods (n_subjects, K), and `machine`, bins of a score (n_subjects,), or None.
    """

    questions: Sequence[Question]
    next_task: Sequence[Sequence[int]]
    order: Sequence[int]
    gold: IntArray
    evidence: Sequence[FloatArray | None]
    machine: Sequence[IntArray | None]

    def children(self, task: int) -> list[int]:
        return sorted(set(self.next_task[task]) - {-1})


@dataclass(frozen=True)
class Parameters:
    """What EM estimates for one question.

    Attributes
    ----------
    skills
        Confusion matrices.
    prior
        P(answer k | the question applies), float (K,).
    muddled
        Share of subjects that no volunteer can see.
    off_path
        How often each answer is given where the question does not apply, float (K,).
    machine
        P(score bin | class k), float (K, n_bins), or None.
    """

    skills: Skills
    prior: FloatArray
    muddled: float
    off_path: FloatArray
    machine: FloatArray | None


@dataclass(frozen=True)
class Beliefs:
    """Outcome of an E-step.

    Attributes
    ----------
    answer
        Per question, P(answer k | votes, the question applies), float (n_subjects, K).
    reach
        P(the question applies | votes), float (n_subjects, n_questions).
    clear
        Per question, P(applies, clear, and answer k | votes), float (n_subjects, K).
    log_likelihood
        Of all votes.
    """

    answer: list[FloatArray]
    reach: FloatArray
    clear: list[FloatArray]
    log_likelihood: float


def start_from(tree: Tree, answer: list[FloatArray]) -> Beliefs:
    """Beliefs to start with, from P(answer k) per question: paths as the answers lead."""
    reach = np.zeros((len(tree.gold), len(tree.questions)))
    reach[:, tree.order[0]] = 1.0
    for task in tree.order:
        _hand_down(tree, task, answer[task], reach)
    clear = [(1.0 - _MUDDLED) * reach[:, [task]] * each for task, each in enumerate(answer)]
    return Beliefs(answer, reach, clear, -np.inf)


def expect(tree: Tree, parameters: Sequence[Parameters]) -> Beliefs:
    """E-step of all questions."""
    evidence = [
        weigh(log_clear(question, each.skills), question.log_guess, each.muddled)
        for question, each in zip(tree.questions, parameters, strict=True)
    ]
    return believe(tree, parameters, evidence, _log_off_path(tree, parameters))


def believe(
    tree: Tree, parameters: Sequence[Parameters], evidence: Sequence[Evidence], log_off: Sequence[FloatArray]
) -> Beliefs:
    """E-step over paths: messages up the tree, then down.

    With R_q(k) = P(votes at q | answer k) / P(votes at q | off-path), a path weighs the product of its
    ``prior_q(k) R_q(k)``; the sum over all paths below each answer goes up, the shares come down.
    """
    n_subjects = len(tree.gold)
    value = np.zeros((n_subjects, len(tree.questions) + 1))  # log sum over paths from here; the last: the end
    answer: list[FloatArray] = [np.empty(0)] * len(tree.questions)
    for task in reversed(tree.order):
        weight = evidence[task].likelihood * _prior_weight(tree, task, parameters[task])
        scale = evidence[task].log_scale - log_off[task]
        if tree.children(task):
            onward = value[:, list(tree.next_task[task])]
            top = row_max(onward, np.full(n_subjects, -np.inf))
            weight *= np.exp(onward - top[:, np.newaxis])
            scale = scale + top
        known = np.flatnonzero(tree.gold[:, task] >= 0)
        weight[known] *= tree.gold[known, task][:, np.newaxis] == np.arange(weight.shape[1])
        total = np.maximum(row_sum(weight), np.finfo(float).tiny)
        value[:, task] = np.log(total) + scale
        answer[task] = np.divide(weight, total[:, np.newaxis], out=weight)
    reach = np.zeros((n_subjects, len(tree.questions)))
    reach[:, tree.order[0]] = 1.0
    for task in tree.order:
        _hand_down(tree, task, answer[task], reach)
    clear = [each * reach[:, [task]] * evidence[task].clear for task, each in enumerate(answer)]
    total_log = value[:, tree.order[0]] + sum(log_off)
    return Beliefs(answer, reach, clear, float(total_log.sum()))


def _prior_weight(tree: Tree, task: int, parameters: Parameters) -> FloatArray:
    """Weight of each class before the votes, float (K,) or (n_subjects, K)."""
    weight = parameters.prior
    log_likelihood, bins = tree.evidence[task], tree.machine[task]
    if log_likelihood is not None:
        weight = weight * np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    if bins is not None and parameters.machine is not None:
        by_bin = np.vstack([parameters.machine.T, np.ones(len(parameters.prior))])
        weight = weight * by_bin[bins]  # -1, no score: the last row
    return weight


def _hand_down(tree: Tree, task: int, answer: FloatArray, reach: FloatArray) -> None:
    """Add to the children's probability of being reached."""
    for child in tree.children(task):
        leads = np.array([following == child for following in tree.next_task[task]], dtype=float)
        reach[:, child] += reach[:, task] * (answer @ leads)


def _log_off_path(tree: Tree, parameters: Sequence[Parameters]) -> list[FloatArray]:
    """Log probability of each subject's votes if the question does not apply; 0 for the first, which always does."""
    return [
        np.zeros(len(tree.gold)) if task == tree.order[0] else question.counts @ np.log(each.off_path)
        for task, (question, each) in enumerate(zip(tree.questions, parameters, strict=True))
    ]


@dataclass(frozen=True)
class Calibrated:
    """Beliefs with each vote held out of the skill that weighs it, tempered for correlated votes.

    `held_out` ignores gold answers: what would be believed of gold subjects without them. `log_clear` is the
    untempered held-out evidence per question, from which a running form goes on.
    """

    beliefs: Beliefs
    held_out: Beliefs
    log_clear: list[FloatArray]


def calibrate(
    tree: Tree, parameters: Sequence[Parameters], beliefs: Beliefs, correlation: Sequence[float]
) -> Calibrated:
    """Last E-step: honest evidence, tempered by each question's correlation.

    `parameters` are those that the `beliefs` of all shards have taught: only of such can a subject's own part be left
    out.
    """
    log_off = _log_off_path(tree, parameters)
    evidence, tempered_off, held = [], [], []
    for task, (question, each) in enumerate(zip(tree.questions, parameters, strict=True)):
        share = tempering(question.n_votes, correlation[task])
        honest = held_out_log_clear(question, each.skills, beliefs.clear[task])
        held.append(honest)
        evidence.append(weigh(honest * share[:, np.newaxis], question.log_guess * share, each.muddled))
        tempered_off.append(log_off[task] * share)
    told = believe(tree, parameters, evidence, tempered_off)
    unknown = replace(tree, gold=np.full_like(tree.gold, -1))
    held_out = believe(unknown, parameters, evidence, tempered_off) if (tree.gold >= 0).any() else told
    return Calibrated(told, held_out, held)


def resemblance(tree: Tree, parameters: Sequence[Parameters], beliefs: Beliefs) -> FloatArray:
    """How well each of `CORRELATIONS` predicts hidden votes, float (n_questions, n_correlations)."""
    log_off = _log_off_path(tree, parameters)
    return np.stack(
        [_resemblance(tree, task, each, beliefs, log_off[task]) for task, each in enumerate(parameters)],
    )


def _resemblance(tree: Tree, task: int, each: Parameters, beliefs: Beliefs, log_off: FloatArray) -> FloatArray:
    question = tree.questions[task]
    rows = sampled_rows(question)
    if not rows.size:
        return np.zeros(len(CORRELATIONS))
    own = weigh(log_clear(question, each.skills, rows), question.log_guess[rows], each.muddled)
    reached = beliefs.reach[rows, task]
    outside = np.column_stack([beliefs.answer[task][rows] * reached[:, np.newaxis] / own.likelihood, 1.0 - reached])
    # Both parts relative to the likelihood of the votes: exp(log_scale) on the path, exp(log_off) off it.
    outside[:, -1] *= np.exp(np.minimum(own.log_scale - log_off[rows], 700.0))
    outside /= np.maximum(row_sum(outside), np.finfo(float).tiny)[:, np.newaxis]
    clear = beliefs.clear[task]
    return predictability(hidden_votes(question, each.skills, each.muddled, each.off_path, clear, outside, rows))
