import csv

import numpy as np
import pytest

from aggregation import dawid_skene, majority, one_coin

MODELS = [dawid_skene, one_coin]

# Dawid & Skene 1979, table 2: error rates of five anaesthetists, [observer][true class][class given].
PUBLISHED = [
    [[0.89, 0.11, 0.00, 0.00], [0.07, 0.88, 0.05, 0.00], [0.00, 0.34, 0.66, 0.00], [0.00, 0.00, 0.56, 0.44]],
    [[0.83, 0.17, 0.00, 0.00], [0.05, 0.63, 0.31, 0.00], [0.00, 0.00, 1.00, 0.00], [0.00, 0.00, 0.00, 1.00]],
    [[1.00, 0.00, 0.00, 0.00], [0.11, 0.79, 0.11, 0.00], [0.00, 0.40, 0.20, 0.40], [0.00, 0.00, 0.67, 0.33]],
    [[0.94, 0.06, 0.00, 0.00], [0.05, 0.84, 0.10, 0.00], [0.00, 0.00, 0.80, 0.20], [0.00, 0.00, 0.33, 0.67]],
    [[1.00, 0.00, 0.00, 0.00], [0.16, 0.73, 0.11, 0.00], [0.00, 0.21, 0.79, 0.00], [0.00, 0.00, 0.33, 0.67]],
]


def slow_reference(crowd, n_answers, smoothing, iterations):
    """EM vote by vote, with the products of the paper instead of logarithms."""
    n_subjects, n_volunteers = crowd.subject.max() + 1, crowd.volunteer.max() + 1
    votes = list(zip(crowd.subject, crowd.volunteer, crowd.answer, strict=True))
    posterior = np.zeros((n_subjects, n_answers))
    for i, _, y in votes:
        posterior[i, y] += 1
    posterior /= posterior.sum(axis=1, keepdims=True)
    for _ in range(iterations):
        prior = posterior.mean(axis=0)
        confusion = np.full((n_volunteers, n_answers, n_answers), smoothing)
        for i, j, y in votes:
            confusion[j, :, y] += posterior[i]
        confusion /= confusion.sum(axis=2, keepdims=True)
        posterior = np.tile(prior, (n_subjects, 1))
        for i, j, y in votes:
            posterior[i] *= confusion[j, :, y]
        total = posterior.sum(axis=1)
        posterior /= total[:, np.newaxis]
    return posterior, confusion, prior, np.log(total).sum()


def test_it_reproduces_the_published_anaesthetists(shared_data):
    with (shared_data / "crowd/ds1979_anaesthesia/votes.csv").open() as file:
        rows = [(int(row["task"]), int(row["worker"]), int(row["label"])) for row in csv.DictReader(file)]
    result = dawid_skene(*np.array(rows).T, smoothing=0, tolerance=1e-12)
    # The paper prints two digits, a few of them from a stop slightly before convergence.
    np.testing.assert_allclose(result.prior, [0.40, 0.42, 0.11, 0.07], atol=0.006)
    np.testing.assert_allclose(result.confusion, PUBLISHED, atol=0.0101)
    assert (np.abs(result.confusion - PUBLISHED) < 0.00501).mean() > 0.95
    assert result.converged


@pytest.mark.parametrize("smoothing", [0.01, 1.0])
def test_the_fast_kernels_equal_the_slow_reference(crowd_of, smoothing):
    crowd = crowd_of(n_subjects=25, n_volunteers=6, per_subject=4, seed=3)
    posterior, confusion, prior, log_likelihood = slow_reference(crowd, 3, smoothing, iterations=7)
    result = dawid_skene(
        crowd.subject, crowd.volunteer, crowd.answer, smoothing=smoothing, max_iterations=7, tolerance=0
    )
    np.testing.assert_allclose(result.posterior, posterior, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(result.confusion, confusion, rtol=1e-8)
    np.testing.assert_allclose(result.prior, prior, rtol=1e-8)
    assert result.log_likelihood == pytest.approx(log_likelihood)
    assert result.n_iterations == 7


def test_the_likelihood_never_falls(crowd):
    steps = [
        dawid_skene(
            crowd.subject, crowd.volunteer, crowd.answer, smoothing=0, max_iterations=n, tolerance=0
        ).log_likelihood
        for n in range(1, 15)
    ]
    assert np.all(np.diff(steps) > -1e-9)


def test_it_recovers_truth_prior_and_confusion(crowd_of):
    crowd = crowd_of(n_subjects=3000, n_volunteers=12, per_subject=6, prior=[0.6, 0.3, 0.1], seed=7)
    result = dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    assert (result.answer == crowd.truth).mean() > 0.97
    np.testing.assert_allclose(result.prior, [0.6, 0.3, 0.1], atol=0.03)
    assert np.abs(result.confusion - crowd.confusion).mean() < 0.02


def test_it_beats_the_majority_where_volunteers_confuse_two_answers_systematically(crowd_of):
    crowd = crowd_of(n_answers=2, n_volunteers=9, diagonal=(0.7, 0.95), seed=4)
    answer = np.where(crowd.volunteer < 4, 1 - crowd.answer, crowd.answer)
    plain = majority(crowd.subject, crowd.volunteer, answer)
    result = dawid_skene(crowd.subject, crowd.volunteer, answer)
    assert (result.answer == crowd.truth).mean() > (plain.answer == crowd.truth).mean() + 0.1


def test_one_coin_recovers_the_skills():
    rng = np.random.default_rng(0)
    truth, skill = rng.integers(0, 4, 800), rng.uniform(0.4, 0.95, 10)
    subject, volunteer = np.repeat(np.arange(800), 10), np.tile(np.arange(10), 800)
    wrong = (truth[subject] + rng.integers(1, 4, 8000)) % 4
    answer = np.where(rng.random(8000) < skill[volunteer], truth[subject], wrong)
    result = one_coin(subject, volunteer, answer)
    np.testing.assert_allclose(result.confusion[:, 0, 0], skill, atol=0.05)
    assert (result.answer == truth).mean() > 0.98


def test_one_coin_takes_every_answer_for_equally_common(crowd_of):
    crowd = crowd_of(prior=[0.8, 0.1, 0.1])
    assert one_coin(crowd.subject, crowd.volunteer, crowd.answer).prior.tolist() == [1 / 3] * 3


def test_one_coin_spreads_errors_evenly(crowd):
    confusion = one_coin(crowd.subject, crowd.volunteer, crowd.answer).confusion
    np.testing.assert_allclose(confusion.sum(axis=2), 1.0)
    np.testing.assert_allclose(confusion[:, 0, 1], confusion[:, 2, 0])
    np.testing.assert_allclose(confusion[:, 0, 0], confusion[:, 2, 2])


@pytest.mark.parametrize("model", MODELS)
def test_gold_answers_are_certain_and_teach_the_skills(model, crowd):
    gold = np.where(np.arange(300) < 60, crowd.truth, -1)
    plain = model(crowd.subject, crowd.volunteer, crowd.answer)
    result = model(crowd.subject, crowd.volunteer, crowd.answer, gold=gold)
    np.testing.assert_array_equal(result.answer[:60], crowd.truth[:60])
    assert np.all(result.posterior[:60].max(axis=1) == 1.0)
    error = [np.abs(r.confusion - crowd.confusion).mean() for r in (result, plain)]
    assert error[0] < error[1]


def test_gold_rescues_a_crowd_that_is_mostly_contrary(crowd_of):
    crowd = crowd_of(n_answers=2, n_volunteers=9, diagonal=(0.8, 0.95), seed=4)
    answer = np.where(crowd.volunteer < 7, 1 - crowd.answer, crowd.answer)
    gold = np.where(np.arange(300) < 40, crowd.truth, -1)
    result = dawid_skene(crowd.subject, crowd.volunteer, answer, gold=gold)
    assert (result.answer == crowd.truth)[40:].mean() > 0.95


def test_gold_chosen_from_a_rare_class_does_not_move_the_prior(crowd_of):
    crowd = crowd_of(n_subjects=1000, n_answers=2, prior=[0.95, 0.05], diagonal=(0.85, 0.95), seed=6)
    gold = np.where((crowd.truth == 1) & (np.arange(1000) < 900), 1, -1)
    result = dawid_skene(crowd.subject, crowd.volunteer, crowd.answer, gold=gold)
    assert result.prior[1] < 0.03


@pytest.mark.parametrize("model", MODELS)
def test_with_gold_everywhere_the_likelihood_is_that_of_the_votes_given_the_truth(model, crowd):
    result = model(crowd.subject, crowd.volunteer, crowd.answer, gold=crowd.truth)
    np.testing.assert_array_equal(result.answer, crowd.truth)
    said = result.confusion[crowd.volunteer, crowd.truth[crowd.subject], crowd.answer]
    assert result.log_likelihood == pytest.approx(np.log(said).sum())


def test_the_likelihood_never_falls_with_gold(crowd):
    gold = np.where(np.arange(300) < 60, crowd.truth, -1)
    votes = (crowd.subject, crowd.volunteer, crowd.answer)
    steps = [
        dawid_skene(*votes, gold=gold, smoothing=0, max_iterations=n, tolerance=0).log_likelihood for n in range(1, 10)
    ]
    assert np.all(np.diff(steps) > -1e-9)


@pytest.mark.parametrize(
    ("gold", "message"), [([0], "one integer per subject"), ([0, 3], r"gold\[1\] is 3"), ([0.0, 1.0], "integer")]
)
def test_wrong_gold_is_refused(gold, message):
    with pytest.raises(ValueError, match=message):
        dawid_skene([0, 1], [0, 0], [0, 1], gold=gold)


@pytest.mark.parametrize("model", MODELS)
def test_the_maximum_likelihood_of_few_votes_needs_no_smoothing(model):
    result = model([0, 0, 1], [0, 1, 1], [0, 0, 1], smoothing=0)
    np.testing.assert_allclose(result.posterior, [[1, 0], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_a_hundred_thousand_votes_on_one_subject_do_not_underflow(model):
    n = 100_000
    answer = (np.arange(n) % 10 == 0).astype(int)
    result = model(np.zeros(n, int), np.arange(n) % 50, answer)
    assert np.isfinite(result.log_likelihood)
    assert np.isfinite(result.posterior).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_fit_that_was_cut_short_says_so(model, crowd):
    result = model(crowd.subject, crowd.volunteer, crowd.answer, max_iterations=1)
    assert not result.converged
    assert result.n_iterations == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wrong", [{"max_iterations": 0}, {"smoothing": -1}, {"smoothing": float("nan")}])
def test_settings_that_make_no_sense_are_refused(model, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model([0], [0], [0], **wrong)


@pytest.mark.parametrize("model", MODELS)
def test_a_volunteer_without_votes_has_an_uninformative_matrix(model):
    result = model([0, 1], [0, 0], [0, 1], n_volunteers=2)
    np.testing.assert_allclose(result.confusion[1], 0.5)
    assert result.n_given.tolist() == [2, 0]
