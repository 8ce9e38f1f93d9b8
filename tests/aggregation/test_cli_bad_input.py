"""`python -m aggregation` on bad input: status 2, one line that names the place, no output."""

import csv
import functools
import gzip
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aggregation import aggregate_tasks
from aggregation.cli import main

HEADER = "subject_id,volunteer_id,answer\n"
GOOD = HEADER + "s1,ann,yes\ns1,bob,no\n"
BOX_HEADER = "subject_id,volunteer_id,x,y,width,height\n"


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command that must fail; its one line."""

    def call(command, content, *options, name="in.csv", status=2, output="out.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif content is not None:
            path.write_bytes(content)
        try:
            found = main([command, str(path), "-o", str(tmp_path / output), *map(str, options)])
        except SystemExit as stop:
            found = stop.code
        error = capsys.readouterr().err
        assert found == status, error
        assert error.count("\n") == 1, error
        assert not (tmp_path / "out.csv").exists()
        assert not list(tmp_path.glob("*.part"))
        return error

    return call


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "in.csv: is empty; it needs a header with subject_id, volunteer_id, answer"),
        (HEADER, "in.csv: no row below the header"),
        ("subject_id,answer\n1,x\n", "in.csv: header: no column volunteer_id; it has subject_id, answer"),
        ("subject_id,volunteer_id,answer,answer\n1,a,x,y\n", "column answer occurs twice"),
        (HEADER + "s1,ann,yes\ns1,,no\n", "in.csv: row 2 (line 3), column volunteer_id: is empty. Correct it, or"),
        (HEADER + "s1,ann, \n", "row 1 (line 2), column answer: is empty"),
        (HEADER + "s1,ann\n", "row 1 (line 2): has 2 fields, the header has 3"),
        (HEADER + '"two\nlines",a,x\n\ns1,ann,yes,9\n', "row 2 (line 5): has 4 fields"),
        (HEADER + 's1,ann,"ye"s\n', "line 2 is not CSV"),
        (HEADER + 's1,ann,"yes\n', "is not CSV: unexpected end of data"),
        (HEADER.encode() + b"s1,Zo\xeb,yes\n", "row 1 (line 2), column volunteer_id: is not UTF-8 text"),
        (HEADER.replace("\n", ",created_at\n") + "1,a,x,soon\n", "row 1 (line 2), column created_at: is 'soon', not a"),
        (HEADER.replace("\n", ",created_at\n") + "1,a,x,\n1,b,x,2026-01-01\n", "column created_at: is empty"),
        (HEADER.replace("\n", ",task\n") + "1,a,x,T0\n1,a,x,\n", "row 2 (line 3), column task: is empty"),
    ],
)
def test_bad_votes_are_named_by_file_row_and_column(refused, content, message):
    assert message in refused("votes", content)


def test_an_unknown_grade_is_refused(refused):
    error = refused("grades", HEADER + "1,a,A\n1,b,D\n")
    assert "row 2 (line 3), column answer: is not one of the grades X, C, B, A, I" in error


def test_a_bad_row_far_down_is_found_at_its_place(refused):
    rows = "".join(f"{i},a,x\n" for i in range(20_000))
    assert "row 20001 (line 20002), column answer" in refused("votes", f"{HEADER}{rows}1,a,\n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, "No such file"),
        ("in.tsv", GOOD, "the suffix must say what the file is: .csv, .csv.gz or .parquet"),
        ("in.csv.gz", GOOD, "Not a gzipped file"),
        ("in.csv.gz", gzip.compress(GOOD.encode(), mtime=0)[:-9], "end-of-stream marker"),
        ("in.parquet", GOOD, "Parquet magic bytes not found"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(refused, name, content, message):
    assert message in refused("votes", content, name=name)


def test_a_folder_is_refused(tmp_path, refused):
    (tmp_path / "in.csv").mkdir()
    assert "Is a directory" in refused("votes", None)


def test_parquet_columns_of_another_type_are_refused(tmp_path, refused):
    table = pa.table({"subject_id": [1.5], "volunteer_id": ["a"], "answer": ["x"]})
    pq.write_table(table, tmp_path / "in.parquet")
    assert "column subject_id holds double; ids and answers must be text" in refused("votes", None, name="in.parquet")


def test_nulls_in_parquet_are_named_by_row(tmp_path, refused):
    table = pa.table({"subject_id": [1, None], "volunteer_id": ["a", "b"], "answer": ["x", "x"]})
    pq.write_table(table, tmp_path / "in.parquet")
    assert "in.parquet: row 2, column subject_id: is empty" in refused("votes", None, name="in.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "guess"], "argument --method: invalid choice: 'guess' (choose from"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--method", "majority", "--confusion", "c.csv"], "--confusion: method majority has no use for it"),
        (["--method", "weighted", "--gold", "g.csv"], "--gold: method weighted has no use for it"),
        (["--gold", "missing.csv"], "missing.csv: cannot be read: No such file"),
        (["--skip-bad", "bad.parquet"], "bad.parquet: the suffix must say what to write: .csv or .csv.gz"),
    ],
)
def test_wrong_options_are_refused(refused, options, message):
    assert message in refused("votes", GOOD, *options)


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("grades", ["--levels", "A,,B"], "'A,,B' must name different grades"),
        ("grades", ["--levels", "A,I"], "--escape: 'I' is one of the levels"),
    ],
)
def test_wrong_options_of_grades_are_refused(refused, command, options, message):
    assert message in refused(command, GOOD, *options)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.xlsx", "the suffix must say what to write: .csv or .csv.gz or .parquet"),
        ("nowhere/out.csv", "there is no folder"),
        ("in.csv", "would overwrite the input"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(refused, output, message):
    assert message in refused("votes", GOOD, output=output)


def test_two_outputs_of_one_name_are_refused(tmp_path, refused):
    assert "two outputs have the same name" in refused("votes", GOOD, "--confusion", tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("subject_id,answer\ns1,maybe\n", "row 1 (line 2), column answer: 'maybe' is not an answer that"),
        ("subject_id,answer\ns1,yes\ns1,no\n", "row 2 (line 3), column answer: is 'no', an earlier row says 'yes'"),
        ("subject_id,task,answer\ns1,T0,yes\n", "gold.csv: header: has a column task"),
        ("subject_id\ns1\n", "gold.csv: header: no column answer"),
    ],
)
def test_bad_gold_is_named_by_file_row_and_column(tmp_path, refused, gold, message):
    (tmp_path / "gold.csv").write_text(gold)
    error = refused("votes", GOOD, "--gold", tmp_path / "gold.csv")
    assert message in error
    assert "--skip-bad" not in error


def test_gold_of_an_unknown_task_is_refused(tmp_path, refused):
    (tmp_path / "gold.csv").write_text("subject_id,task,answer\n1,T7,x\n")
    votes = HEADER.replace("\n", ",task\n") + "1,a,x,T0\n"
    assert "column task: 'T7' has no votes" in refused("votes", votes, "--gold", tmp_path / "gold.csv")


def test_a_model_that_does_not_converge_ends_with_status_1(monkeypatch, refused):
    cut_short = functools.partial(aggregate_tasks, max_iterations=1)
    monkeypatch.setattr("aggregation.commands.votes.aggregate_tasks", cut_short)
    assert "pooled did not converge" in refused("votes", GOOD, status=1)


def test_a_full_disk_is_named(tmp_path, refused, monkeypatch):
    def write(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aggregation._writing._write_csv", write)
    assert "out.csv: cannot be written: No space left on device" in refused("votes", GOOD)


def test_bad_rows_can_be_set_aside(tmp_path, capsys):
    (tmp_path / "in.csv").write_bytes(HEADER.encode() + b's1,ann,yes\n,bob,yes\ns1,Zo\xeb,no\n"a\nb",cy\ns2,cy,no\n')
    options = ["votes", "in.csv", "-o", "out.csv", "--skip-bad", "bad.csv", "--method", "majority"]
    status = main([str(tmp_path / each) if "." in each else each for each in options])
    assert status == 0
    assert "2 rows from 2 rows" in (said := capsys.readouterr().out)
    assert "; 3 bad rows set aside in " in said
    with (tmp_path / "bad.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["row", "column", "reason", "subject_id", "volunteer_id", "answer"]
    assert [row[:3] for row in rows[1:]] == [
        ["2", "subject_id", "is empty"],
        ["3", "volunteer_id", "is not UTF-8 text: save the file as UTF-8"],
        ["4", "", "has 2 fields, the header has 3"],
    ]
    assert b"s1,Zo\xeb,no\n" in (tmp_path / "bad.csv").read_bytes()
    assert rows[3][3:] == ["a\nb", "cy"]
    with (tmp_path / "out.csv").open() as file:
        assert [row["subject_id"] for row in csv.DictReader(file)] == ["s1", "s2"]


def test_ids_and_answers_of_rows_set_aside_leave_no_trace(tmp_path):
    (tmp_path / "in.csv").write_text(BOX_HEADER + "1,a,0,0,1,1\n2,b,0,0,1,oops\n")
    paths = [str(tmp_path / name) for name in ("in.csv", "out.csv", "bad.csv")]
    assert main(["boxes", paths[0], "-o", paths[1], "--skip-bad", paths[2], "--min-probability", "0"]) == 0
    with (tmp_path / "out.csv").open() as file:
        assert [row["subject_id"] for row in csv.DictReader(file)] == ["1"]


def test_an_answer_that_only_a_bad_row_gives_is_no_answer(tmp_path):
    (tmp_path / "in.csv").write_text(GOOD + "s1,,maybe\n")
    paths = [str(tmp_path / name) for name in ("in.csv", "out.csv", "bad.csv")]
    assert main(["votes", paths[0], "-o", paths[1], "--skip-bad", paths[2]]) == 0
    assert "maybe" not in (tmp_path / "out.csv").read_text()


def test_without_bad_rows_the_file_for_them_holds_only_its_header(tmp_path):
    (tmp_path / "in.csv").write_text(GOOD)
    paths = [str(tmp_path / name) for name in ("in.csv", "out.csv", "bad.csv")]
    assert main(["votes", paths[0], "-o", paths[1], "--skip-bad", paths[2]]) == 0
    assert (tmp_path / "bad.csv").read_text() == "row,column,reason,subject_id,volunteer_id,answer\n"


def test_only_bad_rows_are_an_error_even_when_set_aside(refused, tmp_path):
    error = refused("votes", HEADER + ",a,x\n", "--skip-bad", tmp_path / "bad.csv")
    assert "no good row below the header" in error


def test_bad_rows_of_parquet_can_be_set_aside(tmp_path):
    table = pa.table({"other": [1, 2], "subject_id": ["s", None], "volunteer_id": ["a", "b"], "answer": ["x", "x"]})
    pq.write_table(table, tmp_path / "in.parquet")
    paths = [str(tmp_path / name) for name in ("in.parquet", "out.csv", "bad.csv")]
    assert main(["votes", paths[0], "-o", paths[1], "--skip-bad", paths[2]]) == 0
    assert (tmp_path / "bad.csv").read_text().splitlines() == [
        "row,column,reason,subject_id,volunteer_id,answer",
        "2,subject_id,is empty,,b,x",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["sort"], "invalid choice: 'sort' (choose from"),
        (["votes", "in.csv"], "the following arguments are required: -o/--output"),
        (["votes", "in.csv", "-o", "out.csv"], "in.csv: cannot be read: No such file or directory"),
    ],
)
def test_the_program_ends_with_status_2_and_one_line(tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "aggregation", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""
