import time

import numpy as np
import pytest

from aggregation import RetirementRule, bayes_risk, lens_loss, retire, risk_limit, zero_one_loss

CROWD = np.array([[[0.8, 0.2], [0.3, 0.7]]])


def test_each_status_has_its_reason():
    posterior = [[0.99, 0.01], [0.99, 0.01], [0.8, 0.2], [0.8, 0.2], [0.99, 0.01]]
    result = retire(posterior, [2, 3, 3, 40, 40], zero_one_loss(2), max_risk=0.02, min_votes=3, max_votes=40)
    assert result.status.tolist() == ["ask", "retire", "ask", "exhausted", "retire"]
    assert result.action.tolist() == [0] * 5
    assert result.risk == pytest.approx([0.01, 0.01, 0.2, 0.2, 0.01])


def test_a_lens_search_rejects_only_where_next_to_nothing_can_be_lost():
    p = np.array([1e-6, 1e-4, 0.5, 0.99])
    result = retire(np.stack([1 - p, p], axis=1), [5] * 4, lens_loss(missed=1000), max_risk=0.02)
    assert result.status.tolist() == ["retire", "ask", "ask", "retire"]
    assert result.action[[0, 3]].tolist() == [0, 1]


@pytest.mark.parametrize("vote_cost", [None, 0.003])
def test_one_subject_alone_is_judged_as_in_the_table(vote_cost):
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet([0.4, 0.4, 0.4], 300)
    n_votes = rng.integers(0, 12, 300)
    loss = np.vstack([zero_one_loss(3) * [[1], [2], [3]], [0.5, 0.5, 0.5]])
    crowd = 0.6 * np.eye(3) + 0.4 / 3
    limits = {"max_risk": 0.05, "min_votes": 2, "max_votes": 10, "vote_cost": vote_cost, "correlation": 0.1}
    table = retire(posterior, n_votes, loss, confusion=crowd[np.newaxis], **limits)
    rule = RetirementRule(loss, confusion=crowd[np.newaxis], **limits)
    verdicts = [rule.decide(p, n) for p, n in zip(posterior, n_votes.tolist(), strict=True)]
    assert [each.status for each in verdicts] == table.status.tolist()
    assert [each.action for each in verdicts] == table.action.tolist()
    assert [each.risk for each in verdicts] == pytest.approx(table.risk)
    assert ("unprofitable" in table.status) == (vote_cost is not None)


def test_votes_ahead_see_what_no_single_vote_could_change():
    # At 0.9 one vote of this crowd cannot change the answer; three can.
    def status(ahead):
        rule = {"vote_cost": 1e-3, "confusion": CROWD, "votes_ahead": ahead, "max_risk": 0.01}
        return retire([[0.9, 0.1]], [5], zero_one_loss(2), **rule).status[0]

    assert (status(1), status(3)) == ("unprofitable", "ask")


def test_the_expected_risk_after_two_votes_is_that_of_asking_twice():
    p, matrix, loss = np.array([0.35, 0.65]), CROWD[0], zero_one_loss(2)
    after = sum((loss @ (p * matrix[:, a] * matrix[:, b])).min() for a in range(2) for b in range(2))
    worth = ((loss @ p).min() - after) / 2
    one = (loss @ p).min() - sum((loss @ (p * matrix[:, a])).min() for a in range(2))
    best = max(one, worth)
    rule = {"max_risk": 0.0, "min_votes": 0, "confusion": CROWD, "votes_ahead": 2}
    assert retire([p], [0], loss, vote_cost=best + 1e-9, **rule).status[0] == "unprofitable"
    assert retire([p], [0], loss, vote_cost=best - 1e-9, **rule).status[0] == "ask"


def test_the_better_kind_of_volunteer_decides_whether_a_vote_pays():
    blind, sharp = np.full((2, 2), 0.5), np.array([[0.95, 0.05], [0.05, 0.95]])

    def status(*kinds):
        return retire([[0.6, 0.4]], [4], zero_one_loss(2), vote_cost=0.1, confusion=np.array(kinds)).status[0]

    assert (status(blind), status(sharp), status(blind, sharp)) == ("unprofitable", "ask", "ask")


def test_correlated_votes_stop_paying_sooner():
    rule = {"vote_cost": 0.02, "confusion": CROWD, "max_risk": 0.01}
    posterior, n_votes = [[0.6, 0.4]] * 2, [3, 25]
    assert retire(posterior, n_votes, zero_one_loss(2), **rule).status.tolist() == ["ask", "ask"]
    tempered = retire(posterior, n_votes, zero_one_loss(2), correlation=0.2, **rule)
    assert tempered.status.tolist() == ["ask", "unprofitable"]


@pytest.mark.parametrize("max_risk", [0.05, 0.02])
def test_subjects_that_stop_on_an_honest_posterior_are_right_as_often_as_promised(max_risk):
    rng = np.random.default_rng(1)
    truth = (rng.random(20_000) < 0.3).astype(int)
    log_odds = np.full(len(truth), np.log(0.3 / 0.7))
    is_open, n_votes = np.ones(len(truth), dtype=bool), np.zeros(len(truth), dtype=int)
    crowd, loss = CROWD[0], zero_one_loss(2)
    while is_open.any():
        said = (rng.random(len(truth)) < crowd[truth, 1]).astype(int)
        step = np.log(crowd[1, said] / crowd[0, said])
        log_odds[is_open] += step[is_open]
        n_votes[is_open] += 1
        p = 1 / (1 + np.exp(-log_odds))
        end = retire(np.stack([1 - p, p], axis=1), n_votes, loss, max_risk=max_risk, min_votes=1, max_votes=60)
        is_open &= end.status == "ask"
    retired = end.status == "retire"
    delivered = (end.action == truth)[retired].mean()
    assert retired.mean() > 0.99
    assert delivered == pytest.approx(1 - end.risk[retired].mean(), abs=0.004)
    assert delivered > 1 - max_risk


def test_a_promise_on_average_lets_more_subjects_go_and_is_kept():
    rng = np.random.default_rng(2)
    risk = rng.beta(0.5, 3, 1000)
    limit = risk_limit(risk, 0.05, ceiling=0.5)
    assert limit > 0.05
    assert 0.049 < risk[risk <= limit].mean() <= 0.05
    assert risk_limit(risk, 0.05, ceiling=0.08) == risk[risk <= 0.08].max()


def test_a_promise_on_average_counts_those_that_retired_before():
    assert risk_limit([0.04, 0.06], 0.05, ceiling=1.0, retired=[0.05] * 10) == 0.06
    assert risk_limit([0.04, 0.06], 0.05, ceiling=1.0, retired=[0.06] * 10) == 0.0
    assert risk_limit([0.2], 0.05, ceiling=1.0, retired=[0.01] * 10) == 0.2
    assert risk_limit([], 0.05, ceiling=1.0) == 0.0


def test_subjects_in_another_order_get_the_same_verdict():
    rng = np.random.default_rng(3)
    posterior, n_votes = rng.dirichlet([0.3, 0.3], 50), rng.integers(0, 50, 50)
    order = rng.permutation(50)
    one = retire(posterior, n_votes, zero_one_loss(2))
    other = retire(posterior[order], n_votes[order], zero_one_loss(2))
    assert other.status.tolist() == one.status[order].tolist()


def test_no_subjects_are_no_trouble():
    assert retire(np.empty((0, 2)), np.empty(0, dtype=int), zero_one_loss(2)).status.shape == (0,)
    with_cost = retire(np.empty((0, 2)), np.empty(0, dtype=int), zero_one_loss(2), vote_cost=1, confusion=CROWD)
    assert with_cost.status.shape == (0,)


@pytest.mark.parametrize("vote_cost", [None, 0.001])
def test_a_web_request_has_its_verdict_in_50_microseconds(vote_cost):
    crowd = 0.7 * np.eye(3) + 0.1
    rule = RetirementRule(zero_one_loss(3), vote_cost=vote_cost, confusion=crowd[np.newaxis])
    rule.decide([0.7, 0.2, 0.1], 5)
    spent = []
    for _ in range(10):
        began = time.process_time()
        for _ in range(200):
            rule.decide([0.7, 0.2, 0.1], 5)
        spent.append((time.process_time() - began) / 200)
    assert min(spent) < 50e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: retire([[0.5, 0.5]], [1, 2], zero_one_loss(2)), "n_votes must hold one integer per subject"),
        (lambda: retire([[0.5, 0.5]], [1], zero_one_loss(3)), "the loss must have the shape"),
        (lambda: retire([[0.5, 0.5]], [1], zero_one_loss(2), max_risk=-1), "max_risk"),
        (lambda: retire([[0.5, 0.5]], [1], zero_one_loss(2), min_votes=5, max_votes=4), "min_votes <= max_votes"),
        (lambda: retire([[0.5, 0.5]], [1], zero_one_loss(2), vote_cost=0.1), "vote_cost needs confusion"),
        (lambda: RetirementRule(zero_one_loss(2), votes_ahead=0), "votes_ahead"),
        (lambda: RetirementRule(zero_one_loss(2), vote_cost=-1, confusion=CROWD), "vote_cost"),
        (lambda: RetirementRule(zero_one_loss(2)).decide([0.2, 0.3, 0.5], 1), "2 answers, the posterior has 3"),
        (
            lambda: retire(
                np.full((1, 9), 1 / 9), [1], zero_one_loss(9), vote_cost=0, confusion=[np.eye(9)], votes_ahead=8
            ),
            "smaller votes_ahead",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_risk_of_a_verdict_is_the_bayes_risk():
    rule = RetirementRule(lens_loss())
    p = np.array([0.9999, 0.0001])
    verdict, table = rule.decide(p, 10), bayes_risk([p], lens_loss())
    assert (verdict.action, verdict.risk) == (table.action[0], pytest.approx(table.risk[0]))
