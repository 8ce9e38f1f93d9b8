"""Marks in an order of their own, so that sums do not depend on the order of rows or on the numbers given to ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray

HashArray = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Frame:
    """Length of one unit and the place of its zero, in the units of the input."""

    unit: float
    origin: FloatArray


@dataclass(frozen=True)
class MarkTable:
    """Checked marks, sorted by subject; subjects and volunteers renumbered by what they drew, not by their codes.

    Attributes
    ----------
    subject, volunteer
        Of each mark, int (n_marks,), by the new numbers.
    centre, size
        Float (n_marks, 2): centre x, y and the logarithms of width and height; lengths in units of `unit`.
    row
        Input row of each mark, int (n_marks,).
    viewer_subject, viewer_volunteer
        Who saw what, each pair once, int (n_classifications,), sorted by subject.
    subject_code, volunteer_code
        Input code of each number, int (n_subjects,) and (n_volunteers,).
    frame
        What one unit is.
    """

    subject: IntArray
    volunteer: IntArray
    centre: FloatArray
    size: FloatArray
    row: IntArray
    viewer_subject: IntArray
    viewer_volunteer: IntArray
    subject_code: IntArray
    volunteer_code: IntArray
    frame: Frame

    @property
    def n_subjects(self) -> int:
        return len(self.subject_code)

    @property
    def n_volunteers(self) -> int:
        return len(self.volunteer_code)


def tabulate(subject: IntArray, volunteer: IntArray, boxes: FloatArray, frame: Frame | None = None) -> MarkTable:
    """Sort checked rows (blank ones are four nan) into a table, in the given frame or one fitted to the marks."""
    drawn = ~np.isnan(boxes).all(axis=1)
    subject_code, s = np.unique(subject, return_inverse=True)
    volunteer_code, v = np.unique(volunteer, return_inverse=True)
    rank = _dense_rank(boxes)
    subject_order, volunteer_order = _orders(s, v, np.where(drawn, rank + 1, 0))
    s, v = _renumber(subject_order)[s], _renumber(volunteer_order)[v]
    viewer = np.unique(s * max(len(volunteer_code), 1) + v)
    row = np.flatnonzero(drawn)
    row = row[np.lexsort((row, v[row], rank[row], s[row]))]
    if frame is None:
        frame = fitted_frame(boxes[row])
    centre, log_size = in_units(boxes[row], frame)
    return MarkTable(
        subject=s[row],
        volunteer=v[row],
        centre=centre,
        size=log_size,
        row=row,
        viewer_subject=viewer // max(len(volunteer_code), 1),
        viewer_volunteer=viewer % max(len(volunteer_code), 1),
        subject_code=subject_code[subject_order],
        volunteer_code=volunteer_code[volunteer_order],
        frame=frame,
    )


def fitted_frame(boxes: FloatArray) -> Frame:
    """Units of the median side, counted from the median centre: results do not depend on the input's units."""
    if not len(boxes):
        return Frame(1.0, np.zeros(2))
    sides = np.sqrt(boxes[:, 2]) * np.sqrt(boxes[:, 3])
    return Frame(float(np.median(sides)), np.median(boxes[:, :2] + 0.5 * boxes[:, 2:], axis=0))


def in_units(boxes: FloatArray, frame: Frame) -> tuple[FloatArray, FloatArray]:
    """Centres in units, and logarithms of width and height in units; (n, 2) each."""
    middle = boxes[:, :2] + 0.5 * boxes[:, 2:]
    return (middle - frame.origin) / frame.unit, np.log(boxes[:, 2:] / frame.unit)


def _dense_rank(boxes: FloatArray) -> IntArray:
    """Number of each row among the distinct rows in order of x, y, width, height."""
    if not len(boxes):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort(boxes.T[::-1])
    ordered = boxes[order]
    new = np.r_[False, (ordered[1:] != ordered[:-1]).any(axis=1)]
    rank = np.empty(len(boxes), dtype=np.int64)
    rank[order] = np.cumsum(new)
    return rank


def _orders(subject: IntArray, volunteer: IntArray, mark: IntArray) -> tuple[IntArray, IntArray]:
    """Subjects and volunteers in an order that depends on the drawings only.

    Each classification gets a number from the marks in it, each subject one from its classifications, each
    volunteer one from these and their subjects, and each subject a second one from its volunteers (colour
    refinement). Two that still have the same number drew, or were drawn on, alike: swapping them changes nothing.
    Sums modulo 2^64 are exact in any order.
    """
    n_volunteers = int(volunteer.max(initial=-1)) + 1
    pair, which = np.unique(subject * max(n_volunteers, 1) + volunteer, return_inverse=True)
    s, v = pair // max(n_volunteers, 1), pair % max(n_volunteers, 1)
    drawn = _mixed(_sum_by(which, np.where(mark > 0, _mixed(mark.astype(np.uint64)), np.uint64(0)), len(pair)))
    of_volunteer = np.zeros(n_volunteers, dtype=np.uint64)
    n_subjects = int(subject.max(initial=-1)) + 1
    for _ in range(2):
        of_subject = _sum_by(s, _mixed(drawn + of_volunteer[v]), n_subjects)
        of_volunteer = _mixed(_sum_by(v, _mixed(drawn + _mixed(of_subject)[s]), n_volunteers))
    return np.argsort(of_subject, kind="stable"), np.argsort(of_volunteer, kind="stable")


def _mixed(numbers: HashArray) -> HashArray:
    """Scatter 64-bit integers (the finaliser of SplitMix64, Steele, Lea & Flood 2014)."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _sum_by(group: IntArray, numbers: HashArray, n_groups: int) -> HashArray:
    """Sum modulo 2^64 of each group."""
    total = np.zeros(n_groups, dtype=np.uint64)
    np.add.at(total, group, numbers)
    return total


def _renumber(order: IntArray) -> IntArray:
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return number
