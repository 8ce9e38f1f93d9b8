import numpy as np
import pytest

from aggregation import kappa_report, mean_absolute_level_error, quadratic_weighted_kappa


def slow_kappa(a, b, n_levels):
    """From the table of observed and of expected pairs (Cohen 1968)."""
    observed = np.zeros((n_levels, n_levels))
    np.add.at(observed, (a, b), 1)
    weight = np.subtract.outer(np.arange(n_levels), np.arange(n_levels)) ** 2
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / observed.sum()
    return 1 - (weight * observed).sum() / (weight * expected).sum()


def gradings(n_subjects, seed, error=(-1, 0, 0, 1)):
    rng = np.random.default_rng(seed)
    first = rng.choice(4, n_subjects, p=[0.4, 0.3, 0.2, 0.1])
    return first, np.clip(first + rng.choice(error, n_subjects), 0, 3)


def test_kappa_equals_the_slow_reference():
    a, b = gradings(200, seed=0)
    assert quadratic_weighted_kappa(a, b) == pytest.approx(slow_kappa(a, b, 4))


def test_kappa_of_agreement_of_opposition_and_of_chance():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 10_000)
    assert quadratic_weighted_kappa(a, a) == 1
    assert quadratic_weighted_kappa(a, 3 - a) < -0.99
    assert abs(quadratic_weighted_kappa(a, rng.permutation(a))) < 0.05


def test_kappa_leaves_out_what_has_no_place_on_the_scale():
    assert quadratic_weighted_kappa([0, 1, 3, 4, -1], [0, 1, 3, 0, 3]) == 1
    assert np.isnan(quadratic_weighted_kappa([], []))
    assert np.isnan(quadratic_weighted_kappa([2, 2], [2, 2]))
    assert np.isnan(quadratic_weighted_kappa([4], [1]))


def test_error_in_levels():
    assert mean_absolute_level_error([0.5, 3.0, np.nan, 1.0, 2.0], [1, 3, 2, -1, 4]) == 0.25
    assert np.isnan(mean_absolute_level_error([], []))


def test_the_report_equals_kappas_one_by_one():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 120)
    table = np.clip(truth[:, None] + rng.integers(-1, 2, (120, 5)), 0, 3)
    table[rng.random(table.shape) < 0.3] = -1
    subject, grader = np.nonzero(table >= 0)
    report = kappa_report(subject, grader, table[subject, grader])
    for j in range(5):
        others = [np.sort(row[row >= 0]) for row in np.delete(table, j, axis=1)]
        median = np.array([row[(len(row) - 1) // 2] if len(row) else -1 for row in others])
        assert report.kappa[j] == pytest.approx(quadratic_weighted_kappa(table[:, j], median))
        assert report.n_compared[j] == ((table[:, j] >= 0) & (median >= 0)).sum()
    pairs = [(i, j) for i in range(5) for j in range(i)]
    common = [((table[:, i] >= 0) & (table[:, j] >= 0)).sum() for i, j in pairs]
    kappas = [quadratic_weighted_kappa(table[:, i], table[:, j]) for i, j in pairs]
    assert report.pairwise_mean == pytest.approx(np.average(kappas, weights=common))
    assert report.n_pairs == 10
    assert report.pairwise_low < report.pairwise_mean < report.pairwise_high


def test_the_interval_covers_the_true_kappa_as_often_as_it_says():
    truth = quadratic_weighted_kappa(*gradings(200_000, seed=0))
    inside = []
    for seed in range(200):
        grades = np.concatenate(gradings(80, seed))
        report = kappa_report(np.tile(np.arange(80), 2), np.repeat([0, 1], 80), grades, level=0.9)
        inside.append(report.low[0] <= truth <= report.high[0])
    assert 0.84 < np.mean(inside) < 0.96


def test_a_grader_alone_has_nothing_to_compare():
    report = kappa_report([0, 1], [0, 0], [1, 2], n_graders=2)
    assert np.isnan(report.kappa).all()
    assert np.isnan(report.pairwise_mean)
    assert report.n_compared.tolist() == [0, 0]
    assert report.n_pairs == 0
    assert kappa_report([], [], []).kappa.shape == (0,)


def test_the_escape_class_is_left_out_of_the_report():
    with_escape = kappa_report([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [0, 0, 3, 3, 4, 0])
    assert with_escape.n_compared.tolist() == [2, 2]
    assert with_escape.kappa.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quadratic_weighted_kappa([0], [0, 1]), "same subjects"),
        (lambda: quadratic_weighted_kappa([5], [0]), r"a\[0\] is 5"),
        (lambda: quadratic_weighted_kappa([0], [-2]), r"b\[0\] is -2"),
        (lambda: mean_absolute_level_error([0.5], [0, 1]), "one truth per expected level"),
        (lambda: kappa_report([0], [0], [0], 0), "n_levels must be at least 1"),
        (lambda: kappa_report([0], [0], [0], level=1), "level must be between 0 and 1"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_levels_must_be_codes():
    with pytest.raises(TypeError, match="a must be a list of integer level codes"):
        quadratic_weighted_kappa([0.5], [0])
