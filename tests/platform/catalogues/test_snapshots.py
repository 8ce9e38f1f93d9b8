"""Snapshots say what the database says, whatever happened between one refresh and the next."""

import json
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from starsieve.catalogues.models import Snapshot, SnapshotPart
from starsieve.catalogues.snapshots import parts, refresh
from starsieve.catalogues.snapshots.columns import COLUMNS
from starsieve.catalogues.snapshots.folders import SnapshotBusy, folder_of, writing
from starsieve.catalogues.snapshots.parts import path_of
from starsieve.catalogues.snapshots.reading import SnapshotChanged, read_snapshot
from starsieve.catalogues.snapshots.refresh import (
    parts_to_merge,
    rebuild_snapshot,
    refresh_outdated,
    refresh_snapshot,
)
from starsieve.catalogues.snapshots.state import discard_snapshots
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box

EVERYTHING = 2**62
TEXT = {"T0": {"type": "text", "name": "note", "question": "What else?"}}


def rows_of(workflow: Any, *, up_to: int = EVERYTHING, only_counted: bool = False) -> list[dict[str, Any]]:
    """The snapshot's rows, annotations decoded."""
    batches = list(read_snapshot(workflow=workflow, up_to=up_to, only_counted=only_counted))
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [row | {"annotations": json.loads(row["annotations"])} for row in rows]


def stored(workflow: Any, *, up_to: int = EVERYTHING, only_counted: bool = False) -> list[dict[str, Any]]:
    from classify.models import Classification

    rows = Classification.objects.filter(workflow=workflow, id__lte=up_to)
    return list((rows.counted() if only_counted else rows).order_by("id").values(*COLUMNS))


def parts_of(workflow: Any) -> list[SnapshotPart]:
    return list(SnapshotPart.objects.filter(snapshot__workflow=workflow))


@pytest.fixture
def answered(survey: Any) -> Any:
    """Three classifications of a workflow, in its snapshot."""
    workflow = survey.workflow(TREE)
    for name, values in (("one", (1, [0])), ("one", (0,)), ("two", (0,))):
        survey.answer(workflow, name, *values)
    refresh_snapshot(workflow=workflow)
    return workflow


@pytest.mark.parametrize(
    ("tasks", "answers"),
    [
        (TREE, [(0,), (1, [0, 1]), (1, [])]),
        (GRADE, [("A",), ("X",), ("I",)]),
        (BOXES, [([box(1, 2.5), box(30, 40, tool=1)],), ([],)]),
        (TEXT, [('tab \t "quote" \\ back\n\u2028 ünï 星 \x7f',), ("",)]),
    ],
    ids=["tree", "grade", "boxes", "text"],
)  # fmt: skip
def test_it_holds_what_the_database_holds(survey: Any, tasks: Any, answers: Any) -> None:
    workflow = survey.workflow(tasks, names=("one", "two", "three"))
    for values in answers:
        survey.answer(workflow, "one", *values)
    refresh_snapshot(workflow=workflow)
    for values in answers:
        survey.answer(workflow, "two", *values)
    assert rows_of(workflow) == stored(workflow)
    assert len(rows_of(workflow)) == 2 * len(answers)


def test_a_workflow_without_classifications_has_an_empty_one(survey: Any) -> None:
    workflow = survey.workflow(GRADE)
    assert rows_of(workflow) == []
    assert parts_of(workflow) == []


def test_only_new_classifications_are_appended(survey: Any, answered: Any) -> None:
    (first,) = parts_of(answered)
    survey.answer(answered, "two", 1, [1])
    refresh_snapshot(workflow=answered)
    old, new = parts_of(answered)
    assert (old.sha256, old.n_rows, new.n_rows) == (first.sha256, 3, 1)
    refresh_snapshot(workflow=answered)
    assert len(parts_of(answered)) == 2


def test_reading_ends_at_the_watermark_that_was_asked_for(survey: Any, answered: Any) -> None:
    watermark = stored(answered)[1]["id"]
    survey.answer(answered, "two", 0)
    assert rows_of(answered, up_to=watermark) == stored(answered, up_to=watermark)
    assert len(rows_of(answered, up_to=watermark)) == 2
    assert rows_of(answered, up_to=0) == []


def test_other_workflows_are_left_out(survey: Any, answered: Any) -> None:
    other = survey.workflow(TREE)
    survey.answer(other, "one", 0)
    survey.answer(answered, "two", 0)
    assert rows_of(answered) == stored(answered)
    assert rows_of(other) == stored(other)


def test_columns_come_as_they_are_asked_for(answered: Any) -> None:
    (batch,) = read_snapshot(workflow=answered, up_to=EVERYTHING, columns=["volunteer_id", "subject_id"])
    assert batch.schema.names == ["volunteer_id", "subject_id"]
    with pytest.raises(ValueError, match="a snapshot has no column metadata; it has id, subject_id"):
        next(read_snapshot(workflow=answered, up_to=EVERYTHING, columns=["metadata"]))


# --- Merges at sign-in ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(8))
def test_whatever_merges_came_between_refreshes_it_equals_what_counts(
    survey: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Visitors and users classify at random, some sign in, the snapshot is refreshed now and then."""
    from classify.models import Classification, Volunteer
    from classify.volunteers import merge_visitor

    monkeypatch.setattr(refresh, "ROWS_PER_PART", 7)
    chance = random.Random(seed)
    names = tuple(f"s{number}" for number in range(6))
    workflow = survey.workflow(GRADE, names=names, limit=100)
    other = survey.workflow(GRADE, names=names, limit=100)
    visitors = [survey.volunteer() for _ in range(6)]
    users = [make_user(f"u{number}") for number in range(3)]
    members = [Volunteer.objects.create(user=user) for user in users[:2]]  # the third takes a visitor's row over
    for _ in range(60):
        step = chance.random()
        if step < 0.75:
            who = chance.choice(visitors + members)
            who.refresh_from_db()
            who, name, where = who.merged_into or who, chance.choice(names), chance.choice([workflow, workflow, other])
            subject = survey.named(where, name)
            if not Classification.objects.filter(workflow=where, subject=subject, volunteer=who).exists():
                survey.answer(where, name, chance.choice("ABCX"), volunteer=who)
        elif step < 0.9:
            merge_visitor(user=chance.choice(users), visitor=chance.choice(visitors).visitor)
        else:
            refresh_snapshot(workflow=workflow)
    for only_counted in (True, False):
        assert rows_of(workflow, only_counted=only_counted) == stored(workflow, only_counted=only_counted)
    assert Volunteer.objects.filter(merged_into__isnull=False).exists()


def test_a_merge_of_what_was_merged_is_followed_to_its_end(survey: Any, answered: Any) -> None:
    from classify.models import Classification, Volunteer

    last, middle = survey.volunteer(), survey.volunteer()
    first = Classification.objects.filter(workflow=answered).first()
    assert first is not None
    Volunteer.objects.filter(pk=first.volunteer_id).update(merged_into=middle)
    Volunteer.objects.filter(pk=middle.pk).update(merged_into=last)
    Classification.objects.filter(pk=first.pk).update(volunteer=last)
    assert rows_of(answered, only_counted=True) == stored(answered, only_counted=True)
    assert rows_of(answered)[0]["volunteer_id"] == last.pk


# --- Deletions and damage ---------------------------------------------------------------------------------------
def test_deleted_classifications_leave_no_ghosts(answered: Any) -> None:
    from classify.models import Classification

    Classification.objects.filter(workflow=answered).order_by("id")[1].delete()
    assert rows_of(answered) == stored(answered)
    assert len(rows_of(answered)) == 2
    assert Snapshot.objects.get(workflow=answered).epoch == 1


def test_deletion_while_it_is_read_is_told(survey: Any, answered: Any) -> None:
    from classify.models import Classification

    survey.answer(answered, "two", 0)
    refresh_snapshot(workflow=answered)
    reading = read_snapshot(workflow=answered, up_to=EVERYTHING)
    assert len(next(reading)) == 3
    Classification.objects.filter(workflow=answered).order_by("id")[0].delete()
    discard_snapshots([answered.pk])
    with pytest.raises(SnapshotChanged, match="were deleted while they were read; begin again"):
        next(reading)


def test_what_a_slow_refresh_read_before_a_deletion_is_thrown_away(
    survey: Any, answered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classify.models import Classification

    survey.answer(answered, "two", 0)
    write, calls = refresh.write_part, []

    def slowly(*arguments: Any) -> Any:
        file = write(*arguments)
        calls.append(file.path)
        if len(calls) == 1:
            Classification.objects.filter(workflow=answered).order_by("id")[0].delete()
            discard_snapshots([answered.pk])
        return file

    monkeypatch.setattr(refresh, "write_part", slowly)
    refresh_snapshot(workflow=answered)
    assert len(calls) == 2
    assert not calls[0].exists()
    assert rows_of(answered) == stored(answered)


def test_a_removed_simulation_is_gone_from_the_snapshot(survey: Any, settings: Any) -> None:
    from django.core.management import call_command

    workflow = survey.workflow(TREE, limit=5)
    workflow.project.subjects.all().update(origin="simulated")
    call_command("simulate", str(workflow.pk), subjects=20, volunteers=9, classifications=60, verbosity=0)
    survey.answer(workflow, "one", 0)
    assert len(rows_of(workflow)) == 61
    call_command("simulate", str(workflow.pk), remove=True, verbosity=0)
    assert parts_of(workflow) == []
    assert rows_of(workflow) == stored(workflow)
    assert len(rows_of(workflow)) == 1


def spoil_by_truncation(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def spoil_by_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [Path.unlink, spoil_by_truncation, spoil_by_one_bit])
def test_a_spoilt_file_is_noticed_and_written_again(
    survey: Any, answered: Any, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    survey.answer(answered, "two", 1, [1])
    refresh_snapshot(workflow=answered)
    first, second = parts_of(answered)
    spoil(path_of(first))
    assert rows_of(answered) == stored(answered)
    repaired, same = parts_of(answered)
    assert (same.pk, repaired.name != first.name, repaired.sha256) == (second.pk, True, first.sha256)
    assert f"{first.name}" in caplog.text
    assert Snapshot.objects.get(workflow=answered).epoch == 0


def test_the_whole_folder_may_be_deleted(survey: Any, answered: Any) -> None:
    from shutil import rmtree

    rmtree(folder_of(answered.pk))
    survey.answer(answered, "two", 0)
    assert rows_of(answered) == stored(answered)


def test_a_snapshot_with_other_columns_is_made_anew(answered: Any) -> None:
    Snapshot.objects.filter(workflow=answered).update(layout="of an older version")
    (old,) = parts_of(answered)
    assert rows_of(answered) == stored(answered)
    (new,) = parts_of(answered)
    assert old.pk != new.pk


def test_a_file_that_is_spoilt_again_and_again_is_an_error(answered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_sha256_of", lambda path: uuid4().hex)
    with pytest.raises(parts.DamagedPart, match="is not what was written there"):
        rows_of(answered)


# --- Many files -------------------------------------------------------------------------------------------------
def test_small_parts_are_merged_so_that_there_are_few(survey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PARTS_TO_MERGE", 3)
    monkeypatch.setattr(refresh, "ROWS_PER_PART", 9)
    workflow = survey.workflow(GRADE, names=("one",), limit=99)
    for _ in range(25):
        survey.answer(workflow, "one", "A")
        refresh_snapshot(workflow=workflow)
    listed = parts_of(workflow)
    assert len(listed) <= 6
    assert sum(part.n_rows for part in listed) == 25
    assert [part.after_id for part in listed[1:]] == [part.up_to_id for part in listed[:-1]]
    assert {path.name for path in folder_of(workflow.pk).glob("*.parquet")} == {part.name for part in listed}
    assert rows_of(workflow) == stored(workflow)


@pytest.mark.parametrize("rows", [lambda chance: 100, lambda chance: int(chance.lognormvariate(4, 2)) + 1])
def test_the_number_of_parts_stays_small_and_rows_are_rarely_written_again(rows: Any) -> None:
    chance = random.Random(5)
    sizes: list[int] = []
    written = most = 0
    for _ in range(20_000):
        sizes.append(rows(chance))
        while n := parts_to_merge(sizes):
            sizes[-n:] = [sum(sizes[-n:])]
            written += sizes[-1]
        most = max(most, sum(size < refresh.ROWS_PER_PART for size in sizes))
    assert sum(sizes) >= 2_000_000
    assert most <= refresh.MOST_SMALL_PARTS
    assert written < 16 * sum(sizes)


def test_parts_may_be_merged_while_they_are_read(survey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PARTS_TO_MERGE", 99)
    workflow = survey.workflow(GRADE, names=("one",), limit=99)
    for _ in range(5):
        survey.answer(workflow, "one", "A")
        refresh_snapshot(workflow=workflow)
    reading = read_snapshot(workflow=workflow, up_to=EVERYTHING, columns=["id"])
    read = next(reading).to_pylist() + next(reading).to_pylist()
    monkeypatch.setattr(refresh, "PARTS_TO_MERGE", 2)
    refresh_snapshot(workflow=workflow)
    assert len(parts_of(workflow)) == 1
    read += [row for batch in reading for row in batch.to_pylist()]
    assert read == [{"id": row["id"]} for row in stored(workflow)]


def test_a_damaged_part_is_written_again_before_it_is_merged(survey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PARTS_TO_MERGE", 2)
    workflow = survey.workflow(GRADE, names=("one",), limit=99)
    survey.answer(workflow, "one", "A")
    refresh_snapshot(workflow=workflow)
    spoil_by_one_bit(path_of(parts_of(workflow)[0]))
    survey.answer(workflow, "one", "B")
    refresh_snapshot(workflow=workflow)
    assert [part.n_rows for part in parts_of(workflow)] == [2]
    assert rows_of(workflow) == stored(workflow)


def test_large_amounts_are_cut_into_parts(survey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "ROWS_PER_PART", 4)
    workflow = survey.workflow(GRADE, names=("one",), limit=99)
    for _ in range(10):
        survey.answer(workflow, "one", "A")
    told: list[int] = []
    rebuild_snapshot(workflow=workflow, on_progress=told.append)
    assert told == [4, 8, 10]
    assert [part.n_rows for part in parts_of(workflow)] == [4, 4, 2]
    assert rows_of(workflow) == stored(workflow)


# --- The schedule -----------------------------------------------------------------------------------------------
def test_the_schedule_refreshes_what_has_grown_and_moves_the_others_on(survey: Any, answered: Any) -> None:
    from starsieve.catalogues.tasks import refresh_snapshots

    quiet, empty = survey.workflow(GRADE), survey.workflow(GRADE)
    survey.answer(quiet, "one", "A")
    assert refresh_outdated() == 1
    survey.answer(answered, "two", 0)
    refresh_snapshots()
    assert refresh_outdated() == 0
    assert [part.n_rows for part in parts_of(answered)] == [3, 1]
    newest = stored(answered)[-1]["id"]
    assert dict(Snapshot.objects.values_list("workflow", "watermark")) == {answered.pk: newest, quiet.pk: newest}
    assert not Snapshot.objects.filter(workflow=empty).exists()
    discard_snapshots([quiet.pk])
    assert refresh_outdated() == 1
    assert rows_of(quiet) == stored(quiet)


def test_a_workflow_that_is_being_written_is_left_to_the_other(survey: Any, answered: Any) -> None:
    survey.answer(answered, "two", 0)
    with writing(answered.pk, wait=True):
        with pytest.raises(SnapshotBusy):
            refresh_snapshot(workflow=answered, wait=False)
        assert refresh_outdated() == 0
    assert refresh_outdated() == 1


def test_a_fault_in_one_workflow_keeps_no_other_waiting(
    survey: Any, answered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = survey.workflow(GRADE)
    survey.answer(answered, "two", 0)
    survey.answer(other, "one", "A")
    write = refresh.write_part
    monkeypatch.setattr(refresh, "write_part", lambda pk, batches: 1 / 0 if pk == answered.pk else write(pk, batches))
    assert refresh_outdated() == 1
    assert len(parts_of(other)) == 1


def test_what_nobody_names_is_swept_away_after_a_while(survey: Any, answered: Any, settings: Any) -> None:
    import os

    folder, gone = folder_of(answered.pk), Path(settings.SNAPSHOT_ROOT) / "987654"
    gone.mkdir()
    names = ["old.parquet", "old.tmp", "new.tmp"]
    for name in names:
        (folder / name).write_bytes(b"")
    for name in names[:2]:
        os.utime(folder / name, (0, 0))
    survey.answer(answered, "two", 0)
    refresh_outdated()
    assert [name for name in names if (folder / name).exists()] == ["new.tmp"]
    assert not gone.exists()
    assert rows_of(answered) == stored(answered)


def test_the_command_writes_it_anew(answered: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    (old,) = parts_of(answered)
    call_command("rebuild_snapshot", str(answered.pk))
    (new,) = parts_of(answered)
    assert (old.name != new.name, old.sha256) == (True, new.sha256)
    assert "3 classifications up to id" in capsys.readouterr().out


def test_the_admin_sees_how_far_each_one_is(answered: Any, admin_client: Any) -> None:
    page = admin_client.get("/admin/catalogues/snapshot/").content.decode()
    assert str(Snapshot.objects.get().watermark) in page
    assert "3" in page
