"""Consensus boxes: which things on a subject volunteers mean by their marks, where they are, and whether they are real.

After Branson, Van Horn & Perona 2017 (CVPR, "Lean crowdsourcing") and Dickinson et al. 2022 (MNRAS 517, 5882), with
a partition of the marks in place of their facility location, and priors that are learnt from the marks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation._box_counts import FALSE, MARKS, MISSED, SHOWN
from aggregation._box_fit import BoxModel, Fit, Jury, Progress, fit
from aggregation._box_jurors import check_box_list
from aggregation._box_learning import learn_rate
from aggregation._box_report import Report
from aggregation._box_table import MarkTable, tabulate
from aggregation._geometry import box_iou, check_boxes, point_boxes
from aggregation._votes import FloatArray, IntArray, check_codes, check_same_length, count
from aggregation.box_results import BoxSubjects, BoxVolunteers, ConsensusBoxes
from aggregation.box_votes import cluster_boxes

__all__ = ["box_iou", "cluster_boxes", "consensus_boxes", "point_boxes"]

#: Numbers beyond this are mistakes, and their squares would use up all digits.
FARTHEST = 1e12

_SPAM_ATTENTION = 0.6  # of the median attention; with mostly false marks it makes a spammer


def consensus_boxes(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    boxes: npt.ArrayLike,
    *,
    label: npt.ArrayLike | None = None,
    gold: tuple[npt.ArrayLike, ...] | None = None,
    detections: tuple[npt.ArrayLike, ...] | None = None,
    model: BoxModel | None = None,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    n_labels: int | None = None,
    min_probability: float = 0.5,
    threads: int = 1,
    progress: Progress | None = None,
) -> ConsensusBoxes:
    """Find the things that volunteers marked, with their places, and the skills of the volunteers.

    Volunteer w marks a thing of detectability d with probability ``a_w d``, at a place scattered around it by
    ``N(0, s_w² b_i side^2g)`` per axis, in a size scattered log-normally, and leaves stray marks at a rate ``f_w c_i``
    per subject. Things are real objects, at a rate of each subject's own, or decoys: things that some take for one (a
    star among clumps), less often seen than objects. All of a, s², f, the pictures' clutter c and blur b, the
    detectability of objects and of decoys, and the rates have priors that are estimated from the marks, as is the
    growth g of the scatter with size.

    The marks of a subject are split into groups, at most one mark of a volunteer in each, so that the evidence of all
    groups together, integrated over place, size and detectability, is largest; this and the expected values of the
    parameters take turns. A blank classification is evidence that there is nothing, as is any that left a thing
    unmarked. The result depends neither on the order of the rows nor on the numbers of subjects and volunteers, and
    scales with the units of the boxes.

    Parameters
    ----------
    subject, volunteer
        Codes of each row, int (n,).
    boxes
        One mark per row as ``x, y, width, height`` with x, y the top-left corner, float (n, 4); width and
        height > 0. A classification without a mark is one row of four nan. See `point_boxes` for points.
    label
        Code of each mark's kind, int (n,). Marks of different kinds may mean one thing; its label is voted on.
    gold
        Subject codes and boxes of known real objects, int (m,) and float (m, 4): all that there are on these
        subjects; four nan for a subject without any. Groups on them are objects or not as known.
    detections
        Subject codes, boxes and, if there are any, scores of what a machine detector found, int (m,), float (m, 4),
        float (m,); four nan where it found nothing. Its word counts by what it has been found to be worth.
    model
        Parameters of an earlier result: nothing is learnt then, and volunteers unknown to it are average ones.
    n_subjects, n_volunteers, n_labels
        By default the largest code + 1.
    min_probability
        Smallest probability published, in [0, 1]; 0 publishes every lone mark.
    threads
        Threads that share the work. The result does not depend on their number.
    progress
        Called with the work done and the whole work, both in subjects times rounds.

    Returns
    -------
    ConsensusBoxes

    Examples
    --------
    >>> nothing = [float("nan")] * 4
    >>> marks = [[10, 10, 8, 8], [11, 10, 8, 8], [10, 9, 8, 8], [60, 30, 8, 8], nothing]
    >>> result = consensus_boxes([0, 0, 0, 0, 1], [0, 1, 2, 2, 0], marks)
    >>> result.subject, result.boxes.round(1), result.n_marks
    (array([0]), array([[10.3,  9.7,  8. ,  8. ]]), array([3]))
    >>> result.member, result.seen
    (array([ 0,  0,  0, -1, -1]), array([3, 1]))
    """
    rows = check_rows(subject, volunteer, boxes, label, n_subjects, n_volunteers, n_labels)
    settings = Settings(gold, detections, min_probability, threads)
    return solve(rows, settings, model, progress).result


@dataclass(frozen=True)
class Settings:
    """Keywords of `consensus_boxes` that do not belong to the rows."""

    gold: tuple[npt.ArrayLike, ...] | None = None
    detections: tuple[npt.ArrayLike, ...] | None = None
    min_probability: float = 0.5
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_probability <= 1.0:
            raise ValueError(f"min_probability must lie in [0, 1], got {self.min_probability}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")


@dataclass(frozen=True)
class Solution:
    """A result with the parameters and the table that it rests on."""

    result: ConsensusBoxes
    fit: Fit
    table: MarkTable


def solve(rows: Rows, settings: Settings, model: BoxModel | None, progress: Progress | None = None) -> Solution:
    """Run `consensus_boxes` on checked rows."""
    table = tabulate(rows.subject, rows.volunteer, rows.boxes, None if model is None else model.frame)
    jury = Jury(
        check_box_list("gold", settings.gold, table),
        check_box_list("detections", settings.detections, table, scored=True),
    )
    report = Report(table, rows.label, rows.n_labels, settings.min_probability)
    fitted = fit(table, jury, report.add, model=model, threads=settings.threads, progress=progress)
    return Solution(_collect(rows, table, fitted, report), fitted, table)


@dataclass(frozen=True)
class Rows:
    """Checked input."""

    subject: IntArray
    volunteer: IntArray
    boxes: FloatArray
    label: IntArray
    n_subjects: int
    n_volunteers: int
    n_labels: int


def check_rows(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    boxes: npt.ArrayLike,
    label: npt.ArrayLike | None,
    n_subjects: int | None,
    n_volunteers: int | None,
    n_labels: int | None,
) -> Rows:
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    volunteers, n_volunteers = check_codes("volunteer", volunteer, n_volunteers)
    labels, n_labels = check_codes("label", np.zeros_like(subjects) if label is None else label, n_labels)
    marks = np.asarray(boxes, dtype=float)
    if marks.size and (marks.ndim != 2 or marks.shape[1] != 4):
        raise ValueError(f"boxes must have shape (n, 4): x, y, width, height; got {marks.shape}")
    marks = marks.reshape(-1, 4)
    check_same_length(subject=subjects, volunteer=volunteers, boxes=marks, label=labels)
    drawn = np.flatnonzero(~np.isnan(marks).all(axis=1))
    check_boxes(marks[drawn], drawn)
    far = np.flatnonzero((np.abs(marks) > FARTHEST).any(axis=1))
    if len(far):
        raise ValueError(f"boxes[{far[0]}] is {marks[far[0]].tolist()}: sides and places must not exceed {FARTHEST:g}")
    return Rows(subjects, volunteers, marks, labels, n_subjects, n_volunteers, max(n_labels, 1))


def _collect(rows: Rows, table: MarkTable, fitted: Fit, report: Report) -> ConsensusBoxes:
    subject = table.subject_code[report.column("subject", np.empty(0, np.int64))]
    boxes = report.column("boxes", np.empty((0, 4)))
    probability = report.column("probability", np.empty(0))
    order = np.lexsort((*boxes.T[::-1], -probability, subject))
    labels = report.column("labels", np.empty((0, rows.n_labels)))[order]
    number = np.full(len(order) + 1, -1)  # the last entry is for marks of no box
    number[order] = np.arange(len(order))
    member = np.full(len(rows.subject), -1)
    if report.box_of_mark:
        member[table.row] = number[np.concatenate(report.box_of_mark)]
    seen = np.zeros(rows.n_subjects, dtype=np.int64)
    seen[table.subject_code] = count(table.viewer_subject, table.n_subjects)
    subject = subject[order]
    return ConsensusBoxes(
        subject=subject,
        boxes=boxes[order],
        standard_errors=report.column("errors", np.empty((0, 4)))[order],
        n_marks=report.column("n_marks", np.empty(0, np.int64))[order],
        n_seen=seen[subject],
        probability=probability[order],
        inaccuracy=report.column("inaccuracy", np.empty(0))[order],
        label=labels.argmax(axis=1),
        label_fractions=labels / labels.sum(axis=1, keepdims=True),
        member=member,
        seen=seen,
        subjects=_subjects(rows, table, fitted, report, seen),
        volunteers=_volunteers(rows, table, fitted),
        model=fitted.model,
        log_likelihood=fitted.log_likelihood,
    )


def _subjects(rows: Rows, table: MarkTable, fitted: Fit, report: Report, seen: IntArray) -> BoxSubjects:
    expected = np.zeros((rows.n_subjects, 4))
    # Of a subject that nobody saw only the rate of objects is known.
    expected[:, 1] = fitted.model.population.rate
    clutter, blur = np.ones(rows.n_subjects), np.ones(rows.n_subjects)
    if report.subjects:
        expected[table.subject_code] = np.concatenate(report.subjects)
        clutter[table.subject_code], blur[table.subject_code] = fitted.pictures.clutter, fitted.pictures.blur
    n_boxes, missed, false, inaccurate = expected.T
    risk = missed + false + inaccurate
    return BoxSubjects(seen, n_boxes.astype(np.int64), missed, false, inaccurate, risk, clutter, blur)


def _volunteers(rows: Rows, table: MarkTable, fitted: Fit) -> BoxVolunteers:
    present, counts = table.volunteer_code, fitted.counts
    skills = fitted.model.skills_of(np.arange(rows.n_volunteers))

    usual_attention = float(np.median(skills.attention[present])) if len(present) else 0.0

    def spread(values: npt.NDArray[Any], absent: float) -> FloatArray:
        column = np.full(rows.n_volunteers, absent)
        column[present] = values
        return column

    false, false_mean = learn_rate(counts[:, FALSE], counts[:, MARKS])
    missed, missed_mean = learn_rate(counts[:, MISSED], counts[:, SHOWN])
    p_fp, p_fn = spread(false, false_mean), spread(missed, missed_mean)
    return BoxVolunteers(
        n_seen=spread(count(table.viewer_volunteer, table.n_volunteers), 0).astype(np.int64),
        n_marks=spread(counts[:, MARKS], 0).round().astype(np.int64),
        p_fp=p_fp,
        p_fn=p_fn,
        sigma=np.sqrt(skills.variance) * fitted.model.frame.unit,
        false_rate=skills.false_rate,
        attention=skills.attention,
        is_spammer=(p_fp > 0.5) & (skills.attention < _SPAM_ATTENTION * usual_attention),
    )
