import numpy as np
import pytest

from aggregation import majority, weighted_votes


def slow_reference(subject, volunteer, answer, n_options, passes=3):
    """Willett et al. 2013, section 3.2, vote by vote."""
    weight = dict.fromkeys(volunteer, 1.0)

    def fraction(which, chosen):
        votes = [(v, a) for s, v, a in zip(subject, volunteer, answer, strict=True) if s == which]
        return sum(weight[v] for v, a in votes if a == chosen) / sum(weight[v] for v, _ in votes)

    for _ in range(passes):
        consistency = {}
        for s, v, a in zip(subject, volunteer, answer, strict=True):
            parts = [fraction(s, y) if y == a else 1 - fraction(s, y) for y in range(n_options[s])]
            consistency.setdefault(v, []).append(sum(parts) / n_options[s])
        weight = {v: min(1.0, (sum(k) / len(k) / 0.6) ** 8.5) for v, k in consistency.items()}
    return [[fraction(s, y) for y in range(max(n_options))] for s in range(len(n_options))], weight


def test_it_equals_the_slow_reference(crowd_of):
    crowd = crowd_of(n_subjects=12, n_volunteers=7, n_answers=2, per_subject=5, diagonal=(0.7, 0.9), seed=5)
    answer = np.where(crowd.volunteer < 2, 1 - crowd.answer, crowd.answer)
    options = [2] * 12
    posterior, weight = slow_reference(crowd.subject, crowd.volunteer, answer, options)
    result = weighted_votes(crowd.subject, crowd.volunteer, answer, 2, n_options=options)
    assert result.weight.min() < 0.5
    np.testing.assert_allclose(result.posterior, posterior, rtol=1e-12)
    np.testing.assert_allclose([result.weight[v] for v in weight], list(weight.values()), rtol=1e-12)


def test_questions_of_different_size_share_the_weights(crowd_of):
    one = crowd_of(n_subjects=10, n_volunteers=6, n_answers=2, per_subject=4, diagonal=(0.0, 0.9), seed=1)
    two = crowd_of(n_subjects=10, n_volunteers=6, n_answers=6, per_subject=4, diagonal=(0.0, 0.9), seed=2)
    subject = np.r_[one.subject, two.subject + 10]
    volunteer, answer = np.r_[one.volunteer, two.volunteer], np.r_[one.answer, two.answer]
    options = [2] * 10 + [6] * 10
    posterior, _ = slow_reference(subject, volunteer, answer, options)
    result = weighted_votes(subject, volunteer, answer, 6, n_options=options)
    np.testing.assert_allclose(result.posterior, posterior, rtol=1e-12)


def test_a_contrary_volunteer_loses_weight_and_the_others_keep_theirs(crowd_of):
    crowd = crowd_of(n_answers=2, n_volunteers=8, diagonal=(0.9, 1.0))
    answer = np.where(crowd.volunteer == 3, 1 - crowd.answer, crowd.answer)
    result = weighted_votes(crowd.subject, crowd.volunteer, answer)
    assert result.weight[3] < 0.01
    assert np.delete(result.weight, 3).min() > 0.99
    plain = majority(crowd.subject, crowd.volunteer, answer)
    right = np.arange(300), crowd.truth
    assert result.posterior[right].mean() > plain.posterior[right].mean()


def test_raw_counts_stand_beside_the_weighted_ones(crowd):
    result = weighted_votes(crowd.subject, crowd.volunteer, crowd.answer)
    plain = majority(crowd.subject, crowd.volunteer, crowd.answer)
    np.testing.assert_array_equal(result.counts, plain.counts)
    assert np.all(result.weighted_counts <= result.counts)


def test_one_question_of_five_answers_leaves_every_weight_at_one(crowd_of):
    # The consistency is at least (K - 2) / K = 0.6 there: the known limit of the method.
    crowd = crowd_of(n_answers=5, diagonal=(0.0, 0.3))
    assert weighted_votes(crowd.subject, crowd.volunteer, crowd.answer).weight.tolist() == [1.0] * 20


def test_no_pass_is_the_majority(crowd):
    result = weighted_votes(crowd.subject, crowd.volunteer, crowd.answer, passes=0)
    plain = majority(crowd.subject, crowd.volunteer, crowd.answer)
    np.testing.assert_allclose(result.posterior, plain.posterior)


def test_a_volunteer_without_votes_has_no_weight():
    result = weighted_votes([0], [1], [0], n_volunteers=3)
    assert np.isnan(result.weight).tolist() == [True, False, True]


def test_an_answer_outside_its_question_is_refused():
    with pytest.raises(ValueError, match=r"answer\[1\] is 2, but its question has 2 answers"):
        weighted_votes([0, 1], [0, 0], [2, 2], n_options=[3, 2])


def test_options_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="one integer per subject code"):
        weighted_votes([0, 1], [0, 0], [1, 1], n_options=[2])
