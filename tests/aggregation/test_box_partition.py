"""The local search for the best partition, against all partitions there are."""

import numpy as np
import pytest

from aggregation._box_exact import LARGEST
from aggregation._box_learning import beta_bins
from aggregation._box_model import DETECTABILITY, RATES, Field, Population, Scene, group_value, mark_sums
from aggregation._box_partition import agree_in_place, near_pairs
from aggregation._box_search import best_partition, improve

FIELD = Field(np.zeros(2), 4.0 * np.eye(2), 0.2, np.log(100.0))
POPULATION = Population(
    real=beta_bins(4, 2),
    decoy=beta_bins(7, 13),
    rate_weights=np.full(len(RATES), 1 / len(RATES)),
    decoy_rate=0.3,
    objects=FIELD,
    strays=FIELD,
    size_mean=np.zeros(2),
    size_spread=0.1,
    size_variance=0.02,
    growth=0.0,
)


def scene_of(rng, n_marks, n_volunteers, n_viewers, n_things):
    """Marks on one subject around some things close to each other, some of them strays, volunteers drawn at random."""
    things = rng.normal(0, 0.4, (n_things, 2))
    of = rng.integers(0, n_things, n_marks)
    scatter = rng.uniform(0.05, 0.2, n_volunteers)
    volunteer = rng.integers(0, n_volunteers, n_marks)
    place = np.where(
        rng.random((n_marks, 1)) < 0.2,
        rng.normal(0, 1.5, (n_marks, 2)),
        things[of] + rng.normal(0, 1, (n_marks, 2)) * scatter[volunteer, None],
    )
    size = rng.normal(0, 0.15, (n_marks, 2))
    attention, stray = rng.uniform(0.3, 0.9, n_viewers), rng.uniform(0.1, 1.0, n_volunteers)
    chance = attention[:, None] * DETECTABILITY
    odds = np.log(chance) - np.log1p(-chance)
    return Scene(
        subject=np.zeros(n_marks, dtype=int),
        volunteer=volunteer,
        sums=mark_sums(place, size, scatter[volunteer] ** 2, np.log(stray[volunteer]), POPULATION),
        seen=odds[volunteer],
        unseen=np.log1p(-chance).sum(axis=0, keepdims=True),
        log_kinds=np.log(2 * POPULATION.real + POPULATION.decoy_rate * POPULATION.decoy),
        population=POPULATION,
    )


def subset_values(scene):
    """Value of every set of marks, by the bits of its number; -inf where a volunteer is in it twice."""
    n = len(scene.subject)
    bits = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    values = np.full(2**n, -np.inf)
    values[1:] = group_value(bits @ scene.sums, bits @ scene.seen, np.zeros(len(bits), dtype=int), scene)
    per_volunteer = bits @ (scene.volunteer[:, None] == np.unique(scene.volunteer)).astype(int)
    values[1:][(per_volunteer > 1).any(axis=1)] = -np.inf
    return values


def best_total(values, n):
    """Largest total over all partitions, by dynamic programming over subsets."""
    best = np.full(2**n, -np.inf)
    best[0] = 0.0
    for whole in range(1, 2**n):
        lowest = whole & -whole
        rest = whole ^ lowest
        part = rest
        while True:  # all subsets of the rest, each together with the lowest bit
            chosen = part | lowest
            best[whole] = max(best[whole], values[chosen] + best[whole ^ chosen])
            if not part:
                break
            part = (part - 1) & rest
    return best[-1]


def found_total(scene, values, search):
    group = search(scene)
    for number in range(group.max() + 1):
        members = scene.volunteer[group == number]
        assert len(set(members.tolist())) == len(members)
    return sum(values[(1 << np.flatnonzero(group == number)).sum()] for number in range(group.max() + 1))


def local_search(scene):
    pairs = near_pairs(scene)
    return improve(scene, pairs, agree_in_place(scene, pairs))


def gaps_of(search, sizes, n_things):
    """How far the search stays behind the best total, on 40 problems."""
    rng = np.random.default_rng(n_things)
    gaps = []
    for n in rng.choice(sizes, 40):
        scene = scene_of(rng, int(n), 8, 12, n_things)
        values = subset_values(scene)
        gaps.append(best_total(values, int(n)) - found_total(scene, values, search))
    assert min(gaps) > -1e-6
    return np.array(gaps)


@pytest.mark.parametrize("n_things", [1, 2, 3])
def test_few_marks_are_put_into_the_best_of_all_partitions(n_things):
    assert gaps_of(best_partition, range(1, LARGEST + 1), n_things).max() < 1e-6


@pytest.mark.parametrize("n_things", [1, 2, 3])
def test_the_local_search_is_nearly_always_as_good_as_the_best(n_things):
    gaps = gaps_of(local_search, range(2, 10), n_things)
    assert (gaps < 1e-6).mean() >= 0.9
    assert gaps.mean() < 0.1


def test_subjects_are_solved_apart():
    rng = np.random.default_rng(4)
    alone = [scene_of(rng, n, 8, 12, 2) for n in (3, 6, 9, 12, 1)]
    together = Scene(
        subject=np.repeat(np.arange(5), [len(scene.subject) for scene in alone]),
        volunteer=np.concatenate([scene.volunteer for scene in alone]),
        sums=np.concatenate([scene.sums for scene in alone]),
        seen=np.concatenate([scene.seen for scene in alone]),
        unseen=np.concatenate([scene.unseen for scene in alone]),
        log_kinds=alone[0].log_kinds,
        population=POPULATION,
    )
    group = best_partition(together)
    for number, scene in enumerate(alone):
        mine = np.unique(group[together.subject == number], return_inverse=True)[1]
        same = mine[:, None] == mine
        expected = best_partition(scene)
        np.testing.assert_array_equal(same, expected[:, None] == expected)


def test_many_marks_in_one_place_are_one_group():
    rng = np.random.default_rng(6)
    scene = scene_of(rng, 60, 60, 60, 1)
    scene = Scene(**{**vars(scene), "volunteer": np.arange(60)})
    group = best_partition(scene)
    assert np.bincount(group).max() > 40
