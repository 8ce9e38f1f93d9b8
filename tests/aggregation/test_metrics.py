import numpy as np
import pytest

from aggregation import accuracy, auc, brier, expected_calibration_error, log_loss, reliability

SCORES = [accuracy, brier, log_loss, expected_calibration_error]
PERFECT = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_perfect_posterior_scores_perfectly():
    assert [score(PERFECT, [0, 2]) for score in SCORES] == pytest.approx([1, 0, 0, 0])


def test_a_certain_error_costs_the_clip_and_no_more():
    assert [score(PERFECT, [1, 1]) for score in SCORES] == pytest.approx([0, 2, -np.log(1e-6), 1])


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
