"""Grades laid out for the E-step of the ordinal model: count matrices in blocks of subjects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from aggregation import _em
from aggregation._votes import BoolArray, FloatArray, IntArray, Votes, count

#: Subjects per block: a block's table of subjects x nodes stays in the processor's cache.
_BLOCK = 4096
#: A block of which this share of (grader, grade) cells is filled multiplies faster as a dense matrix.
_DENSE = 0.1


class Table(NamedTuple):
    """Checked votes in the form that the E-step multiplies.

    `votes` holds those on the scale and those for the escape class (code `n_levels`). `blocks` are rows of the
    count matrix subjects x (grader, level), the gold standard being one more grader; `escapes` counts the votes by
    subject x (grader, for the escape class or not). `informed` marks the subjects of which something is known, `heard`
    the graders with votes: who is only numbered must not change what is learnt.
    """

    votes: Votes
    gold: IntArray
    n_levels: int
    escape: bool
    blocks: tuple[sparse.csr_matrix | FloatArray, ...]
    escapes: sparse.csr_matrix
    counted: BoolArray
    informed: BoolArray
    heard: BoolArray

    @property
    def n_graders(self) -> int:
        return self.votes.n_volunteers

    def rows(self) -> Iterator[tuple[slice, sparse.csr_matrix | FloatArray]]:
        """Each block with the subjects that it holds."""
        start = 0
        for block in self.blocks:
            yield slice(start, start + block.shape[0]), block
            start += block.shape[0]


def _count_matrix(row: IntArray, column: IntArray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """How often each cell occurs. Building it sorts the votes, so that no result depends on their order."""
    return sparse.coo_matrix((np.ones(len(row)), (row, column)), shape=shape).tocsr()


def tabulate(votes: Votes, gold: IntArray, n_levels: int, escape: bool) -> Table:
    """Lay the votes out in blocks of subjects."""
    on_scale = votes.answer < n_levels
    known = np.flatnonzero((gold >= 0) & (gold < n_levels))
    row = np.concatenate([votes.subject[on_scale], known])
    grader = np.concatenate([votes.volunteer[on_scale], np.full(len(known), votes.n_volunteers)])
    column = grader * n_levels + np.concatenate([votes.answer[on_scale], gold[known]])
    shape = (votes.n_subjects, (votes.n_volunteers + 1) * n_levels)
    whole = _count_matrix(row, column, shape)
    blocks = [whole[start : start + _BLOCK] for start in range(0, votes.n_subjects, _BLOCK)]
    return Table(
        votes,
        gold,
        n_levels,
        escape,
        tuple(block.toarray() if block.nnz > _DENSE * np.prod(block.shape) else block for block in blocks),
        _count_matrix(votes.subject, votes.volunteer * 2 + ~on_scale, (votes.n_subjects, votes.n_volunteers * 2)),
        _em.counted_in_prior(votes, gold),
        (votes.n_votes > 0) | (gold >= 0),
        count(votes.volunteer, votes.n_volunteers) > 0,
    )
