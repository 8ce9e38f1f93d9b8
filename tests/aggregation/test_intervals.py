import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import beta_interval, wilson_interval


def test_beta_interval_equals_published_values():
    # Brown, Cai & DasGupta 2001, section 4.1 and table 5: Jeffreys' 95 % interval.
    low, high = beta_interval([0, 1, 5, 10], [10, 10, 10, 10])
    np.testing.assert_allclose(low, [0.0, 0.011, 0.224, 0.783], atol=6e-4)
    np.testing.assert_allclose(high, [0.217, 0.381, 0.776, 1.0], atol=6e-4)


def test_beta_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    chance = rng.beta(2, 3, 20_000)
    low, high = beta_interval(rng.binomial(20, chance), np.full(20_000, 20), 0.9, prior=(2, 3))
    assert np.mean((low <= chance) & (chance <= high)) == pytest.approx(0.9, abs=0.01)


def test_beta_interval_without_votes_knows_nothing_and_refuses_nonsense():
    low, high = beta_interval([0], [0])
    assert (low[0], high[0]) == (0.0, 1.0)
    for count, level, prior in ((2, 0.9, (0.5, 0.5)), (1, 1.0, (0.5, 0.5)), (1, 0.9, (0, 1))):
        with pytest.raises(ValueError, match="must"):
            beta_interval(count, 1, level, prior)


def test_wilson_interval_equals_published_values():
    # Newcombe 1998, Statistics in Medicine 17, 857, table I: 81/263, 15/148, 0/20, 1/29
    low, high = wilson_interval([81, 15, 0, 1], [263, 148, 20, 29])
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)


def test_wilson_interval_without_votes_knows_nothing():
    low, high = wilson_interval([0], [0])
    assert (low[0], high[0]) == (0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.5, 0.999))
def test_wilson_interval_holds_the_fraction_and_mirrors(n, share, level):
    count = int(share * n)
    low, high = wilson_interval(count, n, level)
    assert 0 <= low <= count / n + 1e-12
    assert count / n - 1e-12 <= high <= 1
    mirrored_low, mirrored_high = wilson_interval(n - count, n, level)
    np.testing.assert_allclose([mirrored_low, mirrored_high], [1 - high, 1 - low], atol=1e-12)


@pytest.mark.parametrize(("count", "n", "level"), [(2, 1, 0.9), (-1, 1, 0.9), (1, 1, 1.0), (1, 1, 0.0)])
def test_wilson_interval_refuses_nonsense(count, n, level):
    with pytest.raises(ValueError, match="must lie between"):
        wilson_interval(count, n, level)
