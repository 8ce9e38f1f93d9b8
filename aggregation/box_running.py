"""Consensus boxes kept up to date classification by classification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation._box_fit import BoxModel
from aggregation._box_learning import learn_skills
from aggregation._geometry import check_boxes
from aggregation._votes import FloatArray, IntArray
from aggregation.box_results import ConsensusBoxes
from aggregation.boxes import Settings, Solution, check_rows, solve

_NO_MARK = (np.nan, np.nan, np.nan, np.nan)

# Of each volunteer who looked: the boxes drawn with their labels.
_Drawings = dict[int, tuple[tuple[tuple[float, ...], int], ...]]


@dataclass(frozen=True)
class SubjectBoxes:
    """Consensus boxes of one subject, the most probable first; the columns of `ConsensusBoxes` and `BoxSubjects`.

    `member` tells of each row its box or -1: the marks of each volunteer together, one row for a blank classification,
    volunteers in the order of their first classifications.
    """

    boxes: FloatArray
    standard_errors: FloatArray
    n_marks: IntArray
    n_seen: int
    probability: FloatArray
    inaccuracy: FloatArray
    label: IntArray
    label_fractions: FloatArray
    member: IntArray
    expected_missed: float
    expected_false: float
    expected_inaccurate: float
    risk: float


class RunningBoxes:
    """`consensus_boxes`, fed classification by classification.

    `add` only takes note. `consensus` of a subject that has something new places its marks with the skills known so
    far, and puts what its volunteers did there into their skills, in place of what they had done there before; the
    other subjects and what all share stay as they are until the next `sweep`, which is `consensus_boxes` of all
    classifications. After a sweep `consensus` of a subject is exactly its part of the sweep.

    Parameters
    ----------
    model
        Where to start from, the `model` of an earlier result; without one the first `consensus` sweeps. What it has
        learnt from must not be added again.
    settings
        The keywords gold, detections, min_probability and threads of `consensus_boxes`.

    Examples
    --------
    >>> running = RunningBoxes()
    >>> for volunteer in range(4):
    ...     running.add(subject=0, volunteer=volunteer, boxes=[[10 + volunteer, 10, 20, 20]])
    >>> running.consensus(0).n_marks
    array([4])
    >>> running.add(subject=0, volunteer=4, boxes=[])
    >>> running.consensus(0).n_seen
    5
    """

    def __init__(self, model: BoxModel | None = None, **settings: Any) -> None:
        self._model = model
        self._settings = Settings(**settings)
        self._n_labels = 1
        self._drawings: dict[int, _Drawings] = {}
        self._known: dict[int, SubjectBoxes] = {}
        self._swept: ConsensusBoxes | None = None
        self._rows: dict[int, slice] = {}
        self._before: dict[int, _Drawings] = {}
        self._shares: dict[int, _Share] = {}
        known = () if model is None else zip(model.volunteer.tolist(), model.counts, strict=True)
        self._totals: dict[int, FloatArray] = dict(known)

    def add(self, subject: int, volunteer: int, boxes: npt.ArrayLike, label: npt.ArrayLike | None = None) -> None:
        """Take note of one classification; it replaces an earlier one of the same volunteer on the subject.

        `boxes` is float (n, 4), empty for a classification without a mark; `label` int (n,), all 0 if left out.
        """
        for name, code in (("subject", subject), ("volunteer", volunteer)):
            if code < 0:
                raise ValueError(f"{name} is {code}: codes start at 0")
        drawn = check_boxes(np.asarray(boxes, dtype=float).reshape(-1, 4))
        labels = np.zeros(len(drawn), dtype=np.int64) if label is None else np.asarray(label, dtype=np.int64)
        if labels.shape != (len(drawn),) or labels.min(initial=0) < 0:
            raise ValueError(f"label must hold a code from 0 for each of the {len(drawn)} boxes")
        here = self._drawings.setdefault(int(subject), {})
        if subject in self._rows and subject not in self._shares:
            # What the last sweep took from this subject is worked out when it is needed.
            self._before.setdefault(int(subject), dict(here))
        self._n_labels = max(self._n_labels, int(labels.max(initial=0)) + 1)
        here[int(volunteer)] = tuple(zip(map(tuple, drawn.tolist()), labels.tolist(), strict=True))
        self._known.pop(int(subject), None)

    def consensus(self, subject: int) -> SubjectBoxes:
        """The boxes of one subject from all classifications so far."""
        if subject not in self._drawings:
            raise KeyError(f"subject {subject} has no classification")
        if self._model is None:
            self.sweep()
        if subject not in self._known:
            untouched = subject in self._rows and subject not in self._before and subject not in self._shares
            self._known[subject] = self._of_sweep(subject) if untouched else self._update(subject)
        return self._known[subject]

    def sweep(self) -> ConsensusBoxes:
        """`consensus_boxes` of all classifications; skills and all shared parameters are learnt anew."""
        rows: list[tuple[int, int, tuple[float, ...], int]] = []
        self._rows = {}
        for subject, drawings in self._drawings.items():
            start = len(rows)
            rows += _rows(subject, drawings)
            self._rows[subject] = slice(start, len(rows))
        solution = _solve(rows, None, self._settings, self._n_labels)
        result = solution.result
        self._swept, self._model = result, result.model
        self._totals = dict(zip(solution.table.volunteer_code.tolist(), solution.fit.counts, strict=True))
        self._known, self._before, self._shares = {}, {}, {}
        return result

    @property
    def model(self) -> BoxModel | None:
        """What has been learnt so far, with the skills of today."""
        return self._model

    def _of_sweep(self, subject: int) -> SubjectBoxes:
        if self._swept is None:
            raise AssertionError("unreachable: rows are known only after a sweep")
        return _one(self._swept, subject, self._rows[subject])

    def _update(self, subject: int) -> SubjectBoxes:
        """Place the subject's marks anew and correct the skills of its volunteers."""
        if subject in self._before:
            self._shares[subject] = self._solve_one(subject, self._before.pop(subject))[1]
        earlier = self._shares.get(subject)
        result, self._shares[subject] = self._solve_one(subject, self._drawings[subject])
        if earlier is not None:
            self._count(earlier, -1.0)
        self._count(self._shares[subject], 1.0)
        self._learn(self._shares[subject].volunteer if earlier is None else earlier.volunteer)
        self._learn(self._shares[subject].volunteer)
        return result

    def _solve_one(self, subject: int, drawings: _Drawings) -> tuple[SubjectBoxes, _Share]:
        gold, found = (_part(given, subject) for given in (self._settings.gold, self._settings.detections))
        settings = replace(self._settings, gold=gold, detections=found)
        solution = _solve(_rows(0, drawings), self._model, settings, self._n_labels)
        return _one(solution.result, 0, slice(None)), _Share(solution.table.volunteer_code, solution.fit.counts)

    def _count(self, share: _Share, sign: float) -> None:
        for volunteer, counts in zip(share.volunteer.tolist(), sign * share.counts, strict=True):
            self._totals[volunteer] = self._totals.get(volunteer, 0.0) + counts

    def _learn(self, volunteer: IntArray) -> None:
        """Skills of some volunteers from all that they have done, under the priors of the last sweep."""
        if self._model is None:
            raise AssertionError("unreachable: a subject is placed with a model")
        counts = np.stack([self._totals[code] for code in volunteer.tolist()])
        learnt, _ = learn_skills(counts, self._model.priors)
        known = self._model.volunteer
        new = volunteer[~np.isin(volunteer, known)]
        codes = np.union1d(known, new)
        skills = self._model.skills_of(codes)
        place = np.searchsorted(codes, volunteer)
        for name, values in vars(learnt).items():
            getattr(skills, name)[place] = values
        all_counts = np.zeros((len(codes), counts.shape[1]))
        all_counts[np.searchsorted(codes, known)] = self._model.counts
        all_counts[place] = counts
        self._model = replace(self._model, volunteer=codes, skills=skills, counts=all_counts)


@dataclass(frozen=True)
class _Share:
    """What a subject adds to the counts of its volunteers, int (n,) and float (n, 10)."""

    volunteer: IntArray
    counts: FloatArray


def _rows(subject: int, drawings: _Drawings) -> list[tuple[int, int, tuple[float, ...], int]]:
    return [
        (subject, volunteer, box, label)
        for volunteer, drawn in drawings.items()
        for box, label in (drawn or ((_NO_MARK, 0),))
    ]


def _part(given: tuple[npt.ArrayLike, ...] | None, subject: int) -> tuple[npt.ArrayLike, ...] | None:
    """A juror's rows on one subject, which becomes number 0."""
    if given is None:
        return None
    columns = [np.asarray(column) for column in given]
    here = columns[0] == subject
    return np.zeros(int(here.sum()), dtype=np.int64), *(column[here] for column in columns[1:])


def _solve(
    rows: list[tuple[int, int, tuple[float, ...], int]], model: BoxModel | None, settings: Settings, n_labels: int
) -> Solution:
    subject, volunteer, boxes, label = zip(*rows, strict=True) if rows else ((), (), (), ())
    checked = check_rows(
        np.array(subject, dtype=np.int64),
        np.array(volunteer, dtype=np.int64),
        np.array(boxes, dtype=float).reshape(-1, 4),
        np.array(label, dtype=np.int64),
        max(subject, default=-1) + 1,
        max(volunteer, default=-1) + 1,
        n_labels,
    )
    return solve(checked, settings, model)


def _one(result: ConsensusBoxes, subject: int, rows: slice) -> SubjectBoxes:
    """One subject's part of a result."""
    mine = np.flatnonzero(result.subject == subject)
    member = result.member[rows]
    first = int(mine[0]) if len(mine) else 0
    subjects = result.subjects
    return SubjectBoxes(
        boxes=result.boxes[mine],
        standard_errors=result.standard_errors[mine],
        n_marks=result.n_marks[mine],
        n_seen=int(result.seen[subject]),
        probability=result.probability[mine],
        inaccuracy=result.inaccuracy[mine],
        label=result.label[mine],
        label_fractions=result.label_fractions[mine],
        member=np.where(member >= 0, member - first, -1),
        expected_missed=float(subjects.expected_missed[subject]),
        expected_false=float(subjects.expected_false[subject]),
        expected_inaccurate=float(subjects.expected_inaccurate[subject]),
        risk=float(subjects.risk[subject]),
    )
