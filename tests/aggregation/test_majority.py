import numpy as np

from aggregation import majority


def test_the_posterior_is_the_vote_fraction():
    result = majority([0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 1, 0])
    assert result.posterior.tolist() == [[0.25, 0.75]]
    assert result.counts.tolist() == [[1, 3]]
    assert result.agreement.tolist() == [0.75]


def test_a_tie_goes_to_the_first_answer_in_any_row_order():
    assert majority([0, 0], [0, 1], [1, 0]).answer.tolist() == [0]
    assert majority([0, 0], [1, 0], [0, 1]).answer.tolist() == [0]


def test_without_votes_the_posterior_is_uniform_and_the_agreement_undefined():
    result = majority([1], [0], [0], n_answers=4)
    assert result.posterior[0].tolist() == [0.25] * 4
    assert np.isnan(result.agreement[0])


def test_it_recovers_the_truth_of_a_good_crowd(crowd):
    result = majority(crowd.subject, crowd.volunteer, crowd.answer)
    assert (result.answer == crowd.truth).mean() > 0.9
