"""How correlated the votes on one subject are, estimated from votes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregation._question import Question, Skills, held_out_cells, row_max, row_sum, sum_rows, tempering
from aggregation._votes import Bits, BoolArray, FloatArray, IntArray, scramble

#: Correlations to choose from. Volunteers are never taken for quite independent: they all saw the same picture.
CORRELATIONS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.55)
#: Votes that the estimate reads at most (about).
SAMPLE = 60_000


@dataclass(frozen=True)
class HiddenVotes:
    """Votes that are hidden in turn, and what the others on the subject say; one row per vote.

    Attributes
    ----------
    weight
        Of each class before the votes on this question, and of "off-path", float (n, K + 1).
    log_clear, log_guess, log_off
        Log probability of the other votes if the subject is clear (n, K), muddled (n,), off-path (n,).
    cell, guess, off
        Probability of the hidden vote in the same states.
    n_others, times
        Other votes on the subject, and how often the hidden vote was given, (n,).
    muddled
        Share of muddled subjects.
    """

    weight: FloatArray
    log_clear: FloatArray
    log_guess: FloatArray
    log_off: FloatArray
    cell: FloatArray
    guess: FloatArray
    off: FloatArray
    n_others: IntArray
    times: FloatArray
    muddled: float


def predictability(votes: HiddenVotes) -> FloatArray:
    """Log-likelihood of the hidden votes with each of `CORRELATIONS`; sums over subjects, so that shards add up."""
    return np.array([_predictability(votes, correlation) for correlation in CORRELATIONS])


def best_correlation(log_likelihood: FloatArray) -> float:
    """Choose the correlation with which the other votes on a subject predict each vote best.

    A posterior that is too sure of itself predicts the next vote badly, so the likelihood of hidden votes finds
    how much of the evidence to believe, without any gold answer.
    """
    return CORRELATIONS[int(np.argmax(log_likelihood))]


def _predictability(votes: HiddenVotes, correlation: float) -> float:
    """Log-likelihood of the hidden votes."""
    share = tempering(votes.n_others + 1, correlation)
    log_guess, log_off = votes.log_guess * share, votes.log_off * share
    log_clear = votes.log_clear * share[:, np.newaxis]
    scale = row_max(log_clear, np.maximum(log_guess, log_off))
    on_path = votes.weight[:, :-1]
    clear = np.exp(log_clear - scale[:, np.newaxis]) * on_path * (1.0 - votes.muddled)
    muddled = np.exp(log_guess - scale) * row_sum(on_path) * votes.muddled
    off = np.exp(log_off - scale) * votes.weight[:, -1]
    predicted = row_sum(clear * votes.cell) + muddled * votes.guess + off * votes.off
    return float((votes.times * np.log(predicted / (row_sum(clear) + muddled + off))).sum())


def hidden_votes(
    question: Question,
    skills: Skills,
    muddled: float,
    off_path: FloatArray,
    clear: FloatArray,
    outside: FloatArray,
    rows: IntArray,
) -> HiddenVotes:
    """Hide each vote of the subjects `rows` in turn.

    `clear` is P(clear and of class k), (n_subjects, K); `outside` the weights without the votes on this
    question, (len(rows), K + 1); `off_path` how often each answer is given off the true path, (K,).
    """
    said = question.said[rows]
    cells = held_out_cells(said, skills.parts(), clear[rows])
    row = np.repeat(np.arange(len(rows)), np.diff(said.indptr))
    answer = said.indices % question.n_answers
    log_off = np.log(off_path)
    return HiddenVotes(
        weight=outside[row],
        log_clear=sum_rows(said, cells)[row] - cells,
        log_guess=question.log_guess[rows][row] - np.log(question.guess)[answer],
        log_off=sum_rows(said, log_off[answer][:, np.newaxis])[row, 0] - log_off[answer],
        cell=np.exp(cells),
        guess=question.guess[answer],
        off=off_path[answer],
        n_others=question.n_votes[rows][row] - 1,
        times=said.data,
        muddled=muddled,
    )


def sampled_rows(question: Question) -> IntArray:
    """Subjects to read: all with two votes or more, or such a part of them that holds about `SAMPLE` votes.

    The part is chosen by what was voted and not by how ids are numbered, so that the estimate does not change
    when subjects, volunteers or rows are listed in another order, or divided into other shards.
    """
    chosen: BoolArray = question.n_votes > 1
    n_votes = int(question.given.sum())
    if n_votes > SAMPLE:
        chosen &= _digest(question) < np.uint64(SAMPLE / n_votes * 2**64)
    return np.flatnonzero(chosen)


def _digest(question: Question) -> Bits:
    """64 scrambled bits of each subject's votes: the answers, and how many votes their volunteers gave."""
    code = (question.n_given[:, np.newaxis] * question.n_answers + np.arange(question.n_answers)).ravel()
    bits = scramble(code.astype(np.uint64))[question.said.indices] * question.said.data.astype(np.uint64)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(bits, dtype=np.uint64)])
    # Unsigned sums wrap around, and their differences wrap back.
    return scramble(total[question.said.indptr[1:]] - total[question.said.indptr[:-1]])
