"""`python -m aggregation boxes`."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aggregation.cli import main
from aggregation.commands._progress import ProgressLine
from benchmarks.marks import simulate_marks

HEADER = "subject_id,volunteer_id,x,y,width,height\n"
BOXES = (
    HEADER
    + """g1,ann,10,10,20,20
g1,bob,11,10,20,20
g1,cy,10,11,20,20
g1,di,,,,
g1,eve,90,90,5,5
g2,ann,,,,
g2,bob,,,,
"""
)
COLUMNS = ["subject_id", "x", "y", "width", "height", "n_marks", "n_seen", "probability"]


@pytest.fixture
def run(tmp_path):
    """Run the command on a text; the rows that it writes, and those of its further files."""

    def call(text, *options, output="out.csv"):
        (tmp_path / "in.csv").write_text(text, encoding="utf-8")
        paths = [str(tmp_path / word) if "." in word and not word[0].isdigit() else word for word in options]
        assert main(["boxes", str(tmp_path / "in.csv"), "-o", str(tmp_path / output), *paths]) == 0
        return rows(tmp_path / output)

    return call


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def refused(tmp_path, capsys):
    """Run the command, which must fail; its one line."""

    def call(text, *options):
        (tmp_path / "in.csv").write_text(text, encoding="utf-8")
        arguments = ["boxes", str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv"), *options]
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code
        assert status == 2
        assert not (tmp_path / "out.csv").exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return call


def test_one_row_per_box_with_the_fixed_columns_first(run):
    (row,) = run(BOXES)
    assert list(row)[:8] == COLUMNS
    assert (row["subject_id"], row["n_marks"], row["n_seen"]) == ("g1", "3", "5")
    assert 0.5 <= float(row["probability"]) <= 1
    assert float(row["x"]) == pytest.approx(10.33, abs=0.1)
    for side in ("x", "y", "width", "height"):
        assert 0 < float(row[f"{side}_error"]) < 5
    assert 0 <= float(row["inaccuracy"]) <= 1


def test_a_lower_threshold_writes_lone_marks_too(run):
    assert [row["n_marks"] for row in run(BOXES, "--min-probability", "0")] == ["3", "1"]


def test_skills_and_expected_errors_are_written(run, tmp_path):
    run(BOXES, "--volunteers", "skills.csv", "--subjects", "subjects.csv")
    skills = rows(tmp_path / "skills.csv")
    assert [row["volunteer_id"] for row in skills] == ["ann", "bob", "cy", "di", "eve"]
    assert [row["n_seen"] for row in skills] == ["2", "2", "1", "1", "1"]
    assert [row["n_marks"] for row in skills] == ["1", "1", "1", "0", "1"]
    assert float(skills[4]["p_fp"]) > float(skills[0]["p_fp"])
    assert all(float(row[name]) > 0 for row in skills for name in ("p_fp", "p_fn", "sigma"))
    subjects = rows(tmp_path / "subjects.csv")
    names = ["subject_id", "n_boxes", "expected_missed", "expected_false", "expected_inaccurate", "risk"]
    assert list(subjects[0])[:6] == names
    assert [(row["subject_id"], row["n_boxes"]) for row in subjects] == [("g1", "1"), ("g2", "0")]
    for row in subjects:
        assert float(row["risk"]) == pytest.approx(sum(float(row[name]) for name in names[2:5]))


def test_labels_have_their_own_vote(run):
    text = HEADER.replace("\n", ",label\n") + "".join(
        f"1,{who},0,0,4,4,{label}\n" for who, label in zip("abcd", ["odd", "clump", "clump", "clump"], strict=True)
    )
    (row,) = run(text + "1,e,,,,,\n")
    assert (row["label"], row["n_marks"], row["n_seen"]) == ("clump", "4", "5")
    assert (row["p_clump"], row["p_odd"]) == ("0.75", "0.25")
    assert "p_" not in row


def test_gold_and_detections_are_heard(run, tmp_path):
    (tmp_path / "gold.csv").write_text("subject_id,x,y,width,height\ng1,,,,\nelsewhere,1,1,2,2\n")
    assert run(BOXES, "--gold", "gold.csv") == []
    (tmp_path / "found.csv").write_text("subject_id,x,y,width,height,score\ng1,10,10,20,20,0.7\ng2,,,,,\n")
    (row,) = run(BOXES, "--detections", "found.csv")
    assert row["n_marks"] == "3"


def test_parquet_with_nulls(tmp_path):
    table = {"subject_id": [1, 1, 1], "volunteer_id": [5, 6, 7]} | {side: [4.0, None, 4.5] for side in ("x", "y")}
    table |= {side: pa.array([2, None, 2], pa.int32()) for side in ("width", "height")}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    paths = [str(tmp_path / name) for name in ("in.parquet", "out.parquet")]
    assert main(["boxes", paths[0], "-o", paths[1], "--min-probability", "0"]) == 0
    first = pq.read_table(paths[1]).to_pylist()[0]
    assert (first["subject_id"], first["n_seen"]) == (1, 3)


def test_a_table_without_any_box_gives_only_a_header(run, tmp_path):
    assert run(HEADER + "1,a,,,,\n") == []
    assert (tmp_path / "out.csv").read_text().startswith("subject_id,x,y")


def test_the_same_rows_in_another_order_give_the_same_bytes(run, tmp_path):
    marks = simulate_marks(12, 3)
    lines = [
        f"s{subject},v{volunteer},{','.join('' if side != side else repr(side) for side in box)}\n"
        for subject, volunteer, box in zip(marks.subject, marks.volunteer, marks.boxes.tolist(), strict=True)
    ]
    outputs = []
    for ordered in (lines, lines[::-1]):
        run(HEADER + "".join(ordered), "--volunteers", "skills.csv", "--subjects", "subjects.csv")
        outputs.append([(tmp_path / name).read_bytes() for name in ("out.csv", "skills.csv", "subjects.csv")])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,a,1,2,wide,4", "row 1 (line 2), column width: is 'wide', not a number"),
        ("1,a,1,2,,4", "column width: is empty: give all of x, y, width, height, or none"),
        ("1,a,1,2,0,4", "column width: is 0.0, not above 0"),
        ("1,a,1,2,3,-4", "column height: is -4.0, not above 0"),
        ("1,a,inf,2,3,4", "column x: is not a finite number"),
        ("1,a,nan,2,3,4", "column x: is empty: give all"),
        ("1,a,1,1e300,3,4", "column y: is 1e+300, beyond 1e+12"),
    ],
)
def test_bad_boxes_are_named_by_row_and_column(refused, row, message):
    assert message in refused(f"{HEADER}{row}\n")


def test_boxes_beyond_the_edge_of_the_frame_are_boxes(run):
    rows_ = "".join(f"1,{who},-5,-3,20,20\n2,{who},9000,9000,20,20\n" for who in "abcd")
    assert [float(row["x"]) for row in run(HEADER + rows_)] == pytest.approx([-5, 9000], abs=1e-6)


def test_one_volunteer_and_one_subject_have_an_answer(run):
    assert run(HEADER + "1,a,1,1,2,2\n", "--min-probability", "0")[0]["n_seen"] == "1"
    assert run(HEADER + "1,a,,,,\n") == []


def test_a_box_without_its_label_is_refused(refused):
    text = HEADER.replace("\n", ",label\n") + "1,a,0,0,1,1,clump\n1,b,0,0,1,1,\n"
    assert "row 2 (line 3), column label: is empty, but the row has a box" in refused(text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("--gold", "subject_id,x,y,width,height\ng1,1,1,0,1\n", "row 1 (line 2), column width: is 0.0, not above 0"),
        ("--gold", "subject_id,x,y,width\ng1,1,1,0\n", "no column height"),
        ("--detections", "subject_id,x,y,width,height,score\ng1,1,1,2,2,\n", "column score: is empty"),
    ],
)
def test_bad_jurors_are_named_by_file_row_and_column(refused, tmp_path, name, content, message):
    (tmp_path / "juror.csv").write_text(content)
    error = refused(BOXES, name, str(tmp_path / "juror.csv"))
    assert "juror.csv" in error
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-probability", "1.5"], "--min-probability: 1.5 is not between 0 and 1"),
        (["--threads", "0"], "--threads: 0 is less than 1"),
        (["--volunteers", "skills.xlsx"], "the suffix must say what to write"),
    ],
)
def test_wrong_options_are_refused(refused, options, message):
    assert message in refused(BOXES, *options)


def test_a_terminal_sees_the_progress_and_a_file_does_not(monkeypatch, capsys):
    with ProgressLine("boxes") as progress:
        progress(5, 10)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("aggregation.commands._progress._EVERY", 0.0)
    with ProgressLine("boxes") as progress:
        progress(5, 10)
        assert " 50%" in capsys.readouterr().err
    assert capsys.readouterr().err.endswith("\r\033[K")
