"""What a release counts in columns is what the reducers say one classification after the other."""

import csv
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from classify.models import Classification, SubjectProgress
from classify.results import current_summary
from starsieve.catalogues.columns import layout_of
from starsieve.catalogues.files import release_folder
from starsieve.ops.simulation.plan import Plan
from starsieve.ops.simulation.services import simulate
from starsieve.projects.task_types import GRADES

ANSWERS = [{"key": "y", "label": "Yes"}, {"key": "n", "label": "No"}]
EVERYTHING = {
    "T0": {
        "type": "single", "name": "shape", "question": "?",
        "answers": [*ANSWERS[:1], {"key": "odd", "label": "Odd", "next": "T4"}], "next": "T1",
    },
    "T1": {"type": "multiple", "name": "odd", "question": "?", "required": False, "answers": ANSWERS, "next": "T2"},
    "T2": {"type": "text", "name": "remark", "question": "?", "required": False, "next": "T3"},
    "T3": {
        "type": "boxes", "name": "boxes", "question": "?", "next": "T4",
        "tools": [{"key": "a", "label": "A"}, {"key": "b", "label": "B"}],
    },
    "T4": {"type": "grade", "name": "grade", "question": "?"},
}  # fmt: skip


@pytest.fixture
def workflow(survey: Any) -> Any:
    """All task types, 40 subjects, 300 classifications; some subjects have none."""
    workflow = survey.workflow(EVERYTHING, names=("never seen",))
    simulate(workflow=workflow, plan=Plan(40, 12, 300, gold=0.3), until=datetime(2026, 5, 1, tzinfo=UTC), force=True)
    return workflow


def subjects_of(release: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(release_folder(release) / "subjects.parquet").to_pylist()
    return rows


@pytest.mark.parametrize("pile", [10**6, 7])
def test_counts_and_fractions_are_those_of_the_reducers(
    workflow: Any, make_release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, pile: int
) -> None:
    monkeypatch.setattr("starsieve.catalogues.by_subject.SUBJECTS_IN_PILE", pile)
    rows = {row["subject_id"]: row for row in subjects_of(make_release(workflow, method="fractions"))}
    layout = layout_of(workflow.current.parsed, with_models=False)
    assert len(rows) == 41
    for progress in SubjectProgress.objects.filter(workflow=workflow).select_related("subject", "tallied_version"):
        row, summaries = rows[progress.subject_id], current_summary(progress, workflow.current)
        assert row["n_classifications"] == progress.classification_count
        for columns in layout.tasks:
            summary = summaries[columns.task.key]
            assert row[columns.n] == summary["n_seen" if columns.n_clumps else "n"]
            if columns.n_clumps:
                assert row[columns.n_clumps] == len(summary["clumps"])
            if columns.counts:
                places: Any = GRADES if columns.grade else range(len(columns.counts))
                assert [row[name] for name in columns.counts] == [summary["counts"][place] for place in places]
                assert [row[name] for name in columns.fractions] == [summary["fractions"][place] for place in places]
                assert row[columns.agreement] == summary["agreement"]
            if columns.grade:
                assert row[columns.grade] == summary["grade"]
                assert row[columns.expected_grade] == summary["expected_grade"]


def line(*values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def test_the_checksum_of_the_inputs_is_over_lines_of_json(workflow: Any, make_release: Callable[..., Any]) -> None:
    workflow.project.subjects.filter(name="never seen").update(name='né "1",\n', ra=None, dec=-0.0)
    digest = hashlib.sha256()
    release = make_release(workflow, method="fractions")
    for frozen in release.subjects.order_by("subject_id").select_related("subject__subject_set"):
        subject = frozen.subject
        digest.update(
            line(
                subject.pk, subject.name, subject.subject_set.name, subject.origin, subject.ra, subject.dec,
                subject.wcs, frozen.retirement_reason, frozen.is_control, frozen.ml_score, frozen.ml_model_id,
            )
        )  # fmt: skip
        if frozen.gold is not None:
            digest.update(line(frozen.gold))
        for row in Classification.objects.filter(workflow=workflow, subject=subject).order_by("id"):
            digest.update(line(row.pk, row.workflow_version.number, row.annotations))
    release.refresh_from_db()
    assert release.provenance["inputs_sha256"] == digest.hexdigest()


def test_every_answer_is_in_the_classifications_in_the_order_of_subjects_and_ids(
    workflow: Any, make_release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starsieve.catalogues.by_subject.SUBJECTS_IN_PILE", 7)
    release = make_release(workflow, formats=("csv",), include_classifications=True)
    with (release_folder(release) / "classifications.csv").open(encoding="utf-8", newline="") as file:
        found = [(int(row["subject_id"]), row["task"], row["created_at"]) for row in csv.DictReader(file)]
    names = {key: task.name for key, task in workflow.current.parsed.tasks.items()}
    expected = [
        (row.subject_id, names[annotation["task"]], row.created_at.isoformat(timespec="seconds"))
        for row in Classification.objects.filter(workflow=workflow).order_by("subject_id", "id")
        for annotation in row.annotations
        if annotation["value"] is not None
    ]
    assert found == expected


def test_piles_of_one_subject_and_pieces_of_one_row_give_the_same_bytes(
    workflow: Any, make_release: Callable[..., Any], file_bytes: Callable[..., dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = file_bytes(make_release(workflow, include_classifications=True))
    monkeypatch.setattr("starsieve.catalogues.by_subject.SUBJECTS_IN_PILE", 1)
    monkeypatch.setattr("starsieve.catalogues.by_subject.ROWS_DEALT", 1)
    monkeypatch.setattr("starsieve.catalogues.by_subject.ROWS_IN_PIECE", 1)
    monkeypatch.setattr("starsieve.catalogues.counted.MOST_CHARACTERS", 1)
    assert file_bytes(make_release(workflow, include_classifications=True)) == whole
