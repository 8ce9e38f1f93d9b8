"""Greedy IoU voting on one subject: the plain baseline of `consensus_boxes`, and quick enough for a live page.

No volunteer is trusted more than another here, and a vote fraction is not a calibrated probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from aggregation._geometry import box_iou, check_boxes, edges, from_edges
from aggregation._votes import BoolArray, FloatArray, IntArray, check_codes, check_same_length

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
