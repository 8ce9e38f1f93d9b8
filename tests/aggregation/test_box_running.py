import json

import numpy as np
import pytest

from aggregation import BoxModel, RunningBoxes, consensus_boxes
from benchmarks.marks import simulate_marks


def classifications(marks):
    """(subject, volunteer, boxes) of each classification, in an arbitrary order."""
    pairs = np.unique(np.stack([marks.subject, marks.volunteer]), axis=1).T
    order = np.random.default_rng(1).permutation(len(pairs))
    for subject, volunteer in pairs[order].tolist():
        boxes = marks.boxes[(marks.subject == subject) & (marks.volunteer == volunteer)]
        yield subject, volunteer, boxes[~np.isnan(boxes[:, 0])]


@pytest.fixture(scope="module")
def marks():
    return simulate_marks(25, 3)


@pytest.fixture
def running(marks):
    state = RunningBoxes()
    for subject, volunteer, boxes in classifications(marks):
        state.add(subject, volunteer, boxes)
    return state


def test_a_sweep_is_the_batch(marks, running):
    swept, batch = running.sweep(), consensus_boxes(marks.subject, marks.volunteer, marks.boxes)
    for name in ("subject", "boxes", "standard_errors", "n_marks", "n_seen", "probability", "seen"):
        np.testing.assert_array_equal(getattr(swept, name), getattr(batch, name), err_msg=name)
    for name in ("volunteers", "subjects"):
        for column, values in vars(getattr(batch, name)).items():
            np.testing.assert_array_equal(getattr(getattr(swept, name), column), values, err_msg=column)


def test_after_a_sweep_each_subject_is_its_part_of_it(running):
    swept = running.sweep()
    for subject in range(25):
        mine = swept.subject == subject
        one = running.consensus(subject)
        np.testing.assert_array_equal(one.boxes, swept.boxes[mine])
        np.testing.assert_array_equal(one.probability, swept.probability[mine])
        assert one.risk == swept.subjects.risk[subject]
        assert np.bincount(one.member[one.member >= 0]).tolist() == swept.n_marks[mine].tolist()


def test_new_classifications_change_only_their_subject_and_the_skills_of_its_volunteers(running):
    running.sweep()
    before = {subject: running.consensus(subject) for subject in range(25)}
    clump = before[next(code for code in before if len(before[code].boxes))].boxes[0]
    subject = next(code for code in before if len(before[code].boxes))
    model = running.model
    for volunteer in range(100, 110):
        running.add(subject, volunteer, [clump])
    after = running.consensus(subject)
    assert after.n_seen == before[subject].n_seen + 10
    assert after.n_marks[0] == before[subject].n_marks[0] + 10
    assert after.probability[0] >= before[subject].probability[0] - 1e-9
    for other in set(before) - {subject}:
        assert running.consensus(other) is before[other]
    assert running.model.population is model.population
    untouched = np.setdiff1d(model.volunteer, running._shares[subject].volunteer)
    for name in ("attention", "false_rate", "variance"):
        old = getattr(model.skills, name)[np.searchsorted(model.volunteer, untouched)]
        new = getattr(running.model.skills, name)[np.searchsorted(running.model.volunteer, untouched)]
        np.testing.assert_array_equal(new, old)
    assert set(range(100, 110)) <= set(running.model.volunteer.tolist())


def test_the_running_answer_is_near_the_next_sweep(marks):
    state = RunningBoxes()
    every = list(classifications(marks))
    for subject, volunteer, boxes in every[:400]:
        state.add(subject, volunteer, boxes)
    state.sweep()
    for subject, volunteer, boxes in every[400:]:
        state.add(subject, volunteer, boxes)
    running = [state.consensus(subject) for subject in range(25)]
    state.sweep()
    swept = [state.consensus(subject) for subject in range(25)]
    n_boxes = sum(len(one.boxes) for one in swept)
    assert sum(len(one.boxes) for one in running) == pytest.approx(n_boxes, abs=2)
    near = [
        np.abs(box[:2] - true.boxes[:, :2]).max(axis=1).min() < 2
        for one, true in zip(running, swept, strict=True)
        for box in one.boxes
        if len(true.boxes)
    ]
    assert np.mean(near) > 0.95


def test_a_repeated_classification_replaces_the_earlier_one_in_everything(running):
    running.sweep()
    volunteer = int(running.model.volunteer[0])
    totals = {code: counts.copy() for code, counts in running._totals.items()}
    first = running.consensus(0)
    running.add(0, volunteer, [[5, 5, 28, 28], [300, 300, 28, 28]])
    assert running.consensus(0).n_seen in (first.n_seen, first.n_seen + 1)
    n_seen = running.consensus(0).n_seen
    running.add(0, volunteer, [[5, 5, 28, 28]])
    assert running.consensus(0).n_seen == n_seen
    # Volunteers of other subjects keep their counts to the last digit.
    here = set(running._shares[0].volunteer.tolist())
    for code in set(totals) - here:
        np.testing.assert_array_equal(running._totals[code], totals[code])


def test_jurors_of_a_subject_count_in_the_running_answer_too():
    box = [10.0, 10, 20, 20]
    gold = ([4], [[np.nan] * 4])
    state = RunningBoxes(gold=gold)
    for subject in (3, 4):
        for volunteer in range(8):
            state.add(subject, volunteer, [box])
    assert len(state.consensus(3).boxes) == 1
    assert len(state.consensus(4).boxes) == 0
    state.add(4, 8, [box])
    assert len(state.consensus(4).boxes) == 0


def test_a_stored_model_brings_its_skills_along(marks):
    """A volunteer with a long history is not a newcomer after a restart."""
    every = list(classifications(marks))
    first = RunningBoxes()
    for subject, volunteer, boxes in every:
        if subject < 24:
            first.add(subject, volunteer, boxes)
    first.sweep()
    second = RunningBoxes(BoxModel.from_json(json.loads(json.dumps(first.model.as_json()))))
    for subject, volunteer, boxes in every:
        if subject == 24:
            first.add(subject, volunteer, boxes)
            second.add(subject, volunteer, boxes)
    assert second.consensus(24).probability.tolist() == first.consensus(24).probability.tolist()
    for name, values in vars(first.model.skills).items():
        np.testing.assert_array_equal(getattr(second.model.skills, name), values)
    np.testing.assert_array_equal(second.model.counts, first.model.counts)


def test_labels_are_kept():
    state = RunningBoxes()
    for volunteer in range(6):
        state.add(0, volunteer, [[10, 10, 20, 20]], label=[volunteer % 3 == 0])
    assert state.consensus(0).label.tolist() == [0]
    assert state.consensus(0).label_fractions[0].tolist() == pytest.approx([4 / 6, 2 / 6])


def test_what_is_no_classification_is_refused():
    state = RunningBoxes()
    with pytest.raises(ValueError, match="subject is -1"):
        state.add(-1, 0, [])
    with pytest.raises(ValueError, match=r"boxes\[0\] is"):
        state.add(0, 0, [[1, 2, -3, 4]])
    with pytest.raises(ValueError, match="label must hold a code"):
        state.add(0, 0, [[1, 2, 3, 4]], label=[0, 1])
    with pytest.raises(KeyError, match="subject 9"):
        state.consensus(9)
    with pytest.raises(ValueError, match="min_probability"):
        RunningBoxes(min_probability=2)
