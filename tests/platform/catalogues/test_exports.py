"""All classifications as one file, for those who may make releases."""

import csv
import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.urls import reverse

from starsieve.catalogues.snapshots import export
from starsieve.catalogues.snapshots.export import FIELDS, export_classifications
from starsieve.catalogues.snapshots.reading import SnapshotChanged
from tests.platform.catalogues.conftest import BOXES, TREE, box


@pytest.fixture
def workflow(survey: Any) -> Any:
    made = survey.workflow(TREE, limit=2)
    volunteer = survey.volunteer()
    survey.answer(made, "one", 1, [0, 1], volunteer=volunteer)
    survey.answer(made, "two", 0, volunteer=volunteer)
    survey.answer(made, "one", 0)
    return made


@pytest.fixture
def fetch(workflow: Any, member: Any, client: Any, download: Any) -> Any:
    """fetch("csv") → the answer that a scientist of the project gets."""
    client.force_login(member(workflow, "scientist"))
    return lambda ending: download(f"/api/v1/workflows/{workflow.pk}/exports/classifications.{ending}")


def test_csv_has_a_row_per_classification(workflow: Any, fetch: Any) -> None:
    answer = fetch("csv")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    last = workflow.classifications.last()
    name = f"{workflow.project.slug}-{workflow.pk}-{last.pk}-classifications.csv"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "private" in answer["Cache-Control"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert list(rows[0]) == list(FIELDS)
    for row, stored in zip(rows, workflow.classifications.select_related("subject", "workflow_version"), strict=True):
        assert int(row["classification_id"]) == stored.pk
        assert (int(row["subject_id"]), row["subject"]) == (stored.subject_id, stored.subject.name)
        assert json.loads(row["annotations"]) == stored.annotations
        assert row["workflow_version"] == stored.workflow_version.number
        assert row["created_at"] == stored.created_at.strftime("%Y-%m-%d %H:%M:%S.%fZ")
        assert row["after_retirement"] == str(stored.after_retirement).lower()


def test_parquet_says_the_same(workflow: Any, fetch: Any) -> None:
    answer = fetch("parquet")
    table = pq.read_table(io.BytesIO(answer.body))
    assert answer["Content-Type"] == "application/vnd.apache.parquet"
    assert table.column_names == list(FIELDS)
    assert table.schema.field("volunteer_id").metadata[b"description"] == b"Pseudonym that holds within this file"
    rows = list(csv.DictReader(io.StringIO(fetch("csv").body.decode())))
    for name in ("volunteer_id", "annotations", "subject", "workflow_version"):
        assert table.column(name).to_pylist() == [row[name] for row in rows]
    assert table.column("created_at").to_pylist() == [row.created_at for row in workflow.classifications.all()]


def test_volunteers_are_pseudonyms_that_change_with_the_next_classification(
    survey: Any, workflow: Any, fetch: Any
) -> None:
    def volunteers() -> list[str]:
        return [row["volunteer_id"] for row in csv.DictReader(io.StringIO(fetch("csv").body.decode()))]

    first = volunteers()
    assert first[0] == first[1] != first[2]
    assert all(len(each) == 16 for each in first)
    assert volunteers() == first
    survey.answer(workflow, "two", 0)
    assert set(volunteers()).isdisjoint(first)


def test_a_second_look_left_behind_at_sign_in_is_left_out(
    survey: Any, workflow: Any, fetch: Any, make_user: Any
) -> None:
    from classify.models import Volunteer
    from classify.volunteers import merge_visitor

    user, visitor = make_user("ada"), survey.volunteer()
    survey.answer(workflow, "one", 0, volunteer=Volunteer.objects.create(user=user))
    survey.answer(workflow, "one", 0, volunteer=visitor)
    merge_visitor(user=user, visitor=visitor.visitor)
    assert len(fetch("csv").body.splitlines()) == 1 + 4


def test_it_comes_in_pieces(survey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from starsieve.catalogues.snapshots import parts, refresh

    monkeypatch.setattr(refresh, "ROWS_PER_PART", 2)
    monkeypatch.setattr(parts, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(export, "NAMES_AT_ONCE", 1)
    workflow = survey.workflow(BOXES, limit=99)
    for name in ("one", "two", "one", "two", "one"):
        survey.answer(workflow, name, [box(1, 2), box(3, 4)])
    _, pieces = export_classifications(workflow=workflow, ending="csv")
    texts = [piece.decode() for piece in pieces]
    assert [text.count("\n") for text in texts] == [1, 2, 2, 1]
    _, pieces = export_classifications(workflow=workflow, ending="parquet")
    table = pq.read_table(io.BytesIO(b"".join(pieces)))
    assert table.column("subject").to_pylist() == ["one", "two", "one", "two", "one"]


def test_a_workflow_without_classifications_gives_an_empty_file(survey: Any) -> None:
    workflow = survey.workflow(TREE)
    _, pieces = export_classifications(workflow=workflow, ending="csv")
    assert b"".join(pieces).decode() == ",".join(FIELDS) + "\n"
    _, pieces = export_classifications(workflow=workflow, ending="parquet")
    assert pq.read_table(io.BytesIO(b"".join(pieces))).num_rows == 0


def test_other_names_are_not_found(workflow: Any, fetch: Any) -> None:
    assert fetch("xlsx").status_code == 404


def test_a_deletion_under_way_is_a_conflict(workflow: Any, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise SnapshotChanged("Classifications are being deleted.")

    monkeypatch.setattr(export, "export_classifications", refuse)
    answer = fetch("csv")
    assert (answer.status_code, answer.json()["detail"]) == (409, "Classifications are being deleted.")


def test_those_who_may_not_make_releases_do_not_get_it(workflow: Any, member: Any, client: Any) -> None:
    client.force_login(member(workflow, "expert"))
    assert client.get(f"/api/v1/workflows/{workflow.pk}/exports/classifications.csv").status_code == 403


@pytest.mark.parametrize(("role", "is_offered"), [("scientist", True), ("expert", False)])
def test_the_page_of_releases_offers_it_to_those_who_may_have_it(
    workflow: Any, member: Any, client: Any, role: str, is_offered: bool
) -> None:
    client.force_login(member(workflow, role))
    html = client.get(reverse("releases", args=[workflow.project.slug, workflow.pk])).content.decode()
    for ending in ("csv", "parquet"):
        assert (f'/api/v1/workflows/{workflow.pk}/exports/classifications.{ending}"' in html) == is_offered
