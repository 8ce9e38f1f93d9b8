"""Gold-standard subjects and a machine detector beside the volunteers."""

import numpy as np
import pytest

from aggregation import box_iou, consensus_boxes

NOTHING = [np.nan] * 4
SIDE = 24.0


def crowd(n_subjects, seed, decoy_share):
    """Two clumps and one decoy per subject, far apart: 15 volunteers mark clumps with 0.6 and decoys with the share."""
    rng = np.random.default_rng(seed)
    places = np.array([[60.0, 60], [200, 60], [120, 200]]) + rng.normal(0, 8, (n_subjects, 3, 2))
    chance = np.array([0.6, 0.6, decoy_share])
    hit = rng.random((n_subjects, 15, 3)) < chance
    subject, volunteer, thing = np.nonzero(hit)
    centre = places[subject, thing] + rng.normal(0, 2, (len(subject), 2))
    blank_subject, blank_volunteer = np.nonzero(~hit.any(axis=2))
    boxes = np.concatenate([square(centre), np.full((len(blank_subject), 4), np.nan)])
    rows = np.r_[subject, blank_subject], np.r_[volunteer, blank_volunteer], boxes
    return rows, square(places)


def square(centre):
    return np.concatenate([centre - SIDE / 2, np.full((*centre.shape[:-1], 2), SIDE)], axis=-1)


def probabilities(result, things):
    """Of the box nearest to each thing, (n_subjects, n_things); 0 where there is none."""
    out = np.zeros(things.shape[:2])
    for subject, here in enumerate(things):
        mine = np.flatnonzero(result.subject == subject)
        iou = box_iou(result.boxes[mine], here)
        for thing in range(len(here)):
            if len(mine) and iou[:, thing].max() > 0.3:
                out[subject, thing] = result.probability[mine[iou[:, thing].argmax()]]
    return out


@pytest.fixture(scope="module")
def fooled():
    """A decoy that as many mark as the clumps: counting cannot tell them apart."""
    rows, things = crowd(40, 1, 0.6)
    return rows, things


def test_counting_alone_takes_a_common_decoy_for_an_object(fooled):
    rows, things = fooled
    assert probabilities(consensus_boxes(*rows, min_probability=0), things)[:, 2].mean() > 0.9


def test_on_gold_subjects_boxes_are_objects_or_not_as_known(fooled):
    rows, things = fooled
    known = np.arange(10)
    gold = np.repeat(known, 2), things[known, :2].reshape(-1, 4)
    result = consensus_boxes(*rows, gold=gold, min_probability=0)
    found = probabilities(result, things)
    np.testing.assert_allclose(found[known, :2], 1.0, atol=1e-6)
    np.testing.assert_allclose(found[known, 2], 0.0, atol=1e-6)
    assert result.subjects.expected_missed[known] == pytest.approx(0.0, abs=1e-6)
    assert result.volunteers.p_fp.mean() > 0.05  # what is false on gold subjects tells of the volunteers


def test_a_gold_subject_without_objects_and_one_that_nobody_marked():
    box = [10.0, 10, 20, 20]
    rows = ([0] * 6 + [1] * 6, list(range(6)) * 2, [box] * 6 + [NOTHING] * 6)
    gold = ([0, 1, 7], [NOTHING, box, box])
    result = consensus_boxes(*rows, gold=gold)
    assert len(result.subject) == 0
    assert result.subjects.expected_missed.tolist() == pytest.approx([0.0, 1.0])


def test_a_detector_that_knows_better_turns_the_decoys_down(fooled):
    """It is taught what decoys are by a few gold subjects, and then tells them apart on the others."""
    rows, things = fooled
    gold = np.repeat(np.arange(8), 2), things[:8, :2].reshape(-1, 4)
    found = np.repeat(np.arange(40), 2), np.add(things[:, :2].reshape(-1, 4), [1.0, -1, 0, 0])
    heard = probabilities(consensus_boxes(*rows, gold=gold, detections=found, min_probability=0), things)[8:]
    unheard = probabilities(consensus_boxes(*rows, gold=gold, min_probability=0), things)[8:]
    assert heard[:, :2].mean() > 0.95
    assert heard[:, 2].max() < 0.5 < unheard[:, 2].mean()


def test_a_detector_that_says_anything_is_not_believed():
    rows, things = crowd(40, 2, 0.15)
    rng = np.random.default_rng(0)
    random = np.arange(40), square(rng.uniform(30, 230, (40, 2)))
    alone = consensus_boxes(*rows)
    heard = consensus_boxes(*rows, detections=random)
    assert np.abs(probabilities(heard, things) - probabilities(alone, things))[:, :2].mean() < 0.05


def test_scores_of_the_detector_are_weighed(fooled):
    """It boxes everything; only its score tells decoys from clumps."""
    rows, things = fooled
    gold = np.repeat(np.arange(8), 2), things[:8, :2].reshape(-1, 4)
    score = np.tile([0.9, 0.8, 0.1], 40)
    found = np.repeat(np.arange(40), 3), things.reshape(-1, 4), score
    heard = probabilities(consensus_boxes(*rows, gold=gold, detections=found, min_probability=0), things)[8:]
    assert heard[:, :2].mean() > 0.9
    assert heard[:, 2].mean() < 0.3


def test_jurors_do_not_depend_on_order_or_ids(fooled):
    rows, things = fooled
    gold = np.repeat(np.arange(8), 2), things[:8, :2].reshape(-1, 4)
    found = np.repeat(np.arange(40), 3), things.reshape(-1, 4), np.linspace(0, 1, 120)
    first = consensus_boxes(*rows, gold=gold, detections=found)
    rng = np.random.default_rng(0)
    ids, order, again = rng.permutation(40), rng.permutation(len(rows[0])), rng.permutation(120)
    second = consensus_boxes(
        ids[rows[0]][order],
        rows[1][order],
        rows[2][order],
        gold=(ids[gold[0]], gold[1]),
        detections=(ids[found[0]][again], found[1][again], found[2][again]),
    )
    np.testing.assert_array_equal(second.member >= 0, (first.member >= 0)[order])
    np.testing.assert_array_equal(np.sort(second.probability), np.sort(first.probability))


@pytest.mark.parametrize(
    ("jurors", "message"),
    [
        ({"gold": ([0], [[0, 0, 1, 1]], [1.0])}, r"gold must be \(subject, boxes\), got 3 arrays"),
        ({"gold": ([0, 1], [[0, 0, 1, 1]])}, "got lengths"),
        ({"detections": ([0], [[0, 0, -1, 1]])}, r"boxes\[0\] is"),
        ({"detections": ([0], [[0, 0, 1, 1]], [np.nan])}, r"detections score\[0\] is not a finite number"),
        ({"gold": ([-1], [[0, 0, 1, 1]])}, "gold subject"),
    ],
)
def test_bad_jurors_are_refused(jurors, message):
    with pytest.raises(ValueError, match=message):
        consensus_boxes([0, 0], [0, 1], [[0, 0, 1, 1]] * 2, **jurors)
