import gc
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from classify.models import SubjectProgress
from starsieve.projects import imports
from starsieve.projects.background import interpreter_for_rows, writing_behind
from starsieve.projects.imports import ImportReport, RefusedRow, RowError, SubjectRow, import_subjects
from starsieve.projects.manifests import read_manifest
from starsieve.projects.models import Project, Subject, SubjectImport, Workflow
from starsieve.projects.services import create_subject_set, link_subject_set
from starsieve.projects.sources import ImageFolder
from starsieve.projects.stamps import Picture, Stamp, StampError, open_picture
from tests.support.databases import shared_database

pytestmark = pytest.mark.django_db


@pytest.fixture
def arrivals(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sets that the listeners heard of as a whole."""
    heard: list[Any] = []

    def hear(subject_set: Any, above: int | None = None) -> None:
        if above is None:
            heard.append(subject_set)

    monkeypatch.setattr("starsieve.projects.imports.announce_arrivals", hear)
    return heard


@pytest.fixture
def load(project: Project, subject_set: Any, stamp_folder: Path, arrivals: Any) -> Callable[..., ImportReport]:
    def run(manifest: str, **options: Any) -> ImportReport:
        return import_subjects(
            project=project,
            subject_set=options.pop("into", subject_set),
            rows=read_manifest(io.StringIO(manifest), json_lines=options.pop("json_lines", False)),
            read_frame=ImageFolder(stamp_folder, stretch="asinh"),
            **options,
        )

    return run


def found(report: ImportReport) -> tuple[int, int, int]:
    return report.created, report.unchanged, report.rejected


MANIFEST = "name,image,ra,dec,mag,#truth,//source\na,a.png,150.1,2.2,19.5,lens,sim 3\nb,b.png,,,,,\n"


def test_rows_become_subjects_with_frames_position_and_metadata(load: Any, arrivals: Any, subject_set: Any) -> None:
    assert found(load(MANIFEST)) == (2, 0, 0)
    a, b = Subject.objects.order_by("name")
    assert (a.ra, a.dec, a.metadata) == (150.1, 2.2, {"mag": "19.5"})
    assert a.hidden_metadata == {"truth": "lens", "source": "sim 3"}
    assert [(frame["width"], frame["height"]) for frame in a.frames] == [(24, 20)]
    assert (b.ra, b.dec, b.metadata, b.hidden_metadata) == (None, None, {}, {})
    assert arrivals == [subject_set]


def test_a_second_run_changes_nothing_but_tells_the_listeners_again(load: Any, arrivals: Any) -> None:
    load(MANIFEST)
    before = list(Subject.objects.values())
    assert found(load(MANIFEST)) == (0, 2, 0)
    assert list(Subject.objects.values()) == before
    assert len(arrivals) == 2


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("a,a.png", "a,b.png", "frames"),
        ("150.1", "150.2", "ra"),
        ("19.5", "19.6", "metadata"),
        ("lens", "no lens", "hidden metadata"),
    ],
)
def test_a_name_with_other_content_is_refused_as_duplicate(load: Any, old: str, new: str, what: str) -> None:
    load(MANIFEST)
    report = load(MANIFEST.replace(old, new))
    assert found(report) == (0, 1, 1)
    (reject,) = report.rejects
    assert (reject.row, reject.name, reject.column) == (2, "a", "name")
    assert reject.message.startswith("duplicate")
    assert f"other {what};" in reject.message


def test_a_name_in_another_set_is_a_duplicate_too(load: Any, project: Project) -> None:
    load(MANIFEST)
    other, _ = create_subject_set(project=project, name="Other")
    assert "subject set" in load(MANIFEST, into=other).rejects[0].message


def test_a_repeat_within_the_file_is_unchanged_or_refused(load: Any) -> None:
    report = load("name,image\na,a.png\na,a.png\na,b.png\n")
    assert found(report) == (1, 1, 1)
    assert report.rejects[0].row == 4
    assert "row 2 has a subject of this name" in report.rejects[0].message


def test_a_bad_row_costs_only_itself(load: Any, stamp_folder: Path) -> None:
    rows = [
        "good,a.png,1,2,",
        ",a.png,1,2,",
        f"{'x' * 201},a.png,1,2,",
        "a\x07b,a.png,1,2,",
        "broken,broken.png,1,2,",
        "absent,absent.png,1,2,",
        "none,,1,2,",
        "up,../outside.png,1,2,",
        "root,/etc/passwd,1,2,",
        "url,https://example.org/a.png,1,2,",
        "kind,manifest.csv,1,2,",
        "ra,a.png,361,2,",
        "dec,a.png,1,-91,",
        "nan,a.png,nan,2,",
        "half,a.png,1,,",
        "words,a.png,one,2,",
        "cells,a.png",
        "surrogate,a.png,1,2,\udcff",
        "nul,a.png,1,2,a\x00b",
        f"long,a.png,1,2,{'x' * 30_000}",
        "last,b.png,1,2,",
    ]
    seen: list[Any] = []
    report = load("name,image,ra,dec,note\n" + "\n".join(rows) + "\n", on_reject=seen.append)
    assert (report.created, report.rejected) == (2, 19)
    assert sorted(Subject.objects.values_list("name", flat=True)) == ["good", "last"]
    assert seen == report.rejects
    # What no row that was read can say comes first, in the order of the file within each batch.
    why = {reject.row: (reject.column, reject.message) for reject in report.rejects}
    expected = {
        3: ("name", "is empty"), 4: ("name", "longer than 200"), 5: ("name", "cannot be shown"),
        6: ("image", "“broken.png” is broken"), 7: ("image", "“absent.png” is not there"), 8: ("image", "no picture"),
        9: ("image", "is refused"), 10: ("image", "is refused"), 11: ("image", "is refused"),
        12: ("image", "neither picture nor FITS|not there"), 13: ("ra", "between 0 and 360"),
        14: ("dec", "between -90"),
        15: ("ra", "between 0 and 360"), 16: ("dec", "is missing"), 17: ("ra", "must be a number, not 'one'"),
        18: ("", "has 2 cells, the heading has 5"), 19: ("note", "cannot be stored"), 20: ("note", "cannot be stored"),
        21: ("", "at most 20,000"),
    }  # fmt: skip
    assert set(why) == set(expected)
    for row, (column, words) in expected.items():
        assert why[row][0] == column, row
        assert any(word in why[row][1] for word in words.split("|")), (row, why[row])


def test_several_pictures_make_several_frames_in_order(load: Any) -> None:
    load("name,image,image_10,image_2,frames\na,a.png,c.jpg,b.png,a.png;b.png\n")
    assert [frame["path"][-3:] for frame in Subject.objects.get().frames] == ["png", "png", "jpg", "png", "png"]


def test_too_many_frames_are_refused(load: Any) -> None:
    assert "1 to 20" in load(f"name,frames\na,{';'.join(['a.png'] * 21)}\n").rejects[0].message


def test_a_picture_that_rows_share_is_read_once(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starsieve.projects.imports.KNOWN_REFERENCES", 2)
    asked: list[str] = []

    def read(reference: str) -> Stamp:
        asked.append(reference)
        return Stamp((Picture(open_picture(make_png())),))

    rows = [SubjectRow(i, f"S{i}", (("image", reference),)) for i, reference in enumerate("aabacbba")]
    report = import_subjects(project=project, subject_set=subject_set, rows=rows, read_frame=read)
    assert found(report) == (8, 0, 0)
    assert asked == ["a", "b", "c", "a"]  # by the last row "a" is forgotten: only the latest are kept


def test_a_picture_that_was_only_compared_is_stored_for_a_new_row(load: Any) -> None:
    load(MANIFEST)
    for frame in Subject.objects.get(name="a").frames:
        default_storage.delete(frame["path"])
    assert found(load(MANIFEST + "c,a.png,,,,,\n")) == (1, 2, 0)
    assert all(default_storage.exists(frame["path"]) for frame in Subject.objects.get(name="c").frames)


def test_a_growing_project_is_made_known_to_the_planner(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr("starsieve.projects.imports.BATCH_SIZE", 500)
    monkeypatch.setattr("starsieve.projects.imports.analyse", lambda model, columns: told.append(model.objects.count()))
    stamp = Stamp((Picture(open_picture(make_png())),))
    import_subjects(project=project, subject_set=subject_set, rows=rows_of(6000), read_frame=lambda _: stamp)
    assert told == [3000, 6000]  # the batch after the one that is counted is stored by then


def test_json_lines_keep_their_types(load: Any) -> None:
    lines = (
        '{"name": "a", "frames": ["a.png", "b.png"], "ra": 1.5, "dec": -2, "z": 0.3, "tags": ["x"], "#truth": 1}\n'
        "\n"
        '{"name": 7, "image": "a.png"}\n'
        '{"name": "b", "name": "c", "image": "a.png"}\n'
        "[1]\n"
        "{\n"
        '{"name": "d", "image": 5}\n'
        '{"name": ["e"], "image": "a.png"}\n'
        '{"name": "f", "image": "a.png", "ra": true, "dec": 1}\n'
        '{"name": "g", "frames": {"a": 1}}\n'
        '{"name": "h", "image": "a.png", "z": 1e999}\n'
    )
    report = load(lines, json_lines=True)
    assert (report.created, report.rejected) == (2, 8)
    a = Subject.objects.get(name="a")
    assert (a.metadata, a.hidden_metadata, a.ra) == ({"z": 0.3, "tags": ["x"]}, {"truth": 1}, 1.5)
    assert sorted(reject.row for reject in report.rejects) == [4, 5, 6, 7, 8, 9, 10, 11]


def test_metadata_comes_back_as_it_was(load: Any) -> None:
    note = 'tab\t quote" \\ \\u0041 é 星 😀 {}'
    awkward = {"note": note, "tags": ["é", {"a": None}], "z": 1.5e-7, "n": 10**20, "ok": True}
    lines = json.dumps({"name": "é \\u0000 {}", "image": "a.png", **awkward, "//note": note})
    assert found(load(lines + "\n", json_lines=True)) == (1, 0, 0)
    subject = Subject.objects.get()
    assert (subject.name, subject.metadata) == ("é \\u0000 {}", awkward)
    assert subject.hidden_metadata == {"note": note}
    assert found(load(lines + "\n", json_lines=True)) == (0, 1, 0)


def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(
    project: Project, subject_set: Any, arrivals: Any
) -> None:
    rows = [
        SubjectRow(i, f"s{i}", (("image", "a"),), metadata={"z": value})
        for i, value in enumerate((float("nan"), [1.0, float("inf")]))
    ]
    report = import_subjects(project=project, subject_set=subject_set, rows=rows, read_frame=lambda _: Stamp(()))
    assert [(reject.column, "finite" in reject.message) for reject in report.rejects] == [("z", True)] * 2


def test_rows_with_other_columns_are_read_each_by_its_own(load: Any) -> None:
    lines = [
        {"name": "a", "image": "a.png", "mag": 1},
        {"name": "b", "frames": ["a.png"], "#mag": 2},
        {"image_2": "b.png", "image": "a.png", "//mag": 3, "name": "c"},
    ]
    assert found(load("\n".join(map(json.dumps, lines)), json_lines=True)) == (3, 0, 0)
    a, b, c = Subject.objects.order_by("name")
    assert (a.metadata, b.hidden_metadata, c.hidden_metadata) == ({"mag": 1}, {"mag": 2}, {"mag": 3})
    assert [len(subject.frames) for subject in (a, b, c)] == [1, 1, 2]


def test_a_dry_run_finds_everything_and_writes_nothing(
    load: Any, arrivals: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("name,image\nold,a.png\n")
    files = set(Path(settings.MEDIA_ROOT).rglob("*.png"))
    kept = SubjectImport.objects.count()
    monkeypatch.setattr(imports, "BATCH_SIZE", 500)
    n = 600  # the repeats come in another batch
    rows = "".join(f"s{i},b.png\n" for i in range(n))
    report = load(f"name,image\nold,a.png\nbad,broken.png\n{rows}s0,b.png\ns1,a.png\n", dry_run=True)
    assert found(report) == (n, 2, 2)
    assert Subject.objects.count() == 1
    assert set(Path(settings.MEDIA_ROOT).rglob("*.png")) == files
    assert (SubjectImport.objects.count(), len(arrivals)) == (kept, 1)


def rows_of(n: int) -> Iterable[SubjectRow]:
    return (SubjectRow(i + 2, f"s{i}", (("image", "same"),)) for i in range(n))


def test_statements_grow_with_batches_and_not_with_rows(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any
) -> None:
    stamp = Stamp((Picture(open_picture(make_png())),))

    def statements(n: int, prefix: str) -> int:
        rows = (SubjectRow(row.number, prefix + row.name, row.frames) for row in rows_of(n))
        with CaptureQueriesContext(connection) as queries:
            import_subjects(project=project, subject_set=subject_set, rows=rows, read_frame=lambda _: stamp)
        return len(queries)

    assert statements(400, "a") <= statements(5, "b")
    assert statements(10_100, "c") <= 3 * statements(400, "d")


def test_progress_counts_every_row(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starsieve.projects.imports.BATCH_SIZE", 50)
    stamp = Stamp((Picture(open_picture(make_png())),))
    steps: list[int] = []
    import_subjects(
        project=project, subject_set=subject_set, rows=rows_of(121), read_frame=lambda _: stamp,
        on_progress=steps.append,
    )  # fmt: skip
    assert steps == [50, 50, 21]


def test_what_was_stored_stays_when_an_import_is_interrupted(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starsieve.projects.imports.BATCH_SIZE", 50)
    stamp = Stamp((Picture(open_picture(make_png())),))

    def breaking() -> Iterable[SubjectRow]:
        yield from rows_of(70)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_subjects(project=project, subject_set=subject_set, rows=breaking(), read_frame=lambda _: stamp)
    assert Subject.objects.count() == 50
    assert arrivals == [subject_set]
    report = import_subjects(project=project, subject_set=subject_set, rows=rows_of(70), read_frame=lambda _: stamp)
    assert found(report) == (20, 50, 0)


def test_a_name_that_another_import_takes_meanwhile_is_compared(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any
) -> None:
    mine, other = (Stamp((Picture(open_picture(make_png(level=level))),)) for level in (1, 2))

    def read(reference: str) -> Stamp:
        if reference == "last":  # the other one is faster
            for name, stamp in (("same", mine), ("taken", other)):
                import_subjects(
                    project=project, subject_set=subject_set, rows=[SubjectRow(2, name, (("image", ""),))],
                    read_frame=lambda _, stamp=stamp: stamp,
                )  # fmt: skip
        return mine

    rows = [SubjectRow(i, name, (("image", name),)) for i, name in enumerate(["same", "taken", "last"], start=2)]
    report = import_subjects(project=project, subject_set=subject_set, rows=rows, read_frame=read)
    assert found(report) == (1, 1, 1)
    assert "other frames" in report.rejects[0].message
    assert Subject.objects.count() == 3


def test_a_batch_whose_names_another_import_has_all_taken_creates_nothing(
    project: Project, subject_set: Any, make_png: Any, arrivals: Any
) -> None:
    stamp = Stamp((Picture(open_picture(make_png())),))
    row = SubjectRow(2, "only", (("image", "a"),))

    def read(_: str) -> Stamp:
        import_subjects(project=project, subject_set=subject_set, rows=[row], read_frame=lambda _: stamp)
        return stamp

    assert found(import_subjects(project=project, subject_set=subject_set, rows=[row], read_frame=read)) == (0, 1, 0)


def test_the_report_is_kept_with_its_first_rejects(
    project: Project, subject_set: Any, owner: Any, arrivals: Any
) -> None:
    def refuse(_: Any) -> Stamp:
        raise StampError("is not there")

    report = import_subjects(
        project=project, subject_set=subject_set, rows=rows_of(1100), read_frame=refuse, source="field.csv", user=owner
    )
    assert (report.rejected, len(report.rejects)) == (1100, 1000)
    kept = SubjectImport.objects.get()
    assert (kept.source, kept.created_by, kept.rejected_count) == ("field.csv", owner, 1100)
    assert kept.rejects[0] == {"row": 2, "name": "s0", "column": "image", "message": "is not there"}


def test_a_reject_with_bytes_that_cannot_be_stored_is_stored_legibly(
    project: Project, subject_set: Any, arrivals: Any
) -> None:
    row = RefusedRow(2, "a\udcff\x00", RowError("\udcff", "\ud800"))
    import_subjects(project=project, subject_set=subject_set, rows=[row], read_frame=lambda _: Stamp(()))
    assert SubjectImport.objects.get().rejects == [{"row": 2, "name": "a?�", "column": "?", "message": "?"}]


def test_a_set_of_another_project_is_a_mistake_of_the_caller(project: Project, owner: Any) -> None:
    from starsieve.projects.services import create_project

    other = create_project(title="O", slug="o", summary="S", template="gz2", owner=owner)
    foreign, _ = create_subject_set(project=other, name="F")
    with pytest.raises(ValueError, match="another project"):
        import_subjects(project=project, subject_set=foreign, rows=[], read_frame=lambda _: Stamp(()))


def test_simulated_sets_hold_simulated_subjects(load: Any, project: Project) -> None:
    simulated, _ = create_subject_set(project=project, name="Painted", origin="simulated")
    load("name,image\na,a.png\n", into=simulated)
    assert Subject.objects.get().origin == "simulated"


# --- Several connections ------------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starsieve.projects.imports.BATCH_SIZE", 50)


@pytest.fixture
def take(
    workflow: Workflow, subject_set: Any, make_png: Any, small_batches: None
) -> Callable[[Iterable[SubjectRow]], ImportReport]:
    """take(rows) → the report of an import into a set that the workflow shows."""
    link_subject_set(workflow=workflow, subject_set=subject_set)
    stamp = Stamp((Picture(open_picture(make_png())),))

    def run(rows: Iterable[SubjectRow]) -> ImportReport:
        return import_subjects(
            project=workflow.project, subject_set=subject_set, rows=rows, read_frame=lambda _: stamp
        )  # fmt: skip

    return run


def queued() -> set[str]:
    return set(SubjectProgress.objects.filter(is_withdrawn=False).values_list("subject__name", flat=True))


@pytest.mark.django_db(transaction=True)
def test_batches_that_are_stored_while_others_are_read_are_all_there_and_queued(take: Any) -> None:
    before = connections_of_the_server()
    assert found(take(rows_of(320))) == (320, 0, 0)
    assert queued() == {f"s{i}" for i in range(320)}
    assert SubjectProgress.objects.values("pivot").distinct().count() == 320
    assert connections_of_the_server() == before
    assert found(take(rows_of(330))) == (10, 320, 0)


def connections_of_the_server() -> int:
    if connection.vendor == "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_names_that_come_again_a_batch_later_are_compared(take: Any) -> None:
    again = [SubjectRow(row.number, row.name, row.frames, ra=1.0, dec=1.0) for row in rows_of(70)]
    report = take([*rows_of(70), *rows_of(70), *again])
    assert found(report) == (70, 70, 70)
    assert "other ra, dec" in report.rejects[0].message


@pytest.mark.django_db(transaction=True)
def test_of_two_imports_of_the_same_rows_at_once_each_row_is_created_by_one(take: Any, tmp_path: Path) -> None:
    def at_once(_: int) -> ImportReport:
        try:
            return take(rows_of(420))
        finally:
            connection.close()

    with shared_database(tmp_path):
        with ThreadPoolExecutor(2) as pool:
            reports = list(pool.map(at_once, range(2)))
        assert [report.created + report.unchanged for report in reports] == [420, 420]
        assert sum(report.created for report in reports) == Subject.objects.count() == 420
        assert SubjectProgress.objects.count() == 420


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_import_leaves_no_subject_out_of_the_queue(take: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an import that is killed does not come to is _finish."""
    monkeypatch.setattr("starsieve.projects.imports._finish", lambda *_: None)

    def breaking() -> Iterator[SubjectRow]:
        yield from rows_of(120)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(breaking())
    assert queued() == set(Subject.objects.values_list("name", flat=True)) == {f"s{i}" for i in range(100)}


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_cannot_be_stored_ends_the_import_and_the_others_count(
    take: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = imports.insert_columns

    def failing(model: Any, columns: Any, n: int) -> None:
        if "s50" in columns["name"]:
            raise DatabaseError("the disk is full")
        insert(model, columns, n)

    monkeypatch.setattr(imports, "insert_columns", failing)
    with pytest.raises(DatabaseError, match="the disk is full"):
        take(rows_of(400))
    stored = set(Subject.objects.values_list("name", flat=True))
    assert queued() == stored
    assert "s0" in stored
    assert "s50" not in stored
    assert SubjectImport.objects.get().created_count == len(stored)


def test_inside_a_transaction_work_is_done_at_once_and_its_error_waits() -> None:
    threads: list[int] = []

    def fail() -> None:
        raise KeyError("lost")

    with writing_behind() as submit:
        submit(lambda: threads.append(get_ident()))
        failed = submit(fail)
    assert threads == [get_ident()]
    with pytest.raises(KeyError, match="lost"):
        failed.result()


def test_the_interpreter_is_as_before_when_the_rows_are_through() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    with interpreter_for_rows():
        assert (gc.get_threshold(), sys.getswitchinterval()) != before
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
