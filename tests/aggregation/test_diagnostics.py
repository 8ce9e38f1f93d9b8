import numpy as np
import pytest

from aggregation import (
    accuracy,
    auc,
    balanced_accuracy,
    bootstrap_interval,
    brier,
    completeness_at_false_positive_rate,
    diagnose,
    expected_calibration_error,
    log_loss,
    wilson_interval,
)

POSTERIOR_METRICS = [accuracy, balanced_accuracy, log_loss, brier]
RANKING_METRICS = [auc, completeness_at_false_positive_rate]


def calibrated_sample(n, n_answers, seed):
    """A posterior that means what it says, and truths drawn from it."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n_answers, 0.5), n).round(2)
    p = (p + 1e-4) / (p + 1e-4).sum(axis=1, keepdims=True)
    return p, (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(0, n_answers - 1)


@pytest.mark.parametrize("metric", POSTERIOR_METRICS)
def test_the_fast_way_equals_computing_the_metric_of_every_resample(metric):
    p, truth = calibrated_sample(80, 3, seed=1)
    fast = bootstrap_interval(metric, p, truth, n=50)
    slow = bootstrap_interval(lambda table, answers: metric(table, answers), p, truth, n=50)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


@pytest.mark.parametrize("metric", RANKING_METRICS)
def test_the_fast_way_equals_ranking_every_resample_ties_included(metric):
    p, truth = calibrated_sample(80, 2, seed=2)
    score = p[:, 1].round(1)
    fast = bootstrap_interval(metric, score, truth == 1, n=50)
    slow = bootstrap_interval(lambda s, positive: metric(s, positive), score, truth == 1, n=50)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.4, 1.0])
def test_completeness_at_any_rate_equals_ranking_every_resample(rate):
    p, truth = calibrated_sample(80, 2, seed=9)
    p = p.round(1)
    fast = diagnose(p, truth, n=50, rate=rate).completeness[1]
    slow = bootstrap_interval(
        lambda table, answers: completeness_at_false_positive_rate(table[:, 1], answers == 1, rate), p, truth, n=50
    )
    assert fast.value == slow.value
    if fast.value < 1:  # else the interval is Wilson's
        assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high))


def test_intervals_cover_the_true_accuracy_and_auc_about_as_often_as_they_say():
    big_p, big_truth = calibrated_sample(20_000, 2, seed=3)
    want = accuracy(big_p, big_truth), auc(big_p[:, 1], big_truth)
    covered = np.zeros(2)
    for trial in range(40):
        rows = slice(150 * trial, 150 * (trial + 1))
        p, truth = big_p[rows], big_truth[rows]
        estimates = bootstrap_interval(accuracy, p, truth, n=200), bootstrap_interval(auc, p[:, 1], truth, n=200)
        covered += [each.low <= value <= each.high for each, value in zip(estimates, want, strict=True)]
    assert (covered >= 34).all(), covered


def test_the_interval_shrinks_with_the_square_root_of_the_number_of_subjects():
    widths = []
    for n in (400, 6400):
        p, truth = calibrated_sample(n, 3, seed=4)
        estimate = bootstrap_interval(log_loss, p, truth, n=300)
        widths.append(estimate.high - estimate.low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)


def test_always_right_is_no_certainty():
    p, truth = np.tile([[0.9, 0.1]], (12, 1)), np.zeros(12, int)
    estimate = bootstrap_interval(accuracy, p, truth, n=50)
    low, _ = wilson_interval(12, 12)
    assert (estimate.value, estimate.low, estimate.high) == (1.0, pytest.approx(float(low)), 1.0)
    score = np.concatenate([np.ones(5), np.zeros(500)])
    found = bootstrap_interval(completeness_at_false_positive_rate, score, score, n=50)
    assert found.value == 1.0
    assert found.low == pytest.approx(float(wilson_interval(5, 5)[0]))


def test_the_interval_of_the_calibration_error_is_not_moved_up_by_the_resampling():
    p, truth = calibrated_sample(4000, 3, seed=5)
    estimate = bootstrap_interval(expected_calibration_error, p, truth, n=200)
    assert estimate.low < estimate.value / 2 < estimate.value <= estimate.high < 2 * estimate.value


def test_resamples_without_a_positive_do_not_count():
    estimate = bootstrap_interval(auc, np.arange(20.0), np.arange(20) == 18, n=200)
    assert estimate.value == pytest.approx(18 / 19)
    assert 0.6 < estimate.low <= estimate.high <= 1


def test_diagnose_gives_every_metric_of_the_known_subjects():
    p, truth = calibrated_sample(300, 3, seed=6)
    truth[::4] = -1
    known = truth >= 0
    result = diagnose(p, truth, n=60, rate=0.05, level=0.9)
    assert result.n_subjects == known.sum() == result.n_true.sum() == result.confusion.sum()
    for estimate, metric in [
        (result.accuracy, accuracy),
        (result.balanced_accuracy, balanced_accuracy),
        (result.log_loss, log_loss),
        (result.brier, brier),
        (result.calibration_error, expected_calibration_error),
    ]:
        assert estimate.value == metric(p, truth)
        assert estimate.low < estimate.value < estimate.high or metric is expected_calibration_error
    for k in range(3):
        score, positive = p[known, k], truth[known] == k
        assert result.auc[k].value == auc(score, positive)
        assert result.completeness[k].value == completeness_at_false_positive_rate(score, positive, 0.05)
        assert result.completeness[k].low <= result.completeness[k].value <= result.completeness[k].high
        assert result.answer_reliability[k].n.sum() == known.sum()
    alone = bootstrap_interval(log_loss, p, truth, n=60, level=0.9)
    assert (result.log_loss.low, result.log_loss.high) == (alone.low, alone.high)


def test_figures_have_names_for_a_table():
    result = diagnose([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], n=20)
    figures = result.figures(["no lens", "lens"])
    assert figures["accuracy"] is result.accuracy
    assert figures["AUC of lens"] is result.auc[1]
    assert figures["completeness of lens at false-positive rate 0.001"] is result.completeness[1]
    with pytest.raises(ValueError, match="2 answers need as many names, got 1"):
        result.figures(["lens"])


def test_without_known_truth_every_figure_is_undefined():
    for p, truth in [([[0.5, 0.5]], [-1]), (np.empty((0, 2)), np.empty(0, int))]:
        result = diagnose(p, truth, n=5)
        assert result.n_subjects == 0
        for estimate in result.figures(["a", "b"]).values():
            assert np.isnan([estimate.value, estimate.low, estimate.high]).all()


def test_one_known_subject_is_defined():
    result = diagnose([[0.7, 0.3]], [0], n=20)
    assert result.accuracy.value == 1.0
    assert result.accuracy.low < 0.3
    assert result.log_loss.low == result.log_loss.high == pytest.approx(-np.log(0.7))
    assert np.isnan(result.auc[0].value)


def test_an_answer_that_is_never_true_has_no_auc_but_the_others_have():
    p, truth = calibrated_sample(60, 3, seed=7)
    result = diagnose(p, np.minimum(truth, 1), n=20)
    assert np.isnan(result.auc[2].value)
    assert result.auc[0].value > 0.5


def test_the_same_seed_gives_the_same_interval():
    p, truth = calibrated_sample(50, 2, seed=8)
    first, again, other = (bootstrap_interval(brier, p, truth, n=40, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="at least 1 resample, got 0"):
        bootstrap_interval(accuracy, [[1.0, 0.0]], [0], n=0)
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
        diagnose([[1.0, 0.0]], [0], level=95)
    with pytest.raises(ValueError, match="false-positive rate"):
        diagnose([[1.0, 0.0]], [0], rate=2)
    with pytest.raises(ValueError, match="one truth per prediction"):
        bootstrap_interval(lambda p, t: 0.0, [1, 2], [1])
