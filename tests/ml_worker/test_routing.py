"""Scores decide what is shown first, what is held, and what is shown as a control sample."""

from typing import Any

import numpy as np
import pytest

from ml_worker.routing import bucket_of, cut_for_fraction, routes


def by_subject(scores: Any, **changes: Any) -> dict[int, Any]:
    policy = {"show_above": 0.5, "control_fraction": 0.0, "seed": 7} | changes
    return {r.subject_id: r for r in routes(range(len(scores)), np.asarray(scores, float), **policy)}


def test_buckets_rise_with_the_score_and_span_51_to_99() -> None:
    scores = np.linspace(0, 1, 1001)
    buckets = bucket_of(scores)
    assert (np.diff(buckets) >= 0).all()
    assert buckets.min() == 51
    assert buckets.max() == 99
    assert len(set(buckets.tolist())) == 49


def test_a_score_at_the_cut_is_shown_and_one_below_is_held() -> None:
    found = by_subject([0.5, np.nextafter(0.5, 0)])
    assert not found[0].is_held
    assert found[1].is_held


def test_without_a_control_sample_everything_below_the_cut_is_held() -> None:
    scores = np.random.default_rng(0).random(500)
    found = by_subject(scores, show_above=0.8)
    assert {i for i, r in found.items() if r.is_held} == set(np.flatnonzero(scores < 0.8).tolist())


def test_the_control_sample_has_the_asked_share_of_those_below_the_cut() -> None:
    scores = np.random.default_rng(1).random(20_000)
    found = by_subject(scores, show_above=0.9, control_fraction=0.1)
    controls = [r for r in found.values() if r.is_control]
    n_below = int((scores < 0.9).sum())
    # Binomial: five standard deviations either way.
    assert abs(len(controls) - 0.1 * n_below) < 5 * np.sqrt(0.09 * n_below)
    assert all(scores[r.subject_id] < 0.9 and not r.is_held for r in controls)


def test_control_samples_lie_in_the_queue_as_the_shown_ones_do() -> None:
    scores = np.random.default_rng(2).random(40_000)
    found = by_subject(scores, show_above=0.7, control_fraction=0.3)
    shown = np.array([r.bucket for r in found.values() if not r.is_held and not r.is_control])
    control = np.array([r.bucket for r in found.values() if r.is_control])
    places = np.arange(51, 100)
    gap = np.abs(
        np.searchsorted(np.sort(shown), places, "right") / len(shown)
        - np.searchsorted(np.sort(control), places, "right") / len(control)
    ).max()
    # Kolmogorov–Smirnov at p = 0.001.
    assert gap < 1.95 * np.sqrt(1 / len(shown) + 1 / len(control))


def test_a_subjects_fate_does_not_depend_on_the_order_or_on_the_others() -> None:
    scores = np.random.default_rng(3).random(200)
    whole = by_subject(scores, control_fraction=0.2)
    order = np.random.default_rng(4).permutation(200)
    shuffled = {
        r.subject_id: r for r in routes(order.tolist(), scores[order], show_above=0.5, control_fraction=0.2, seed=7)
    }
    assert whole == shuffled
    half = by_subject(scores[:100], control_fraction=0.2)
    assert {i for i in half if half[i].is_control} == {i for i in range(100) if whole[i].is_control}


def test_another_seed_draws_another_control_sample() -> None:
    scores = np.zeros(1000)
    first, second = (by_subject(scores, control_fraction=0.5, seed=seed) for seed in (1, 2))
    assert {i for i in first if first[i].is_control} != {i for i in second if second[i].is_control}


def test_control_samples_are_shown_even_when_nothing_passes_the_cut() -> None:
    found = by_subject([0.1] * 50, control_fraction=1.0)
    assert all(r.is_control and not r.is_held and r.bucket == 51 for r in found.values())


def test_no_subjects_give_no_routes() -> None:
    assert by_subject([]) == {}


@pytest.mark.parametrize(("fraction", "n_shown"), [(0.0, 0), (0.07, 7), (0.1, 10), (0.101, 11), (1.0, 100)])
def test_a_fraction_lets_that_part_of_the_best_through(fraction: float, n_shown: int) -> None:
    scores = np.random.default_rng(5).permutation(np.linspace(0, 0.99, 100))
    assert (scores >= cut_for_fraction(scores, fraction)).sum() == n_shown


def test_ties_at_the_cut_of_a_fraction_all_pass() -> None:
    assert (np.array([0.2, 0.2, 0.2, 0.1]) >= cut_for_fraction(np.array([0.2, 0.2, 0.2, 0.1]), 0.25)).sum() == 3


def test_without_scores_a_fraction_lets_nothing_through() -> None:
    assert cut_for_fraction(np.empty(0), 0.5) == 1.0
