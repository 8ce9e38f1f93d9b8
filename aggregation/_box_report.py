"""From beliefs to the published boxes: standard errors, risks, labels, members."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from aggregation._box_fit import Outcome
from aggregation._box_jurors import boxes_of
from aggregation._box_model import P, R
from aggregation._box_table import MarkTable
from aggregation._votes import BoolArray, FloatArray, IntArray

Kind = TypeVar("Kind", bound=np.generic)

INACCURATE = 0.5  # a box is inaccurate when its IoU with the object's true box is below this
_DRAWS = 128


def _normal_points(n: int) -> FloatArray:
    """Points that fill the four-dimensional standard normal distribution evenly, (n, 4): a Kronecker sequence.

    Multiples of the powers of the real root of x^5 = x + 1, modulo 1 (Roberts 2018), through the normal quantiles.
    """
    root = 1.1673039782614187
    steps = root ** -np.arange(1.0, 5.0)
    points: FloatArray = ndtri((0.5 + np.arange(1, n + 1)[:, np.newaxis] * steps) % 1.0)
    return points


_POINTS = _normal_points(_DRAWS)


def inaccuracy(relative: FloatArray) -> FloatArray:
    """P(IoU with the true box < 0.5) for standard errors of x, y, width and height as parts of the sides; (n,).

    Errors of the centre are normal, those of the sides log-normal; an average over 128 evenly spread errors.
    """
    low = np.empty((len(relative), _DRAWS))
    for first in range(0, len(relative), 4096):
        error = relative[first : first + 4096, np.newaxis, :] * _POINTS
        sides = np.exp(error[..., 2:])
        right = np.minimum(0.5, error[..., :2] + 0.5 * sides)
        left = np.maximum(-0.5, error[..., :2] - 0.5 * sides)
        overlap = np.clip(right - left, 0.0, None).prod(axis=-1)
        low[first : first + 4096] = overlap / (1.0 + sides.prod(axis=-1) - overlap) < INACCURATE
    share: FloatArray = low.mean(axis=1)
    return share


@dataclass
class Report:
    """Collects what is published, part by part.

    Attributes
    ----------
    label, n_labels
        Label of each input row, and how many labels there are.
    min_probability
        Groups below it are counted, not published.
    """

    table: MarkTable
    label: IntArray
    n_labels: int
    min_probability: float
    columns: list[dict[str, FloatArray | IntArray]] = field(default_factory=list)
    subjects: list[FloatArray] = field(default_factory=list)
    box_of_mark: list[IntArray] = field(default_factory=list)
    n_boxes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Take over one part; parts come in the order of the table."""
        belief, scene = outcome.belief, outcome.scene
        groups, table = belief.groups, self.table
        published = belief.real >= self.min_probability
        chosen = np.flatnonzero(published)
        boxes = boxes_of(groups, scene.population, table.frame)[chosen]
        place_error = table.frame.unit / np.sqrt(groups.sums[chosen, P])
        side_error = 1.0 / np.sqrt(groups.sums[chosen, R])
        errors = np.stack([place_error, place_error, side_error * boxes[:, 2], side_error * boxes[:, 3]], axis=1)
        wrong = inaccuracy(errors / np.tile(boxes[:, 2:], 2))
        number = np.full(groups.n, -1)
        number[chosen] = self.n_boxes + np.arange(len(chosen))
        self.n_boxes += len(chosen)
        self.box_of_mark.append(number[outcome.group])
        self.columns.append(
            {
                "subject": groups.subject[chosen] + outcome.part.subjects.start,
                "boxes": boxes,
                "errors": errors,
                "n_marks": groups.size[chosen],
                "probability": belief.real[chosen],
                "inaccuracy": wrong,
                "labels": self._labels(outcome, groups.n)[chosen],
            }
        )
        self.subjects.append(_expected(outcome, published, chosen, wrong))

    def _labels(self, outcome: Outcome, n_groups: int) -> FloatArray:
        """Marks of each label in each group, (n_groups, n_labels)."""
        label = self.label[self.table.row[outcome.part.marks]]
        cells = outcome.group.astype(np.int64) * self.n_labels + label
        return np.bincount(cells, minlength=n_groups * self.n_labels).reshape(n_groups, self.n_labels).astype(float)

    def column(self, name: str, empty: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        """One column of all boxes in the table's order; `empty` has its type and shape."""
        return np.concatenate([empty, *(columns[name] for columns in self.columns)]).astype(empty.dtype, copy=False)


def _expected(outcome: Outcome, published: BoolArray, chosen: IntArray, wrong: FloatArray) -> FloatArray:
    """Boxes, expected missed, false and inaccurate ones of each subject, (n_subjects, 4)."""
    belief, n = outcome.belief, len(outcome.scene.unseen)
    subject = belief.groups.subject
    hidden = np.bincount(subject, np.where(published, 0.0, belief.real), n)
    rows = [
        np.bincount(subject[chosen], minlength=n),
        hidden + belief.missed_real.sum(axis=1),
        np.bincount(subject, np.where(published, 1.0 - belief.real, 0.0), n),
        np.bincount(subject[chosen], belief.real[chosen] * wrong, n),
    ]
    return np.stack(rows, axis=1).astype(float)
