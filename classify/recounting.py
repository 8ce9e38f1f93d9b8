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

from classify.models import Classification, SubjectProgress, Volunteer
from classify.tallying import Codes, states_of
from classify.versions import counts_towards, definition_of
from classify.vocabulary import Vocabulary
from starsieve.projects.bulk import update_columns
from starsieve.projects.models import WorkflowVersion

BY_COUNT = SubjectProgress.RetirementReason.CLASSIFICATION_COUNT


class Derived(NamedTuple):
    """The columns of SubjectProgress that follow from the classifications (counting.DERIVED)."""

    classification_count: int
    tallies: dict[str, Any]
    tallied_version_id: int | None
    retired_at: datetime | None
    retirement_reason: str


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
        """Retired by a person or a consensus run, not by the count."""
        return self.stored.retired_at is not None and self.stored.retirement_reason != BY_COUNT


PLACE_COLUMNS = ("id", "subject_id", "count_at_reopening", *Derived._fields)


def recount_many(places: Sequence[Place], current: WorkflowVersion) -> list[Derived]:
    """What the classifications say now of each of the locked progress rows of the current version's workflow."""
    definition = definition_of(current)
    vocabulary = Vocabulary(definition.tasks)
    rows = _Rows.read(places, current, vocabulary)
    counts = np.bincount(rows.subject, minlength=len(places)).tolist()
    tallies = _tallies(vocabulary, rows, len(places))
    retired = _retired_at(places, rows, definition.retirement.classification_count)
    return [
        Derived(
            count,
            tally,
            current.pk if count else None,
            *((place.stored.retired_at, place.stored.retirement_reason) if place.keeps_retirement else _by_count(at)),
        )
        for place, count, tally, at in zip(places, counts, tallies, retired, strict=True)
    ]


def store_derived(changed: Sequence[tuple[Place, Derived]]) -> None:
    """Write the derived columns of these progress rows in one statement."""
    field = SubjectProgress._meta.get_field("retired_at")
    count, tallies, version, retired_at, reason = zip(*(derived for _, derived in changed), strict=True)
    update_columns(
        SubjectProgress,
        [place.id for place, _ in changed],
        {
            "classification_count": count,
            "tallies": [json.dumps(tally) for tally in tallies],
            "tallied_version_id": version,
            "retired_at": [field.get_db_prep_save(moment, connection) for moment in retired_at],
            "retirement_reason": [str(each) for each in reason],
        },
    )


def _by_count(retired_at: datetime | None) -> tuple[datetime | None, str]:
    return (retired_at, BY_COUNT) if retired_at is not None else (None, "")


class _Rows(NamedTuple):
    """The counted classifications, subject by subject, each in the order of ids: `subject` has the index of the place,
    `said` the number of the annotations in the vocabulary.
    """

    subject: Codes
    id: Codes
    said: Codes

    @classmethod
    def read(cls, places: Sequence[Place], current: WorkflowVersion, vocabulary: Vocabulary) -> Self:
        index = {place.subject_id: i for i, place in enumerate(places)}
        versions = WorkflowVersion.objects.filter(workflow=current.workflow_id)
        counting = {version.pk for version in versions if counts_towards(version, current)}
        rows = [row for row in _fetch(list(index), current) if row[2] in counting]
        subjects, ids, _, texts = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(
            np.array([index[subject] for subject in subjects], dtype=np.int64),
            np.array(ids, dtype=np.int64),
            vocabulary.numbers_of(texts),
        )


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


def _tallies(vocabulary: Vocabulary, rows: _Rows, n_subjects: int) -> list[dict[str, Any]]:
    tallies: list[dict[str, Any]] = [{} for _ in range(n_subjects)]
    for key, answers in vocabulary.answers(rows.subject, rows.said).items():
        states = states_of(vocabulary.tasks[key], *answers, n_subjects)
        for tally, state in zip(tallies, states, strict=True):
            if state is not None:
                tally[key] = state
    return tallies


def _retired_at(places: Sequence[Place], rows: _Rows, limit: int) -> list[datetime | None]:
    """When each subject's count since its last reopening reached the limit."""
    row = np.arange(len(rows.subject))
    is_first = np.diff(rows.subject, prepend=-1) != 0
    number = row - np.maximum.accumulate(np.where(is_first, row, 0)) + 1
    reopened = np.array([place.count_at_reopening for place in places], dtype=np.int64)
    is_last = number == limit + reopened[rows.subject]
    last = dict(zip(rows.subject[is_last].tolist(), rows.id[is_last].tolist(), strict=True))
    by_id = dict(Classification.objects.filter(pk__in=list(last.values())).values_list("pk", "created_at"))
    return [by_id[last[i]] if i in last else None for i in range(len(places))]
