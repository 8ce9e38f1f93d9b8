"""Consensus boxes by greedy IoU voting: what many volunteers drew in the same place.

No volunteer is trusted more than another here. The probability of a box is the fraction of those who saw the
subject and marked it, a vote fraction and not a calibrated probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from aggregation._geometry import box_iou, check_boxes, edges, from_edges
from aggregation._votes import BoolArray, FloatArray, IntArray, check_codes, check_same_length

__all__ = ["Average", "BoxClusters", "ConsensusBoxes", "RunningBoxes", "box_iou", "cluster_boxes", "consensus_boxes"]

Average = Literal["mean", "median"]


@dataclass(frozen=True)
class BoxClusters:
    """Consensus boxes of one subject, the best supported first.

    Attributes
    ----------
    boxes
        ``x, y, width, height`` in the units of the input, float (n_boxes, 4).
    n_marks
        Volunteers whose mark is a member, int (n_boxes,).
    n_seen
        Volunteers who saw the subject.
    fraction
        ``n_marks / n_seen``, float (n_boxes,).
    member
        For each mark of the input, the number of its box or -1; int (n_marks,).
    """

    boxes: FloatArray
    n_marks: IntArray
    n_seen: int
    fraction: FloatArray
    member: IntArray


@dataclass(frozen=True)
class ConsensusBoxes:
    """Consensus boxes of many subjects, ordered by subject and label, the best supported first.

    Attributes
    ----------
    subject
        Code of each box, int (n_boxes,).
    boxes
        ``x, y, width, height``, float (n_boxes, 4).
    n_marks, n_seen
        Volunteers who marked it, and who saw the subject; int (n_boxes,).
    probability
        The vote fraction ``n_marks / n_seen``, float (n_boxes,).
    label
        Code of each box's label, int (n_boxes,); 0 everywhere if no labels were given.
    member
        For each input row, the number of its box or -1; int (n_rows,).
    seen
        Volunteers who saw each subject, int (n_subjects,).
    """

    subject: IntArray
    boxes: FloatArray
    n_marks: IntArray
    n_seen: IntArray
    probability: FloatArray
    label: IntArray
    member: IntArray
    seen: IntArray


def cluster_boxes(
    boxes: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    n_seen: int,
    *,
    iou_threshold: float = 0.35,
    min_fraction: float = 0.25,
    average: Average = "mean",
) -> BoxClusters:
    """Group the marks on one subject into consensus boxes.

    Repeatedly: take the mark with the most distinct volunteers within `iou_threshold` of it (itself included;
    among equals the most central one, by its summed IoU with all marks near it); move to the median box of those
    marks and gather again, if that does not lose volunteers; keep the nearest mark of each volunteer; average. It
    ends when no mark is backed by ``min_fraction * n_seen`` volunteers. Marks are put in an order of their own
    first, so the result does not depend on the order of the rows.

    Parameters
    ----------
    boxes
        Marks as ``x, y, width, height`` with x, y the top-left corner, float (n, 4); width and height > 0.
    volunteer
        Code of each mark's volunteer, int (n,). A volunteer has at most one mark in a box; a further mark in
        the same place stays free for a neighbouring box.
    n_seen
        Volunteers who saw the subject, those who marked nothing included.
    iou_threshold
        Smallest intersection over union at which two marks may mean the same object, in (0, 1].
    min_fraction
        Smallest published vote fraction, in [0, 1]; 0 publishes every lone mark.
    average
        Coordinate-wise mean or median of the members' edges.

    Returns
    -------
    BoxClusters

    Examples
    --------
    >>> marks = [[10, 10, 20, 20], [11, 10, 20, 20], [80, 80, 20, 20]]
    >>> result = cluster_boxes(marks, [0, 1, 1], n_seen=2, min_fraction=0.75)
    >>> result.boxes, result.fraction, result.member
    (array([[10.5, 10. , 20. , 20. ]]), array([1.]), array([ 0,  0, -1]))
    """
    marks = check_boxes(boxes)
    codes, _ = check_codes("volunteer", volunteer, np.iinfo(np.int64).max)
    check_same_length(boxes=marks, volunteer=codes)
    _check_settings(iou_threshold, min_fraction, average)
    n_volunteers = len(np.unique(codes))
    if n_seen < n_volunteers:
        raise ValueError(f"n_seen is {n_seen}, but {n_volunteers} volunteers drew marks")
    return _cluster(marks, codes, int(n_seen), iou_threshold, min_fraction, average)


def consensus_boxes(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    boxes: npt.ArrayLike,
    *,
    label: npt.ArrayLike | None = None,
    n_subjects: int | None = None,
    iou_threshold: float = 0.35,
    min_fraction: float = 0.25,
    average: Average = "mean",
) -> ConsensusBoxes:
    """Apply `cluster_boxes` to each subject, and to each label on it.

    Parameters
    ----------
    subject, volunteer
        Codes of each row, int (n,).
    boxes
        One mark per row, float (n, 4) as in `cluster_boxes`. A classification without a mark is one row of
        four nan: it counts as seen.
    label
        Code of each mark's kind, int (n,): marks of different kinds never share a box. One kind if None.
    n_subjects
        By default the largest code + 1.
    iou_threshold, min_fraction, average
        As for `cluster_boxes`.

    Returns
    -------
    ConsensusBoxes

    Examples
    --------
    >>> nothing = [float("nan")] * 4
    >>> result = consensus_boxes([0, 0, 1], [5, 6, 5], [[1, 1, 8, 8], [1, 1, 8, 8], nothing])
    >>> result.subject, result.probability, result.seen
    (array([0]), array([1.]), array([2, 1]))
    """
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    volunteers, _ = check_codes("volunteer", volunteer, np.iinfo(np.int64).max)
    labels, _ = check_codes("label", np.zeros_like(subjects) if label is None else label)
    marks = np.asarray(boxes, dtype=float).reshape(-1, 4)
    check_same_length(subject=subjects, volunteer=volunteers, boxes=marks, label=labels)
    _check_settings(iou_threshold, min_fraction, average)
    empty = np.isnan(marks).all(axis=1)
    check_boxes(marks[~empty], np.flatnonzero(~empty))
    seen = _count_seen(subjects, volunteers, n_subjects)
    rows = np.flatnonzero(~empty)
    rows = rows[np.lexsort((labels[rows], subjects[rows]))]
    found: list[BoxClusters] = []
    kinds: list[tuple[int, int]] = []
    member = np.full(len(subjects), -1, dtype=np.int64)
    n_boxes = 0
    for group in _runs(rows, subjects, labels):
        code = int(subjects[group[0]])
        clusters = _cluster(marks[group], volunteers[group], int(seen[code]), iou_threshold, min_fraction, average)
        member[group] = np.where(clusters.member >= 0, clusters.member + n_boxes, -1)
        n_boxes += len(clusters.boxes)
        found.append(clusters)
        kinds += [(code, int(labels[group[0]]))] * len(clusters.boxes)
    return _collect(found, kinds, member, seen)


@dataclass(frozen=True)
class RunningBoxes:
    """Marks on one subject so far, updated classification by classification.

    Greedy voting has no shorter state than the marks themselves: a later mark may move every box. One
    subject's marks are few, so `clusters` groups them anew each time and equals the batch result.

    Attributes
    ----------
    marks
        The boxes that each volunteer drew, by volunteer code; a volunteer who drew none has an empty list.
    """

    marks: tuple[tuple[int, tuple[tuple[float, ...], ...]], ...] = ()

    def add(self, volunteer: int, boxes: npt.ArrayLike) -> RunningBoxes:
        """Return the marks with one more classification; it replaces an earlier one of the same volunteer."""
        drawn = check_boxes(np.asarray(boxes, dtype=float).reshape(-1, 4))
        kept = tuple(entry for entry in self.marks if entry[0] != volunteer)
        return RunningBoxes((*kept, (int(volunteer), tuple(map(tuple, drawn.tolist())))))

    def clusters(
        self, *, iou_threshold: float = 0.35, min_fraction: float = 0.25, average: Average = "mean"
    ) -> BoxClusters:
        """The same result as `cluster_boxes` of all marks so far, `member` in the order of `marks`."""
        boxes = [box for _, drawn in self.marks for box in drawn]
        volunteer = [code for code, drawn in self.marks for _ in drawn]
        return cluster_boxes(
            np.array(boxes, dtype=float).reshape(-1, 4),
            np.array(volunteer, dtype=np.int64),
            len(self.marks),
            iou_threshold=iou_threshold,
            min_fraction=min_fraction,
            average=average,
        )


def _check_settings(iou_threshold: float, min_fraction: float, average: str) -> None:
    if not 0.0 < iou_threshold <= 1.0:
        raise ValueError(f"iou_threshold must lie in (0, 1], got {iou_threshold}")
    if not 0.0 <= min_fraction <= 1.0:
        raise ValueError(f"min_fraction must lie in [0, 1], got {min_fraction}")
    if average not in get_args(Average):
        raise ValueError(f"average must be one of {get_args(Average)}, got {average!r}")


def _cluster(
    marks: FloatArray, volunteer: IntArray, n_seen: int, threshold: float, min_fraction: float, average: Average
) -> BoxClusters:
    order = np.lexsort((volunteer, marks[:, 3], marks[:, 2], marks[:, 1], marks[:, 0]))
    groups = _greedy_groups(marks[order], volunteer[order], threshold, _votes_needed(n_seen, min_fraction))
    found = [(len(group), _average_box(marks[order][group], average), order[group]) for group in groups]
    # Best supported first; equal support in order of position, which no relabelling can change.
    found.sort(key=lambda entry: (-entry[0], *entry[1].tolist()))
    member = np.full(len(marks), -1, dtype=np.int64)
    for number, (_, _, group) in enumerate(found):
        member[group] = number
    n_marks = np.array([entry[0] for entry in found], dtype=np.int64)
    return BoxClusters(
        boxes=np.array([entry[1] for entry in found]).reshape(-1, 4),
        n_marks=n_marks,
        n_seen=n_seen,
        fraction=n_marks / max(n_seen, 1),
        member=member,
    )


def _votes_needed(n_seen: int, min_fraction: float) -> int:
    """Smallest number of marks whose published fraction reaches `min_fraction`, at least one."""
    # Compared as published: min_fraction * n_seen may miss an integer by rounding.
    fractions = np.arange(1, n_seen + 1) / max(n_seen, 1)
    return 1 + int(np.searchsorted(fractions, min_fraction))


def _greedy_groups(marks: FloatArray, volunteer: IntArray, threshold: float, needed: int) -> list[IntArray]:
    """Members of each cluster, as row numbers of the sorted marks."""
    iou = box_iou(marks, marks)
    near = iou >= threshold
    codes = np.unique(volunteer, return_inverse=True)[1]
    free = np.ones(len(marks), dtype=bool)
    # reach[m, j]: free marks of volunteer j near mark m. Support is the number of volunteers with any.
    reach = near.astype(np.int64) @ np.eye(int(codes.max(initial=-1)) + 1, dtype=np.int64)[codes]
    closeness = np.where(near, iou, 0.0).sum(axis=1)
    groups = []
    while free.any():
        support = np.where(free, (reach > 0).sum(axis=1), 0)
        if support.max() < needed:
            break
        best = np.flatnonzero(support == support.max())
        # Rounded, so that marks which are equally central are so in floating point too.
        seed = int(best[closeness[best].round(9).argmax()])
        group = _gather(marks, iou[seed], near[seed] & free, codes, threshold, free)
        groups.append(group)
        free[group] = False
        for mark in group:
            reach[:, codes[mark]] -= near[:, mark]
    return groups


def _gather(
    marks: FloatArray,
    seed_iou: FloatArray,
    around_seed: BoolArray,
    codes: IntArray,
    threshold: float,
    free: BoolArray,
) -> IntArray:
    """One mark per volunteer around the seed, or around the median of its neighbours if no fewer agree."""
    centre = np.median(edges(marks[around_seed]), axis=0)
    centre_iou = box_iou(from_edges(centre), marks)[0]
    around_centre = (centre_iou >= threshold) & free
    if len(np.unique(codes[around_centre])) >= len(np.unique(codes[around_seed])):
        return _nearest_per_volunteer(np.flatnonzero(around_centre), centre_iou, codes)
    return _nearest_per_volunteer(np.flatnonzero(around_seed), seed_iou, codes)


def _nearest_per_volunteer(rows: IntArray, iou: FloatArray, codes: IntArray) -> IntArray:
    ranked = rows[np.lexsort((rows, -iou[rows]))]
    first = np.unique(codes[ranked], return_index=True)[1]
    return np.sort(ranked[first])


def _average_box(marks: FloatArray, average: Average) -> FloatArray:
    """Average of the edges, so that the mean of boxes that share an edge keeps it."""
    sides = edges(marks)
    middle = sides.mean(axis=0) if average == "mean" else np.median(sides, axis=0)
    box: FloatArray = from_edges(middle)[0]
    return box


def _count_seen(subject: IntArray, volunteer: IntArray, n_subjects: int) -> IntArray:
    """Distinct volunteers per subject, (n_subjects,)."""
    if not len(subject):
        return np.zeros(n_subjects, dtype=np.int64)
    order = np.lexsort((volunteer, subject))
    s, v = subject[order], volunteer[order]
    new = np.r_[True, (s[1:] != s[:-1]) | (v[1:] != v[:-1])]
    return np.bincount(s[new], minlength=n_subjects).astype(np.int64)


def _runs(rows: IntArray, subject: IntArray, label: IntArray) -> list[IntArray]:
    """Split sorted rows wherever the subject or the label changes."""
    if not len(rows):
        return []
    change = (subject[rows][1:] != subject[rows][:-1]) | (label[rows][1:] != label[rows][:-1])
    return np.split(rows, np.flatnonzero(change) + 1)


def _collect(
    found: list[BoxClusters], kinds: list[tuple[int, int]], member: IntArray, seen: IntArray
) -> ConsensusBoxes:
    kind = np.array(kinds, dtype=np.int64).reshape(-1, 2)
    boxes = [clusters.boxes for clusters in found]
    n_marks = [clusters.n_marks for clusters in found]
    n_seen = seen[kind[:, 0]]
    marked = np.concatenate([np.empty(0, dtype=np.int64), *n_marks])
    return ConsensusBoxes(
        subject=kind[:, 0],
        boxes=np.concatenate([np.empty((0, 4)), *boxes]),
        n_marks=marked,
        n_seen=n_seen,
        probability=marked / np.maximum(n_seen, 1),
        label=kind[:, 1],
        member=member,
        seen=seen,
    )
