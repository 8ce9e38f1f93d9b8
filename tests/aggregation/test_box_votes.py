import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregation import box_iou, cluster_boxes

# Coarse coordinates make overlaps, exact ties and equal boxes common.
BOX = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4), st.integers(1, 4))
MARKS = st.lists(st.tuples(BOX, st.integers(0, 4)), max_size=14)


def columns(marks):
    return np.array([box for box, _ in marks], float).reshape(-1, 4), np.array([v for _, v in marks], int)


def plain_iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def slow_reference(marks, n_seen, threshold=0.35, min_fraction=0.25):
    """Greedy voting mark by mark, counting anew each time; sets of members as indices of the sorted marks."""
    marks = sorted(marks)
    free, groups = set(range(len(marks))), []

    def around(box, which):
        return [m for m in sorted(which) if plain_iou(box, marks[m][0]) >= threshold]

    def nearest(rows, box):
        best = {}
        for m in rows:
            volunteer = marks[m][1]
            if volunteer not in best or plain_iou(box, marks[m][0]) > plain_iou(box, marks[best[volunteer]][0]):
                best[volunteer] = m
        return sorted(best.values())

    def backing(m):
        box = marks[m][0]
        closeness = sum(plain_iou(box, marks[other][0]) for other in around(box, range(len(marks))))
        return len({marks[other][1] for other in around(box, free)}), round(closeness, 9)

    while free:
        seed = max(sorted(free), key=backing)
        if backing(seed)[0] / n_seen < min_fraction:
            break
        near = around(marks[seed][0], free)
        sides = np.median([[x, y, x + w, y + h] for (x, y, w, h), _ in (marks[m] for m in near)], axis=0)
        middle = (sides[0], sides[1], sides[2] - sides[0], sides[3] - sides[1])
        again = around(middle, free)
        if len({marks[m][1] for m in again}) >= len({marks[m][1] for m in near}):
            members = nearest(again, middle)
        else:
            members = nearest(near, marks[seed][0])
        groups.append(members)
        free -= set(members)
    return sorted(sorted(marks[m] for m in group) for group in groups)


# As many volunteers agree around the median of these as around their seed, but with other marks.
MOVED = [((5, 0, 3, 2), 3), ((4, 1, 2, 3), 2), ((5, 1, 3, 3), 1), ((2, 5, 3, 1), 3)]
MOVED += [((6, 0, 2, 4), 1), ((5, 1, 3, 4), 1), ((0, 3, 4, 3), 1), ((5, 2, 2, 3), 2)]


@settings(max_examples=150, deadline=None)
@given(MARKS, st.sampled_from([0.0, 0.25, 0.5]))
@example(MOVED, 0.25)
def test_it_equals_the_slow_reference(marks, min_fraction):
    boxes, volunteer = columns(marks)
    result = cluster_boxes(boxes, volunteer, 5, min_fraction=min_fraction)
    found = sorted(
        sorted(marks[row] for row in np.flatnonzero(result.member == number)) for number in range(len(result.boxes))
    )
    assert found == slow_reference(marks, 5, min_fraction=min_fraction)


@settings(max_examples=100, deadline=None)
@given(MARKS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_and_the_numbers_of_volunteers_change_nothing(marks, random):
    boxes, volunteer = columns(marks)
    order = list(range(len(marks)))
    random.shuffle(order)
    first = cluster_boxes(boxes, volunteer, 5, min_fraction=0)
    second = cluster_boxes(boxes[order], (volunteer[order] * 7) % 11, 5, min_fraction=0)
    np.testing.assert_array_equal(second.boxes, first.boxes)
    np.testing.assert_array_equal(second.n_marks, first.n_marks)


@settings(max_examples=100, deadline=None)
@given(MARKS, st.floats(0, 1), st.integers(5, 9))
def test_no_volunteer_is_twice_in_a_box_and_every_box_has_its_votes(marks, min_fraction, n_seen):
    boxes, volunteer = columns(marks)
    result = cluster_boxes(boxes, volunteer, n_seen, min_fraction=min_fraction)
    for number, n_marks in enumerate(result.n_marks):
        members = volunteer[result.member == number]
        assert len(set(members.tolist())) == len(members) == n_marks
    assert np.all(result.fraction >= min_fraction)
    assert np.all(np.diff(result.n_marks) <= 0)


def test_two_objects_and_a_stray_mark():
    boxes = [[10, 10, 20, 20], [12, 10, 20, 20], [60, 60, 10, 10], [61, 61, 10, 10], [200, 5, 9, 9]]
    result = cluster_boxes(boxes, [0, 1, 0, 1, 2], 4, min_fraction=0.5)
    assert result.boxes.tolist() == [[11, 10, 20, 20], [60.5, 60.5, 10, 10]]
    assert result.fraction.tolist() == [0.5, 0.5]
    assert result.member.tolist() == [0, 0, 1, 1, -1]


def test_a_second_mark_of_a_volunteer_in_the_same_place_is_left_out():
    boxes = [[0, 0, 10, 10], [1, 0, 10, 10], [3, 0, 10, 10]]
    result = cluster_boxes(boxes, [0, 1, 1], 2, min_fraction=0.6)
    assert result.n_marks.tolist() == [2]
    assert result.member.tolist() == [0, 0, -1]


def test_the_median_ignores_one_wild_edge():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 14]]
    assert cluster_boxes(boxes, [0, 1, 2], 3, average="median").boxes.tolist() == [[0, 0, 10, 10]]
    assert cluster_boxes(boxes, [0, 1, 2], 3, average="mean").boxes[0, 3] == pytest.approx(34 / 3)


def test_a_subject_that_nobody_marked_has_no_boxes():
    result = cluster_boxes(np.empty((0, 4)), [], 12)
    assert result.boxes.shape == (0, 4)
    assert result.member.shape == (0,)


def test_the_smallest_fraction_counts_as_published_and_not_as_rounded():
    # 0.07 * 100 is slightly above 7 in floating point.
    result = cluster_boxes(np.tile([0.0, 0, 5, 5], (7, 1)), np.arange(7), 100, min_fraction=0.07)
    assert result.fraction.tolist() == [0.07]


def test_iou_of_known_pairs():
    boxes = [[0, 0, 2, 2], [1, 0, 2, 2], [0, 0, 4, 4], [2, 0, 2, 2], [9, 9, 1, 1]]
    np.testing.assert_allclose(box_iou(boxes[:1], boxes), [[1, 1 / 3, 1 / 4, 0, 0]])


def test_iou_is_symmetric_and_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(1, 50, (30, 4))
    overlap = box_iou(boxes, boxes)
    np.testing.assert_array_equal(overlap, overlap.T)
    np.testing.assert_allclose(box_iou(boxes * 1e3, boxes * 1e3), overlap)
    np.testing.assert_allclose(np.diag(overlap), 1.0)


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [0, 0, 5, -1], [0, np.nan, 5, 5], [np.inf, 0, 5, 5]])
def test_a_box_that_is_none_is_refused_by_its_row(box):
    with pytest.raises(ValueError, match=r"boxes\[1\] is .*four finite numbers with width and height above 0"):
        cluster_boxes([[0, 0, 1, 1], box], [0, 1], 2)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"iou_threshold": 0}, "iou_threshold"),
        ({"min_fraction": 1.1}, "min_fraction"),
        ({"average": "mode"}, "average must be one of"),
        ({"n_seen": 1}, "n_seen is 1, but 2 volunteers drew marks"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_, message):
    with pytest.raises(ValueError, match=message):
        cluster_boxes([[0, 0, 1, 1]] * 2, [0, 1], **{"n_seen": 2, **settings_})
