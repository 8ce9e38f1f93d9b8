import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from aggregation import (
    accuracy,
    auc,
    combine_machines,
    held_out_scores,
    log_loss,
    machine_evidence,
    pooled_dawid_skene,
    score_bins,
)

POSITIVE = 0.3


def make_scores(n=2000, distance=2.0, heat=1.0, seed=0):
    """Truth and P(positive) of a network; with heat 1 it means what it says, above it is over-confident."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < POSITIVE).astype(int)
    score = rng.normal(distance * truth, 1.0)
    return truth, expit(heat * (distance * score - distance**2 / 2 + logit(POSITIVE)))


def gold_of(truth, n_gold):
    gold = truth.copy()
    gold[n_gold:] = -1
    return gold


def believe(evidence):
    return softmax(evidence + np.log([1 - POSITIVE, POSITIVE]), axis=1)


def two_columns(p):
    return np.stack([1 - p, p], axis=1)


@pytest.fixture(scope="module")
def votes_and_truth():
    """Three votes each by volunteers who are right 7 times in 10, and a network."""
    truth, p = make_scores(1500, seed=5)
    rng = np.random.default_rng(6)
    subject = np.repeat(np.arange(1500), 3)
    answer = np.where(rng.random(4500) < 0.7, truth[subject], 1 - truth[subject])
    return (subject, rng.integers(0, 40, 4500), answer, 2), truth, p


def test_an_honest_machine_is_taken_at_its_word():
    truth, p = make_scores()
    result = machine_evidence(p, gold_of(truth, 1000))
    assert result.trust == pytest.approx(1.0, abs=0.15)
    assert result.log_loss_with < 0.75 * result.log_loss_without
    assert result.n_learnt == 1000
    assert believe(result.evidence)[1000:] == pytest.approx(two_columns(p)[1000:], abs=0.05)


@pytest.mark.parametrize("heat", [3.0, 0.4])
def test_a_machine_too_sure_or_too_shy_is_put_right(heat):
    truth, p = make_scores(4000, heat=heat)
    _, honest = make_scores(4000)
    result = machine_evidence(p, gold_of(truth, 1000))
    assert result.trust == pytest.approx(1 / heat, rel=0.15)
    rest = slice(1000, None)
    q = believe(result.evidence)[rest]
    assert log_loss(q, truth[rest]) < 1.02 * log_loss(two_columns(honest)[rest], truth[rest])
    assert log_loss(q, truth[rest]) < 0.95 * log_loss(two_columns(p)[rest], truth[rest])


def test_the_prior_that_a_machine_was_trained_with_is_taken_out():
    truth, p = make_scores(4000)
    balanced = expit(logit(p) - logit(POSITIVE))  # as if trained on as many positives as negatives
    result = machine_evidence(balanced, gold_of(truth, 1500), base=[0.5, 0.5])
    assert believe(result.evidence)[1500:] == pytest.approx(two_columns(p)[1500:], abs=0.05)


def test_a_useless_machine_changes_nothing(votes_and_truth):
    votes, truth, _ = votes_and_truth
    noise = np.random.default_rng(8).random(1500)
    result = machine_evidence(noise, gold_of(truth, 600))
    assert result.trust == 0
    assert "no better" in result.reason
    assert not result.evidence.any()
    assert not result.speaks.any()
    without, with_it = pooled_dawid_skene(*votes), pooled_dawid_skene(*votes, evidence=result.evidence)
    assert with_it.posterior == pytest.approx(without.posterior, abs=1e-12)


def test_a_machine_that_is_wrong_on_purpose_gets_no_say():
    truth, p = make_scores()
    assert machine_evidence(1 - p, gold_of(truth, 1000)).trust == 0


def test_a_good_machine_makes_the_volunteers_posterior_better(votes_and_truth):
    votes, truth, p = votes_and_truth
    gold = gold_of(truth, 300)
    alone = pooled_dawid_skene(*votes, gold)
    joined = pooled_dawid_skene(*votes, gold, evidence=machine_evidence(p, gold).evidence)
    rest = slice(300, None)
    assert log_loss(joined.posterior[rest], truth[rest]) < 0.75 * log_loss(alone.posterior[rest], truth[rest])
    assert accuracy(joined.posterior[rest], truth[rest]) > accuracy(alone.posterior[rest], truth[rest]) + 0.04


def test_without_gold_the_volunteers_teach_the_trust(votes_and_truth):
    votes, truth, p = votes_and_truth
    alone = pooled_dawid_skene(*votes)
    hot = expit(3 * (logit(p)))
    result = machine_evidence(hot, posterior=alone.posterior)
    assert result.trust == pytest.approx(1 / 3, abs=0.1)
    joined = pooled_dawid_skene(*votes, evidence=result.evidence)
    assert log_loss(joined.posterior, truth) < 0.9 * log_loss(alone.posterior, truth)


def test_subjects_of_which_votes_say_nothing_teach_nothing(votes_and_truth):
    votes, _, p = votes_and_truth
    posterior = pooled_dawid_skene(*votes).posterior
    said = machine_evidence(p, posterior=posterior, base=[0.7, 0.3])
    nothing = np.tile(posterior.mean(axis=0), (1500, 1))
    both = machine_evidence(np.tile(p, 2), posterior=np.vstack([posterior, nothing]), base=[0.7, 0.3])
    assert both.trust == pytest.approx(said.trust, rel=0.01)
    assert both.bias == pytest.approx(said.bias, abs=0.01)


def test_a_subject_that_trained_the_machine_gets_no_evidence_and_teaches_none():
    truth, p = make_scores()
    trained_on = np.arange(2000) % 4 == 0
    lied_about = np.where(trained_on, truth * 0.98 + 0.01, p)  # it knows its training set by heart
    gold = gold_of(truth, 1000)
    result = machine_evidence(lied_about, gold, trained_on=trained_on)
    assert not result.evidence[trained_on].any()
    assert not result.speaks[trained_on].any()
    assert result.n_learnt == 750
    without = machine_evidence(p[~trained_on], gold[~trained_on])
    assert result.evidence[~trained_on] == pytest.approx(without.evidence)


def test_gold_subjects_are_judged_by_what_the_others_taught():
    truth, p = make_scores(60, seed=1)
    result = machine_evidence(p, truth, base=[0.5, 0.5])
    common = np.bincount(truth) + 1
    told = softmax(result.evidence + np.log(common / common.sum()), axis=1)
    in_sample = softmax(result.trust * logit(p)[:, None] * [-0.5, 0.5] + result.bias + np.log(common), axis=1)
    assert log_loss(told, truth) == pytest.approx(result.log_loss_with)
    assert log_loss(told, truth) > log_loss(in_sample, truth) + 0.01


def test_too_few_known_answers_teach_no_trust():
    truth, p = make_scores(100)
    result = machine_evidence(p, gold_of(truth, 19))
    assert (result.trust, result.n_learnt, result.reason) == (
        0,
        19,
        "19 subjects with a known answer are fewer than 20",
    )
    assert not result.evidence.any()
    assert machine_evidence(p, np.where(truth == 0, 0, -1)).reason == "only one answer is among the known ones"


def test_several_answers():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 3000)
    honest = softmax(1.5 * np.eye(4)[truth] + rng.normal(0, 1, (3000, 4)), axis=1)
    hot = honest**4 / (honest**4).sum(axis=1, keepdims=True)
    result = machine_evidence(hot, gold_of(truth, 1000))
    q = softmax(result.evidence, axis=1)[1000:]
    assert log_loss(q, truth[1000:]) < 0.8 * log_loss(hot[1000:], truth[1000:])
    assert result.evidence.sum(axis=1) == pytest.approx(0)


def test_the_order_of_subjects_does_not_matter():
    truth, p = make_scores(300)
    order = np.random.default_rng(0).permutation(300)
    one, other = machine_evidence(p, truth), machine_evidence(p[order], truth[order])
    assert other.evidence == pytest.approx(one.evidence[order], abs=1e-6)


def test_independent_machines_add_up():
    truth, _ = make_scores()
    rng = np.random.default_rng(4)
    networks = [expit(1.5 * rng.normal(1.5 * truth, 1) - 1.125 + logit(POSITIVE)) for _ in range(3)]
    gold = gold_of(truth, 1000)
    each = [machine_evidence(p, gold) for p in networks]
    both = combine_machines(each, gold)
    assert both.trust > 0.8
    total = sum(one.evidence for one in each)
    assert both.evidence == pytest.approx(both.trust * total)
    losses = [log_loss(believe(one.evidence)[1000:], truth[1000:]) for one in each]
    assert log_loss(believe(both.evidence)[1000:], truth[1000:]) < 0.85 * min(losses)
    assert both.log_loss_with < 0.85 * both.log_loss_without


def test_the_same_machine_twice_is_one_machine():
    truth, p = make_scores()
    gold = gold_of(truth, 1000)
    one = machine_evidence(p, gold)
    twice = combine_machines([one, one, one], gold)
    assert twice.trust == pytest.approx(1 / 3, abs=0.03)
    assert twice.evidence == pytest.approx(one.evidence, abs=0.4)


def test_a_machine_that_was_not_trusted_does_not_dilute_the_others():
    truth, p = make_scores()
    gold = gold_of(truth, 1000)
    good, useless = machine_evidence(p, gold), machine_evidence(np.random.default_rng(0).random(2000), gold)
    assert combine_machines([good, useless], gold).evidence == pytest.approx(good.evidence)


def test_machines_of_which_little_is_known_are_averaged():
    truth, p = make_scores(300)
    good = machine_evidence(p, truth)
    few = combine_machines([good, good], gold_of(truth, 10))
    assert few.evidence == pytest.approx(good.evidence)
    assert "fewer than 20" in few.reason


def test_bins_hold_equal_counts_in_the_order_of_the_scores():
    score = np.random.default_rng(0).normal(size=1000)
    bins = score_bins(score, n_bins=10)
    assert np.bincount(bins).tolist() == [100] * 10
    assert (np.diff(bins[np.argsort(score)]) >= 0).all()


def test_equal_scores_share_a_bin_and_no_bin_is_empty():
    assert score_bins([0.5] * 9 + [0.9], n_bins=5).tolist() == [0] * 9 + [1]
    assert score_bins([3.0], n_bins=5).tolist() == [0]
    assert score_bins([], n_bins=5).shape == (0,)


def test_no_score_and_no_say_are_minus_one():
    bins = score_bins([0.1, np.nan, 0.3, 0.9], exclude=[False, False, True, False])
    assert bins.tolist() == [0, -1, -1, 1]


def test_a_binned_machine_is_understood_whatever_its_scores_mean(votes_and_truth):
    votes, truth, p = votes_and_truth
    alone = log_loss(pooled_dawid_skene(*votes).posterior, truth)
    honest = pooled_dawid_skene(*votes, machine=score_bins(p, 12))
    assert log_loss(honest.posterior, truth) < 0.8 * alone
    # It drifted: sure of all, and on its head.
    drifted = pooled_dawid_skene(*votes, machine=score_bins(-(p**9), 12))
    assert log_loss(drifted.posterior, truth) == pytest.approx(log_loss(honest.posterior, truth), abs=1e-3)
    assert auc(honest.machine[1] / honest.machine[0], np.arange(12) >= 8) > 0.9


def test_a_binned_machine_of_no_use_teaches_nothing(votes_and_truth):
    votes, truth, _ = votes_and_truth
    alone = log_loss(pooled_dawid_skene(*votes).posterior, truth)
    noise = score_bins(np.random.default_rng(8).random(1500), 12)
    assert log_loss(pooled_dawid_skene(*votes, machine=noise).posterior, truth) < 1.05 * alone


def test_what_a_machine_says_of_subjects_without_votes_counts_in_how_common_answers_are():
    truth, p = make_scores(3000, distance=3.0, seed=9)
    unsure = np.flatnonzero(abs(p - 0.5) < 0.45)  # only of these did anybody ask
    rng = np.random.default_rng(0)
    subject = np.repeat(unsure, 3)
    answer = np.where(rng.random(len(subject)) < 0.8, truth[subject], 1 - truth[subject])
    evidence = machine_evidence(p, gold_of(truth, 500)).evidence
    asked = (subject, rng.integers(0, 20, len(subject)), answer, 2)
    result = pooled_dawid_skene(*asked, n_subjects=3000, evidence=evidence)
    assert result.prior[1] == pytest.approx(POSITIVE, abs=0.03)
    assert truth[unsure].mean() > POSITIVE + 0.05


def test_only_networks_that_have_not_seen_a_subject_speak_of_it():
    score = np.array([[0.1, 0.2, 0.3], [0.5, 0.6, np.nan]])
    trained_on = np.array([[True, False, True], [False, False, True]])
    assert held_out_scores(score, trained_on) == pytest.approx(np.array([0.5, 0.4, np.nan]), nan_ok=True)


def test_a_fold_is_scored_by_the_network_that_left_it_out():
    score = np.arange(12.0).reshape(3, 4)
    assert held_out_scores(score, fold=[0, 1, 2, -1]).tolist() == [0.0, 5.0, 10.0, 7.0]
    table = held_out_scores(np.stack([score, -score], axis=2), fold=[0, 1, 2, -1])
    assert table.tolist() == [[0, 0], [5, -5], [10, -10], [7, -7]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: machine_evidence([0.5, 0.5]), "give either gold or the volunteers' posterior"),
        (lambda: machine_evidence([0.5, 0.5], [0, 1], posterior=np.eye(2)), "give either gold"),
        (lambda: machine_evidence([0.5, 1.5], [0, 1]), r"probability\[1\]"),
        (lambda: machine_evidence([[0.5, 0.4]], [0]), r"probability\[0\]"),
        (lambda: machine_evidence([0.5, 0.5], [0, 2]), r"gold\[1\] is 2"),
        (lambda: machine_evidence([0.5, 0.5], [0, 1], trained_on=[1, 0]), "trained_on must be bool"),
        (lambda: machine_evidence([0.5, 0.5], [0, 1], base=[1.0]), "base must hold one frequency per answer"),
        (lambda: machine_evidence([0.5, 0.5], posterior=np.eye(3)), "posterior must have the shape"),
        (lambda: combine_machines([]), "no machines"),
        (lambda: score_bins([[0.5]]), "one dimension"),
        (lambda: score_bins([0.5], n_bins=0), "n_bins"),
        (lambda: score_bins([0.5], exclude=[True, False]), "exclude must be bool"),
        (lambda: held_out_scores([0.5], fold=[0]), "n_networks, n_subjects"),
        (lambda: held_out_scores([[0.5]]), "either trained_on or fold"),
        (lambda: held_out_scores([[0.5]], fold=[1]), "fold below 1"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
