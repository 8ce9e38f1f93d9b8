import json

import numpy as np
import pytest
from scipy.special import expit, logit

from aggregation import (
    CALIBRATIONS,
    CalibrationMap,
    cross_calibrated,
    expected_calibration_error,
    fit_calibration,
    log_loss,
)

KINDS = [kind for kind in CALIBRATIONS if kind != "identity"]


def overconfident(n, n_answers, heat, seed):
    """Truths drawn from a posterior, and that posterior made too sure of itself."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet(np.full(n_answers, 0.7), n)
    honest = (honest + 1e-3) / (honest + 1e-3).sum(axis=1, keepdims=True)
    truth = (rng.random(n)[:, None] > honest.cumsum(axis=1)).sum(axis=1).clip(0, n_answers - 1)
    sharp = honest**heat
    return sharp / sharp.sum(axis=1, keepdims=True), truth, honest


@pytest.mark.parametrize("kind", [*KINDS, "auto"])
def test_every_kind_repairs_an_overconfident_posterior_on_subjects_it_never_saw(kind):
    p, truth, honest = overconfident(6000, 3, heat=4.0, seed=0)
    fitted = fit_calibration(p[:3000], truth[:3000], kind)
    q = fitted.apply(p[3000:])
    assert q.sum(axis=1) == pytest.approx(1)
    assert log_loss(p[3000:], truth[3000:]) > 1.4 * log_loss(honest[3000:], truth[3000:])
    assert log_loss(q, truth[3000:]) < 1.05 * log_loss(honest[3000:], truth[3000:])
    assert expected_calibration_error(q, truth[3000:]) < 0.035


def test_the_temperature_is_the_one_that_spoilt_the_posterior():
    p, truth, _ = overconfident(20_000, 4, heat=3.0, seed=1)
    assert fit_calibration(p, truth, "temperature").temperature == pytest.approx(3.0, rel=0.05)


def test_the_beta_parameters_are_recovered():
    rng = np.random.default_rng(2)
    p = rng.uniform(0.001, 0.999, 40_000)
    a, b, c = 0.4, 1.3, 0.5
    truth = (rng.random(len(p)) < expit(a * np.log(p) - b * np.log(1 - p) + c)).astype(int)
    fitted = fit_calibration(np.stack([1 - p, p], axis=1), truth, "beta")
    assert fitted.beta[1] == pytest.approx([a, b, c], abs=0.06)
    # The other answer is the mirror image: a and b change places and c its sign.
    assert fitted.beta[0] == pytest.approx([b, a, -c], abs=0.06)


def test_the_isotonic_map_is_increasing_and_never_certain():
    p, truth, _ = overconfident(400, 2, heat=5.0, seed=3)
    fitted = fit_calibration(p, truth, "isotonic")
    for knots in fitted.knots:
        assert (np.diff(knots[0]) > 0).all()
        assert (np.diff(knots[1]) >= 0).all()
        assert knots[1].min() > 0
        assert knots[1].max() < 1
    assert fitted.apply([[0.0, 1.0]]).max() < 1


def test_a_posterior_that_means_what_it_says_is_mostly_left_alone():
    fits = []
    for seed in range(10):
        p, truth, _ = overconfident(500, 3, heat=1.0, seed=seed)
        fits.append(fit_calibration(p, truth))
        assert set(fits[-1].log_loss) == set(CALIBRATIONS)
    assert sum(each.kind == "identity" for each in fits) >= 7
    untouched = next(each for each in fits if each.kind == "identity")
    np.testing.assert_array_equal(untouched.apply(p), p)


def test_auto_says_what_it_compared():
    p, truth, _ = overconfident(1500, 3, heat=4.0, seed=5)
    fitted = fit_calibration(p, truth)
    assert fitted.kind != "identity"
    assert fitted.log_loss[fitted.kind] < 0.9 * fitted.log_loss["identity"]
    assert f"uncalibrated {fitted.log_loss['identity']:.3f}" in fitted.reason


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        (np.zeros(0, int), "0 gold subjects are fewer than 20"),
        (np.tile([0, 1], 9), "18 gold subjects are fewer than 20"),
        (np.zeros(50, int), "gold has 5 subjects of fewer than two answers"),
        (np.repeat([0, 1], [46, 4]), "gold has 5 subjects of fewer than two answers"),
    ],
)
@pytest.mark.parametrize("kind", ["auto", "beta"])
def test_too_little_gold_changes_nothing_and_says_so(truth, reason, kind):
    gold = np.concatenate([truth, [-1, -1]])
    p, _, _ = overconfident(len(gold), 2, heat=4.0, seed=6)
    result = cross_calibrated(p, gold, kind)
    assert (result.map.kind, result.map.reason) == ("identity", reason)
    np.testing.assert_array_equal(result.posterior, p)


@pytest.mark.parametrize("kind", ["beta", "isotonic"])
def test_an_answer_that_gold_hardly_shows_keeps_its_probability_until_the_row_is_normalised(kind):
    p, truth, _ = overconfident(900, 3, heat=4.0, seed=7)
    truth[truth == 2] = 0
    fitted = fit_calibration(p, truth, kind)
    assert fitted.learnt.tolist() == [True, True, False]
    q = fitted.apply(p)
    assert q.sum(axis=1) == pytest.approx(1)
    raw = q / q[:, [2]] * p[:, [2]]  # before normalising
    assert np.isfinite(raw[p[:, 2] > 0.01]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_gold_subject_never_meets_a_map_that_has_seen_it(kind):
    p, truth, _ = overconfident(30, 2, heat=4.0, seed=8)
    left_out = cross_calibrated(p, truth, kind, folds=30).posterior
    for subject in range(30):
        others = np.arange(30) != subject
        alone = fit_calibration(p[others], truth[others], kind).apply(p[[subject]])
        np.testing.assert_allclose(left_out[[subject]], alone, atol=1e-9)


def test_equal_gold_subjects_get_equal_posteriors():
    p, truth, _ = overconfident(40, 2, heat=4.0, seed=9)
    p, truth = np.repeat(p, 3, axis=0), np.repeat(truth, 3)
    calibrated = cross_calibrated(p, truth, "isotonic").posterior
    np.testing.assert_array_equal(calibrated[::3], calibrated[1::3])
    np.testing.assert_array_equal(calibrated[::3], calibrated[2::3])


def test_other_subjects_get_the_map_of_all_gold():
    p, truth, _ = overconfident(500, 3, heat=4.0, seed=9)
    gold = np.where(np.arange(500) < 300, truth, -1)
    result = cross_calibrated(p, gold, "beta")
    np.testing.assert_array_equal(result.posterior[300:], result.map.apply(p[300:]))
    assert np.abs(result.posterior[:300] - result.map.apply(p[:300])).max() > 1e-4
    assert result.map.n_gold == 300


@pytest.mark.parametrize("kind", [*KINDS, "auto"])
def test_the_order_of_the_subjects_does_not_matter(kind):
    p, truth, _ = overconfident(300, 3, heat=4.0, seed=10)
    p = p.round(2) + 1e-9
    p /= p.sum(axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(300)
    here, there = cross_calibrated(p, truth, kind), cross_calibrated(p[order], truth[order], kind)
    assert here.map.kind == there.map.kind
    np.testing.assert_allclose(there.posterior, here.posterior[order], atol=1e-6)


def test_sums_taken_in_another_order_do_not_divide_equal_subjects():
    p, truth, _ = overconfident(60, 2, heat=4.0, seed=15)
    p, truth = np.repeat(p, 4, axis=0), np.repeat(truth, 4)
    noisy = p * (1 + 1e-14 * np.random.default_rng(0).normal(size=p.shape))
    here, there = (cross_calibrated(each, truth, "isotonic").posterior for each in (p, noisy))
    np.testing.assert_allclose(there, here, atol=1e-9)


def test_more_folds_than_gold_is_leave_one_out():
    p, truth, _ = overconfident(25, 2, heat=4.0, seed=16)
    many, one_each = (cross_calibrated(p, truth, "beta", folds=folds).posterior for folds in (100, 25))
    np.testing.assert_allclose(many, one_each, atol=1e-12)


def test_beta_and_temperature_keep_the_order_of_rare_lenses():
    rng = np.random.default_rng(11)
    truth = (rng.random(4000) < 0.02).astype(int)
    p1 = expit(3 * rng.normal(4 * truth - 6, 1.5))
    p = np.stack([1 - p1, p1], axis=1)
    for kind in ("temperature", "beta"):
        q = fit_calibration(p, truth, kind).apply(p)[:, 1]
        assert (np.diff(q[np.argsort(p1)]) >= 0).all()
        assert logit(q[p1 < 1e-8]).std() > 0.1


def test_a_map_survives_being_stored_as_json():
    p, truth, _ = overconfident(300, 3, heat=4.0, seed=12)
    for kind in CALIBRATIONS:
        fitted = fit_calibration(p, truth, kind)
        again = CalibrationMap.from_dict(json.loads(json.dumps(fitted.to_dict())))
        np.testing.assert_array_equal(again.apply(p), fitted.apply(p))


def test_certainties_and_no_rows_are_defined():
    p, truth, _ = overconfident(200, 2, heat=4.0, seed=13)
    for kind in KINDS:
        fitted = fit_calibration(p, truth, kind)
        assert np.isfinite(fitted.apply([[1.0, 0.0], [0.0, 1.0]])).all()
        assert fitted.apply(np.empty((0, 2))).shape == (0, 2)


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="kind must be auto or one of identity, temperature, beta, isotonic"):
        fit_calibration([[0.5, 0.5]], [0], "platt")
    with pytest.raises(ValueError, match=r"posterior\[1\] is \[0.5, 0.4\]"):
        fit_calibration([[0.5, 0.5], [0.5, 0.4]], [0, 0])
    with pytest.raises(ValueError, match=r"gold\[0\] is 2"):
        fit_calibration([[0.5, 0.5]], [2])
    with pytest.raises(ValueError, match="folds must be at least 2"):
        cross_calibrated([[0.5, 0.5]], [0], folds=1)
    p, truth, _ = overconfident(100, 2, heat=4.0, seed=14)
    with pytest.raises(ValueError, match="the map is for 2 answers, the posterior has 3"):
        fit_calibration(p, truth).apply([[0.2, 0.3, 0.5]])
