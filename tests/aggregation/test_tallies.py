import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import (
    RunningTally,
    last_votes,
    reach_probability,
    tally_from_counts,
    tally_votes,
)

VOTES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=30)


def test_counts_and_fractions_of_a_small_table():
    tally = tally_votes([0, 0, 0, 0, 1], [2, 2, 2, 0, 1], 3)
    assert tally.counts.tolist() == [[1, 0, 3], [0, 1, 0]]
    assert tally.fractions.tolist() == [[0.25, 0, 0.75], [0, 1, 0]]
    assert tally.n_voters.tolist() == [4, 1]
    assert tally.answer.tolist() == [2, 1]
    assert tally.agreement.tolist() == [0.75, 1.0]


def test_a_subject_without_votes_has_undefined_fractions():
    tally = tally_votes([1], [0], 2, n_subjects=2)
    assert np.isnan(tally.fractions[0]).all()
    assert np.isnan([tally.agreement[0], tally.entropy[0]]).all()
    assert tally.answer.tolist() == [-1, 0]


def test_no_votes_at_all():
    tally = tally_votes([], [])
    assert tally.counts.shape == (0, 0)
    assert tally.agreement.shape == (0,)


def test_entropy_is_zero_when_unanimous_and_largest_when_split_evenly():
    entropy = tally_from_counts([[4, 0, 0], [2, 1, 1], [2, 2, 2]]).entropy
    assert entropy[0] == 0
    assert entropy[0] < entropy[1] < entropy[2] == pytest.approx(np.log(3))


def test_ties_go_to_the_first_answer():
    assert tally_from_counts([[0, 2, 2]]).answer.tolist() == [1]


def test_a_multiple_choice_counts_volunteers_and_not_choices():
    # three volunteers: {0, 1}, {1} and nothing
    tally = tally_votes([0, 0, 0], [0, 1, 1], 2, n_voters=[3])
    np.testing.assert_allclose(tally.fractions, [[1 / 3, 2 / 3]])
    assert tally.entropy[0] == pytest.approx(2 * (np.log(3) - 2 / 3 * np.log(2)))


def test_more_votes_for_an_answer_than_volunteers_are_refused():
    with pytest.raises(ValueError, match="subject 1: 3 votes for one answer by 2 voters"):
        tally_from_counts([[1], [3]], n_voters=[1, 2])


@pytest.mark.parametrize("counts", [[[0.5]], [1, 2], [[-1]]])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="counts must"):
        tally_from_counts(counts)


@settings(max_examples=60, deadline=None)
@given(VOTES)
def test_running_counts_equal_the_batch(votes):
    running = [RunningTally.empty(4) for _ in range(5)]
    for subject, answer in votes:
        running[subject] = running[subject].add(answer)
    batch = tally_votes([s for s, _ in votes], [a for _, a in votes], 4, n_subjects=5)
    for subject, state in enumerate(running):
        for name in ("counts", "n_voters", "fractions", "answer", "agreement", "entropy"):
            np.testing.assert_array_equal(getattr(state.tally(), name)[0], getattr(batch, name)[subject])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 3)), max_size=12))
def test_running_multiple_choice_equals_the_batch(choices):
    state = RunningTally.empty(4, multiple=True)
    for chosen in choices:
        state = state.add(chosen)
    rows = [answer for chosen in choices for answer in chosen]
    batch = tally_votes([0] * len(rows), rows, 4, n_subjects=1, n_voters=[len(choices)])
    for name in ("counts", "n_voters", "fractions", "answer", "entropy"):
        np.testing.assert_array_equal(getattr(state.tally(), name), getattr(batch, name))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=20))
def test_a_replaced_vote_equals_the_batch_of_last_votes(votes):
    state, latest = RunningTally.empty(4), {}
    for volunteer, answer in votes:
        state = state.add(answer, replaces=latest.get(volunteer))
        latest[volunteer] = answer
    kept = last_votes([0] * len(votes), [volunteer for volunteer, _ in votes])
    batch = tally_votes([0] * len(kept), [votes[row][1] for row in kept], 4, n_subjects=1)
    np.testing.assert_array_equal(state.tally().counts, batch.counts)


@pytest.mark.parametrize("vote", [4, -1, [0, 1], []])
def test_a_vote_outside_the_task_is_refused(vote):
    with pytest.raises(ValueError, match=r"vote|one answer"):
        RunningTally.empty(4).add(vote)


def test_replacing_a_vote_that_was_never_counted_is_refused():
    with pytest.raises(ValueError, match="never counted"):
        RunningTally.empty(2).add(0, replaces=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(0, 3)), max_size=20))
def test_last_votes_equal_the_slow_reference(rows):
    latest = {}
    for number, (subject, volunteer, task, time) in enumerate(rows):
        key = (subject, volunteer, task)
        if key not in latest or time >= rows[latest[key]][3]:
            latest[key] = number
    columns = np.array(rows, dtype=int).reshape(-1, 4).T
    assert last_votes(*columns).tolist() == sorted(latest.values())


# A tree like Galaxy Zoo's: smooth (0) -> roundness 1, featured (1) -> edge-on 2, artifact ends; 1 and 2 -> odd 3.
TREE = [[1, 2, -1], [3, 3], [3, 3], [-1, -1]]


def test_reach_probability_follows_all_paths():
    smooth = np.array([[0.6, 0.3, 0.1]])
    half = np.array([[0.5, 0.5]])
    np.testing.assert_allclose(reach_probability(TREE, [smooth, half, half, half]), [[1.0, 0.6, 0.3, 0.9]], atol=1e-15)


def test_a_question_never_reached_has_probability_zero_in_spite_of_undefined_fractions():
    smooth, half, none = np.array([[0.0, 1.0, 0.0]]), np.array([[0.5, 0.5]]), np.full((1, 2), np.nan)
    np.testing.assert_allclose(reach_probability(TREE, [smooth, none, half, half]), [[1, 0, 1, 1]])


def test_a_branching_question_without_votes_leaves_what_follows_unknown():
    none = np.full((1, 2), np.nan)
    reach = reach_probability([[1, -1], [2, -1], [-1]], [np.array([[0.5, 0.5]]), none, np.ones((1, 1))])
    np.testing.assert_array_equal(reach, [[1.0, 0.5, np.nan]])


def test_a_multiple_choice_hands_its_whole_probability_on():
    several = np.array([[0.3, 0.2]])
    np.testing.assert_array_equal(reach_probability([[1, 1], [-1]], [several, np.ones((1, 1))]), [[1.0, 1.0]])


def test_reach_probability_equals_the_share_of_simulated_volunteers():
    rng = np.random.default_rng(3)
    tables = [rng.dirichlet(np.ones(len(answers)), 1) for answers in TREE]
    reached = np.zeros(4)
    for _ in range(4000):
        task = 0
        while task >= 0:
            reached[task] += 1
            task = TREE[task][rng.choice(len(TREE[task]), p=tables[task][0])]
    np.testing.assert_allclose(reach_probability(TREE, tables)[0], reached / 4000, atol=0.03)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([[1], [0]], r"cycle: \[0, 1, 0\]"),
        ([[7], [-1]], "task 0 leads to an unknown task"),
        ([[1, -1], [-1]], "task 0: fractions must have shape"),
        ([[-1]], "disagree"),
    ],
)
def test_a_tree_that_is_none_is_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        reach_probability(tree, [np.ones((1, 1)), np.ones((1, 1))])
