"""`python -m aggregation` on good input."""

import csv
import gzip
import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aggregation import METHODS, aggregate_tasks
from aggregation.cli import main

VOTES = "subject_id,volunteer_id,answer\ns1,ann,yes\ns1,bob,yes\ns1,cy,no\ns2,ann,no\n"


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="in.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


@pytest.fixture
def run(tmp_path, capsys):
    """Run a command on a file; the rows of its output."""

    def call(command, path, *options, output="out.csv"):
        status = main([command, str(path), "-o", str(tmp_path / output), *map(str, options)])
        assert (status, capsys.readouterr().err) == (0, "")
        return rows_of(tmp_path / output)

    return call


def rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_votes_by_majority(write, run):
    rows = run("votes", write(VOTES), "--method", "majority")
    assert rows[0] == {
        "subject_id": "s1",
        "n_votes": "3",
        "answer": "yes",
        "p_no": "0.3333333333333333",
        "p_yes": "0.6666666666666666",
    }
    assert rows[1] == {"subject_id": "s2", "n_votes": "1", "answer": "no", "p_no": "1.0", "p_yes": "0.0"}


@pytest.mark.parametrize("method", METHODS)
def test_the_table_equals_the_function(write, run, crowd, method):
    lines = [f"{s},{v},{'xyz'[a]}" for s, v, a in zip(crowd.subject, crowd.volunteer, crowd.answer, strict=True)]
    rows = run("votes", write("\n".join(["subject_id,volunteer_id,answer", *lines])), "--method", method)
    expected = aggregate_tasks(
        crowd.subject, crowd.volunteer, np.zeros_like(crowd.subject), crowd.answer, method=method
    )
    posterior = [[float(row[f"p_{answer}"]) for answer in "xyz"] for row in rows]
    np.testing.assert_array_equal(posterior, expected.posterior)
    assert [row["subject_id"] for row in rows] == [str(code) for code in range(300)]


def test_the_default_method_is_pooled(write, run, tmp_path):
    path = write(VOTES)
    run("votes", path)
    default = (tmp_path / "out.csv").read_bytes()
    run("votes", path, "--method", "pooled")
    assert (tmp_path / "out.csv").read_bytes() == default


def test_the_order_of_the_rows_changes_no_byte(write, run, tmp_path):
    header, *lines = VOTES.splitlines()
    run("votes", write(VOTES))
    first = (tmp_path / "out.csv").read_bytes()
    run("votes", write("\n".join([header, *reversed(lines)]) + "\n"))
    assert (tmp_path / "out.csv").read_bytes() == first


def test_tasks_have_rows_of_their_own_and_empty_cells_for_answers_of_other_tasks(write, run):
    path = write(
        "task,subject_id,volunteer_id,answer\nT0,1,a,smooth\nT0,1,b,disk\nT0,1,c,disk\nT1,1,b,yes\nT1,1,c,no\n"
    )
    rows = run("votes", path, "--method", "majority")
    assert [(row["subject_id"], row["task"], row["n_votes"], row["answer"]) for row in rows] == [
        ("1", "T0", "3", "disk"),
        ("1", "T1", "2", "no"),
    ]
    assert [rows[0][f"p_{a}"] for a in ("disk", "no", "smooth", "yes")] == [
        "0.6666666666666666",
        "",
        "0.3333333333333333",
        "",
    ]


def test_the_last_vote_of_a_volunteer_counts(write, run, capsys):
    rows = run("votes", write("subject_id,volunteer_id,answer\n1,a,x\n1,a,y\n2,a,x\n"), "--method", "majority")
    assert [(row["n_votes"], row["answer"]) for row in rows] == [("1", "y"), ("1", "x")]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T12:30:00+02:00"),
        ("2026-01-01 10:00:00 UTC", "2026-01-01 10:00:01"),
        ("9", "10"),
    ],
)
def test_the_last_vote_is_the_latest_and_not_the_last_row(write, run, early, late):
    path = write(f"subject_id,volunteer_id,answer,created_at\n1,a,x,{late}\n1,a,y,{early}\n2,a,y,{early}\n")
    assert run("votes", path, "--method", "majority")[0]["answer"] == "x"


def test_numbers_are_ordered_as_numbers_and_other_ids_as_text(write, run):
    path = write("subject_id,volunteer_id,answer\n10,1,2\n9,1,10\n")
    rows = run("votes", path)
    assert [row["subject_id"] for row in rows] == ["9", "10"]
    assert list(rows[0])[-2:] == ["p_2", "p_10"]
    rows = run("votes", write("subject_id,volunteer_id,answer\n10,1,a\n9,1,a\nx,1,a\n007,1,a\n"))
    assert [row["subject_id"] for row in rows] == ["007", "10", "9", "x"]


def test_ids_in_any_script_with_commas_quotes_and_line_breaks(write, run):
    ids = ["Größe", "星系", "a,b", 'say "hi"', "two\nlines"]
    quoted = ['"' + name.replace('"', '""') + '"' for name in ids]
    text = "subject_id,volunteer_id,answer\n" + "".join(f"{name},Zoë,да\n" for name in quoted)
    rows = run("votes", write(text))
    assert {row["subject_id"] for row in rows} == set(ids)
    assert rows[0]["answer"] == "да"


def test_a_byte_order_mark_blank_lines_and_spaces_in_the_header_do_no_harm(write, run):
    rows = run("votes", write("\ufeffsubject_id, volunteer_id, answer\r\n\r\n1,a,x\r\n\r\n"))
    assert [row["subject_id"] for row in rows] == ["1"]


def test_gzip_and_parquet_give_the_same_table(write, run, tmp_path):
    path = write(VOTES)
    expected = run("votes", path)
    zipped = tmp_path / "in.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert run("votes", zipped, output="out.csv.gz") == expected
    pq.write_table(pa.Table.from_pylist(list(csv.DictReader(VOTES.splitlines()))), tmp_path / "in.parquet")
    rows = run("votes", tmp_path / "in.parquet", output="out.parquet")
    assert [{name: str(value) for name, value in row.items()} for row in rows] == expected


def test_the_same_table_gives_the_same_gzip_bytes_at_any_time(write, run, tmp_path):
    run("votes", write(VOTES), output="a.csv.gz")
    run("votes", write(VOTES), output="b.csv.gz")
    first = (tmp_path / "a.csv.gz").read_bytes()
    assert (tmp_path / "b.csv.gz").read_bytes() == first
    assert first[4:8] == bytes(4)  # the time of writing


def test_integers_in_parquet_stay_integers(run, tmp_path):
    table = pa.table({"subject_id": [12, 3], "volunteer_id": [1, 1], "answer": [0, 1], "task": ["T0", "T1"]})
    pq.write_table(table, tmp_path / "in.parquet")
    rows = run("votes", tmp_path / "in.parquet", "--method", "majority", output="out.parquet")
    assert rows == [
        {"subject_id": 3, "task": "T1", "n_votes": 1, "answer": 1, "p_0": None, "p_1": 1.0},
        {"subject_id": 12, "task": "T0", "n_votes": 1, "answer": 0, "p_0": 1.0, "p_1": None},
    ]


def test_times_in_parquet(run, tmp_path):
    times = pa.array([2_000_000, 1_000_000], pa.timestamp("us", "UTC"))
    table = pa.table({"subject_id": ["s", "s"], "volunteer_id": ["v", "v"], "answer": ["x", "y"], "created_at": times})
    pq.write_table(table, tmp_path / "in.parquet")
    assert run("votes", tmp_path / "in.parquet")[0]["answer"] == "x"


def test_gold_answers_are_kept_and_subjects_without_votes_ignored(write, run):
    gold = write("subject_id,answer\ns1,no\nelsewhere,yes\n", "gold.csv")
    rows = run("votes", write(VOTES), "--gold", gold)
    assert [row["subject_id"] for row in rows] == ["s1", "s2"]
    assert (rows[0]["answer"], rows[0]["p_no"]) == ("no", "1.0")


def test_gold_answers_of_tasks(write, run):
    votes = write("subject_id,volunteer_id,task,answer\n1,a,T0,x\n1,b,T0,y\n1,a,T1,x\n1,b,T1,y\n")
    gold = write("subject_id,task,answer\n1,T1,y\n", "gold.csv")
    rows = run("votes", votes, "--gold", gold)
    assert rows[1]["p_y"] == "1.0"
    assert rows[0]["p_y"] != "1.0"


def test_confusion_matrices_are_written(write, run, tmp_path):
    run("votes", write(VOTES), "--confusion", tmp_path / "confusion.csv")
    rows = rows_of(tmp_path / "confusion.csv")
    assert [(row["volunteer_id"], row["n_votes"], row["truth"]) for row in rows] == [
        ("ann", "2", "no"),
        ("ann", "2", "yes"),
        ("bob", "1", "no"),
        ("bob", "1", "yes"),
        ("cy", "1", "no"),
        ("cy", "1", "yes"),
    ]
    for row in rows:
        assert float(row["p_no"]) + float(row["p_yes"]) == pytest.approx(1)


def test_confusion_matrices_of_tasks_leave_other_answers_empty(write, run, tmp_path):
    votes = write("subject_id,volunteer_id,task,answer\n1,a,T0,x\n1,b,T0,y\n1,a,T1,z\n")
    run("votes", votes, "--confusion", tmp_path / "confusion.parquet")
    rows = rows_of(tmp_path / "confusion.parquet")
    assert [(row["volunteer_id"], row["task"], row["truth"]) for row in rows] == [
        ("a", "T0", "x"),
        ("a", "T0", "y"),
        ("a", "T1", "z"),
        ("b", "T0", "x"),
        ("b", "T0", "y"),
    ]
    assert [rows[2][f"p_{answer}"] for answer in "xyz"] == [None, None, 1.0]


def test_grades(write, run):
    rows = run(
        "grades", write("subject_id,volunteer_id,answer\n1,a,A\n1,b,B\n1,c,I\n1,d,B\n2,a,I\n"), "--method", "fractions"
    )
    assert rows[0] == {
        "subject_id": "1",
        "n_votes": "4",
        "grade": "B",
        "p_X": "0.0",
        "p_C": "0.0",
        "p_B": "0.5",
        "p_A": "0.25",
        "p_I": "0.25",
        "expected_grade": "2.3333333333333335",
        "agreement": "0.5",
    }
    assert (rows[1]["grade"], rows[1]["expected_grade"]) == ("I", "")


def test_grades_on_another_scale_and_per_task(write, run):
    path = write("subject_id,volunteer_id,answer,task\n1,a,good,q\n1,a,bad,r\n")
    rows = run("grades", path, "--levels", "bad,good", "--escape", "", "--method", "fractions")
    assert [(row["task"], row["grade"], row["expected_grade"]) for row in rows] == [
        ("q", "good", "1.0"),
        ("r", "bad", "0.0"),
    ]
    assert "p_I" not in rows[0]


def test_more_rows_than_a_chunk(write, run):
    n = 20_000
    lines = [f"{i % 500},{i // 500},{'ab'[i % 3 == 0]}" for i in range(n)]
    rows = run("votes", write("\n".join(["subject_id,volunteer_id,answer", *lines])), "--method", "majority")
    assert len(rows) == 500
    assert sum(int(row["n_votes"]) for row in rows) == n


def test_the_program_runs_by_its_name(write, tmp_path):
    command = [sys.executable, "-m", "aggregation", "votes", write(VOTES), "-o", tmp_path / "out.csv"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/out.csv: 2 rows from 4 rows of {tmp_path}/in.csv\n"
