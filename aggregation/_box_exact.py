"""The best partition of few marks, exactly: dynamic programming over all subsets of each small connected component."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from aggregation._box_model import Scene, group_value
from aggregation._box_partition import Pairs
from aggregation._votes import BoolArray, FloatArray, IntArray

LARGEST = 6  # marks: 3^6 sums of two values for each component


def solve_small(scene: Scene, pairs: Pairs, group: IntArray) -> tuple[IntArray, BoolArray]:
    """Put the marks of small components into their best groups; the new group numbers, and which marks are settled.

    Marks belong to one component when near pairs link them: beyond these no two marks can mean the same thing.
    """
    n = len(group)
    links = sparse.coo_matrix((np.ones(len(pairs.i), dtype=bool), (pairs.i, pairs.j)), shape=(n, n))
    component = connected_components(links, directed=False)[1]
    size = np.bincount(component)[component]
    group = group.copy()
    order = np.argsort(component, kind="stable")
    for n_marks in range(1, LARGEST + 1):
        members = order[size[order] == n_marks].reshape(-1, n_marks)
        if len(members):
            # A group is named after its first mark, beyond all numbers in use.
            group[members] = n + np.take_along_axis(members, _best_parts(scene, members), axis=1)
    return group, size <= LARGEST


def _best_parts(scene: Scene, members: IntArray) -> IntArray:
    """For each mark of each component (n_components, n) the place of the first mark of its group."""
    n = members.shape[1]
    value = _subset_values(scene, members)
    best = np.zeros_like(value)
    taken = np.zeros(value.shape, dtype=np.int64)
    for whole in range(1, 2**n):
        lowest = whole & -whole
        choices = [part | lowest for part in _subsets(whole ^ lowest)]
        totals = value[:, choices] + best[:, [whole ^ part for part in choices]]
        chosen = totals.argmax(axis=1)
        best[:, whole] = totals[np.arange(len(totals)), chosen]
        taken[:, whole] = np.array(choices)[chosen]
    first = np.zeros((len(members), n), dtype=np.int64)
    left = np.full(len(members), 2**n - 1)
    for place in range(n):
        # The set that holds the lowest mark left begins a group there.
        begins = (left & -left) == 1 << place
        part = np.where(begins, taken[np.arange(len(left)), left], 0)
        inside = (part[:, np.newaxis] >> np.arange(n)) & 1 == 1
        first[inside] = place
        left = left & ~part
    return first


def _subsets(whole: int) -> list[int]:
    """All subsets of a set of bits, the largest first, the empty set last."""
    subsets, part = [whole], whole
    while part:
        part = (part - 1) & whole
        subsets.append(part)
    return subsets


def _subset_values(scene: Scene, members: IntArray) -> FloatArray:
    """Value of every subset of each component by the bits of its number, -inf if it repeats a volunteer."""
    n_components, n = members.shape
    bits = (np.arange(1, 2**n)[:, np.newaxis] >> np.arange(n)) & 1
    sums = np.einsum("bn,cnk->cbk", bits, scene.sums[members]).reshape(n_components * len(bits), -1)
    seen = np.einsum("bn,cnk->cbk", bits, scene.seen[members]).reshape(n_components * len(bits), -1)
    subject = np.repeat(scene.subject[members[:, 0]], len(bits))
    value = np.full((n_components, 2**n), -np.inf)
    value[:, 1:] = group_value(sums, seen, subject, scene).reshape(n_components, -1)
    volunteer = scene.volunteer[members]
    for i in range(n):
        for j in range(i):
            twice = (volunteer[:, i] == volunteer[:, j])[:, np.newaxis]
            value[:, 1:][twice & ((bits[:, i] & bits[:, j]) == 1)] = -np.inf
    return value
