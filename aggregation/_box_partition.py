"""Which marks of a subject mean the same thing: a partition of marks into groups, at most one mark of a volunteer each.

The partition with the largest total `group_value` is sought: groups are merged while their marks agree in place and
size, then marks are moved, exchanged, and groups merged and split while the total grows. The marks of all subjects
of a scene are worked on at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aggregation._box_model import PX, PY, RU, RV, P, R, Scene, place_evidence
from aggregation._votes import BoolArray, FloatArray, IntArray

_GAIN = 1e-9  # a smaller gain is rounding
_PAIRWISE_ROUNDS = 6
_FARTHEST = 1e4  # typical sides
_APART = 20.0  # largest χ² (4 degrees of freedom) of two marks that may mean the same thing


class Pairs(NamedTuple):
    """Marks of different volunteers near each other on one subject, i < j."""

    i: IntArray
    j: IntArray


def near_pairs(scene: Scene) -> Pairs:
    """Pairs of marks by different volunteers whose distance their scatter can explain."""
    place = scene.sums[:, PX : PY + 1] / scene.sums[:, [P]]
    variance = 1.0 / scene.sums[:, P]
    if not len(place):
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64))
    widest = np.zeros(len(scene.unseen))
    np.maximum.at(widest, scene.subject, variance)
    reach = np.sqrt(_APART * (variance + widest[scene.subject]))
    i, j = window_pairs(scene.subject, place[:, 0], reach)
    different = scene.volunteer[i] != scene.volunteer[j]
    i, j = i[different], j[different]
    distance = ((place[i] - place[j]) ** 2).sum(axis=1) / (variance[i] + variance[j])
    near = distance < _APART
    i, j, distance = i[near], j[near], distance[near]
    size = scene.sums[:, RU : RV + 1] / scene.sums[:, [R]]
    distance += ((size[i] - size[j]) ** 2).sum(axis=1) / (1.0 / scene.sums[i, R] + 1.0 / scene.sums[j, R])
    near = distance < _APART
    i, j = np.minimum(i[near], j[near]), np.maximum(i[near], j[near])
    order = np.lexsort((j, i))
    return Pairs(i[order], j[order])


def window_pairs(subject: IntArray, x: FloatArray, reach: FloatArray) -> tuple[IntArray, IntArray]:
    """Pairs of one subject with x of the second between x of the first and x + reach."""
    x = x.clip(-_FARTHEST, _FARTHEST)  # one absurd place must not use up the digits of all others
    order = np.lexsort((x, subject))
    low = x.min()
    step = (x.max() - low) + 2.0 * reach.max() + 1.0
    key = subject[order] * step + (x[order] - low)
    last = np.searchsorted(key, key + reach[order], side="right")
    first = np.arange(len(key)) + 1
    n = np.maximum(last - first, 0)
    start = np.repeat(first - np.r_[0, np.cumsum(n)[:-1]], n)
    return order[np.repeat(first - 1, n)], order[np.arange(int(n.sum())) + start]


def segment_sums(values: FloatArray, group: IntArray, n_groups: int) -> FloatArray:
    """Sum of the rows of each group, in the order of the rows; (n_groups, …)."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    total = np.zeros((n_groups, *values.shape[1:]))
    if len(order):
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        total[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return total


def agree_in_place(scene: Scene, pairs: Pairs) -> IntArray:
    """Merge marks, then groups, that lie together better than apart, each with its best partner; group of each mark.

    Only place and size count here: how many marked a thing says little before the marks are grouped. What still
    grows after some rounds are large groups that take up single marks: these then join several at a time.
    """
    n = len(scene.subject)
    group = np.arange(n)
    sums = scene.sums.copy()
    a, b = pairs.i, pairs.j
    barred = np.zeros(len(a), dtype=bool)
    turn = 0
    while len(a):
        alone = place_evidence(sums, scene.population)
        gain = place_evidence(sums[a] + sums[b], scene.population) - alone[a] - alone[b]
        allowed = (gain > 0) & ~barred
        into = np.arange(n)
        chosen = best_of_both(a, b, gain, allowed, n)
        into[b[chosen]] = a[chosen]
        if turn >= _PAIRWISE_ROUNDS:
            into = _joined(a, b, gain, allowed, into, chosen)
        into, refused = _without_repeats(scene.volunteer, group, into, a, b, chosen)
        barred[refused] = True
        if not len(chosen):
            break
        group = into[group]
        sums = segment_sums(scene.sums, group, n)
        sums[:, P] = np.where(sums[:, P] > 0, sums[:, P], 1.0)  # emptied groups, in no pair any more
        a, b, barred = _merged_pairs(into[a], into[b], barred, n)
        turn += 1
    return compact(group)


def _joined(
    a: IntArray, b: IntArray, gain: FloatArray, allowed: BoolArray, into: IntArray, chosen: IntArray
) -> IntArray:
    """Groups whose best partner is being merged join that merger."""
    rows = np.flatnonzero(allowed)
    best = np.full(len(into), -np.inf)
    np.maximum.at(best, a[rows], gain[rows])
    np.maximum.at(best, b[rows], gain[rows])
    merged = np.zeros(len(into), dtype=bool)
    merged[a[chosen]] = merged[b[chosen]] = True
    into = into.copy()
    for one, other in ((a, b), (b, a)):
        joins = rows[(gain[rows] == best[one[rows]]) & merged[other[rows]] & ~merged[one[rows]]]
        into[one[joins[::-1]]] = into[other[joins[::-1]]]  # of several equal partners the first
    return into


def best_of_both(a: IntArray, b: IntArray, gain: FloatArray, allowed: BoolArray, n: int) -> IntArray:
    """Pairs that are the best of both their groups; among equals the first."""
    best = np.full(n, -np.inf)
    rows = np.flatnonzero(allowed)
    np.maximum.at(best, a[rows], gain[rows])
    np.maximum.at(best, b[rows], gain[rows])
    rows = rows[(gain[rows] == best[a[rows]]) & (gain[rows] == best[b[rows]])]
    first = np.full(n, len(a))
    np.minimum.at(first, a[rows], rows)
    np.minimum.at(first, b[rows], rows)
    chosen: IntArray = rows[(first[a[rows]] == rows) & (first[b[rows]] == rows)]
    return chosen


def _without_repeats(
    volunteer: IntArray, group: IntArray, into: IntArray, a: IntArray, b: IntArray, chosen: IntArray
) -> tuple[IntArray, IntArray]:
    """Mergers (the new number of each group) that hold each volunteer once, and the pairs that cannot be one."""
    into = into.copy()
    twice = _with_repeats(volunteer, into[group])
    if not len(twice):
        return into, chosen[:0]
    # First only the pairs without those that joined them; what still repeats a volunteer is undone and barred.
    undone = np.isin(into, twice)
    into[undone] = np.flatnonzero(undone)
    again = chosen[np.isin(a[chosen], np.flatnonzero(undone))]
    into[b[again]] = a[again]
    twice = _with_repeats(volunteer, into[group])
    refused = again[np.isin(a[again], twice)]
    into[b[refused]] = b[refused]
    return into, refused


def _with_repeats(volunteer: IntArray, group: IntArray) -> IntArray:
    """Groups in which a volunteer has two marks."""
    order = np.lexsort((volunteer, group))
    who, where = volunteer[order], group[order]
    return np.unique(where[1:][(where[1:] == where[:-1]) & (who[1:] == who[:-1])])


def _merged_pairs(a: IntArray, b: IntArray, barred: BoolArray, n: int) -> tuple[IntArray, IntArray, BoolArray]:
    """Pairs between the groups after a merger, each once, barred if any of its pairs was."""
    kept = a != b
    low, high, barred = np.minimum(a, b)[kept], np.maximum(a, b)[kept], barred[kept]
    key, which = np.unique(low * n + high, return_inverse=True)
    any_barred = np.zeros(len(key), dtype=bool)
    any_barred[which[barred]] = True
    return key // n, key % n, any_barred


def compact(group: IntArray) -> IntArray:
    compact: IntArray = np.unique(group, return_inverse=True)[1]
    return compact


def distinct(keys: IntArray) -> IntArray:
    """Distinct keys in order. Sorting beats the hashing of `numpy.unique` where most keys occur once."""
    ordered = np.sort(keys)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered
