import numpy as np
import pytest
from scipy.special import entr

from aggregation import (
    bayes_risk,
    expected_information_gain,
    expected_risk_reduction,
    lens_loss,
    vote_worth,
    zero_one_loss,
)

SHARP = np.array([[0.9, 0.1], [0.1, 0.9]])
BLIND = np.full((2, 2), 0.5)


def random_case(n_subjects=7, n_volunteers=4, n_answers=3, seed=0):
    rng = np.random.default_rng(seed)
    posterior = rng.dirichlet(np.ones(n_answers), n_subjects)
    confusion = rng.dirichlet(np.ones(n_answers), (n_volunteers, n_answers))
    return posterior, confusion


def after_each_answer(p, matrix):
    """P(answer y), and the posterior once it is given."""
    for y in range(len(p)):
        joint = p * matrix[:, y]
        yield joint.sum(), joint / joint.sum()


def test_the_information_gain_is_the_entropy_lost_on_average():
    posterior, confusion = random_case()
    gain = expected_information_gain(posterior, confusion)
    for i, p in enumerate(posterior):
        for j, matrix in enumerate(confusion):
            left = sum(chance * entr(after).sum() for chance, after in after_each_answer(p, matrix))
            assert gain[i, j] == pytest.approx(entr(p).sum() - left)


def test_the_risk_reduction_is_the_risk_lost_on_average():
    posterior, confusion = random_case()
    loss = np.array([[0.0, 1.0, 5.0], [2.0, 0.0, 1.0], [0.6, 0.6, 0.6], [3.0, 1.0, 0.0]])
    reduction = expected_risk_reduction(posterior, confusion, loss)
    for i, p in enumerate(posterior):
        for j, matrix in enumerate(confusion):
            left = sum(chance * (loss @ after).min() for chance, after in after_each_answer(p, matrix))
            assert reduction[i, j] == pytest.approx((loss @ p).min() - left)


@pytest.mark.parametrize("function", [expected_information_gain, expected_risk_reduction])
def test_pairs_are_picked_from_the_table_of_all(function):
    posterior, confusion = random_case()
    extra = (zero_one_loss(3),) if function is expected_risk_reduction else ()
    n_votes = np.arange(7)
    table = function(posterior, confusion, *extra, n_votes=n_votes, correlation=0.1)
    subject, volunteer = np.array([6, 0, 3, 3]), np.array([0, 3, 1, 1])
    tempered = {"n_votes": n_votes, "correlation": 0.1}
    pairs = function(posterior, confusion, *extra, subject=subject, volunteer=volunteer, **tempered)
    assert pairs == pytest.approx(table[subject, volunteer])


def test_a_blind_volunteer_tells_nothing_and_nobody_tells_anything_of_a_certain_subject():
    gain = expected_information_gain([[0.5, 0.5], [1.0, 0.0]], [SHARP, BLIND])
    assert gain == pytest.approx(np.array([[np.log(2) - entr([0.9, 0.1]).sum(), 0.0], [0.0, 0.0]]), abs=1e-12)


def test_the_doubtful_subject_and_the_sharper_volunteer_come_first():
    duller = np.array([[0.7, 0.3], [0.3, 0.7]])
    gain = expected_information_gain([[0.5, 0.5], [0.8, 0.2], [0.97, 0.03]], [SHARP, duller])
    assert (np.diff(gain, axis=0) < 0).all()
    assert (gain[:, 0] > gain[:, 1]).all()


def test_a_vote_is_worth_what_it_adds_to_the_effective_number_of_votes():
    n, rho = np.arange(12), 0.07
    effective = n / (1 + rho * (n - 1))
    assert vote_worth(n[:-1], rho) == pytest.approx(np.diff(effective))
    assert vote_worth(n, 0.0) == pytest.approx(1)
    assert vote_worth([0, 1, 5], 1.0).tolist() == [1, 0, 0]


def test_correlated_votes_make_the_next_one_less_informative():
    plain = expected_information_gain([[0.5, 0.5]] * 2, [SHARP])
    tempered = expected_information_gain([[0.5, 0.5]] * 2, [SHARP], n_votes=[0, 9], correlation=0.2)
    assert tempered[0] == pytest.approx(plain[0])
    assert tempered[1] == pytest.approx(plain[1] * 0.8 / (2.8 * 2.6))


def test_a_lens_worth_a_thousand_false_alarms_is_kept_at_two_in_a_thousand():
    p = np.array([0.0, 0.0005, 0.002, 0.5, 1.0])
    result = bayes_risk(np.stack([1 - p, p], axis=1), lens_loss(missed=1000, false_alarm=1))
    assert result.action.tolist() == [0, 0, 1, 1, 1]
    assert result.risk == pytest.approx([0, 0.5, 0.998, 0.5, 0])


def test_under_zero_one_loss_the_risk_is_the_chance_of_being_wrong():
    posterior, _ = random_case()
    result = bayes_risk(posterior, zero_one_loss(3))
    assert result.action.tolist() == posterior.argmax(axis=1).tolist()
    assert result.risk == pytest.approx(1 - posterior.max(axis=1))


def test_an_expert_is_asked_where_no_answer_is_safe():
    loss = np.vstack([zero_one_loss(2), [0.2, 0.2]])
    assert bayes_risk([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9]], loss).action.tolist() == [0, 2, 1]


def test_no_subjects_no_volunteers():
    assert expected_information_gain(np.empty((0, 2)), [SHARP]).shape == (0, 1)
    assert expected_risk_reduction([[0.5, 0.5]], np.empty((0, 2, 2)), zero_one_loss(2)).shape == (1, 0)
    assert bayes_risk(np.empty((0, 2)), zero_one_loss(2)).risk.shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bayes_risk([0.5, 0.5], zero_one_loss(2)), r"shape \(n_subjects, n_answers\), not \(2,\)"),
        (lambda: bayes_risk([[0.5, 0.5], [1.5, -0.5]], zero_one_loss(2)), r"posterior\[1\]"),
        (lambda: bayes_risk([[0.5, np.nan]], zero_one_loss(2)), r"posterior\[0\]"),
        (lambda: bayes_risk([[0.5, 0.5]], zero_one_loss(3)), r"\(n_actions, 2\), not \(3, 3\)"),
        (lambda: bayes_risk([[0.5, 0.5]], [[0.0, np.inf]]), "finite"),
        (lambda: expected_information_gain([[0.5, 0.5]], [SHARP, SHARP * 0.9]), r"confusion\[1\]"),
        (lambda: expected_information_gain([[0.5, 0.5]], SHARP), r"not \(2, 2\)"),
        (lambda: expected_information_gain([[0.5, 0.5]], [SHARP], subject=[0]), "both subject and volunteer"),
        (lambda: expected_information_gain([[0.5, 0.5]], [SHARP], subject=[1], volunteer=[0]), "only 1 codes"),
        (lambda: expected_information_gain([[0.5, 0.5]], [SHARP], correlation=0.1), "needs n_votes"),
        (lambda: expected_information_gain([[0.5, 0.5]], [SHARP], n_votes=[1, 2]), "n_votes must hold one"),
        (lambda: vote_worth([1], 1.5), "correlation must be between 0 and 1"),
        (lambda: vote_worth([-1], 0.5), "must not be negative"),
        (lambda: lens_loss(missed=0), "missed must be a positive cost"),
        (lambda: zero_one_loss(0), "at least 1"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
