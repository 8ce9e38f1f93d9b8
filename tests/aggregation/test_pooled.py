"""The pooled model: right more often than the models it descends from, and as sure as it should be."""

import numpy as np
import pytest

from aggregation import (
    MISLEADING,
    accuracy,
    dawid_skene,
    expected_calibration_error,
    log_loss,
    majority,
    pooled_dawid_skene,
)


@pytest.fixture(scope="module")
def few_votes_each(crowd_of):
    """Many volunteers of whom little is known: where maximum likelihood overfits."""
    return crowd_of(n_subjects=2000, n_volunteers=1500, n_answers=4, per_subject=6, diagonal=(0.4, 0.95), seed=5)


def votes_of(crowd):
    return crowd.subject, crowd.volunteer, crowd.answer


def test_it_is_more_accurate_and_better_calibrated_than_its_ancestors(few_votes_each):
    pooled = pooled_dawid_skene(*votes_of(few_votes_each), 4)
    truth = few_votes_each.truth
    for other in (dawid_skene, majority):
        rival = other(*votes_of(few_votes_each), 4).posterior
        assert accuracy(pooled.posterior, truth) > accuracy(rival, truth)
        assert log_loss(pooled.posterior, truth) < 0.75 * log_loss(rival, truth)
        assert expected_calibration_error(pooled.posterior, truth) < expected_calibration_error(rival, truth)
    assert expected_calibration_error(pooled.posterior, truth) < 0.03


def test_it_recovers_truth_prior_crowd_and_confusion(crowd_of):
    crowd = crowd_of(n_subjects=3000, n_volunteers=12, per_subject=6, prior=[0.6, 0.3, 0.1], seed=7)
    result = pooled_dawid_skene(*votes_of(crowd))
    assert (result.answer == crowd.truth).mean() > 0.97
    np.testing.assert_allclose(result.prior, [0.6, 0.3, 0.1], atol=0.03)
    assert np.abs(result.confusion - crowd.confusion).mean() < 0.03
    np.testing.assert_allclose(result.crowd, crowd.confusion.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(result.confusion.sum(axis=2), 1.0)


@pytest.mark.parametrize(("concentration", "expected"), [(3, (2, 6)), (40, (12, 20))])
def test_the_strength_follows_how_alike_volunteers_are(concentration, expected):
    rng = np.random.default_rng(2)
    right = rng.beta(0.75 * concentration, 0.25 * concentration, (400, 2))
    truth = rng.integers(0, 2, 4000)
    subject, volunteer = np.repeat(np.arange(4000), 10), rng.integers(0, 400, 40000)
    answer = np.where(rng.random(40000) < right[volunteer, truth[subject]], truth[subject], 1 - truth[subject])
    low, high = expected
    assert low <= pooled_dawid_skene(subject, volunteer, answer).strength <= high


def correlated(rng, n_subjects, per_subject, spread):
    """Subjects of which each has its own chance to be recognised: votes on it are alike beyond its class."""
    truth = rng.integers(0, 2, n_subjects)
    right = rng.beta(0.75 * spread, 0.25 * spread, n_subjects)
    subject, volunteer = np.repeat(np.arange(n_subjects), per_subject), rng.integers(0, 60, n_subjects * per_subject)
    hit = rng.random(len(subject)) < right[subject]
    return (subject, volunteer, np.where(hit, truth[subject], 1 - truth[subject])), truth


def test_correlated_votes_are_noticed_without_gold_and_believed_less():
    rng = np.random.default_rng(8)
    alike, truth = correlated(rng, 2000, 20, spread=4)
    independent, _ = correlated(rng, 2000, 20, spread=1000)
    fit = pooled_dawid_skene(*alike)
    assert fit.correlation > pooled_dawid_skene(*independent).correlation
    assert log_loss(fit.posterior, truth) < 0.6 * log_loss(dawid_skene(*alike).posterior, truth)


def test_muddled_subjects_are_noticed_and_left_open(crowd_of):
    crowd = crowd_of(n_subjects=1500, n_volunteers=30, n_answers=2, per_subject=20, diagonal=(0.85, 0.95), seed=3)
    rng = np.random.default_rng(0)
    muddled = np.arange(1500) < 450
    answer = np.where(muddled[crowd.subject], rng.integers(0, 2, len(crowd.answer)), crowd.answer)
    result = pooled_dawid_skene(crowd.subject, crowd.volunteer, answer)
    assert result.muddled == pytest.approx(0.3, abs=0.05)
    assert result.posterior[muddled].max(axis=1).mean() < 0.75
    assert result.posterior[~muddled].max(axis=1).mean() > 0.97


def test_no_number_of_votes_makes_it_surer_than_the_misleading_share_allows():
    subject, volunteer = np.repeat([0, 1], 500), np.tile(np.arange(500), 2)
    result = pooled_dawid_skene(subject, volunteer, subject)
    assert 1 - MISLEADING < result.posterior.max() < 1


def test_a_contrary_volunteer_speaks_for_the_other_answer(crowd_of):
    crowd = crowd_of(n_answers=2, n_volunteers=9, diagonal=(0.7, 0.95), seed=4)
    answer = np.where(crowd.volunteer < 3, 1 - crowd.answer, crowd.answer)
    result = pooled_dawid_skene(crowd.subject, crowd.volunteer, answer)
    assert (result.answer == crowd.truth).mean() > 0.95
    assert result.confusion[:3, 0, 0].max() < 0.5 < result.confusion[3:, 0, 0].min()


def test_a_volunteer_without_votes_is_the_mean_of_the_crowd(crowd):
    result = pooled_dawid_skene(*votes_of(crowd), n_volunteers=25)
    np.testing.assert_allclose(result.confusion[24], result.crowd)
    assert result.n_given[24] == 0


def test_gold_answers_are_certain_and_teach_the_skills(crowd):
    gold = np.where(np.arange(300) < 60, crowd.truth, -1)
    plain, result = pooled_dawid_skene(*votes_of(crowd)), pooled_dawid_skene(*votes_of(crowd), gold=gold)
    np.testing.assert_array_equal(result.answer[:60], crowd.truth[:60])
    assert (result.posterior[:60].max(axis=1) == 1.0).all()
    errors = [np.abs(each.confusion - crowd.confusion).mean() for each in (result, plain)]
    assert errors[0] < errors[1]


def test_gold_subjects_are_also_judged_as_if_their_gold_were_unknown(crowd):
    gold = np.where(np.arange(300) < 60, crowd.truth, -1)
    gold[0] = (crowd.truth[0] + 1) % 3  # a wrong gold answer shows what the votes alone say
    result = pooled_dawid_skene(*votes_of(crowd), gold=gold)
    assert result.held_out[0].argmax() == crowd.truth[0]
    assert result.held_out[:60].max() < 1
    np.testing.assert_array_equal(result.held_out[60:], result.posterior[60:])
    assert pooled_dawid_skene(*votes_of(crowd)).calibration is None


def test_gold_rescues_a_crowd_that_is_mostly_contrary(crowd_of):
    crowd = crowd_of(n_answers=2, n_volunteers=9, diagonal=(0.8, 0.95), seed=4)
    answer = np.where(crowd.volunteer < 7, 1 - crowd.answer, crowd.answer)
    gold = np.where(np.arange(300) < 40, crowd.truth, -1)
    result = pooled_dawid_skene(crowd.subject, crowd.volunteer, answer, gold=gold)
    assert (result.answer == crowd.truth)[40:].mean() > 0.95


def test_gold_teaches_a_calibration_map_where_everybody_is_misled_alike(crowd_of):
    crowd = crowd_of(n_subjects=1200, n_volunteers=15, n_answers=2, per_subject=8, diagonal=(0.8, 0.95), seed=9)
    rng = np.random.default_rng(1)
    truth = np.where(rng.random(1200) < 0.15, 1 - crowd.truth, crowd.truth)
    gold = np.where(np.arange(1200) < 400, truth, -1)
    plain, taught = pooled_dawid_skene(*votes_of(crowd)), pooled_dawid_skene(*votes_of(crowd), gold=gold)
    assert taught.calibration.kind != "identity"
    assert log_loss(taught.posterior[400:], truth[400:]) < 0.8 * log_loss(plain.posterior[400:], truth[400:])
    assert expected_calibration_error(taught.held_out[:400], truth[:400]) < 0.04


def test_gold_chosen_from_a_rare_class_does_not_move_the_prior(crowd_of):
    crowd = crowd_of(n_subjects=1000, n_answers=2, prior=[0.95, 0.05], diagonal=(0.85, 0.95), seed=6)
    gold = np.where((crowd.truth == 1) & (np.arange(1000) < 900), 1, -1)
    assert pooled_dawid_skene(*votes_of(crowd), gold=gold).prior[1] < 0.03


def test_evidence_from_elsewhere_is_added_to_that_of_the_votes(crowd):
    plain = pooled_dawid_skene(*votes_of(crowd))
    evidence = np.zeros((300, 3))
    nothing = pooled_dawid_skene(*votes_of(crowd), evidence=evidence)
    np.testing.assert_allclose(nothing.posterior, plain.posterior)
    doubtful = int(plain.posterior.max(axis=1).argmin())
    evidence[doubtful, 2] = 20.0
    assert pooled_dawid_skene(*votes_of(crowd), evidence=evidence).posterior[doubtful, 2] > 0.98


def test_a_machine_is_one_more_juror_whose_bins_are_learnt(crowd):
    rng = np.random.default_rng(3)
    bins = np.where(rng.random(300) < 0.9, (crowd.truth + 1) % 3, rng.integers(0, 3, 300))  # bin numbers mean nothing
    bins[:30] = -1
    plain = pooled_dawid_skene(*votes_of(crowd))
    result = pooled_dawid_skene(*votes_of(crowd), machine=bins)
    assert log_loss(result.posterior, crowd.truth) < 0.8 * log_loss(plain.posterior, crowd.truth)
    assert result.machine.argmax(axis=1).tolist() == [1, 2, 0]
    useless = pooled_dawid_skene(*votes_of(crowd), machine=rng.integers(0, 3, 300))
    assert log_loss(useless.posterior, crowd.truth) < 1.1 * log_loss(plain.posterior, crowd.truth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evidence": np.zeros((300, 2))}, r"evidence must have shape \(n_subjects, n_answers\) = \(300, 3\)"),
        ({"evidence": np.full((300, 3), np.nan)}, r"evidence\[0\] is .*log-likelihoods must be finite"),
        ({"machine": np.zeros(5, dtype=int)}, r"one bin per subject \(300\)"),
        ({"machine": np.zeros(300)}, "one bin per subject"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(crowd, options, message):
    with pytest.raises(ValueError, match=message):
        pooled_dawid_skene(*votes_of(crowd), **options)


@pytest.mark.parametrize(("seed", "max_iterations"), [(1, 3), (2, 1), (4, 2), (4, 3)])
def test_a_fit_that_is_cut_short_still_gives_probabilities(crowd_of, seed, max_iterations):
    """Leaving a subject out of skills that earlier beliefs had taught left less than nothing of them, once."""
    rare = {"n_answers": 4, "prior": [0.9, 0.06, 0.03, 0.01], "diagonal": (0.8, 0.99)}
    crowd = crowd_of(n_subjects=1500, n_volunteers=100, per_subject=8, seed=seed, **rare)
    result = pooled_dawid_skene(*votes_of(crowd), 4, max_iterations=max_iterations)
    assert np.isfinite(result.posterior).all()
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1.0)


def test_too_few_iterations_are_reported(crowd):
    result = pooled_dawid_skene(*votes_of(crowd), max_iterations=1)
    assert (result.n_iterations, result.converged) == (1, False)


def test_large_tables_are_sampled_without_regard_to_numbering(crowd_of, monkeypatch):
    monkeypatch.setattr("aggregation._correlation.SAMPLE", 500)
    crowd, rng = crowd_of(), np.random.default_rng(4)
    subjects, volunteers = rng.permutation(300), rng.permutation(20)
    first = pooled_dawid_skene(*votes_of(crowd))
    second = pooled_dawid_skene(subjects[crowd.subject], volunteers[crowd.volunteer], crowd.answer)
    np.testing.assert_allclose(second.posterior[subjects], first.posterior, atol=1e-9)
    assert second.correlation == first.correlation
