"""The posterior of a subject as it stands after its latest vote.

A sweep over all classifications of a workflow (catalogues/consensus) leaves a *live fit* behind: what it learnt of the
crowd, each volunteer's confusion matrices, and the evidence on each subject up to its watermark. Later votes add to the
evidence as they come, each by its volunteer's matrix in the fit, so that

    evidence now = SubjectEvidence of the fit + the votes after the fit's watermark, in the order of their ids,

whoever computes it and whenever: a submit goes on from what SubjectProgress keeps, a rebuild starts from the fit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from aggregation.live import LiveBelief, LiveModel, LiveQuestion, add
from classify.models import LiveFit, SubjectEvidence, VolunteerSkill
from classify.retirement import answer_code
from starsieve.projects.definitions import WorkflowDefinition

FITS_KEPT = 64
#: What is kept of a sum of logarithms: an error far below anything a vote says, in half of the bytes.
DECIMALS = 6

#: Task key → evidence (aggregation.live); under FIT the fit that weighed it.
Evidence = dict[str, Any]
#: Task key → a volunteer's confusion matrix.
Skills = Mapping[str, Sequence[Sequence[float]]]
#: Votes for each answer of a task.
Counts = Callable[[str], Sequence[int]]

#: No task has this key.
FIT = "@"
_loaded: dict[UUID, "Fit"] = {}


@dataclass(frozen=True)
class Group:
    """Tasks that are answered together: all questions of a decision tree, or one question alone."""

    tasks: tuple[str, ...]
    model: LiveModel

    def to_dict(self) -> dict[str, Any]:
        return {"tasks": list(self.tasks), "questions": [question.to_dict() for question in self.model.questions]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Group":
        questions = tuple(LiveQuestion.from_dict(question) for question in stored["questions"])
        return cls(tuple(stored["tasks"]), LiveModel(questions))


@dataclass(frozen=True)
class Fit:
    """A LiveFit row, ready to weigh votes."""

    id: UUID
    watermark: int
    created_at: datetime
    groups: tuple[Group, ...]

    @cached_property
    def crowd(self) -> Skills:
        """What a volunteer of whom nothing is known is taken for."""
        pairs = ((key, question) for group in self.groups for key, question in self._questions(group))
        return {key: question.crowd.tolist() for key, question in pairs}

    @staticmethod
    def _questions(group: Group) -> Iterable[tuple[str, LiveQuestion]]:
        return zip(group.tasks, group.model.questions, strict=True)

    def nothing_yet(self) -> Evidence:
        """The evidence on a subject that the sweep has not seen."""
        return {FIT: self.id.hex}

    def weighed(self, evidence: Evidence) -> bool:
        """Whether it is this fit's."""
        return bool(evidence.get(FIT) == self.id.hex)

    def with_vote(
        self, evidence: Evidence, definition: WorkflowDefinition, annotations: Iterable[Mapping[str, Any]],
        skills: Skills | None,
    ) -> Evidence:  # fmt: skip
        """The evidence with one classification more; skipped tasks say nothing."""
        changed = dict(evidence)
        for annotation in annotations:
            key, value = annotation["task"], annotation["value"]
            if value is None or key not in self.crowd:
                continue
            cells = (skills or {}).get(key) or self.crowd[key]
            before = changed.get(key) or [0.0] * len(cells)
            after = add(before, cells, answer_code(definition.tasks[key], value))
            changed[key] = [round(each, DECIMALS) for each in after]
        return changed


class Beliefs:
    """What is believed of one subject, worked out when it is asked for."""

    def __init__(self, fit: Fit | None, evidence: Evidence, counts: Counts) -> None:
        self.fit, self.evidence, self.counts = fit, evidence, counts

    def of(self, task: str) -> Sequence[float] | None:
        """P(answer | the question applies) of a task; None where no live fit speaks of it."""
        found = self._by_task.get(task)
        return found[0] if found is not None else None

    def reach(self, task: str) -> float:
        """P(the question applies)."""
        return self._by_task[task][1]

    @property
    def information(self) -> float | None:
        """What the next vote is expected to tell, as a share of what the first one did; None without a fit."""
        if self.fit is None or not self.fit.groups:
            return None
        now = sum(group.model.information(belief, counts) for group, belief, counts in self._by_group)
        return now / (sum(group.model.first_information for group in self.fit.groups) or 1.0)

    @cached_property
    def _by_group(self) -> list[tuple[Group, LiveBelief, list[Sequence[int]]]]:
        found = []
        for group in self.fit.groups if self.fit is not None else ():
            counts = [self.counts(key) for key in group.tasks]
            evidence = [self.evidence.get(key) or [0.0] * len(n) for key, n in zip(group.tasks, counts, strict=True)]
            found.append((group, group.model.believe(evidence, counts), counts))
        return found

    @cached_property
    def _by_task(self) -> dict[str, tuple[Sequence[float], float]]:
        return {
            key: (p, reach)
            for group, belief, _ in self._by_group
            for key, p, reach in zip(group.tasks, belief.posterior, belief.reach, strict=True)
        }


def fit_in_force(workflow_id: int) -> Fit | None:
    """The fit by which the workflow's votes are weighed now; one small query."""
    found = LiveFit.objects.filter(workflow=workflow_id, is_in_force=True).values_list("pk", flat=True).first()
    return fit_numbered(found) if found is not None else None


def fit_numbered(pk: UUID) -> Fit | None:
    """The fit with this id, read once per process (a complete fit never changes); None if it is gone."""
    fit = _loaded.get(pk)
    if fit is None:
        row = LiveFit.objects.filter(pk=pk).first()
        if row is None:
            return None
        if len(_loaded) >= FITS_KEPT:
            _loaded.clear()
        groups = tuple(Group.from_dict(group) for group in row.parameters["groups"])
        fit = _loaded[pk] = Fit(row.pk, row.watermark, row.created_at, groups)
    return fit


def evidence_of(fit: Fit, subject_ids: Iterable[int]) -> dict[int, Evidence]:
    """Subject id → evidence up to the fit's watermark, of those that it has seen."""
    rows = SubjectEvidence.objects.filter(fit=fit.id, subject_id__in=list(subject_ids))
    return {subject_id: {FIT: fit.id.hex, **tasks} for subject_id, tasks in rows.values_list("subject_id", "tasks")}


def skills_of(fit: Fit, volunteer_ids: Iterable[int]) -> dict[int, Skills]:
    """Volunteer id → confusion matrices in the fit, of those that it knows."""
    rows = VolunteerSkill.objects.filter(fit=fit.id, volunteer_id__in=list(volunteer_ids))
    return dict(rows.values_list("volunteer_id", "tasks"))
