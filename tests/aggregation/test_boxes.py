import csv

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from aggregation import RunningBoxes, box_iou, cluster_boxes, consensus_boxes

NOTHING = [np.nan] * 4

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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(BOX, max_size=3), max_size=6))
def test_running_boxes_equal_the_batch(classifications):
    state = RunningBoxes()
    for volunteer, drawn in enumerate(classifications):
        state = state.add(volunteer, np.array(drawn, float).reshape(-1, 4))
    rows = [(0, v, box) for v, drawn in enumerate(classifications) for box in (drawn or [NOTHING])]
    batch = consensus_boxes([s for s, _, _ in rows], [v for _, v, _ in rows], [b for _, _, b in rows])
    running = state.clusters()
    np.testing.assert_array_equal(running.boxes, batch.boxes)
    np.testing.assert_array_equal(running.n_marks, batch.n_marks)
    np.testing.assert_array_equal(running.fraction, batch.probability)


def test_a_repeated_classification_replaces_the_earlier_one():
    state = RunningBoxes().add(7, [[0, 0, 4, 4]]).add(8, []).add(7, [[50, 50, 4, 4]])
    result = state.clusters()
    assert result.n_seen == 2
    assert result.boxes.tolist() == [[50, 50, 4, 4]]


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


def test_labels_do_not_mix_and_viewers_are_counted_over_all_of_them():
    result = consensus_boxes([0, 0, 0, 0], [1, 2, 1, 3], [[0, 0, 4, 4]] * 3 + [NOTHING], label=[0, 0, 1, 0])
    assert result.label.tolist() == [0, 1]
    assert result.n_marks.tolist() == [2, 1]
    assert result.n_seen.tolist() == [3, 3]
    assert result.member.tolist() == [0, 0, 1, -1]


def test_subjects_are_kept_apart_and_ordered():
    boxes = [[5, 5, 4, 4], [0, 0, 4, 4], NOTHING, [5, 5, 4, 4]]
    result = consensus_boxes([2, 0, 1, 2], [0, 0, 0, 1], boxes)
    assert result.subject.tolist() == [0, 2]
    assert result.seen.tolist() == [1, 1, 2]
    assert result.probability.tolist() == [1.0, 1.0]
    assert result.member.tolist() == [1, 0, -1, 1]


def test_no_rows_at_all():
    result = consensus_boxes([], [], np.empty((0, 4)))
    assert result.boxes.shape == (0, 4)
    assert result.seen.shape == result.subject.shape == (0,)


def test_arguments_are_not_changed():
    boxes = np.array([[0.0, 0, 4, 4], NOTHING])
    boxes.flags.writeable = False
    consensus_boxes([0, 0], [0, 1], boxes)


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [0, 0, 5, -1], [0, np.nan, 5, 5], [np.inf, 0, 5, 5]])
def test_a_box_that_is_none_is_refused_by_its_row(box):
    with pytest.raises(ValueError, match=r"boxes\[1\] is .*four finite numbers with width and height above 0"):
        cluster_boxes([[0, 0, 1, 1], box], [0, 1], 2)
    with pytest.raises(ValueError, match=r"boxes\[2\] is"):
        consensus_boxes([0, 0, 0], [0, 1, 2], [[0, 0, 1, 1], NOTHING, box])


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


def simulated(folder):
    """Rows of an annotation table and the true boxes by subject."""
    with (folder / "annotations.csv").open() as file:
        rows = list(csv.DictReader(file))
    corners = np.array([[float(row[c] or "nan") for c in ("x1", "y1", "x2", "y2")] for row in rows])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    truth = {}
    with (folder / "truth.csv").open() as file:
        for row in csv.DictReader(file):
            x1, y1, x2, y2 = (float(row[c]) for c in ("x1", "y1", "x2", "y2"))
            truth.setdefault(int(row["subject_id"]), []).append([x1, y1, x2 - x1, y2 - y1])
    code = [np.array([int(row[name]) for row in rows]) for name in ("subject_id", "volunteer_id")]
    return (*code, boxes), truth


def f1_score(result, truth):
    """Hungarian matching at IoU >= 0.5, as in the shared scorer."""
    hits = 0
    for subject, true_boxes in truth.items():
        overlap = box_iou(result.boxes[result.subject == subject], true_boxes)
        rows, cols = linear_sum_assignment(-np.where(overlap >= 0.5, overlap, 0))
        hits += int((overlap[rows, cols] >= 0.5).sum())
    return 2 * hits / (len(result.boxes) + sum(map(len, truth.values())))


@pytest.mark.parametrize(("name", "baseline"), [("sim_boxes_clumpscout", 0.9985), ("sim_boxes_hard_seed7", 0.8571)])
def test_it_is_at_least_as_good_as_the_voting_baseline(shared_data, name, baseline):
    table, truth = simulated(shared_data / name)
    assert f1_score(consensus_boxes(*table), truth) >= baseline - 5e-5


def test_a_real_size_table_does_not_depend_on_the_order_of_its_rows(shared_data):
    (subject, volunteer, boxes), _ = simulated(shared_data / "sim_boxes_hard_seed7")
    some = subject < 50
    subject, volunteer, boxes = subject[some], volunteer[some], boxes[some]
    order = np.random.default_rng(5).permutation(len(subject))
    first = consensus_boxes(subject, volunteer, boxes, min_fraction=0)
    second = consensus_boxes(subject[order], volunteer[order], boxes[order], min_fraction=0)
    for name in ("subject", "boxes", "n_marks", "n_seen", "probability"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    np.testing.assert_array_equal(second.member, first.member[order])
