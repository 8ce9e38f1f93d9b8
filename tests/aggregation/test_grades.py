import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import LENS_ESCAPE, LENS_LEVELS, RunningTally, grade_distribution, grades_from_counts

X, C, B, A, I = range(5)  # noqa: E741 - the field's own letters


def test_the_grades_of_one_candidate():
    result = grade_distribution([0] * 5, [A, B, B, C, I])
    assert result.counts.tolist() == [[0, 1, 2, 1, 1]]
    assert result.fractions.tolist() == [[0, 0.2, 0.4, 0.2, 0.2]]
    assert result.grade.tolist() == [B]
    assert result.expected.tolist() == [2.0]
    assert result.n_on_scale.tolist() == [4]
    assert result.agreement.tolist() == [0.4]


def test_codes_follow_the_documented_order():
    assert [*LENS_LEVELS, LENS_ESCAPE][A] == "A"
    assert [*LENS_LEVELS, LENS_ESCAPE][I] == "I"


def test_the_escape_class_is_never_turned_into_a_number():
    with_escape = grade_distribution([0] * 3, [A, I, I])
    assert with_escape.expected.tolist() == [3.0]
    assert with_escape.grade.tolist() == [I]
    assert np.isnan(grade_distribution([0], [I]).expected[0])


@pytest.mark.parametrize(("grades", "winner"), [([A, X], X), ([B, C], C), ([A, I], A)])
def test_ties_go_to_the_cautious_grade_and_then_to_the_scale(grades, winner):
    assert grade_distribution([0, 0], grades).grade.tolist() == [winner]


def test_a_candidate_without_grades():
    result = grade_distribution([1], [A], n_subjects=2)
    assert result.grade.tolist() == [-1, A]
    assert np.isnan([result.expected[0], result.agreement[0]]).all()


def test_a_scale_without_escape_class():
    result = grade_distribution([0, 0], [0, 1], 2, escape=False)
    assert result.counts.tolist() == [[1, 1]]
    with pytest.raises(ValueError, match=r"grade\[0\] is 2"):
        grade_distribution([0], [2], 2, escape=False)


def test_a_scale_without_levels_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        grade_distribution([0], [0], 0)
    with pytest.raises(ValueError, match="cannot hold 4 levels"):
        grades_from_counts([[1, 2]])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(X, I), max_size=20))
def test_running_grades_equal_the_batch(grades):
    state = RunningTally.empty(5)
    for grade in grades:
        state = state.add(grade)
    running = grades_from_counts([list(state.counts)])
    batch = grade_distribution([0] * len(grades), grades, n_subjects=1)
    for name in ("counts", "n_votes", "fractions", "grade", "expected", "n_on_scale", "agreement"):
        np.testing.assert_array_equal(getattr(running, name), getattr(batch, name))


@given(st.lists(st.integers(X, I), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_turning_the_scale_around_turns_the_expected_grade(grades):
    flipped = [grade if grade == I else A - grade for grade in grades]
    first, second = (grade_distribution([0] * len(grades), each).expected[0] for each in (grades, flipped))
    np.testing.assert_allclose(second, 3 - first)
