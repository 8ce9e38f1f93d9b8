import numpy as np
import pytest

from aggregation import (
    accuracy,
    auc,
    balanced_accuracy,
    brier,
    completeness_at_false_positive_rate,
    completeness_curve,
    confusion_counts,
    expected_calibration_error,
    log_loss,
    reliability,
    wilson_interval,
)

SCORES = [accuracy, balanced_accuracy, brier, log_loss, expected_calibration_error]
PERFECT = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_perfect_posterior_scores_perfectly():
    assert [score(PERFECT, [0, 2]) for score in SCORES] == pytest.approx([1, 1, 0, 0, 0])


def test_a_certain_error_costs_the_clip_and_no_more():
    assert [score(PERFECT, [1, 1]) for score in SCORES] == pytest.approx([0, 0, 2, -np.log(1e-6), 1])


def test_hand_computed_values():
    posterior, truth = [[0.7, 0.3], [0.4, 0.6], [0.8, 0.2]], [0, 0, 0]
    assert accuracy(posterior, truth) == pytest.approx(2 / 3)
    assert brier(posterior, truth) == pytest.approx((2 * 0.09 + 2 * 0.36 + 2 * 0.04) / 3)
    assert log_loss(posterior, truth) == pytest.approx(-np.log([0.7, 0.4, 0.8]).mean())
    # One subject per bin: |.7 - 1|, |.6 - 0|, |.8 - 1|.
    assert expected_calibration_error(posterior, truth) == pytest.approx((0.3 + 0.6 + 0.2) / 3)


@pytest.mark.parametrize("score", SCORES)
def test_subjects_of_unknown_truth_are_left_out(score):
    posterior = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    assert score(posterior, [0, 0, -1]) == score(posterior[:2], [0, 0])


@pytest.mark.parametrize("score", SCORES)
def test_without_any_truth_the_score_is_undefined(score):
    assert np.isnan(score([[0.5, 0.5]], [-1]))
    assert np.isnan(score(np.empty((0, 2)), np.empty(0, int)))


@pytest.mark.parametrize("score", SCORES)
def test_shapes_that_disagree_are_refused(score):
    with pytest.raises(ValueError, match="one truth per row"):
        score([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match="only 2 codes"):
        score([[0.5, 0.5]], [2])


def test_undefined_probabilities_are_refused():
    with pytest.raises(ValueError, match="holds nan"):
        accuracy([[np.nan, np.nan]], [0])


def test_a_calibrated_posterior_has_a_small_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    truth = (rng.random(20_000) < p).astype(int)
    posterior = np.stack([1 - p, p], axis=1)
    assert expected_calibration_error(posterior, truth) < 0.02
    overconfident = np.stack([p < 0.5, p >= 0.5], axis=1).astype(float)
    assert expected_calibration_error(overconfident, truth) == pytest.approx(0.25, abs=0.01)


def test_reliability_counts_every_subject_once():
    table = reliability([[0.95, 0.05], [0.55, 0.45], [1.0, 0.0]], [0, 1, 0], n_bins=10)
    assert table.n.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert table.accuracy[[5, 9]].tolist() == [0.0, 1.0]
    assert table.confidence[[5, 9]] == pytest.approx([0.55, 0.975])
    assert np.isnan(table.accuracy[0])


def test_auc_equals_the_share_of_ordered_pairs():
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 6, 60), rng.integers(0, 2, 60)
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive == 1] for n in score[positive == 0]]
    assert auc(score, positive) == pytest.approx(np.mean(pairs))


def test_auc_needs_both_kinds():
    assert np.isnan(auc([0.1, 0.2], [1, 1]))
    with pytest.raises(ValueError, match="nan"):
        auc([0.1, np.nan], [0, 1])
    with pytest.raises(ValueError, match="equally long"):
        auc([0.1], [0, 1])


def test_balanced_accuracy_counts_each_occurring_answer_once():
    posterior = np.repeat([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], [9, 1], axis=0)
    truth = [0] * 8 + [1, 1]
    assert balanced_accuracy(posterior, truth) == pytest.approx((1 + 0.5) / 2)
    assert confusion_counts(posterior, truth).tolist() == [[8, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_reliability_of_one_answer_is_one_against_the_rest():
    posterior = [[0.95, 0.05, 0.0], [0.3, 0.6, 0.1], [0.35, 0.05, 0.6]]
    table = reliability(posterior, [0, 0, 2], n_bins=10, answer=0)
    assert table.n.tolist() == [0, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    assert table.confidence[3] == pytest.approx(0.325)
    assert table.accuracy[[3, 9]].tolist() == [0.5, 1.0]
    low, high = wilson_interval([1], [2])
    assert (table.low[3], table.high[3]) == (low[0], high[0])
    assert (table.low[0], table.high[0]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="answer 3 is not one of the 3"):
        reliability(posterior, [0, 0, 2], answer=3)


def test_bins_of_equal_count_share_the_subjects_out_and_keep_ties_together():
    p = np.concatenate([np.linspace(0.01, 0.9, 90), np.ones(30)])
    table = reliability(np.stack([p, 1 - p], axis=1), np.zeros(120, int), n_bins=4, answer=0, equal="count")
    assert table.n.tolist() == [29, 30, 30, 31]
    assert table.edges[[0, -1]].tolist() == [0, 1]
    same = reliability(np.tile([[0.4, 0.6]], (50, 1)), np.ones(50, int), n_bins=5, equal="count")
    assert same.n.tolist() == [0, 50]
    with pytest.raises(ValueError, match="equal must be"):
        reliability([[0.5, 0.5]], [0], equal="size")
    with pytest.raises(ValueError, match="at least 1"):
        reliability([[0.5, 0.5]], [0], n_bins=0)


def test_the_adaptive_calibration_error_sees_what_one_wide_bin_hides():
    # All between .9 and .95; the lower half delivers .85, the upper 1: their mean is right.
    p = np.repeat([0.901, 0.949], 500)
    truth = np.concatenate([np.repeat([0, 1], [425, 75]), np.zeros(500, int)])
    posterior = np.stack([p, 1 - p], axis=1)
    assert expected_calibration_error(posterior, truth, 10) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(posterior, truth, 10, equal="count") == pytest.approx(0.051)


def test_completeness_takes_as_many_positives_as_the_allowed_negatives_let_through():
    score = np.arange(20)[::-1]
    positive = np.isin(np.arange(20), [0, 1, 4, 9, 19])  # 15 negatives, at places 2, 3, 5...
    for rate, found in [(0, 2), (1 / 15, 2), (2 / 15, 3), (0.3, 3), (6 / 15, 4), (1, 5)]:
        assert completeness_at_false_positive_rate(score, positive, rate) == pytest.approx(found / 5), rate


def test_completeness_counts_a_tie_with_a_negative_as_not_found():
    assert completeness_at_false_positive_rate([1, 1, 0], [1, 0, 0], 0.4) == 0.0
    assert completeness_at_false_positive_rate([1, 1, 0], [1, 0, 0], 0.5) == 1.0
    assert completeness_at_false_positive_rate([0.5] * 4, [1, 0, 0, 0], 0.5) == 0.0


def test_completeness_is_undefined_without_both_kinds_and_refuses_a_rate_that_is_none():
    assert np.isnan(completeness_at_false_positive_rate([0.1, 0.2], [1, 1]))
    assert np.isnan(completeness_at_false_positive_rate([], []))
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        completeness_at_false_positive_rate([0.1, 0.2], [1, 0], 1.5)


def test_the_completeness_curve_ends_at_everything():
    curve = completeness_curve([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0])
    assert curve.threshold.tolist() == [0.9, 0.8, 0.1]
    assert curve.false_positive_rate.tolist() == [0, 0.5, 1]
    assert curve.completeness.tolist() == [0.5, 1, 1]
    assert curve.purity == pytest.approx([1, 2 / 3, 1 / 2])
    assert (curve.n_positive, curve.n_negative) == (2, 2)
