import csv
import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

from aggregation import SETTLED, BoxModel, box_iou, consensus_boxes, point_boxes, settled_subjects
from benchmarks.marks import simulate_marks

NOTHING = [np.nan] * 4
BOX = [10.0, 10.0, 20.0, 20.0]


def read_set(folder):
    """Rows of an annotation table, the true boxes and the simulated volunteers of a shared set."""

    def columns(name):
        with (folder / name).open() as file:
            return list(csv.DictReader(file))

    def boxes(rows):
        corners = np.array([[float(row[c] or "nan") for c in ("x1", "y1", "x2", "y2")] for row in rows])
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)

    marks, truth = columns("annotations.csv"), columns("truth.csv")
    codes = [np.array([int(row[name]) for row in marks]) for name in ("subject_id", "volunteer_id")]
    true_subject = np.array([int(row["subject_id"]) for row in truth])
    return (*codes, boxes(marks)), (true_subject, boxes(truth)), columns("volunteers.csv")


def is_hit(result, truth):
    """Whether each box has a true one of its own at IoU >= 0.5 (Hungarian matching, as in the shared scorer)."""
    hit = np.zeros(len(result.subject), dtype=bool)
    true_subject, true_boxes = truth
    for subject in np.unique(true_subject):
        rows = np.flatnonzero(result.subject == subject)
        overlap = box_iou(result.boxes[rows], true_boxes[true_subject == subject])
        found, true = linear_sum_assignment(-np.where(overlap >= 0.5, overlap, 0))
        hit[rows[found]] = overlap[found, true] >= 0.5
    return hit


def f1_score(result, truth):
    return 2 * is_hit(result, truth).sum() / (len(result.subject) + len(truth[0]))


@pytest.fixture(scope="module")
def simulated():
    """100 subjects x 20 volunteers made for these tests alone, and what comes out."""
    marks = simulate_marks(100, 5)
    return marks, consensus_boxes(marks.subject, marks.volunteer, marks.boxes)


@functools.cache
def solve_set(folder):
    table, truth, volunteers = read_set(folder)
    return consensus_boxes(*table, min_probability=0), truth, volunteers


@pytest.fixture
def solved(shared_data):
    """The result of a shared set, with everything published, its truth, and its volunteers."""
    return lambda name: solve_set(shared_data / name)


@pytest.mark.parametrize(("name", "bar"), [("sim_boxes_clumpscout", 0.99), ("sim_boxes_hard_seed7", 0.90)])
def test_it_finds_the_clumps_of_the_shared_sets(solved, name, bar):
    result, truth, _ = solved(name)
    hit = is_hit(result, truth)
    assert np.mean((result.probability - hit) ** 2) < 0.05
    published = result.probability >= 0.5
    assert 2 * (hit & published).sum() / (published.sum() + len(truth[0])) >= bar


def test_estimated_skills_rank_volunteers_as_simulated(solved):
    result, _, simulated_skills = solved("sim_boxes_clumpscout")
    skills = result.volunteers
    for name, column in (("p_fp", "emp_p_fp"), ("p_fn", "emp_p_fn"), ("sigma", "sigma_px")):
        known = [row for row in simulated_skills if int(row["n_class"]) >= 10 and row[column]]
        codes = [int(row["volunteer_id"]) for row in known]
        truth = [float(row[column]) for row in known]
        assert spearmanr(getattr(skills, name)[codes], truth).statistic > 0.9, name


def test_spammers_are_found_and_hardly_any_other(solved):
    result, _, simulated_skills = solved("sim_boxes_hard_seed7")
    found = result.volunteers.is_spammer
    busy = np.array([int(row["n_class"]) >= 10 for row in simulated_skills])
    is_spam = np.array([row["kind"] == "spam" for row in simulated_skills])
    assert found[busy & is_spam].mean() >= 0.8
    assert found[busy & ~is_spam].mean() <= 0.06


def test_spammers_cost_nothing():
    marks = simulate_marks(60, 8)
    truth = (marks.truth_subject, marks.truth)
    before = consensus_boxes(marks.subject, marks.volunteer, marks.boxes)
    rng = np.random.default_rng(3)
    n_spam, first = 3 * 5 * 60, marks.volunteer.max() + 1
    spam = np.concatenate([rng.uniform(0, 370, (n_spam, 2)), np.full((n_spam, 2), 28.0)], axis=1)
    after = consensus_boxes(
        np.r_[marks.subject, np.repeat(np.arange(60), 15)],
        np.r_[marks.volunteer, first + np.tile(np.repeat(np.arange(5), 3), 60)],
        np.concatenate([marks.boxes, spam]),
    )
    assert after.volunteers.is_spammer[first:].all()
    assert f1_score(after, truth) >= f1_score(before, truth) - 0.01


def test_no_volunteer_is_twice_in_a_box_and_counts_agree(simulated):
    marks, result = simulated
    for number, n_marks in enumerate(result.n_marks):
        members = np.flatnonzero(result.member == number)
        assert len(np.unique(marks.volunteer[members])) == len(members) == n_marks
        assert set(marks.subject[members]) == {result.subject[number]}
    assert np.all(result.n_seen == 20)
    assert np.all(np.diff(result.subject) >= 0)


def test_probabilities_are_calibrated(simulated):
    marks, _ = simulated
    result = consensus_boxes(marks.subject, marks.volunteer, marks.boxes, min_probability=0)
    hit = is_hit(result, (marks.truth_subject, marks.truth))
    assert np.mean((result.probability - hit) ** 2) < 0.03
    for low, high in ((0, 0.05), (0.95, 1.01)):
        sure = (result.probability >= low) & (result.probability < high)
        assert abs(hit[sure].mean() - result.probability[sure].mean()) < 0.03


def test_standard_errors_say_how_far_off_the_centres_are(simulated):
    marks, result = simulated
    pulls = []
    for number in np.flatnonzero(is_hit(result, (marks.truth_subject, marks.truth)) & (result.n_marks >= 5)):
        true = marks.truth[marks.truth_subject == result.subject[number]]
        centre = result.boxes[number, :2] + result.boxes[number, 2:] / 2
        away = true[:, :2] + true[:, 2:] / 2 - centre
        pulls.append(away[np.abs(away).sum(axis=1).argmin()] / result.standard_errors[number, :2])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_expected_errors_agree_with_the_real_ones(simulated):
    marks, result = simulated
    hit = is_hit(result, (marks.truth_subject, marks.truth))
    missed = len(marks.truth) - hit.sum()
    expected = result.subjects
    assert expected.expected_missed.sum() == pytest.approx(missed, abs=3 * np.sqrt(missed) + 3)
    false = expected.expected_false.sum() + expected.expected_inaccurate.sum()
    assert false == pytest.approx((~hit).sum(), abs=3 * np.sqrt(false) + 3)
    np.testing.assert_allclose(
        expected.risk, expected.expected_missed + expected.expected_false + expected.expected_inaccurate
    )


def test_subjects_with_many_clear_clumps_settle(simulated):
    _, result = simulated
    reason = settled_subjects(result.subjects)
    clear = reason == SETTLED.index("clear")
    assert clear[result.subjects.n_boxes >= 3].mean() > 0.4
    assert result.subjects.n_boxes[clear].max() >= 5
    assert "blank" in {SETTLED[code] for code in reason}
    few = settled_subjects(result.subjects, least_seen=21)
    assert not few.any()
    assert set(settled_subjects(result.subjects, least_seen=21, most_seen=20)) == {SETTLED.index("seen often")}


FIELDS = ("subject", "boxes", "standard_errors", "n_marks", "n_seen", "probability", "inaccuracy")


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 7), st.booleans())
def test_no_permutation_of_rows_or_ids_changes_anything(seed, n_subjects, n_volunteers, coarse):
    rng = np.random.default_rng(seed)
    n = n_subjects * n_volunteers * 3
    subject, volunteer = rng.integers(0, n_subjects, n), rng.integers(0, n_volunteers, n)
    boxes = np.concatenate([rng.uniform(0, 60, (n, 2)), rng.uniform(10, 20, (n, 2))], axis=1)
    if coarse:
        boxes = np.round(boxes / 4 + 1)
    boxes[rng.random(n) < 0.2] = np.nan
    order, of_subject = rng.permutation(n), rng.permutation(n_subjects)
    of_volunteer = rng.permutation(n_volunteers)
    settings_ = {"min_probability": 0, "n_subjects": n_subjects, "n_volunteers": n_volunteers}
    first = consensus_boxes(subject, volunteer, boxes, **settings_)
    second = consensus_boxes(of_subject[subject[order]], of_volunteer[volunteer[order]], boxes[order], **settings_)
    back = np.lexsort((*second.boxes.T[::-1], -second.probability, np.argsort(of_subject)[second.subject]))
    for name in FIELDS[1:]:
        np.testing.assert_array_equal(getattr(second, name)[back], getattr(first, name), err_msg=name)
    for name, values in vars(first.subjects).items():
        np.testing.assert_array_equal(getattr(second.subjects, name)[of_subject], values, err_msg=name)
    for name, values in vars(first.volunteers).items():
        np.testing.assert_array_equal(getattr(second.volunteers, name)[of_volunteer], values, err_msg=name)


def test_a_real_size_table_does_not_depend_on_order_or_ids(simulated):
    marks, first = simulated
    rng = np.random.default_rng(5)
    order, of_volunteer = rng.permutation(len(marks.subject)), rng.permutation(marks.volunteer.max() + 1)
    second = consensus_boxes(marks.subject[order], of_volunteer[marks.volunteer[order]], marks.boxes[order])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name), err_msg=name)
    np.testing.assert_array_equal(second.member, first.member[order])
    np.testing.assert_array_equal(second.volunteers.p_fp[of_volunteer], first.volunteers.p_fp)
    assert second.log_likelihood == first.log_likelihood


@pytest.mark.parametrize(("scale", "shift"), [(0.01, 0.0), (1.0, 5000.0), (37.0, -300.0)])
def test_units_and_origin_do_not_matter(simulated, scale, shift):
    marks, first = simulated
    moved = marks.boxes * scale + [shift, -shift, 0, 0]
    second = consensus_boxes(marks.subject, marks.volunteer, moved)
    np.testing.assert_array_equal(second.member, first.member)
    np.testing.assert_allclose(second.probability, first.probability, atol=1e-6)
    np.testing.assert_allclose(second.boxes, first.boxes * scale + [shift, -shift, 0, 0], atol=1e-6 * scale + 1e-7)
    np.testing.assert_allclose(second.standard_errors, first.standard_errors * scale, rtol=1e-5)
    np.testing.assert_allclose(second.volunteers.sigma, first.volunteers.sigma * scale, rtol=1e-5)


def test_threads_and_the_size_of_parts_do_not_matter(simulated, monkeypatch):
    marks, first = simulated
    reported = []
    monkeypatch.setattr("aggregation._box_fit._CHUNK_ROWS", 300)
    second = consensus_boxes(
        marks.subject, marks.volunteer, marks.boxes, threads=2, progress=lambda *done: reported.append(done)
    )
    np.testing.assert_array_equal(second.member, first.member)
    np.testing.assert_allclose(second.probability, first.probability, atol=1e-6)
    assert reported == sorted(reported)
    assert reported[-1][0] == reported[-1][1]


def test_many_who_agree_are_published_whatever_the_rest_of_the_table_is():
    for n_seen, n_agree in ((3, 3), (4, 2), (10, 5), (20, 10), (20, 20)):
        boxes = [BOX] * n_agree + [NOTHING] * (n_seen - n_agree)
        result = consensus_boxes([0] * n_seen, range(n_seen), boxes)
        assert result.n_marks.tolist() == [n_agree]
        assert result.member.tolist() == [0] * n_agree + [-1] * (n_seen - n_agree)


def test_blank_classifications_are_evidence_of_absence_and_no_false_marks():
    def probability(n_blank):
        boxes = [BOX] * 4 + [NOTHING] * n_blank
        n = len(boxes)
        return consensus_boxes([0] * n, range(n), boxes, min_probability=0).probability[0]

    assert probability(0) > probability(8) > probability(24)
    blanks = consensus_boxes([0, 0, 1, 1], [0, 1, 0, 1], [BOX, BOX, NOTHING, NOTHING]).volunteers
    assert blanks.n_marks.tolist() == [1, 1]
    assert blanks.n_seen.tolist() == [2, 2]
    assert np.all(blanks.p_fp < 0.5)


def test_overlapping_and_nested_things_are_told_apart():
    rng = np.random.default_rng(2)
    things = np.array([[100, 100, 40, 40], [128, 100, 40, 40], [110, 110, 12, 12.0]])
    rows = [
        (subject, volunteer, thing + np.r_[rng.normal(0, 1.5, 2), 0, 0])
        for subject in range(10)
        for volunteer in range(15)
        for thing in things[rng.random(3) < 0.8]
    ]
    subject, volunteer, boxes = (np.array(column) for column in zip(*rows, strict=True))
    result = consensus_boxes(subject, volunteer, boxes)
    assert np.bincount(result.subject).tolist() == [3] * 10
    assert is_hit(result, (np.repeat(np.arange(10), 3), np.tile(things, (10, 1)))).all()


def test_a_second_mark_of_a_volunteer_in_one_place_is_left_out():
    boxes = [BOX] * 5 + [[11.0, 10, 20, 20]]
    result = consensus_boxes([0] * 6, [0, 1, 2, 3, 4, 4], boxes)
    assert result.n_marks.tolist() == [5]
    assert sorted(result.member.tolist()) == [-1, 0, 0, 0, 0, 0]


def test_labels_are_voted_on_within_a_box():
    result = consensus_boxes([0] * 5, range(5), [BOX] * 4 + [NOTHING], label=[1, 1, 0, 1, 0])
    assert result.n_marks.tolist() == [4]
    assert result.label.tolist() == [1]
    assert result.label_fractions.tolist() == [[0.25, 0.75]]


def test_points_become_squares_of_their_natural_radius():
    boxes = point_boxes([5, np.nan], [6, np.nan], [1.5, 1.5])
    np.testing.assert_array_equal(boxes, [[3.5, 4.5, 3, 3], NOTHING])
    rng = np.random.default_rng(0)
    x, y = rng.normal(50, 0.5, 12), rng.normal(80, 0.5, 12)
    result = consensus_boxes([0] * 12, range(12), point_boxes(x, y, 3))
    assert result.n_marks.tolist() == [12]
    np.testing.assert_allclose(result.boxes[0], [47, 77, 6, 6], atol=0.5)


def test_marks_that_the_frame_cuts_are_one_thing():
    rng = np.random.default_rng(1)
    left = rng.normal((-6, 50), 2, (12, 2))
    x = np.maximum(left[:, 0], 0)
    boxes = np.stack([x, left[:, 1], left[:, 0] + 30 - x, np.full(12, 30.0)], axis=1)
    others = np.tile([[150.0, 150, 30, 30]], (12, 1)) + np.pad(rng.normal(0, 2, (12, 2)), ((0, 0), (0, 2)))
    result = consensus_boxes([0] * 24, list(range(12)) * 2, np.concatenate([boxes, others]))
    assert sorted(result.n_marks.tolist()) == [12, 12]


@pytest.mark.parametrize(
    ("subject", "volunteer", "boxes"),
    [
        ([], [], np.empty((0, 4))),
        ([0], [0], [NOTHING]),
        ([0], [0], [BOX]),
        ([0, 0], [0, 0], [BOX, BOX]),
        ([0] * 3, [0, 1, 2], [[1e9, 1e9, 20, 20], BOX, [-1e9, 5, 1e-6, 1e7]]),
        (np.zeros(500, int), np.zeros(500, int), np.tile(BOX, (500, 1))),
        (np.zeros(500, int), np.arange(500) % 40, np.arange(2000.0).reshape(500, 4) % 397 + 1),
    ],
)
def test_odd_input_has_a_defined_answer(subject, volunteer, boxes):
    with np.errstate(all="raise", under="ignore"):
        result = consensus_boxes(subject, volunteer, boxes, min_probability=0)
    assert len(result.boxes) == len(set(result.member.tolist()) - {-1})
    for values in (result.boxes, result.probability, result.subjects.risk, result.volunteers.sigma):
        assert np.isfinite(values).all()


def test_subjects_and_volunteers_without_rows_get_what_is_usual():
    result = consensus_boxes([0] * 4, range(4), [BOX] * 4, n_subjects=3, n_volunteers=6)
    assert result.seen.tolist() == [4, 0, 0]
    assert result.subjects.expected_missed[1] == pytest.approx(result.model.population.rate)
    assert result.volunteers.n_seen.tolist() == [1, 1, 1, 1, 0, 0]
    assert np.isfinite(result.volunteers.sigma).all()


def test_a_model_serves_other_marks_without_learning(simulated):
    marks, whole = simulated
    some = marks.subject < 10
    part = consensus_boxes(marks.subject[some], marks.volunteer[some], marks.boxes[some], model=whole.model)
    kept = whole.subject < 10
    assert part.model is whole.model
    assert f1_score(part, (marks.truth_subject[marks.truth_subject < 10], marks.truth[marks.truth_subject < 10])) > 0.8
    assert len(part.subject) == pytest.approx(kept.sum(), abs=1)
    np.testing.assert_array_equal(part.volunteers.sigma, whole.volunteers.sigma[: len(part.volunteers.sigma)])


def test_a_model_survives_json_and_new_ids(simulated):
    marks, whole = simulated
    some = marks.subject < 10
    stored = BoxModel.from_json(json.loads(json.dumps(whole.model.as_json())))
    ids = 1000 + np.random.default_rng(0).permutation(marks.volunteer.max() + 1)
    first = consensus_boxes(marks.subject[some], marks.volunteer[some], marks.boxes[some], model=whole.model)
    volunteer = ids[marks.volunteer[some]]
    for model in (stored.with_ids(ids), whole.model.with_ids(ids)):
        second = consensus_boxes(marks.subject[some], volunteer, marks.boxes[some], model=model)
        np.testing.assert_array_equal(second.probability, first.probability)
        np.testing.assert_array_equal(second.boxes, first.boxes)
        np.testing.assert_array_equal(second.volunteers.sigma[ids], whole.volunteers.sigma)
    nobody = consensus_boxes([], [], np.empty((0, 4))).model
    assert BoxModel.from_json(nobody.as_json()).counts.shape == nobody.counts.shape
    with pytest.raises(ValueError, match="BoxModel needs frame"):
        BoxModel.from_json({})


def test_arguments_are_not_changed():
    boxes = np.array([BOX, NOTHING])
    boxes.flags.writeable = False
    consensus_boxes([0, 0], [0, 1], boxes)


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [0, 0, 5, -1], [0, np.nan, 5, 5], [np.inf, 0, 5, 5]])
def test_a_box_that_is_none_is_refused_by_its_row(box):
    with pytest.raises(ValueError, match=r"boxes\[2\] is .*four finite numbers with width and height above 0"):
        consensus_boxes([0, 0, 0], [0, 1, 2], [BOX, NOTHING, box])


def test_a_box_in_an_absurd_place_is_refused_by_its_row():
    with pytest.raises(ValueError, match=r"boxes\[1\] is .*must not exceed 1e\+12"):
        consensus_boxes([0, 0], [0, 1], [BOX, [1e300, 0, 1, 1]])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"min_probability": 1.1}, "min_probability"),
        ({"threads": 0}, "threads"),
        ({"label": [0]}, "got lengths"),
        ({"n_subjects": 0}, "subject"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_, message):
    with pytest.raises(ValueError, match=message):
        consensus_boxes([0, 0], [0, 1], [BOX, BOX], **settings_)
