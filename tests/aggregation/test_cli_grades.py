"""`python -m aggregation grades` by the ordinal model."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

from aggregation import kappa_report, ordinal_grades
from aggregation.cli import main

HEADER = "subject_id,volunteer_id,answer\n"
GRADES = ["X", "C", "B", "A", "I"]
#: Five stamps by four graders, in the order of GRADES; Zoë sees a level more than the others.
TABLE = {"s0": "XXXC", "s1": "CCXB", "s2": "BBCA", "s3": "AAAA", "s4": "IIXI"}
GRADERS = ["ann", "bob", "cy", "Zoë"]
VOTES = HEADER + "".join(
    f"{subject},{grader},{grade}\n"
    for subject, grades in TABLE.items()
    for grader, grade in zip(GRADERS, grades, strict=True)
)


@pytest.fixture
def run(tmp_path, capsys):
    """Run `grades` on a text; the rows of its output and its line on stdout."""

    def call(text, *options, output="out.csv"):
        (tmp_path / "in.csv").write_text(text, encoding="utf-8")
        status = main(["grades", str(tmp_path / "in.csv"), "-o", str(tmp_path / output), *map(str, options)])
        said = capsys.readouterr()
        assert (status, said.err) == (0, "")
        return rows_of(tmp_path / output) if output.endswith(".csv") else said.out

    return call


@pytest.fixture
def refused(tmp_path, capsys):
    def call(text, *options):
        (tmp_path / "in.csv").write_text(text, encoding="utf-8")
        assert main(["grades", str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv"), *map(str, options)]) == 2
        assert not (tmp_path / "out.csv").exists()
        return capsys.readouterr().err

    return call


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def model(**keywords):
    subject, grader = np.divmod(np.arange(20), 4)
    grade = np.array([GRADES.index(letter) for letters in TABLE.values() for letter in letters])
    return ordinal_grades(subject, grader, grade, **keywords), kappa_report(subject, grader, grade)


def test_the_table_holds_what_the_model_says(run):
    rows = run(VOTES)
    result, _ = model()
    assert list(rows[0]) == [
        *("subject_id", "n_votes", "grade", "p_X", "p_C", "p_B", "p_A", "p_I", "expected_grade", "agreement"),
        *("rank", "rank_error", "adjudicate"),
    ]
    assert [row["subject_id"] for row in rows] == list(TABLE)
    assert [row["grade"] for row in rows] == GRADES
    posterior = [[float(row[f"p_{grade}"]) for grade in GRADES] for row in rows]
    np.testing.assert_allclose(posterior, result.posterior, atol=1e-9)
    np.testing.assert_allclose([float(row["expected_grade"]) for row in rows], result.expected, atol=1e-9)
    np.testing.assert_allclose([float(row["rank"]) for row in rows], result.rank, atol=1e-9)
    assert [row["agreement"] for row in rows] == ["0.75", "0.5", "0.5", "1.0", "0.75"]
    assert [int(row["adjudicate"]) for row in rows] == result.needs_adjudication.astype(int).tolist()


def test_the_escape_grade_is_never_a_number(run):
    row = run(f"{HEADER}1,a,I\n1,b,I\n2,a,A\n")[0]
    assert row["grade"] == "I"
    assert (row["expected_grade"], row["rank"], row["rank_error"]) == ("", "", "")


def test_graders_are_described(run, tmp_path):
    run(VOTES, "--graders", tmp_path / "graders.csv")
    rows = rows_of(tmp_path / "graders.csv")
    result, report = model()
    order = [GRADERS.index(row["volunteer_id"]) for row in rows]
    for name, values in (
        ("sharpness", result.sharpness),
        ("leniency", result.leniency),
        ("willingness", result.willingness),
        ("kappa", report.kappa),
        ("kappa_low", report.low),
        ("kappa_high", report.high),
    ):
        np.testing.assert_allclose([float(row[name]) for row in rows], values[order], atol=1e-9)
    assert [row["n_given"] for row in rows] == ["5"] * 4
    lenient = {row["volunteer_id"]: float(row["leniency"]) for row in rows}
    assert max(lenient, key=lenient.get) == "Zoë"


def test_gold_fixes_a_grade_and_may_name_one_that_nobody_gave(run, tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("subject_id,answer\ns1,B\nunseen,A\n")
    rows = run(VOTES, "--gold", gold)
    assert (rows[1]["grade"], rows[1]["p_B"], rows[1]["adjudicate"]) == ("B", "1.0", "0")
    result, _ = model(gold=[-1, 2, -1, -1, -1])
    np.testing.assert_allclose(float(rows[0]["p_X"]), result.posterior[0, 0], atol=1e-9)


def test_each_task_is_graded_by_itself(run, tmp_path):
    header = HEADER.replace("\n", ",task\n")
    lines = VOTES.splitlines()[1:]
    both = header + "".join(f"{line},T0\n" for line in lines) + "".join(f"{line},T1\n" for line in lines[:12])
    rows = run(both, "--graders", tmp_path / "graders.csv")
    assert [(row["subject_id"], row["task"]) for row in rows[:3]] == [("s0", "T0"), ("s0", "T1"), ("s1", "T0")]
    alone = run(VOTES)
    first = [row for row in rows if row["task"] == "T0"]
    assert [row["p_A"] for row in first] == [row["p_A"] for row in alone]
    assert len(rows_of(tmp_path / "graders.csv")) == 8


def test_gold_of_tasks_names_its_task(run, tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("subject_id,answer,task\ns0,A,T1\n")
    text = HEADER.replace("\n", ",task\n") + "s0,a,X,T0\ns0,a,X,T1\n"
    assert [row["grade"] for row in run(text, "--gold", gold)] == ["X", "A"]


def test_another_scale_without_escape_grade(run):
    text = f"{HEADER}1,a,good\n1,b,good\n2,a,bad\n2,b,bad\n"
    rows = run(text, "--levels", "bad,good", "--escape", "")
    assert [row["grade"] for row in rows] == ["good", "bad"]
    assert "p_I" not in rows[0]


def test_parquet_and_the_last_line(run, tmp_path):
    said = run(VOTES + "s0,ann,A\n", output="out.parquet")
    assert "5 rows from 20 rows" in said
    assert "1 repeated votes replaced" in said
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["p_A"].to_pylist()[3] > 0.9
    assert table["n_votes"].to_pylist() == [4] * 5


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (
            "subject_id,answer\ns0,D\n",
            "gold.csv: row 1 (line 2), column answer: is not one of the grades X, C, B, A, I",
        ),
        ("subject_id,answer\ns0,A\ns0,B\n", "row 2 (line 3), column answer: is 'B', an earlier row says 'A'"),
        ("subject_id,answer,task\ns0,A,T0\n", "gold.csv: header: has a column task"),
        ("subject_id\ns0\n", "answer"),
    ],
)
def test_bad_gold_is_refused(refused, tmp_path, gold, message):
    path = tmp_path / "gold.csv"
    path.write_text(gold)
    assert message in refused(VOTES, "--gold", path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--levels", "A", "--escape", ""], "--levels: one level has no order"),
        (["--method", "fractions", "--gold", "g.csv"], "--gold: method fractions has no use for it"),
        (["--method", "fractions", "--graders", "g.csv"], "--graders: method fractions has no use for it"),
    ],
)
def test_wrong_options_are_refused(refused, options, message):
    assert message in refused(VOTES, *options)


def test_rejected_rows_are_set_aside(run, tmp_path):
    rows = run(VOTES + "s9,ann,D\n", "--skip-bad", tmp_path / "bad.csv")
    assert len(rows) == 5
    assert "D" in (tmp_path / "bad.csv").read_text()
