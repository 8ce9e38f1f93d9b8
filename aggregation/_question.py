"""One question with hierarchical confusion matrices: the kernels that `pooled` and `tree` share.

States of a subject at a question: it has one of the K answers and volunteers can see it ("clear"), or it is
"muddled": volunteers answer as they do on average, whatever the truth. In a tree there is a third: the question
does not apply, because the true path leads elsewhere ("off-path").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from scipy import sparse

from aggregation._votes import FloatArray, IntArray, Votes, ratio
from aggregation.tallies import count_votes

#: Before any vote, the crowd is taken to be right this often, with the weight of this many votes per class.
FIRST_GUESS = 0.7
FIRST_GUESS_VOTES = 10.0
#: Volunteers start where the crowd is, as if the crowd's mean were this many votes of their own.
STRENGTH = 4.0
#: What is known of the strength beforehand counts like this many votes of evidence.
STRENGTH_EVIDENCE = 200.0
#: Outside of these the strength is hardly felt, or one volunteer no longer differs from another.
STRENGTH_LIMITS = (2.0, 20.0)
#: Rows of the leave-one-out pass that are in memory at once.
_CHUNK = 200_000


@dataclass(frozen=True)
class Question:
    """Votes on one question, in the two forms that the steps read.

    Attributes
    ----------
    said
        Sparse (n_subjects, n_volunteers * n_answers): how often volunteer j gave answer y to subject i.
    counts
        Votes for each answer, float (n_subjects, n_answers).
    n_votes
        Votes of each subject, int (n_subjects,).
    given
        Votes of each volunteer for each answer on all subjects, those of other shards too, float (n_volunteers,
        n_answers).
    guess
        How often each answer is given, float (n_answers,): what a vote on a muddled subject looks like.
    log_guess
        Log probability of each subject's votes if it is muddled, float (n_subjects,).
    """

    said: sparse.csr_matrix
    counts: FloatArray
    n_votes: IntArray
    given: FloatArray
    guess: FloatArray
    log_guess: FloatArray

    @property
    def n_answers(self) -> int:
        return len(self.guess)

    @property
    def n_volunteers(self) -> int:
        return len(self.given)

    @property
    def n_subjects(self) -> int:
        return len(self.n_votes)

    @property
    def n_given(self) -> IntArray:
        """Votes given by each volunteer, int (n_volunteers,)."""
        given: IntArray = self.given.sum(axis=1).astype(np.int64)
        return given

    @classmethod
    def of(cls, votes: Votes) -> Question:
        said = incidence(votes)
        counts = count_votes(votes.subject, votes.answer, votes.n_subjects, votes.n_answers).astype(float)
        given = np.asarray(said.sum(axis=0)).reshape(votes.n_volunteers, votes.n_answers)
        guess = guess_of(given)
        return cls(said, counts, votes.n_votes, given, guess, counts @ np.log(guess))

    def among(self, place: IntArray, given: FloatArray) -> Question:
        """The same votes as part of more: volunteer j becomes `place[j]`, increasing; `given` has the votes of all."""
        volunteer, answer = np.divmod(self.said.indices.astype(np.int64), self.n_answers)
        column = place[volunteer] * self.n_answers + answer
        shape = (self.n_subjects, given.size)
        said = sparse.csr_matrix((self.said.data, column, self.said.indptr), shape=shape)
        guess = guess_of(given)
        return replace(self, said=said, given=given, guess=guess, log_guess=self.counts @ np.log(guess))


def guess_of(given: FloatArray) -> FloatArray:
    """How often each answer is given, one pseudo-vote each included, float (n_answers,)."""
    votes = given.sum(axis=0) + 1.0
    guess: FloatArray = votes / votes.sum()
    return guess


@dataclass(frozen=True)
class Skills:
    """Confusion matrices of all volunteers of a question.

    Attributes
    ----------
    soft
        Expected votes ``soft[j, y, k]`` of volunteer j for answer y on clear subjects of class k.
    total
        Their sum over y, float (n_volunteers, k).
    crowd
        ``crowd[k, y]`` = P(y | k) of the mean volunteer.
    strength
        Votes that the crowd's mean counts for in each volunteer's row.
    """

    soft: FloatArray
    total: FloatArray
    crowd: FloatArray
    strength: float

    def parts(self) -> tuple[FloatArray, FloatArray]:
        """Numerator (n_volunteers, y, k) and denominator (n_volunteers, k) of ``A^j[k, y]``."""
        return self.soft + self.strength * self.crowd.T, self.total + self.strength

    def cells(self) -> FloatArray:
        """P(volunteer j says y | clear subject of class k), float (n_volunteers, y, k)."""
        above, below = self.parts()
        above /= below[:, np.newaxis]
        return above


def incidence(votes: Votes) -> sparse.csr_matrix:
    """Sparse (n_subjects, n_volunteers * n_answers): how often subject i got answer y from volunteer j.

    Both EM steps are one product with this matrix or its transpose. Building it sorts and sums the votes, so the
    result does not depend on the order of the rows.
    """
    column = votes.volunteer * votes.n_answers + votes.answer
    shape = (votes.n_subjects, votes.n_volunteers * votes.n_answers)
    return sparse.coo_matrix((np.ones(len(column)), (votes.subject, column)), shape=shape).tocsr()


def expected_votes(question: Question, clear: FloatArray) -> FloatArray:
    """Votes of volunteer j for answer y on clear subjects of class k, float (n_volunteers, y, k).

    `clear` is P(subject is clear and of class k), (n_subjects, K).
    """
    n_answers = question.n_answers
    soft: FloatArray = (question.said.T @ clear).reshape(question.n_volunteers, n_answers, n_answers)
    return soft


def estimate_skills(soft: FloatArray) -> Skills:
    """M-step: ``A^j[k,.] ~ Dirichlet(strength * crowd_k)`` given the expected votes of all subjects."""
    n_answers = soft.shape[1]
    total = _sum_answers(soft)
    crowd = FIRST_GUESS_VOTES * first_guess(n_answers) + soft.sum(axis=0).T
    crowd /= crowd.sum(axis=1, keepdims=True)
    return Skills(soft, total, crowd, _strength(soft, total, crowd))


def first_guess(n_answers: int) -> FloatArray:
    """Confusion matrix of the crowd before any vote, (n_answers, n_answers), rows sum to 1."""
    if n_answers == 1:
        return np.ones((1, 1))
    wrong = (1.0 - FIRST_GUESS) / max(n_answers - 1, 1)
    return np.full((n_answers, n_answers), wrong) + (FIRST_GUESS - wrong) * np.eye(n_answers)


def _strength(soft: FloatArray, total: FloatArray, crowd: FloatArray) -> float:
    """Estimate by moments how strongly volunteers resemble the crowd.

    Rows of votes of several volunteers scatter about the crowd's mean more than multinomial rows would, by the
    factor ``1 + (n - 1) phi`` for n votes, and ``strength = 1 / phi - 1`` (Dirichlet-multinomial distribution).
    """
    given = soft.sum(axis=0).T
    votes = given.sum(axis=1)
    # sum_j n_j sum_y (a_jy - m_y)², multiplied out.
    square = ratio(_sum_answers(soft * soft), total, empty=0.0).sum(axis=0)
    scatter = square - 2.0 * (crowd * given).sum(axis=1) + votes * (crowd * crowd).sum(axis=1)
    excess = ratio(scatter, (crowd * (1.0 - crowd)).sum(axis=1), empty=0.0) - np.minimum(total, 1.0).sum(axis=0)
    evidence = votes - ratio((total * total).sum(axis=0), votes, empty=0.0)
    known = STRENGTH_EVIDENCE / (1.0 + STRENGTH)
    phi = (excess.sum() + known) / (max(evidence.sum(), 0.0) + STRENGTH_EVIDENCE)
    low, high = STRENGTH_LIMITS
    return float(np.clip(1.0 / max(phi, 1e-6) - 1.0, low, high))


def _sum_answers(table: FloatArray) -> FloatArray:
    """Sum (n_volunteers, y, k) over y; slice by slice, as numpy's sum over a short axis is slow."""
    nothing = np.zeros((len(table), table.shape[2]))
    total: FloatArray = reduce(np.add, table.transpose(1, 0, 2), nothing)
    return total


def log_clear(question: Question, skills: Skills, rows: IntArray | None = None) -> FloatArray:
    """Log probability of the votes of each subject, or of those in `rows`, if it is clear and of class k, (n, K)."""
    said = question.said if rows is None else question.said[rows]
    table = np.log(skills.cells()).reshape(said.shape[1], question.n_answers)
    result: FloatArray = said @ table
    return result


def held_out_log_clear(question: Question, skills: Skills, clear: FloatArray) -> FloatArray:
    """`log_clear` in which no vote is weighed by a skill that it taught itself.

    EM lets each vote teach the confusion matrix by which it is then weighed, which makes a model sure of itself
    where volunteers gave few votes. Here each vote is weighed with its own subject left out.
    """
    result, parts = np.zeros((len(question.n_votes), question.n_answers)), skills.parts()
    for first, last in _blocks(question.said):
        part = question.said[first:last]
        result[first:last] = sum_rows(part, held_out_cells(part, parts, clear[first:last]))
    return result


def held_out_cells(said: sparse.csr_matrix, parts: tuple[FloatArray, FloatArray], clear: FloatArray) -> FloatArray:
    """Log P(vote | clear, class k) with its own subject left out, (n_stored, K), a row per stored element.

    `parts` are those of the skills that `clear` has taught: else a subject's own part may exceed the whole.
    """
    above, below = parts
    n_answers = below.shape[1]
    row = np.repeat(np.arange(said.shape[0]), np.diff(said.indptr))
    own = clear[row] * said.data[:, np.newaxis]
    cell = above.reshape(said.shape[1], n_answers)[said.indices]
    cell -= own
    cell /= below[said.indices // n_answers] - own
    logarithm: FloatArray = np.log(cell, out=cell)
    return logarithm


def sum_rows(said: sparse.csr_matrix, values: FloatArray) -> FloatArray:
    """Sum values of stored elements, times how often each vote was given, over each matrix row."""
    picks = sparse.csr_matrix((said.data, np.arange(said.nnz), said.indptr), shape=(said.shape[0], said.nnz))
    total: FloatArray = picks @ values
    return total


def _blocks(said: sparse.csr_matrix) -> Iterator[tuple[int, int]]:
    """Ranges of rows that hold about `_CHUNK` stored elements each."""
    steps = np.arange(0, said.nnz + _CHUNK, _CHUNK)
    edges = np.unique(np.append(np.searchsorted(said.indptr, steps), [0, said.shape[0]]))
    edges = edges[edges <= said.shape[0]]
    return zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


@dataclass(frozen=True)
class Evidence:
    """What the votes on a question say about each class, muddled subjects included.

    Attributes
    ----------
    likelihood
        ``P(votes | class k) / exp(log_scale)``, float (n_subjects, K); the largest term of a row is about 1.
    log_scale
        Float (n_subjects,).
    clear
        P(the subject is clear | class k, votes), float (n_subjects, K).
    """

    likelihood: FloatArray
    log_scale: FloatArray
    clear: FloatArray


def weigh(log_clear: FloatArray, log_guess: FloatArray, muddled: float) -> Evidence:
    """Mix the two states: ``P(votes | k) = (1 - muddled) P(votes | clear, k) + muddled P(votes | guess)``."""
    scale = row_max(log_clear, log_guess)
    clear = np.exp(log_clear - scale[:, np.newaxis])
    clear *= 1.0 - muddled
    likelihood = clear + (muddled * np.exp(log_guess - scale))[:, np.newaxis]
    # exp underflows to 0 in both only where the class is out of the question.
    np.maximum(likelihood, np.finfo(float).tiny, out=likelihood)
    return Evidence(likelihood, scale, np.divide(clear, likelihood, out=clear))


def row_max(table: FloatArray, start: FloatArray) -> FloatArray:
    """Largest of each row and of `start`; column by column, as rows are short."""
    top: FloatArray = reduce(np.maximum, table.T, start)
    return top


def row_sum(table: FloatArray) -> FloatArray:
    """Sum of each row (a product with ones: rows are short, and numpy's sum over them is slow)."""
    total: FloatArray = table @ np.ones(table.shape[1])
    return total


def tempering(n_votes: IntArray, correlation: float) -> FloatArray:
    """How much of the evidence of n votes counts: ``1 / (1 + rho (n - 1))``, the design effect.

    Votes on one subject resemble each other more than its class explains, as all saw the same picture; n votes
    with the correlation rho are worth ``n / (1 + rho (n - 1))`` independent ones (Kish 1965, Survey Sampling).
    """
    return 1.0 / (1.0 + correlation * np.maximum(n_votes - 1, 0))
