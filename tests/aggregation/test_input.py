"""What every function of votes accepts and refuses."""

import numpy as np
import pytest

from aggregation import dawid_skene, majority, one_coin, pooled_dawid_skene, weighted_votes

METHODS = [majority, weighted_votes, dawid_skene, one_coin, pooled_dawid_skene]


@pytest.mark.parametrize("method", METHODS)
def test_empty_input_gives_an_empty_posterior(method):
    result = method([], [], [])
    assert result.posterior.shape == (0, 0)
    assert result.answer.shape == result.n_votes.shape == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_subjects_without_votes_get_a_posterior_that_sums_to_one_and_no_answer(method):
    result = method([1], [0], [1], n_answers=3, n_subjects=3)
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1.0)
    assert result.n_votes.tolist() == [0, 1, 0]
    assert result.answer.tolist() == [-1, 1, -1]


@pytest.mark.parametrize("method", METHODS)
def test_one_vote_is_believed(method):
    assert method([0], [0], [1], n_answers=2).answer.tolist() == [1]


@pytest.mark.parametrize("method", METHODS)
def test_a_single_possible_answer_is_certain(method):
    assert method([0, 0, 1], [0, 1, 1], [0, 0, 0]).posterior.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("method", METHODS)
def test_unanimous_votes_are_near_certain(method):
    result = method(np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5), np.repeat([0, 1, 0, 1, 1], 4))
    assert result.answer.tolist() == [0, 1, 0, 1, 1]
    # The pooled model is not so sure after four votes, and never surer than `MISLEADING` lets it be.
    assert result.posterior.max(axis=1).min() > (0.95 if method is pooled_dawid_skene else 0.99)


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_never_given_is_not_believed(method):
    truth = np.arange(40) % 2
    answer = np.repeat(truth, 5)
    answer[::7] = 1 - answer[::7]
    result = method(np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40), answer, n_answers=4)
    assert result.posterior.shape == (40, 4)
    assert result.posterior[:, 2:].max() < 0.03
    assert (result.answer == truth).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_posterior_is_a_probability_and_votes_are_counted(method, crowd):
    result = method(crowd.subject, crowd.volunteer, crowd.answer, 3)
    assert result.posterior.min() >= 0
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1.0)
    assert result.n_votes.tolist() == [6] * 300


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_rows_changes_nothing(method, crowd):
    order = np.random.default_rng(1).permutation(len(crowd.subject))
    first = method(crowd.subject, crowd.volunteer, crowd.answer)
    second = method(crowd.subject[order], crowd.volunteer[order], crowd.answer[order])
    np.testing.assert_allclose(second.posterior, first.posterior, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(second.answer, first.answer)


@pytest.mark.parametrize("method", METHODS)
def test_renumbering_subjects_volunteers_and_answers_renumbers_the_result(method, crowd):
    rng = np.random.default_rng(2)
    subjects, volunteers, answers = rng.permutation(300), rng.permutation(20), rng.permutation(3)
    first = method(crowd.subject, crowd.volunteer, crowd.answer).posterior
    second = method(subjects[crowd.subject], volunteers[crowd.volunteer], answers[crowd.answer]).posterior
    np.testing.assert_allclose(second[subjects][:, answers], first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_arguments_are_not_changed(method, crowd):
    columns = [column.copy() for column in (crowd.subject, crowd.volunteer, crowd.answer)]
    for column in columns:
        column.flags.writeable = False
    method(*columns)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1], [0], [0]), "subject 2, volunteer 1, answer 1"),
        (([0, -1], [0, 0], [0, 0]), r"subject\[1\] is -1"),
        (([[0]], [[0]], [[0]]), "one dimension, not 2"),
        (([10**12], [0], [0]), "contiguous from 0"),
    ],
)
def test_wrong_codes_are_refused_by_name(method, columns, message):
    with pytest.raises(ValueError, match=message):
        method(*columns)


@pytest.mark.parametrize("method", METHODS)
def test_ids_that_are_not_encoded_are_refused_with_the_way_out(method):
    with pytest.raises(TypeError, match=r"subject must be integer codes.*numpy.unique"):
        method(["a"], [0], [0])


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_beyond_the_answers_is_refused(method):
    with pytest.raises(ValueError, match=r"answer\[1\] is 2, but there are only 2"):
        method([0, 0], [0, 1], [0, 2], n_answers=2)
