"""Rows in bulk are the rows that the ORM would have written."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from starsieve.projects.bulk import Always, insert_columns, reserve_ids, update_columns
from starsieve.projects.models import Project, Subject, SubjectSet

pytestmark = pytest.mark.django_db
AWKWARD = 'tab\t newline\n backslash\\ \\N quote" é 星 \r{}'
MOMENT = "2026-05-01 12:00:00.000001"


def insert(subject_set: SubjectSet, names: list[str], **columns: Any) -> None:
    given = {
        "project_id": Always(subject_set.project_id),
        "subject_set_id": Always(subject_set.pk),
        "name": names,
        "frames": Always("[]"),
        "created_at": Always(MOMENT),
    }
    insert_columns(Subject, {**given, **columns}, len(names))


def test_any_text_comes_back_as_it_was(project: Project, subject_set: SubjectSet) -> None:
    metadata = [json.dumps({AWKWARD: AWKWARD}), "{}"]
    insert(subject_set, [AWKWARD, "\\N"], metadata=metadata, ra=[1.25, None], dec=[-0.1, None])
    first, second = Subject.objects.order_by("id")
    assert (first.name, first.metadata, first.ra, first.dec) == (AWKWARD, {AWKWARD: AWKWARD}, 1.25, -0.1)
    assert (second.name, second.ra, second.wcs, second.hidden_metadata, second.origin) == (
        "\\N",
        None,
        None,
        {},
        "real",
    )
    assert first.created_at.isoformat() == "2026-05-01T12:00:00.000001+00:00"


def test_reserved_ids_are_nobody_elses(project: Project, subject_set: SubjectSet) -> None:
    with transaction.atomic():
        ids = reserve_ids(Subject, 3)
        insert(subject_set, ["a", "b", "c"], id=ids)
    later = Subject.objects.create(project=project, subject_set=subject_set, name="d", frames=[])
    assert list(Subject.objects.order_by("id").values_list("pk", flat=True)) == [*ids.tolist(), later.pk]
    assert sorted(set(ids.tolist())) == ids.tolist()
    assert later.pk > ids.max()


def test_a_name_that_is_taken_is_an_integrity_error_and_nothing_is_written(
    project: Project, subject_set: SubjectSet
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(subject_set, ["a", "b", "a"])
    assert not Subject.objects.exists()


def test_columns_of_many_rows_are_set_each_to_its_own(project: Project, subject_set: SubjectSet) -> None:
    insert(subject_set, ["a", "b", "c"])
    a, b, _ = Subject.objects.order_by("id").values_list("pk", flat=True)
    update_columns(Subject, [b, a], {"name": ["B", AWKWARD], "wcs": ['{"CRPIX1": 1.5}', None], "ra": [2.5, None]})
    rows = list(Subject.objects.order_by("id").values_list("name", "wcs", "ra"))
    assert rows == [(AWKWARD, None, None), ("B", {"CRPIX1": 1.5}, 2.5), ("c", None, None)]


@transaction.atomic
def insert_and_check(subject_set: SubjectSet) -> None:
    insert(subject_set, ["a"])
    connection.check_constraints()


def test_rows_of_a_set_that_is_gone_are_an_error(project: Project, subject_set: SubjectSet) -> None:
    with pytest.raises(IntegrityError):
        insert_and_check(SubjectSet(pk=subject_set.pk + 1000, project=project, name="gone"))
