"""Local search for the best partition: move a mark, exchange two, unite two groups, split one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregation._box_exact import solve_small
from aggregation._box_model import PX, PY, RU, RV, P, R, Scene, group_value, place_evidence
from aggregation._box_partition import Pairs, agree_in_place, best_of_both, compact, distinct, near_pairs, segment_sums
from aggregation._votes import BoolArray, FloatArray, IntArray

_GAIN = 1e-7  # what rounding alone can make of nothing
_ROUNDS = 60


@dataclass(frozen=True)
class Groups:
    """Sums over the marks of each group, and its value."""

    sums: FloatArray
    seen: FloatArray
    subject: IntArray
    size: IntArray
    value: FloatArray

    @property
    def n(self) -> int:
        return len(self.size)


def collect(scene: Scene, group: IntArray) -> Groups:
    """Groups of a partition given as the compact group number of each mark."""
    n = int(group.max(initial=-1)) + 1
    sums = segment_sums(scene.sums, group, n)
    seen = segment_sums(scene.seen, group, n)
    subject = np.zeros(n, dtype=np.int64)
    subject[group] = scene.subject
    size = np.bincount(group, minlength=n)
    return Groups(sums, seen, subject, size, group_value(sums, seen, subject, scene))


def best_partition(scene: Scene, group: IntArray | None = None) -> IntArray:
    """Group of each mark, exact for components of a few marks, else from a search that begins at `group` if given."""
    pairs = near_pairs(scene)
    if group is None:
        group = agree_in_place(scene, pairs)
    group, settled = solve_small(scene, pairs, group)
    rows = np.flatnonzero(~settled)
    if len(rows):
        part, near, local = _part(scene, pairs, compact(group), rows)
        group[rows] = improve(part, near, local) + group.max() + 1
    return compact(group)


def improve(scene: Scene, pairs: Pairs, group: IntArray) -> IntArray:
    """Change the partition while its total value grows; compact group numbers."""
    group = compact(group)
    active = np.ones(len(scene.unseen), dtype=bool)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(active[scene.subject])
        if not len(rows):
            break
        part, near, local = _part(scene, pairs, group, rows)
        changed = np.zeros(len(active), dtype=bool)
        for step in (_move_marks, _unite_groups, _split_groups):
            local = step(part, near, local, changed)
        # Numbers of the other groups stay below, those of the part follow.
        group = group.copy()
        group[rows] = local + len(group)
        group = compact(group)
        active = changed
    return group


def _part(scene: Scene, pairs: Pairs, group: IntArray, rows: IntArray) -> tuple[Scene, Pairs, IntArray]:
    if len(rows) == len(group):
        return scene, pairs, group
    number = np.full(len(group), -1)
    number[rows] = np.arange(len(rows))
    kept = number[pairs.i] >= 0
    return scene.part(rows), Pairs(number[pairs.i[kept]], number[pairs.j[kept]]), compact(group[rows])


def _move_marks(scene: Scene, pairs: Pairs, group: IntArray, changed: BoolArray) -> IntArray:
    """Move single marks to a near group, out of theirs, or against the same volunteer's mark in a near group."""
    active = np.ones(len(scene.unseen), dtype=bool)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(active[scene.subject])
        if not len(rows):
            break
        part, near, local = _part(scene, pairs, group, rows)
        groups = collect(part, local)
        mark, other, into, gain = _single_moves(part, near, local, groups)
        mine = local[mark]
        good = gain > _GAIN
        chosen = best_of_both(mine, into, gain, good, groups.n)
        active = np.zeros(len(active), dtype=bool)
        active[part.subject[mark[good]]] = True
        if not len(chosen):
            break
        changed |= active
        moved = local.copy()
        leaves = into[chosen] == mine[chosen]
        moved[mark[chosen]] = np.where(leaves, groups.n + np.arange(len(chosen)), into[chosen])
        swapped = chosen[other[chosen] >= 0]
        moved[other[swapped]] = mine[swapped]
        group = group.copy()
        group[rows] = moved + len(group)
        group = compact(group)
    return group


def _single_moves(
    scene: Scene, pairs: Pairs, group: IntArray, groups: Groups
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Mark, mark that it changes places with (or -1), group it goes to (its own: out of it), and gain of each move."""
    n_marks = len(group)
    mark = np.concatenate([pairs.i, pairs.j])
    into = np.concatenate([group[pairs.j], group[pairs.i]])
    key = distinct((mark * groups.n + into)[group[mark] != into])
    mark, into = key // groups.n, key % groups.n
    other = _mark_of_volunteer(scene, group, into, scene.volunteer[mark])
    # Two lone marks of one volunteer have nothing to exchange.
    real = (other < 0) | (groups.size[into] + groups.size[group[mark]] > 2)
    mark, into, other = mark[real], into[real], other[real]
    without = np.zeros(n_marks)
    shared = np.flatnonzero(groups.size[group] > 1)
    without[shared] = _value(scene, groups, group[shared], minus=shared)
    alone = group_value(scene.sums, scene.seen, scene.subject, scene)
    gain = np.empty(len(mark))
    free = np.flatnonzero(other < 0)
    gain[free] = _value(scene, groups, into[free], plus=mark[free]) + without[mark[free]]
    taken = np.flatnonzero(other >= 0)
    gain[taken] = _value(scene, groups, into[taken], plus=mark[taken], minus=other[taken])
    gain[taken] += _value(scene, groups, group[mark[taken]], plus=other[taken], minus=mark[taken])
    gain -= groups.value[into] + groups.value[group[mark]]
    out = without[shared] + alone[shared] - groups.value[group[shared]]
    return (
        np.concatenate([mark, shared]),
        np.concatenate([other, np.full(len(shared), -1)]),
        np.concatenate([into, group[shared]]),
        np.concatenate([gain, out]),
    )


def _value(
    scene: Scene, groups: Groups, which: IntArray, *, plus: IntArray | None = None, minus: IntArray | None = None
) -> FloatArray:
    """Value of groups with a mark more, a mark less, or both."""
    sums, seen = groups.sums[which], groups.seen[which]
    if plus is not None:
        sums, seen = sums + scene.sums[plus], seen + scene.seen[plus]
    if minus is not None:
        sums, seen = sums - scene.sums[minus], seen - scene.seen[minus]
    return group_value(sums, seen, groups.subject[which], scene)


def _mark_of_volunteer(scene: Scene, group: IntArray, wanted_group: IntArray, volunteer: IntArray) -> IntArray:
    """The mark that the volunteer has in the group, -1 if none."""
    n = int(scene.volunteer.max(initial=0)) + 1
    key = group * n + scene.volunteer
    order = np.argsort(key, kind="stable")
    wanted = wanted_group * n + volunteer
    place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    found = order[place]
    return np.where(key[found] == wanted, found, -1)


def _unite_groups(scene: Scene, pairs: Pairs, group: IntArray, changed: BoolArray) -> IntArray:
    """Unite two groups of one place; of two marks of a volunteer the farther one is left over."""
    groups = collect(scene, group)
    a, b = group[pairs.i], group[pairs.j]
    key = distinct((np.minimum(a, b) * groups.n + np.maximum(a, b))[a != b])
    a, b = key // groups.n, key % groups.n
    place = place_evidence(groups.sums, scene.population)
    near = place_evidence(groups.sums[a] + groups.sums[b], scene.population) > place[a] + place[b] - 40.0
    a, b = a[near], b[near]
    if not len(a):
        return group
    mark, pair = _members_of_pairs(group, groups, a, b)
    kept = _nearest_of_each_volunteer(scene, groups.sums[a] + groups.sums[b], mark, pair)
    sums = segment_sums(scene.sums[mark[kept]], pair[kept], len(a))
    seen = segment_sums(scene.seen[mark[kept]], pair[kept], len(a))
    gain = group_value(sums, seen, groups.subject[a], scene) - groups.value[a] - groups.value[b]
    alone = group_value(scene.sums[mark[~kept]], scene.seen[mark[~kept]], scene.subject[mark[~kept]], scene)
    gain += segment_sums(alone, pair[~kept], len(a))
    chosen = best_of_both(a, b, gain, gain > _GAIN, groups.n)
    changed[groups.subject[a[gain > _GAIN]]] = True
    is_chosen = np.zeros(len(a), dtype=bool)
    is_chosen[chosen] = True
    group = group.copy()
    united = is_chosen[pair] & kept
    group[mark[united]] = a[pair[united]]
    left = mark[is_chosen[pair] & ~kept]
    group[left] = groups.n + np.arange(len(left))
    return compact(group)


def _members_of_pairs(group: IntArray, groups: Groups, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Marks of both groups of each pair, and the pair's number."""
    order = np.argsort(group, kind="stable")
    start = np.r_[0, np.cumsum(groups.size)[:-1]]
    which = np.stack([a, b], axis=1).ravel()
    size = groups.size[which]
    first = np.repeat(start[which] - np.r_[0, np.cumsum(size)[:-1]], size)
    return order[first + np.arange(int(size.sum()))], np.repeat(np.arange(len(which)) // 2, size)


def _nearest_of_each_volunteer(scene: Scene, union: FloatArray, mark: IntArray, pair: IntArray) -> BoolArray:
    """For each member of each union, whether it is its volunteer's nearest to the union's centre."""
    centre = union[:, PX : PY + 1] / union[:, [P]]
    place = scene.sums[mark, PX : PY + 1] / scene.sums[mark, P][:, np.newaxis]
    distance = ((place - centre[pair]) ** 2).sum(axis=1)
    order = np.lexsort((distance, scene.volunteer[mark], pair))
    who, of = scene.volunteer[mark][order], pair[order]
    kept = np.zeros(len(mark), dtype=bool)
    kept[order] = np.r_[True, (who[1:] != who[:-1]) | (of[1:] != of[:-1])]
    return kept


def _split_groups(scene: Scene, pairs: Pairs, group: IntArray, changed: BoolArray) -> IntArray:
    """Split groups across the direction in which their marks differ most."""
    groups = collect(scene, group)
    rows = np.flatnonzero(groups.size[group] >= 4)
    if not len(rows):
        return group
    order = _along_main_axis(scene, group, groups, rows)
    rows = rows[order]
    mine = group[rows]
    new = np.r_[True, mine[1:] != mine[:-1]]
    start = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
    sums, seen = _running(scene.sums[rows], start), _running(scene.seen[rows], start)
    rest_sums, rest_seen = groups.sums[mine] - sums, groups.seen[mine] - seen
    inner = np.flatnonzero(~np.r_[new[1:], True])  # the last mark leaves no second part
    gain = group_value(sums[inner], seen[inner], groups.subject[mine[inner]], scene)
    gain += group_value(rest_sums[inner], rest_seen[inner], groups.subject[mine[inner]], scene)
    gain -= groups.value[mine[inner]]
    best = np.full(groups.n, _GAIN)
    np.maximum.at(best, mine[inner], gain)
    cut = np.full(groups.n, -1)
    winner = inner[(gain == best[mine[inner]]) & (gain > _GAIN)]
    cut[mine[winner[::-1]]] = winner[::-1]
    changed[groups.subject[cut >= 0]] = True
    group = group.copy()
    first_part = np.arange(len(rows)) <= cut[mine]
    group[rows[first_part]] = groups.n + mine[first_part]
    return compact(group)


def _along_main_axis(scene: Scene, group: IntArray, groups: Groups, rows: IntArray) -> IntArray:
    """Order of `rows` by group and along its widest direction, in units of the marks' scatter."""
    columns = [PX, PY, RU, RV]
    weights = np.stack([scene.sums[:, P], scene.sums[:, P], scene.sums[:, R], scene.sums[:, R]], axis=1)
    total = np.stack([groups.sums[:, P]] * 2 + [groups.sums[:, R]] * 2, axis=1)
    away = scene.sums[rows][:, columns] / weights[rows] - (groups.sums[:, columns] / total)[group[rows]]
    away *= np.sqrt(weights[rows])
    covariance = segment_sums(away[:, :, np.newaxis] * away[:, np.newaxis, :], group[rows], groups.n)
    used = np.unique(group[rows])
    axis = np.zeros((groups.n, 4))
    axis[used] = np.linalg.eigh(covariance[used])[1][:, :, -1]
    # An axis has no sign of its own; its largest component is taken as positive.
    lead = np.take_along_axis(axis, np.abs(axis).argmax(axis=1)[:, np.newaxis], axis=1)
    along = (away * (axis * np.where(lead < 0, -1.0, 1.0))[group[rows]]).sum(axis=1)
    order: IntArray = np.lexsort((along, group[rows]))
    return order


def _running(values: FloatArray, start: IntArray) -> FloatArray:
    """Sums over the rows from each row's start to itself."""
    total = np.cumsum(values, axis=0)
    return total - np.where(start[:, np.newaxis] > 0, total[start - 1], 0.0)
