"""What `consensus_boxes` returns, and which subjects need no more volunteers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregation._box_fit import BoxModel
from aggregation._votes import BoolArray, FloatArray, IntArray

#: Why a subject needs no more volunteers, by the codes of `settled_subjects`.
SETTLED = ("", "blank", "clear", "seen often")


@dataclass(frozen=True)
class BoxSubjects:
    """What is known of each subject, (n_subjects,) each; row i is subject code i.

    Attributes
    ----------
    n_seen
        Volunteers who saw it.
    n_boxes
        Boxes published.
    expected_missed
        Expected real objects without a published box: unpublished groups of marks, and objects that nobody marked.
    expected_false
        Expected published boxes that are no real object.
    expected_inaccurate
        Expected published boxes of a real object whose IoU with its true box is below 0.5.
    risk
        Sum of the three: the expected number of errors.
    clutter
        Stray marks that the picture draws, relative to what its viewers leave on average.
    blur
        Variance of marks around their objects, relative to what its viewers show on average.
    """

    n_seen: IntArray
    n_boxes: IntArray
    expected_missed: FloatArray
    expected_false: FloatArray
    expected_inaccurate: FloatArray
    risk: FloatArray
    clutter: FloatArray
    blur: FloatArray


@dataclass(frozen=True)
class BoxVolunteers:
    """Skills of each volunteer, (n_volunteers,) each; row j is volunteer code j.

    Attributes
    ----------
    n_seen, n_marks
        Subjects seen, and marks drawn.
    p_fp
        Part of the marks that mean no real object.
    p_fn
        Part of the real objects, shown to the volunteer, without a mark.
    sigma
        Scatter of a mark around its object along one axis, in the units of the input.
    false_rate
        Stray marks per classification.
    attention
        Chance to mark an object that everybody can see.
    is_spammer
        Whether most marks mean nothing and attention is far below the median. The marks weigh next to nothing then.
    """

    n_seen: IntArray
    n_marks: IntArray
    p_fp: FloatArray
    p_fn: FloatArray
    sigma: FloatArray
    false_rate: FloatArray
    attention: FloatArray
    is_spammer: BoolArray


@dataclass(frozen=True)
class ConsensusBoxes:
    """Result of `consensus_boxes`: boxes ordered by subject, the most probable first.

    Attributes
    ----------
    subject
        Code of each box, int (n_boxes,).
    boxes
        ``x, y, width, height``, float (n_boxes, 4).
    standard_errors
        Of centre x, centre y, width and height, in the units of the boxes, float (n_boxes, 4).
    n_marks, n_seen
        Volunteers whose mark is a member, and who saw the subject; int (n_boxes,).
    probability
        That the box is a real object, float (n_boxes,).
    inaccuracy
        P(IoU with the true box < 0.5), if it is one; float (n_boxes,).
    label
        Label of most members, the lowest code among equals, int (n_boxes,); 0 if no labels were given.
    label_fractions
        Part of the members with each label, float (n_boxes, n_labels), rows sum to 1.
    member
        For each input row, the number of its box or -1; int (n_rows,).
    seen
        Volunteers who saw each subject, int (n_subjects,).
    subjects, volunteers
        What is known of each.
    model
        What was learnt, for `consensus_boxes` of other marks.
    log_likelihood
        Of all marks.
    """

    subject: IntArray
    boxes: FloatArray
    standard_errors: FloatArray
    n_marks: IntArray
    n_seen: IntArray
    probability: FloatArray
    inaccuracy: FloatArray
    label: IntArray
    label_fractions: FloatArray
    member: IntArray
    seen: IntArray
    subjects: BoxSubjects
    volunteers: BoxVolunteers
    model: BoxModel
    log_likelihood: float


def settled_subjects(
    subjects: BoxSubjects,
    *,
    max_errors: float = 0.3,
    max_risk: float = 0.5,
    least_seen: int = 5,
    most_seen: int = 40,
) -> IntArray:
    """Find the subjects that need no more volunteers, and why: codes of `SETTLED`, 0 for the others.

    Parameters
    ----------
    subjects
        As `consensus_boxes` returns them.
    max_errors
        A subject settles when each of its expected missed, false and inaccurate boxes is at most this …
    max_risk
        … and their sum at most this, however many boxes it has: "blank" without any box, else "clear".
    least_seen, most_seen
        Never before so many volunteers saw it; always ("seen often") after so many.

    Returns
    -------
    ndarray
        Int (n_subjects,).

    Examples
    --------
    >>> from aggregation import consensus_boxes
    >>> nothing = [float("nan")] * 4
    >>> result = consensus_boxes([0] * 6, range(6), [nothing] * 6)
    >>> SETTLED[settled_subjects(result.subjects)[0]]
    'blank'
    """
    errors = np.stack([subjects.expected_missed, subjects.expected_false, subjects.expected_inaccurate])
    sure = (errors <= max_errors).all(axis=0) & (subjects.risk <= max_risk) & (subjects.n_seen >= least_seen)
    often = subjects.n_seen >= most_seen
    reason = np.select([sure & (subjects.n_boxes == 0), sure, often], [1, 2, 3], 0)
    return reason.astype(np.int64)
