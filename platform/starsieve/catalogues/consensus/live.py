"""Handing on to the volunteers' side what a run has learnt, so that votes are weighed as they come."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation.live import LEAST, LiveModel, Started
from classify.assessment import assess, put_in_force
from classify.live import DECIMALS, Group
from starsieve.catalogues.consensus.votes import IntArray
from starsieve.projects.models import WorkflowVersion

Tasks = dict[str, Any]


@dataclass(frozen=True)
class LiveTasks:
    """Tasks that were fitted together, ready to go on vote by vote.

    Row i of each evidence and of `n_votes` (n_subjects, n_tasks) is `subject_ids[i]`; row j of a task's cells is its
    `volunteer_ids[j]`.
    """

    tasks: tuple[str, ...]
    started: tuple[Started, ...]
    subject_ids: IntArray
    n_votes: IntArray
    volunteer_ids: tuple[IntArray, ...]

    @property
    def group(self) -> Group:
        return Group(self.tasks, LiveModel(tuple(each.question for each in self.started)))

    def on(self, rows: npt.NDArray[np.bool_]) -> "LiveTasks":
        """With the evidence on some of the subjects only."""
        started = tuple(each._replace(evidence=each.evidence[rows]) for each in self.started)
        return replace(self, started=started, subject_ids=self.subject_ids[rows], n_votes=self.n_votes[rows])

    def skills(self) -> Iterator[tuple[int, str, Any]]:
        """(volunteer id, task, confusion matrix)."""
        for key, started, ids in zip(self.tasks, self.started, self.volunteer_ids, strict=True):
            cells = _rounded(np.maximum(started.cells, LEAST))
            yield from ((volunteer, key, matrix) for volunteer, matrix in zip(ids.tolist(), cells, strict=True))

    def evidence(self) -> Iterator[tuple[int, str, Any]]:
        """(subject id, task, evidence), of tasks on which somebody voted."""
        for place, (key, started) in enumerate(zip(self.tasks, self.started, strict=True)):
            asked = np.flatnonzero(self.n_votes[:, place] > 0)
            rows = _rounded(started.evidence[asked])
            ids = self.subject_ids[asked].tolist()
            yield from ((subject, key, row) for subject, row in zip(ids, rows, strict=True))


def weigh_from_now_on(
    *,
    version: WorkflowVersion,
    watermark: int,
    found: Sequence[LiveTasks],
    by_shard: Iterable[Sequence[LiveTasks]] | None = None,
) -> None:
    """Put what was learnt into force, and look at the subjects that it moves (classify/assessment.py). Without any task
    that goes on vote by vote, changes nothing.

    `found` knows the crowd. With `by_shard` the evidence comes from there, each time for other subjects.
    """
    if not found:
        return
    shards = [found] if by_shard is None else by_shard
    fit = put_in_force(
        version=version,
        watermark=watermark,
        groups=[each.group for each in found],
        skills=_by_id(row for each in found for row in each.skills()),
        evidence=chain.from_iterable(_by_id(row for each in live for row in each.evidence()) for live in shards),
    )
    if fit is not None:
        assess(workflow=version.workflow)


def _by_id(rows: Iterable[tuple[int, str, Any]]) -> Iterable[tuple[int, Tasks]]:
    """One entry per id with all of its tasks."""
    found: dict[int, Tasks] = {}
    for each, key, value in rows:
        found.setdefault(each, {})[key] = value
    return found.items()


def _rounded(table: npt.NDArray[np.float64]) -> list[Any]:
    """Nested lists; what is out of the question keeps a finite logarithm."""
    rows: list[Any] = np.round(table, DECIMALS).tolist()
    return rows
