"""Going through the classifications of many subjects in their order, for what depends on the order.

That is the evidence since the sweep of the live fit, and which classification made a rule hold, unless the count alone
decides. What `counting.recount` finds of one subject is found here, and tests hold the two together.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from classify.live import Beliefs, Evidence, Fit, Skills, evidence_of, fit_in_force, skills_of
from classify.models import Classification
from classify.retirement import (
    BY_POSTERIOR,
    Standing,
    count_one,
    no_counts,
    reason_by_posterior,
    reason_to_retire,
    tasks_asked,
)
from classify.tallying import Codes
from starsieve.projects.definitions import WorkflowDefinition

#: What decided, and the reason: the id of a classification, the moment of a sweep, or nothing.
Decision = tuple[int | datetime | None, str]


class Rows(Protocol):
    """Counted classifications, subject by subject, each in the order of ids (recounting._Rows)."""

    @property
    def subject(self) -> Codes: ...
    @property
    def id(self) -> Codes: ...
    @property
    def code(self) -> Codes: ...
    @property
    def said(self) -> list[list[dict[str, Any]]]: ...


class PlaceLike(Protocol):
    """A subject's row (recounting.Place)."""

    @property
    def subject_id(self) -> int: ...
    @property
    def count_at_reopening(self) -> int: ...
    @property
    def stored(self) -> Any: ...


class Sweep(NamedTuple):
    """What the fit in force knows of some subjects and of those who voted on them since."""

    fit: Fit | None
    known: dict[int, Evidence]
    voter: dict[int, int]
    skills: dict[int, Skills]
    subject_ids: Sequence[int]

    @classmethod
    def read(cls, places: Sequence[PlaceLike], ids: Codes, subject: Codes, workflow_id: int) -> Self:
        """`voter` goes by the id of each classification since the fit's watermark."""
        subject_ids = [place.subject_id for place in places]
        fit = fit_in_force(workflow_id)
        if fit is None:
            return cls(None, {}, {}, {}, subject_ids)
        later = Classification.objects.filter(pk__in=ids[ids > fit.watermark].tolist())
        voter = dict(later.values_list("pk", "volunteer_id"))
        return cls(fit, evidence_of(fit, subject_ids), voter, skills_of(fit, set(voter.values())), subject_ids)

    def start(self, i: int) -> Evidence:
        """The evidence on the subject at place i as of the sweep."""
        if self.fit is None:
            return {}
        return self.known.get(self.subject_ids[i]) or self.fit.nothing_yet()

    def is_later(self, classification_id: int) -> bool:
        return classification_id in self.voter

    def with_vote(
        self, evidence: Evidence, definition: WorkflowDefinition, classification_id: int, said: list[dict[str, Any]]
    ) -> Evidence:
        """The evidence with a classification since the sweep; others are part of it already."""
        voter = self.voter.get(classification_id)
        if self.fit is None or voter is None:
            return evidence
        return self.fit.with_vote(evidence, definition, said, self.skills.get(voter))

    def evidence_after(self, definition: WorkflowDefinition, rows: Rows) -> list[Evidence]:
        """The evidence on each subject after its last classification."""
        evidence = [self.start(i) for i in range(len(self.subject_ids))]
        later = np.flatnonzero(rows.id > self.fit.watermark) if self.fit is not None else np.zeros(0, dtype=np.int64)
        columns = (rows.subject[later].tolist(), rows.id[later].tolist(), rows.code[later].tolist())
        for i, pk, code in zip(*columns, strict=True):
            evidence[i] = self.with_vote(evidence[i], definition, pk, rows.said[code])
        has_votes = np.bincount(rows.subject, minlength=len(evidence)) > 0
        return [each if some else {} for each, some in zip(evidence, has_votes.tolist(), strict=True)]


def replay(definition: WorkflowDefinition, places: Sequence[PlaceLike], rows: Rows, sweep: Sweep) -> list[Decision]:
    """What retires each subject, going through its classifications one by one."""
    experts: frozenset[int] = frozenset()
    if definition.retirement.expert:
        by_expert = Classification.objects.filter(subject_id__in=sweep.subject_ids, by_expert=True)
        experts = frozenset(by_expert.values_list("pk", flat=True))
    order = np.argsort(rows.subject, kind="stable")  # places may come in another order than their subjects
    edges = np.searchsorted(rows.subject[order], np.arange(len(places) + 1)).tolist()
    ids, codes = rows.id[order].tolist(), rows.code[order].tolist()
    found: list[Decision] = []
    for i, place in enumerate(places):
        steps = ((ids[row], rows.said[codes[row]]) for row in range(edges[i], edges[i + 1]))
        found.append(_Replay(definition, place, sweep, i, experts).run(steps))
    return found


class _Replay:
    """One subject from its first classification to the one that retires it."""

    def __init__(
        self, definition: WorkflowDefinition, place: PlaceLike, sweep: Sweep, i: int, experts: frozenset[int]
    ) -> None:
        self.definition, self.place, self.sweep, self.experts = definition, place, sweep, experts
        self.evidence = sweep.start(i)
        asked = tasks_asked(definition)
        if sweep.fit is not None and definition.retirement.is_by_posterior:
            asked |= sweep.fit.crowd.keys()
        self.counts = {key: no_counts(definition.tasks[key]) for key in asked}
        self.n = 0

    def run(self, steps: Iterator[tuple[int, list[dict[str, Any]]]]) -> Decision:
        to_be_believed = self.sweep.fit is not None
        for classification_id, said in steps:
            is_later = self.sweep.is_later(classification_id)
            if is_later and to_be_believed:
                to_be_believed = False
                if (reason := self._by_sweep()) != "":
                    return self._as_of_sweep(reason)
            self._add(classification_id, said)
            standing = self._standing(classification_id in self.experts, self.sweep.fit if is_later else None)
            if (reason := reason_to_retire(self.definition.retirement, standing)) != "":
                return classification_id, reason
        reason = self._by_sweep() if to_be_believed else ""
        return self._as_of_sweep(reason) if reason else (None, "")

    def _add(self, classification_id: int, said: list[dict[str, Any]]) -> None:
        self.n += 1
        for annotation in said:
            key, value = annotation["task"], annotation["value"]
            if value is not None and key in self.counts:
                count_one(self.definition.tasks[key], self.counts[key], value)
        self.evidence = self.sweep.with_vote(self.evidence, self.definition, classification_id, said)

    def _standing(self, by_expert: bool, fit: Fit | None) -> Standing:
        believed = Beliefs(fit, self.evidence, self.counts.__getitem__)
        return Standing(self.n, self.place.count_at_reopening, by_expert, self.counts.__getitem__, believed.of)

    def _by_sweep(self) -> str:
        return reason_by_posterior(self.definition.retirement, self._standing(False, self.sweep.fit))

    def _as_of_sweep(self, reason: str) -> Decision:
        assert self.sweep.fit is not None
        stored = self.place.stored
        return (stored.retired_at if stored.retirement_reason in BY_POSTERIOR else self.sweep.fit.created_at), reason
