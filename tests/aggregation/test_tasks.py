import numpy as np
import pytest

from aggregation import METHODS, aggregate_tasks, dawid_skene, majority, weighted_votes


@pytest.fixture(scope="module")
def tree(crowd_of):
    """Two questions, of two and three answers, on the same subjects; the second one only on some."""
    one = crowd_of(n_subjects=60, n_answers=2, seed=1)
    two = crowd_of(n_subjects=40, n_answers=3, seed=2)
    subject, volunteer = np.r_[one.subject, two.subject], np.r_[one.volunteer, two.volunteer]
    task = np.r_[np.zeros_like(one.subject), np.ones_like(two.subject)]
    return subject, volunteer, task, np.r_[one.answer, two.answer]


@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_a_subject_and_a_task_with_votes(tree, method):
    result = aggregate_tasks(*tree, [2, 3], method=method)
    expected = sorted([(s, 0) for s in range(60)] + [(s, 1) for s in range(40)])
    assert list(zip(result.subject.tolist(), result.task.tolist(), strict=True)) == expected
    assert result.n_votes.tolist() == [6] * 100
    np.testing.assert_array_equal(np.isnan(result.posterior[:, 2]), result.task == 0)
    np.testing.assert_allclose(np.nansum(result.posterior, axis=1), 1.0)
    assert result.converged


@pytest.mark.parametrize(("method", "function"), [("majority", majority), ("dawid-skene", dawid_skene)])
def test_a_task_is_treated_as_if_it_were_alone(tree, method, function):
    subject, volunteer, task, answer = tree
    result = aggregate_tasks(*tree, [2, 3], method=method)
    for code, size in ((0, 2), (1, 3)):
        votes = task == code
        alone = function(subject[votes], volunteer[votes], answer[votes], size)
        np.testing.assert_allclose(result.posterior[result.task == code, :size], alone.posterior)
        np.testing.assert_array_equal(result.answer[result.task == code], alone.answer)


def test_weighted_votes_have_one_weight_over_all_tasks(tree):
    subject, volunteer, task, answer = tree
    pairs, pair = np.unique(subject * 2 + task, return_inverse=True)
    alone = weighted_votes(pair, volunteer, answer, 3, n_options=np.where(pairs % 2, 3, 2))
    result = aggregate_tasks(*tree, [2, 3], method="weighted")
    np.testing.assert_allclose(result.posterior[:, :2], alone.posterior[:, :2])


def test_gold_is_given_by_subject_and_task(tree):
    gold = np.full((60, 2), -1)
    gold[5, 1] = 2
    result = aggregate_tasks(*tree, [2, 3], gold=gold)
    row = np.flatnonzero((result.subject == 5) & (result.task == 1))[0]
    assert result.posterior[row].tolist() == [0.0, 0.0, 1.0]


def test_confusion_matrices_name_their_volunteers():
    result = aggregate_tasks([0, 0, 1], [7, 3, 9], [0, 0, 1], [1, 1, 0], [2, 2])
    assert result.confusion[0].volunteer.tolist() == [3, 7]
    assert result.confusion[1].volunteer.tolist() == [9]
    assert result.confusion[0].n_given.tolist() == [1, 1]


def test_no_votes_give_no_rows():
    result = aggregate_tasks([], [], [], [], [2, 3])
    assert result.posterior.shape == (0, 3)
    assert result.converged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, "unknown method 'guess'; choose one of majority"),
        ({"method": "majority", "gold": [[0]]}, "no use for gold"),
        ({"gold": [[0, 0]]}, r"gold must have shape \(n_subjects, n_tasks\) = \(1, 1\)"),
        ({"n_answers": [1]}, "task 0 has 1 answers, but a vote for answer 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        aggregate_tasks([0], [0], [0], [1], **arguments)
