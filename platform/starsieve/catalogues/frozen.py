"""A release's frozen subjects in columns."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from django.db import connection

from starsieve.catalogues.models import FrozenSubject, Release
from starsieve.projects.models import SubjectSet

IntArray = npt.NDArray[np.int64]
ROWS_AT_ONCE = 50_000


class FrozenColumns(NamedTuple):
    """Subjects in the order of their ids, a list each; `wcs` and `gold` are JSON texts."""

    subject_id: list[int]
    name: list[str]
    subject_set: list[str]
    origin: list[str]
    ra: list[float | None]
    dec: list[float | None]
    wcs: list[str | None]
    retirement_reason: list[str]
    is_control: list[bool]
    ml_score: list[float | None]
    ml_model_id: list[int | None]
    gold: list[str | None]


def frozen_ids(release: Release) -> IntArray:
    """The ids of the release's subjects, increasing."""
    ids = release.subjects.order_by("subject_id").values_list("subject_id", flat=True)
    return np.fromiter(ids.iterator(ROWS_AT_ONCE), dtype=np.int64)


def frozen_columns(release: Release, first: int, last: int) -> FrozenColumns:
    """The release's subjects with ids from `first` to `last`, both included; there must be some."""
    rows = (
        FrozenSubject.objects.filter(release=release, subject_id__gte=first, subject_id__lte=last)
        .order_by("subject_id")
        .values_list(
            "subject_id", "subject__name", "subject__subject_set_id", "subject__origin", "subject__ra", "subject__dec",
            "subject__wcs", "retirement_reason", "is_control", "ml_score", "ml_model_id", "gold",
        )
    )  # fmt: skip
    with connection.cursor() as cursor:  # as the database has them: JSON unread
        cursor.execute(*rows.query.sql_with_params())
        columns = [list(column) for column in zip(*cursor.fetchall(), strict=True)]
    found = FrozenColumns(*columns)
    names = dict(SubjectSet.objects.filter(pk__in=set(columns[2])).values_list("pk", "name"))
    return found._replace(
        subject_set=[names[pk] for pk in columns[2]], is_control=[bool(flag) for flag in found.is_control]
    )


def gold_of(release: Release) -> Iterator[tuple[int, Any]]:
    """(subject id, task key → gold standard) of the release's subjects that have one, in the order of ids."""
    rows = release.subjects.filter(gold__isnull=False).order_by("subject_id")
    return rows.values_list("subject_id", "gold").iterator(ROWS_AT_ONCE)
