"""Jurors beside the volunteers: known objects of gold-standard subjects, and what a machine detector found.

Many volunteers may share an error (a star that looks like a clump), so counting them alone cannot excuse it. Jurors
do not share it: where the truth is known it is taken, and what a detector says of a group counts by how often it
says so of objects, of decoys and of stray marks, which is learnt on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._box_model import PX, PY, RU, RV, P, Population, R
from aggregation._box_partition import best_of_both
from aggregation._box_search import Groups
from aggregation._box_table import Frame, MarkTable
from aggregation._geometry import check_boxes, pair_iou
from aggregation._votes import BoolArray, FloatArray, IntArray, check_codes, check_same_length

SAME_OBJECT = 0.5  # least IoU of a group with a known or detected box of the same object
_NEVER = -1e6  # log of nothing: excludes an explanation, yet keeps every sum finite
_SCORE_BINS = 4

# Pseudo-counts of (no detection, detection) before anything is known of a detector.
_PRIOR_REAL, _PRIOR_DECOY, _PRIOR_STRAY = (2.0, 2.0), (3.0, 1.0), (8.0, 0.5)


@dataclass(frozen=True)
class BoxList:
    """Boxes on some subjects, sorted by the numbers of the mark table.

    Attributes
    ----------
    looked
        Whether the subject was examined at all, bool (n_subjects,).
    subject, boxes
        Int (n,), float (n, 4) in the units of the input.
    grade
        1 for each box, or 1 to 4 from its score, int (n,).
    """

    looked: BoolArray
    subject: IntArray
    boxes: FloatArray
    grade: IntArray


@dataclass(frozen=True)
class Testimony:
    """What the jurors add to the evidence of each explanation of each group, in logarithms, (n_groups,) each.

    Attributes
    ----------
    is_gold
        Subjects whose objects are known, bool (n_subjects,).
    overlooked
        Known objects of each subject that no group matches, (n_subjects,).
    grade
        The detector's answer for each group, 0 for none, int (n_groups,), -1 where it did not look.
    """

    real: FloatArray
    decoy: FloatArray
    stray: FloatArray
    is_gold: BoolArray
    overlooked: FloatArray
    grade: IntArray

    def correct_missed(self, expected: FloatArray, shares: FloatArray) -> FloatArray:
        """Expected unmarked objects per detectability bin, with the known number on gold subjects."""
        total = np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
        return np.where(self.is_gold[:, np.newaxis], self.overlooked[:, np.newaxis] * shares / total, expected)


@dataclass(frozen=True)
class Detector:
    """P(answer of the detector | object, decoy, stray), rows of a float (3, 1 + n_grades) array; answer 0: none."""

    answers: FloatArray

    @classmethod
    def unknown(cls, n_grades: int) -> Detector:
        """A detector of which nothing is known yet."""
        return cls.learnt(np.zeros((3, 1 + n_grades)))

    @classmethod
    def learnt(cls, counts: FloatArray) -> Detector:
        """From expected counts of its answers, (3, 1 + n_grades)."""
        n_grades = counts.shape[1] - 1
        prior = np.array([[no, *[yes / n_grades] * n_grades] for no, yes in (_PRIOR_REAL, _PRIOR_DECOY, _PRIOR_STRAY)])
        total = counts + prior
        return cls(total / total.sum(axis=1, keepdims=True))


def check_box_list(
    name: str, given: tuple[npt.ArrayLike, ...] | None, table: MarkTable, *, scored: bool = False
) -> BoxList | None:
    """Check ``(subject, boxes[, score])``; four nan say that the subject has none. Subjects nobody saw drop out."""
    if given is None:
        return None
    if not 2 <= len(given) <= (3 if scored else 2):
        raise ValueError(f"{name} must be (subject, boxes{', score' if scored else ''}), got {len(given)} arrays")
    codes, _ = check_codes(f"{name} subject", given[0], np.iinfo(np.int64).max)
    boxes = np.asarray(given[1], dtype=float).reshape(-1, 4)
    score = np.asarray(given[2], dtype=float) if len(given) == 3 else np.zeros(len(codes))
    check_same_length(subject=codes, boxes=boxes, score=score)
    blank = np.isnan(boxes).all(axis=1)
    check_boxes(boxes[~blank], np.flatnonzero(~blank))
    if not np.isfinite(score[~blank]).all():
        raise ValueError(f"{name} score[{int(np.flatnonzero(~blank & ~np.isfinite(score))[0])}] is not a finite number")
    number = _numbers(codes, table)
    looked = np.zeros(table.n_subjects, dtype=bool)
    looked[number[number >= 0]] = True
    rows = np.flatnonzero((number >= 0) & ~blank)
    grade = _grades(score[rows])
    rows_order = np.lexsort((*boxes[rows].T[::-1], grade, number[rows]))
    return BoxList(looked, number[rows][rows_order], boxes[rows][rows_order], grade[rows_order])


def _numbers(codes: IntArray, table: MarkTable) -> IntArray:
    """Numbers of the mark table for subject codes, -1 for a subject that it does not have."""
    order = np.argsort(table.subject_code)
    ordered = table.subject_code[order]
    place = np.searchsorted(ordered, codes).clip(max=len(ordered) - 1)
    if not len(ordered):
        return np.full(len(codes), -1)
    return np.where(ordered[place] == codes, order[place], -1)


def _grades(score: FloatArray) -> IntArray:
    """Quarter of the scores that each one belongs to, from 1; 1 for all if they are equal."""
    cuts = np.unique(np.quantile(score, np.arange(1, _SCORE_BINS) / _SCORE_BINS)) if len(score) else np.empty(0)
    cuts = cuts[cuts > score.min()] if len(score) else cuts
    return 1 + np.searchsorted(cuts, score, side="right").astype(np.int64)


def n_grades(found: BoxList | None) -> int:
    """Number of different positive answers of a detector."""
    return 1 if found is None else int(found.grade.max(initial=1))


def boxes_of(groups: Groups, population: Population, frame: Frame) -> FloatArray:
    """Consensus box of each group in the units of the input: precision-weighted mean centre, geometric mean sides."""
    sums = groups.sums
    centre = sums[:, PX : PY + 1] / sums[:, [P]] * frame.unit + frame.origin
    sides = np.exp(sums[:, RU : RV + 1] / sums[:, [R]] + population.size_mean) * frame.unit
    return np.concatenate([centre - 0.5 * sides, sides], axis=1)


def hear(
    groups: Groups,
    boxes: FloatArray,
    first: int,
    n_subjects: int,
    gold: BoxList | None,
    found: BoxList | None,
    detector: Detector,
) -> Testimony | None:
    """Testimony on the groups of a scene whose subjects begin with the table's number `first`."""
    if gold is None and found is None:
        return None
    real, decoy, stray = np.zeros(groups.n), np.zeros(groups.n), np.zeros(groups.n)
    is_gold, overlooked = np.zeros(n_subjects, dtype=bool), np.zeros(n_subjects)
    grade = np.full(groups.n, -1)
    if gold is not None:
        is_gold = gold.looked[first : first + n_subjects]
        match, taken = _matches(groups, boxes, first, n_subjects, gold)
        known = is_gold[groups.subject]
        real = np.where(known & (match < 0), _NEVER, real)
        decoy = np.where(known & (match >= 0), _NEVER, decoy)
        stray = np.where(known & (match >= 0), _NEVER, stray)
        left = gold.subject[~taken & _inside(gold, first, n_subjects)] - first
        overlooked = np.bincount(left, minlength=n_subjects).astype(float)
    if found is not None:
        match, _ = _matches(groups, boxes, first, n_subjects, found)
        looked = found.looked[first : first + n_subjects][groups.subject]
        answer = np.where(match >= 0, found.grade[match], 0) if len(found.grade) else np.zeros(groups.n, dtype=np.int64)
        grade = np.where(looked, answer, -1)
        said = np.where(looked, np.log(detector.answers[:, answer]), 0.0)
        real, decoy, stray = real + said[0], decoy + said[1], stray + said[2]
    return Testimony(real, decoy, stray, is_gold, overlooked.astype(float), grade)


def _inside(listed: BoxList, first: int, n_subjects: int) -> BoolArray:
    return (listed.subject >= first) & (listed.subject < first + n_subjects)


def _matches(
    groups: Groups, boxes: FloatArray, first: int, n_subjects: int, listed: BoxList
) -> tuple[IntArray, BoolArray]:
    """Box of the list that each group stands for, -1 for none, one to one, closest pairs first; and the boxes taken."""
    low, high = np.searchsorted(listed.subject, first + groups.subject + np.array([[0], [1]]))
    n = high - low
    g = np.repeat(np.arange(groups.n), n)
    k = np.arange(int(n.sum())) + np.repeat(low - np.r_[0, np.cumsum(n)[:-1]], n)
    iou = pair_iou(boxes[g], listed.boxes[k])
    near = iou >= SAME_OBJECT
    g, k, iou = g[near], k[near], iou[near]
    match, taken = np.full(groups.n, -1), np.zeros(len(listed.subject), dtype=bool)
    while len(g):
        best = best_of_both(g, groups.n + k, iou, np.ones(len(g), dtype=bool), groups.n + len(listed.subject))
        match[g[best]], taken[k[best]] = k[best], True
        left = (match[g] < 0) & ~taken[k]
        g, k, iou = g[left], k[left], iou[left]
    return match, taken
