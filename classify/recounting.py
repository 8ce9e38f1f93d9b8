"""Counting the classifications of many subjects anew at once: what counting.recount gives for each of them.

Equal annotations are decoded once, tallies are sums over all subjects together (tallying.py). Tests replay random
workflows both ways (tests/classify/test_rebuild.py).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import numpy as np
from django.db import connection

from classify.live import FIT, Beliefs, Counts, Evidence
from classify.models import Classification, SubjectProgress, Volunteer
from classify.replaying import Decision, Sweep, replay
from classify.retirement import BY_RULE, counts_of
from classify.tallying import Codes, states_of
from classify.urgency import urgency_of
from classify.versions import counts_towards, definition_of
from classify.vocabulary import Vocabulary
from starsieve.projects.bulk import update_columns
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import WorkflowVersion

BY_COUNT = SubjectProgress.RetirementReason.CLASSIFICATION_COUNT


class Derived(NamedTuple):
    """The columns of SubjectProgress that follow from the classifications (counting.DERIVED)."""

    classification_count: int
    tallies: dict[str, Any]
    tallied_version_id: int | None
    evidence: Evidence
    urgency: int
    retired_at: datetime | None
    retirement_reason: str

    def differs_from(self, stored: "Derived") -> bool:
        """Whether the row must be written. A retired subject may keep what an earlier fit made of its votes: nobody is
        asked about it any more, and who wants to know has it weighed anew (results.believed_of).
        """
        if self.retired_at is not None and self.evidence.get(FIT) != stored.evidence.get(FIT):
            return self._replace(evidence=stored.evidence, urgency=stored.urgency) != stored
        return self != stored


class Place(NamedTuple):
    """As much of a progress row as recounting needs."""

    id: int
    subject_id: int
    count_at_reopening: int
    stored: Derived

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        place, subject, reopened, *derived = row
        return cls(place, subject, reopened, Derived(*derived))

    @property
    def keeps_retirement(self) -> bool:
        """Retired by a person or a consensus run, not by a rule."""
        return self.stored.retired_at is not None and self.stored.retirement_reason not in BY_RULE


PLACE_COLUMNS = ("id", "subject_id", "count_at_reopening", *Derived._fields)


def recount_many(places: Sequence[Place], current: WorkflowVersion) -> list[Derived]:
    """What the classifications say now of each of the locked progress rows of the current version's workflow."""
    definition = definition_of(current)
    rows = _Rows.read(places, current)
    counts = np.bincount(rows.subject, minlength=len(places)).tolist()
    tallies = _tallies(definition, rows, len(places))
    sweep = Sweep.read(places, rows.id, rows.subject, current.workflow_id)
    evidence = sweep.evidence_after(definition, rows)
    retired = _retirements(definition, places, rows, sweep)
    found = []
    for i, place in enumerate(places):
        kept = (place.stored.retired_at, place.stored.retirement_reason) if place.keeps_retirement else retired[i]
        believed = Beliefs(sweep.fit, evidence[i], _counts_in(definition, tallies[i]))
        limit = definition.retirement.classification_count
        urgency = urgency_of(counts[i] - place.count_at_reopening, limit, believed.information)
        version = current.pk if counts[i] else None
        found.append(Derived(counts[i], tallies[i], version, evidence[i], urgency, *kept))
    return found


def store_derived(changed: Sequence[tuple[Place, Derived]]) -> None:
    """Write the derived columns of these progress rows in one statement."""
    field = SubjectProgress._meta.get_field("retired_at")
    count, tallies, version, evidence, urgency, retired_at, reason = zip(
        *(derived for _, derived in changed), strict=True
    )
    update_columns(
        SubjectProgress,
        [place.id for place, _ in changed],
        {
            "classification_count": count,
            "tallies": [json.dumps(tally) for tally in tallies],
            "tallied_version_id": version,
            "evidence": [json.dumps(each) for each in evidence],
            "urgency": urgency,
            "retired_at": [field.get_db_prep_save(moment, connection) for moment in retired_at],
            "retirement_reason": [str(each) for each in reason],
        },
    )


def _counts_in(definition: WorkflowDefinition, tallies: dict[str, Any]) -> Counts:
    return lambda key: counts_of(definition.tasks[key], tallies.get(key))


def _retirements(
    definition: WorkflowDefinition, places: Sequence[Place], rows: "_Rows", sweep: "Sweep"
) -> list[tuple[datetime | None, str]]:
    """(retired_at, reason) of each subject by the rules; (None, "") while none holds."""
    rule = definition.retirement
    if not rule.is_by_count_alone:
        decided = replay(definition, places, rows, sweep)
    elif rule.classification_count is None:
        return [(None, "")] * len(places)
    else:
        decided = _by_count(places, rows, rule.classification_count)
    wanted = [last for last, _ in decided if isinstance(last, int)]
    by_id = dict(Classification.objects.filter(pk__in=wanted).values_list("pk", "created_at"))
    return [(by_id[last] if isinstance(last, int) else last, reason) for last, reason in decided]


def _by_count(places: Sequence[Place], rows: "_Rows", limit: int) -> list[Decision]:
    """Which classification made each subject's number since its last reopening reach the limit."""
    row = np.arange(len(rows.subject))
    is_first = np.diff(rows.subject, prepend=-1) != 0
    number = row - np.maximum.accumulate(np.where(is_first, row, 0)) + 1
    reopened = np.array([place.count_at_reopening for place in places], dtype=np.int64)
    is_last = number == limit + reopened[rows.subject]
    last = dict(zip(rows.subject[is_last].tolist(), rows.id[is_last].tolist(), strict=True))
    return [(last[i], BY_COUNT) if i in last else (None, "") for i in range(len(places))]


class _Rows(NamedTuple):
    """The counted classifications, subject by subject, each in the order of ids; `said[code[i]]` are row i's
    annotations, `subject[i]` is the index of its place.
    """

    subject: Codes
    id: Codes
    code: Codes
    said: list[list[dict[str, Any]]]

    @classmethod
    def read(cls, places: Sequence[Place], current: WorkflowVersion) -> Self:
        index = {place.subject_id: i for i, place in enumerate(places)}
        columns = list(zip(*_fetch(list(index), current), strict=True)) or [(), (), (), ()]
        known: dict[tuple[int, str], int] = {}
        distinct = [known.setdefault(key, len(known)) for key in zip(columns[2], columns[3], strict=True)]
        versions = {version.pk: version for version in WorkflowVersion.objects.filter(workflow=current.workflow_id)}
        counts = {pk: counts_towards(version, current) for pk, version in versions.items()}
        is_counted = np.array([counts[version] for version, _ in known], dtype=bool)
        code = np.array(distinct, dtype=np.int64)
        kept = is_counted[code]
        subject = np.array([index[subject] for subject in columns[0]], dtype=np.int64)
        said = [json.loads(text) if counts[version] else [] for version, text in known]
        return cls(subject[kept], np.array(columns[1], dtype=np.int64)[kept], code[kept], said)


def _fetch(subject_ids: list[int], current: WorkflowVersion) -> list[tuple[int, int, int, str]]:
    """Rows as the database gives them: a JSON column unread, as its text."""
    # What ClassificationQuerySet.counted says, by the few who were merged: a join would read all volunteers each time.
    left_behind = Volunteer.objects.filter(merged_into__isnull=False)
    rows = Classification.objects.filter(workflow=current.workflow_id, subject_id__in=subject_ids)
    wanted = (
        rows.exclude(volunteer__in=left_behind)
        .order_by("subject_id", "id")
        .values_list("subject_id", "id", "workflow_version_id", "annotations")
    )
    with connection.cursor() as cursor:
        cursor.execute(*wanted.query.sql_with_params())
        found: list[tuple[int, int, int, str]] = cursor.fetchall()
    return found


def _tallies(definition: WorkflowDefinition, rows: _Rows, n_subjects: int) -> list[dict[str, Any]]:
    vocabulary = Vocabulary(definition.tasks)
    for annotations in rows.said:
        vocabulary.learn(annotations)
    tallies: list[dict[str, Any]] = [{} for _ in range(n_subjects)]
    for key, answers in vocabulary.answers(rows.subject, rows.code).items():
        states = states_of(definition.tasks[key], *answers, n_subjects)
        for tally, state in zip(tallies, states, strict=True):
            if state is not None:
                tally[key] = state
    return tallies
