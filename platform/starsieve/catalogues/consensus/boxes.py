"""Consensus of a task in which boxes are drawn: things with a probability and errors, and what may be missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation.box_results import SETTLED, ConsensusBoxes, settled_subjects
from aggregation.boxes import consensus_boxes
from starsieve.catalogues.consensus.votes import IntArray, TaskMarks
from starsieve.projects.task_types import BoxesTask
from starsieve.projects.task_types.boxes import SIDES

DECIMALS = 6
PIXEL_DECIMALS = 3
ERRORS = ("x_error", "y_error", "width_error", "height_error")
EXPECTED = ("expected_missed", "expected_false", "expected_inaccurate", "risk")

FloatArray = npt.NDArray[np.float64]

#: Subject id → the true boxes on it, none included.
TrueBoxes = Mapping[int, Sequence[dict[str, float]]]


class ClumpColumns(NamedTuple):
    """A row per consensus box, by subject. `numbers` has the sides and what else is known of each, by name;
    `label_fractions` a column per tool.
    """

    subject: IntArray
    n_marks: IntArray
    numbers: dict[str, FloatArray]
    label_fractions: FloatArray


@dataclass(frozen=True)
class BoxOutcome:
    """Consensus boxes of one task; subject code i is `subject_ids[i]`.

    `held_out` is the result without any gold standard. `settled` has a code of SETTLED per subject.
    """

    subject_ids: IntArray
    marks: TaskMarks
    found: ConsensusBoxes
    held_out: ConsensusBoxes
    settled: IntArray
    labels: tuple[str, ...]
    facts: dict[str, Any]

    def without_gold(self) -> "BoxOutcome":
        """The same as if there were no gold standard: pages must not give it away."""
        return replace(self, found=self.held_out, settled=settled_subjects(self.held_out.subjects))

    def said_of(self, row: int) -> dict[str, Any]:
        """What is said of one subject, in plain numbers."""
        first, last = np.searchsorted(self.found.subject, [row, row + 1])
        subjects = self.found.subjects
        errors = {name: float(column[row]) for name, column in self.errors.items()}
        return {
            "n": int(subjects.n_seen[row]),
            "clumps": [self._clump(number) for number in range(first, last)],
            **errors,
            "settled": SETTLED[self.settled[row]],
        }

    @cached_property
    def errors(self) -> dict[str, FloatArray]:
        """The expected errors of every subject, by their names in `said_of`."""
        subjects = self.found.subjects
        return {name: _rounded(getattr(subjects, name), DECIMALS) for name in EXPECTED}

    def clumps_of(self, first: int, last: int) -> "ClumpColumns":
        """What `said_of` says of the clumps of subjects `first` … `last` - 1, in columns."""
        found = self.found
        begin, end = np.searchsorted(found.subject, [first, last])
        part = slice(begin, end)
        errors = np.round(found.standard_errors[part], PIXEL_DECIMALS)
        numbers = {
            **dict(zip(SIDES, np.round(found.boxes[part], PIXEL_DECIMALS).T, strict=True)),
            **dict(zip(ERRORS, errors.T, strict=True)),
            "probability": _rounded(found.probability[part], DECIMALS),
        }
        return ClumpColumns(
            found.subject[part], found.n_marks[part], numbers, np.round(found.label_fractions[part], DECIMALS)
        )

    def marks_on(self, row: int) -> dict[str, Any]:
        """All marks on one subject with the number of their clump (-1: none), and the skills of who looked."""
        first, last = np.searchsorted(self.found.subject, [row, row + 1])
        rows = self._rows_of(row)
        people, volunteer = np.unique(self.marks.volunteer[rows], return_inverse=True)
        drawn = np.isfinite(self.marks.boxes[rows, 0])
        member = self.found.member[rows][drawn]
        skills = self.found.volunteers
        return {
            "boxes": self.marks.boxes[rows][drawn].tolist(),
            "member": np.where((member >= first) & (member < last), member - first, -1).tolist(),
            "volunteer": volunteer[drawn].tolist(),
            "p_fp": np.round(skills.p_fp[people], PIXEL_DECIMALS).tolist(),
            "p_fn": np.round(skills.p_fn[people], PIXEL_DECIMALS).tolist(),
        }

    def _rows_of(self, row: int) -> IntArray:
        order, edges = self._by_subject
        return order[edges[row] : edges[row + 1]]

    @cached_property
    def _by_subject(self) -> tuple[IntArray, IntArray]:
        order = np.argsort(self.marks.subject, kind="stable")
        return order, np.searchsorted(self.marks.subject[order], np.arange(len(self.subject_ids) + 1))

    def _clump(self, number: int) -> dict[str, Any]:
        found = self.found
        errors = np.round(found.standard_errors[number], PIXEL_DECIMALS).tolist()
        return {
            **dict(zip(SIDES, np.round(found.boxes[number], PIXEL_DECIMALS).tolist(), strict=True)),
            **dict(zip(ERRORS, errors, strict=True)),
            "n_marks": int(found.n_marks[number]),
            "n_seen": int(found.n_seen[number]),
            "probability": round(float(found.probability[number]), DECIMALS),
            "inaccuracy": round(float(found.inaccuracy[number]), DECIMALS),
            "label_fractions": dict(
                zip(self.labels, np.round(found.label_fractions[number], DECIMALS).tolist(), strict=True)
            ),
        }


def settled_subject_ids(outcomes: Iterable[BoxOutcome]) -> list[int]:
    """Subjects on which more votes would change nothing in any of the tasks."""
    settled = [set(outcome.subject_ids[outcome.settled > 0].tolist()) for outcome in outcomes]
    return sorted(set.intersection(*settled)) if settled else []


def fit_boxes(task: BoxesTask, marks: TaskMarks, gold: TrueBoxes) -> BoxOutcome:
    """Fit the model of marks; gold standard on subjects that nobody has classified teaches nothing."""
    assert task.consensus is not None
    settings = dict(task.consensus.settings)

    def fit(known: tuple[Any, Any] | None) -> ConsensusBoxes:
        return consensus_boxes(
            marks.subject,
            marks.volunteer,
            marks.boxes,
            label=marks.tool,
            gold=known,
            n_subjects=len(marks.subject_ids),
            n_volunteers=len(marks.volunteer_ids),
            n_labels=len(task.tools),
            min_probability=settings["min_probability"],
        )

    known = _gold_rows(marks, gold)
    found = fit(known)
    facts = {
        "method": task.consensus.method,
        "settings": settings,
        "n_votes": int(np.isfinite(marks.boxes[:, 0]).sum()),
        "n_subjects": len(marks.subject_ids),
        "n_volunteers": len(marks.volunteer_ids),
        "n_clumps": len(found.subject),
        "n_spammers": int(found.volunteers.is_spammer.sum()),
        "log_likelihood": found.log_likelihood,
        **_typical(found),
    }
    held_out = found if known is None else fit(None)
    settled = settled_subjects(found.subjects)
    facts["n_settled"] = int((settled > 0).sum())
    return BoxOutcome(marks.subject_ids, marks, found, held_out, settled, tuple(tool.key for tool in task.tools), facts)


def _typical(found: ConsensusBoxes) -> dict[str, float]:
    """Skills of the median volunteer."""
    volunteers = found.volunteers
    if not len(volunteers.n_seen):
        return {}
    return {name: round(float(np.median(getattr(volunteers, name))), DECIMALS) for name in ("p_fp", "p_fn", "sigma")}


def _gold_rows(marks: TaskMarks, gold: TrueBoxes) -> tuple[IntArray, Any] | None:
    """Known boxes in the codes of the table, four nan for a subject without any."""
    codes, boxes = [], []
    for code, subject_id in enumerate(marks.subject_ids.tolist()):
        if subject_id in gold:
            true = [[box[side] for side in SIDES] for box in gold[subject_id]] or [[np.nan] * len(SIDES)]
            codes += [code] * len(true)
            boxes += true
    return (np.array(codes, dtype=np.int64), np.array(boxes)) if codes else None


def _rounded(numbers: FloatArray, decimals: int) -> FloatArray:
    """Each as Python rounds it, as `said_of` does."""
    return np.array([round(number, decimals) for number in numbers.tolist()], dtype=np.float64)
