"""The terms of the box model, by hand and by brute force."""

import itertools

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import beta, gamma, norm

from aggregation import _box_fit, consensus_boxes
from aggregation._box_belief import believe
from aggregation._box_learning import beta_bins, fit_beta, learn_rate, shape_of_gamma
from aggregation._box_model import (
    BINS,
    DETECTABILITY,
    RATES,
    STRAY,
    Field,
    Population,
    Scene,
    group_value,
    mark_sums,
    place_evidence,
)
from aggregation._box_table import tabulate
from benchmarks.marks import simulate_marks

# Nearly uniform where the marks are, so that the approximation g(θ) ≈ g(x̄) is exact.
FLAT = Field(np.zeros(2), 1e8 * np.eye(2), 0.999999, np.log(400.0))
RATE_WEIGHTS = np.arange(len(RATES), 0, -1.0) / np.arange(1, len(RATES) + 1).sum()
POPULATION = Population(beta_bins(4, 2), beta_bins(7, 13), RATE_WEIGHTS, 0.4, FLAT, FLAT, np.zeros(2), 0.2, 0.03, 0.0)

PLACE = np.array([[0.1, 0.2], [0.15, 0.1], [-0.05, 0.3]])
SIZE = np.array([[0.1, -0.1], [0.0, 0.05], [0.2, 0.1]])
VARIANCE = np.array([0.01, 0.02, 0.04])
FALSE_RATE = np.array([0.2, 0.5, 0.1])


def sums_of(rows):
    return mark_sums(PLACE[rows], SIZE[rows], VARIANCE[rows], np.log(FALSE_RATE[rows]), POPULATION)


def test_the_evidence_of_place_is_the_integral_over_the_place_and_size_of_the_object():
    grid = np.linspace(-3, 3, 6001)
    expected = np.log(1 / 400.0)
    for axis in range(2):
        places = norm.pdf(grid[:, None], PLACE[:, axis], np.sqrt(VARIANCE)).prod(axis=1)
        sizes = norm.pdf(grid[:, None], SIZE[:, axis], np.sqrt(0.03)).prod(axis=1) * norm.pdf(grid, 0, np.sqrt(0.2))
        expected += np.log(np.trapezoid(places, grid)) + np.log(np.trapezoid(sizes, grid))
    found = place_evidence(sums_of(range(3)).sum(axis=0, keepdims=True), POPULATION)
    assert found == pytest.approx([expected], abs=1e-5)


def test_the_evidence_of_strays_is_their_rate_times_the_density():
    shape = norm.logpdf(SIZE, 0, np.sqrt(0.2 + 0.03)).sum(axis=1)
    np.testing.assert_allclose(sums_of(range(3))[:, STRAY], np.log(FALSE_RATE / 400.0) + shape, atol=1e-5)


def scene_of(groups, attention):
    """One subject with the given marks; viewers are the three volunteers and as many more as have an attention."""
    rows = [row for group in groups for row in group]
    chance = attention[:, None] * DETECTABILITY
    return Scene(
        subject=np.zeros(len(rows), dtype=int),
        volunteer=np.array(rows),
        sums=sums_of(rows),
        seen=(np.log(chance) - np.log1p(-chance))[rows],
        unseen=np.log1p(-chance).sum(axis=0, keepdims=True),
        log_kinds=np.log(POPULATION.rate * POPULATION.real + 0.4 * POPULATION.decoy),
        population=POPULATION,
    )


ATTENTION = np.array([0.6, 0.8, 0.5, 0.7, 0.9])


def pattern(members, weights):
    """P(just these of the viewers mark it), averaged over detectability."""
    chance = ATTENTION[:, None] * DETECTABILITY
    marked = np.isin(np.arange(5), members)[:, None]
    return weights @ np.where(marked, chance, 1 - chance).prod(axis=0)


def test_three_marks_by_hand():
    """Every term of the value of a group, multiplied out."""
    scene = scene_of([[0, 1, 2]], ATTENTION)
    where = np.exp(place_evidence(scene.sums.sum(axis=0, keepdims=True), POPULATION)[0])
    thing = POPULATION.rate * pattern([0, 1, 2], POPULATION.real) + 0.4 * pattern([0, 1, 2], POPULATION.decoy)
    strays = np.exp(scene.sums[:, STRAY].sum())
    total = scene.sums.sum(axis=0, keepdims=True), scene.seen.sum(axis=0, keepdims=True)
    found = group_value(*total, np.zeros(1, dtype=int), scene)
    assert found == pytest.approx([np.log(where * thing + strays)], abs=1e-9)


def test_the_posterior_is_that_of_all_explanations_together():
    """Each of two groups is an object, a decoy or strays, at each rate: summed over all combinations."""
    groups = [[0, 1], [2]]
    scene = scene_of(groups, ATTENTION)
    belief = believe(scene, np.array([0, 0, 1]))
    sums = np.stack([scene.sums[:2].sum(axis=0), scene.sums[2]])
    where = np.exp(place_evidence(sums, POPULATION))
    none = pattern([], POPULATION.real)
    joint = np.zeros((3, 3))
    for rate, weight in zip(RATES, RATE_WEIGHTS, strict=True):
        terms = np.array(
            [
                [
                    rate * where[k] * pattern(members, POPULATION.real),
                    0.4 * where[k] * pattern(members, POPULATION.decoy),
                    np.exp(sums[k, STRAY]),
                ]
                for k, members in enumerate(groups)
            ]
        )
        for first, second in itertools.product(range(3), repeat=2):
            joint[first, second] += weight * np.exp(-rate * (1 - none)) * terms[0, first] * terms[1, second]
    joint /= joint.sum()
    np.testing.assert_allclose([belief.real[0], belief.decoy[0], belief.stray[0]], joint.sum(axis=1), atol=1e-9)
    np.testing.assert_allclose([belief.real[1], belief.decoy[1], belief.stray[1]], joint.sum(axis=0), atol=1e-9)
    expected_missed = (belief.rates[0] @ RATES) * none
    assert belief.missed_real.sum() == pytest.approx(expected_missed)


def test_the_priors_of_gamma_and_beta_are_recovered_from_their_logarithms():
    sample = gamma.rvs(2.5, size=200_000, random_state=1)
    assert shape_of_gamma(np.log(sample.mean()) - np.log(sample).mean()) == pytest.approx(2.5, rel=0.02)
    for a, b in ((2.2, 6.0), (9.0, 1.2), (0.5, 0.5)):
        moments = digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)
        assert fit_beta(*moments, (1.0, 1.0)) == pytest.approx((a, b), rel=1e-6)
    assert sum(fit_beta(np.log(0.5) - 1e-9, np.log(0.5) - 1e-9, (1.0, 1.0))) <= 500
    np.testing.assert_allclose(beta_bins(3, 2, floor=0), np.diff(beta.cdf(BINS, 3, 2)))


def test_rates_of_people_with_little_to_show_shrink_to_what_is_usual():
    rng = np.random.default_rng(0)
    true = rng.beta(2, 6, 300)
    trials = np.r_[np.full(150, 3), np.full(150, 200)]
    hits = rng.binomial(trials, true).astype(float)
    rate, mean = learn_rate(hits, trials.astype(float))
    assert mean == pytest.approx(0.25, abs=0.03)
    assert np.abs(rate - true)[:150].mean() < np.abs(hits / trials - true)[:150].mean()
    assert np.abs(rate - true)[150:].mean() < 0.03


def test_more_rounds_explain_the_marks_better(monkeypatch):
    marks = simulate_marks(40, 2)
    likelihoods = []
    for rounds in (1, 2, 4, 12):
        monkeypatch.setattr(_box_fit, "_ROUNDS", rounds)
        likelihoods.append(consensus_boxes(marks.subject, marks.volunteer, marks.boxes).log_likelihood)
    assert likelihoods == sorted(likelihoods)


def test_scatter_that_grows_with_the_side_is_learnt():
    """Of large and small things at once; with one scatter for all, large ones would fall apart."""
    rng = np.random.default_rng(7)
    rows = []
    for subject in range(40):
        side = np.exp(rng.normal(3.3, 0.8, 3))
        centre = np.array([[100.0, 100], [300, 100], [200, 300]])
        for volunteer in range(15):
            marked = rng.random(3) < 0.7
            place = centre + rng.normal(0, 0.12, (3, 2)) * side[:, None]
            rows += [(subject, volunteer, *place[k] - side[k] / 2, side[k], side[k]) for k in np.flatnonzero(marked)]
    rows = np.array(rows)
    result = consensus_boxes(rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:])
    assert result.model.population.growth == pytest.approx(1.0, abs=0.1)
    assert np.bincount(result.subject).tolist() == [3] * 40


def test_the_order_of_the_table_depends_on_the_drawings_only():
    marks = simulate_marks(10, 1)
    table = tabulate(marks.subject, marks.volunteer, marks.boxes)
    rng = np.random.default_rng(0)
    of_subject, of_volunteer = rng.permutation(10), rng.permutation(marks.volunteer.max() + 1)
    order = rng.permutation(len(marks.subject))
    other = tabulate(of_subject[marks.subject[order]], of_volunteer[marks.volunteer[order]], marks.boxes[order])
    for name in ("subject", "volunteer", "centre", "size", "viewer_subject", "viewer_volunteer"):
        np.testing.assert_array_equal(getattr(other, name), getattr(table, name), err_msg=name)
    np.testing.assert_array_equal(other.subject_code, of_subject[table.subject_code])
    np.testing.assert_array_equal(other.volunteer_code, of_volunteer[table.volunteer_code])


def test_subjects_and_volunteers_that_drew_alike_are_ordered_by_whom_they_met():
    rng = np.random.default_rng(3)
    seen = rng.random((12, 9)) < 0.5
    subject, volunteer = np.nonzero(seen)
    boxes = np.where((rng.random(len(subject)) < 0.7)[:, None], [5.0, 5, 9, 9], np.nan)
    table = tabulate(subject, volunteer, boxes)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        of_subject, of_volunteer = rng.permutation(12), rng.permutation(9)
        order = rng.permutation(len(subject))
        other = tabulate(of_subject[subject[order]], of_volunteer[volunteer[order]], boxes[order])
        np.testing.assert_array_equal(other.viewer_volunteer, table.viewer_volunteer)
        np.testing.assert_array_equal(other.subject_code, of_subject[table.subject_code])
        np.testing.assert_array_equal(other.volunteer_code, of_volunteer[table.volunteer_code])
