"""`python -m aggregation swap`."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aggregation import swap
from aggregation.cli import main

HEADER = "subject_id,volunteer_id,answer\n"
GOLD = "subject_id,answer\nsim,LENS\ndud,NOT\n"
#: Both volunteers prove able on the training subjects, then look at s1 and s2.
VOTES = HEADER + "".join(
    f"{subject},{volunteer},{answer}\n"
    for subject, answer in [("sim", "LENS"), ("dud", "NOT"), ("s1", "LENS"), ("s2", "NOT")]
    for volunteer in ("ann", "Zoë")
)


@pytest.fixture
def files(tmp_path):
    def write(votes=VOTES, gold=GOLD):
        for name, text in (("in.csv", votes), ("gold.csv", gold)):
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / "in.csv", tmp_path / "gold.csv"

    return write


@pytest.fixture
def run(tmp_path, capsys):
    """Run `swap` on two files; the rows of its output."""

    def call(files, *options, output="out.csv"):
        status = main(
            ["swap", str(files[0]), "-o", str(tmp_path / output), "--gold", str(files[1]), *map(str, options)]
        )
        assert (status, capsys.readouterr().err) == (0, "")
        return rows_of(tmp_path / output)

    return call


@pytest.fixture
def refused(tmp_path, capsys):
    """Run `swap` on files that it must refuse; its one line."""

    def call(files, *options):
        out = tmp_path / "out.csv"
        try:
            status = main(["swap", str(files[0]), "-o", str(out), "--gold", str(files[1]), *map(str, options)])
        except SystemExit as stop:
            status = stop.code
        error = capsys.readouterr().err
        assert status == 2
        assert error.count("\n") == 1
        assert not out.exists()
        return error

    return call


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_equals_the_function(files, run, tmp_path):
    rows = run(files(), "--volunteers", tmp_path / "skills.csv")
    assert list(rows[0]) == ["subject_id", "n_votes", "p", "status", "crossed_at"]
    assert [row["subject_id"] for row in rows] == ["dud", "s1", "s2", "sim"]
    subject, volunteer = np.repeat([3, 0, 1, 2], 2), np.tile([1, 0], 4)
    expected = swap(subject, volunteer, [1, 1, 0, 0, 1, 1, 0, 0], [0, -1, -1, 1])
    assert [float(row["p"]) for row in rows] == expected.posterior[:, 1].tolist()
    assert {row["n_votes"] for row in rows} == {"2"}
    assert {(row["status"], row["crossed_at"]) for row in rows} == {("undecided", "")}
    skills = rows_of(tmp_path / "skills.csv")
    assert list(skills[0]) == ["volunteer_id", "n_votes", "n_gold", "pl", "pd", "skill", "contribution"]
    assert [row["volunteer_id"] for row in skills] == ["Zoë", "ann"]
    assert [float(row["pl"]) for row in skills] == expected.confusion[:, 1, 1].tolist()
    assert [float(row["pd"]) for row in skills] == expected.confusion[:, 0, 0].tolist()
    assert [float(row["contribution"]) for row in skills] == expected.contribution.tolist()
    assert [(row["n_votes"], row["n_gold"]) for row in skills] == [("4", "2")] * 2


def many_votes():
    """Forty volunteers, each right on twenty training subjects, then all see `lens` and `dull`; header left out."""
    gold = "subject_id,answer\n" + "".join(f"g{i},{'LENS' if i % 2 else 'NOT'}\n" for i in range(20))
    training = [f"g{i},v{j},{'LENS' if i % 2 else 'NOT'}" for i in range(20) for j in range(40)]
    test = [f"{subject},v{j},{answer}" for j in range(40) for subject, answer in (("lens", "LENS"), ("dull", "NOT"))]
    return [*training, *test], gold


def test_detected_and_rejected_subjects_name_the_row_that_crossed(files, run):
    votes, gold = many_votes()
    rows = {row["subject_id"]: row for row in run(files(HEADER + "\n".join(votes), gold))}
    assert (rows["lens"]["status"], rows["dull"]["status"]) == ("detected", "rejected")
    for subject in ("lens", "dull"):
        row = int(rows[subject]["crossed_at"])
        assert votes[row - 1].startswith(subject)
        assert row < len(votes) - 30
    assert (rows["g19"]["status"], rows["g1"]["status"]) == ("detected", "undecided"), "g1 met new volunteers"


def test_skipped_rows_keep_their_numbers(files, run, tmp_path):
    votes, gold = many_votes()
    clean = {row["subject_id"]: row for row in run(files(HEADER + "\n".join(votes), gold))}
    broken = ["g1,,LENS", *votes[:5], "g1,v9", *votes[5:]]
    rows = run(files(HEADER + "\n".join(broken), gold), "--skip-bad", tmp_path / "bad.csv")
    found = {row["subject_id"]: row for row in rows}
    assert int(found["lens"]["crossed_at"]) == int(clean["lens"]["crossed_at"]) + 2
    assert found["lens"]["p"] == clean["lens"]["p"]
    assert [row["row"] for row in rows_of(tmp_path / "bad.csv")] == ["1", "7"]


def test_with_times_the_order_of_the_rows_has_no_meaning(files, run):
    votes, gold = many_votes()
    timed = [f"{vote},2026-11-22T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z" for i, vote in enumerate(votes)]
    header = HEADER.replace("\n", ",created_at\n")
    inorder, backwards, plain = (
        run(files(text, gold))
        for text in (
            header + "\n".join(timed),
            header + "\n".join(reversed(timed)),
            HEADER + "\n".join(reversed(votes)),
        )
    )
    assert [row["p"] for row in backwards] == [row["p"] for row in inorder]
    for one, other in zip(inorder, backwards, strict=True):
        if one["crossed_at"]:
            assert int(one["crossed_at"]) + int(other["crossed_at"]) == len(votes) + 1
    assert [row["p"] for row in plain] != [row["p"] for row in inorder]


def test_of_repeated_votes_the_last_counts(files, run):
    once = run(files())
    again = run(files(VOTES.replace(HEADER, HEADER + "s1,ann,NOT\ns2,ann,LENS\n")))
    assert again == once


def test_any_answer_but_the_positive_one_is_negative(files, run):
    plain = run(files())
    graded = VOTES.replace("LENS", "A").replace("NOT", "X", 1).replace("NOT", "C")
    assert run(files(graded, GOLD.replace("LENS", "A").replace("NOT", "I")), "--positive", "A") == plain


def test_prior_and_teachers_are_chosen(files, run):
    assert float(run(files(HEADER + "a,ann,LENS\n"), "--prior", "0.25")[0]["p"]) == pytest.approx(0.25)
    by_gold, by_all = (float(run(files(), *options)[2]["p"]) for options in (("--learn-from", "gold"), ()))
    odds = 2e-4 / (1 - 2e-4) * (0.4 / 0.6) ** 2
    assert by_gold == pytest.approx(odds / (1 + odds))
    assert by_all != pytest.approx(by_gold)


def test_parquet_holds_whole_numbers_and_nulls(files, run, tmp_path):
    votes, gold = many_votes()
    _, gold_file = files(VOTES, gold)
    subject, volunteer, answer = zip(*(vote.split(",") for vote in [*votes, "new,v1,NOT"]), strict=True)
    pq.write_table(
        pa.table({"subject_id": subject, "volunteer_id": volunteer, "answer": answer}), tmp_path / "in.parquet"
    )
    assert (
        main(["swap", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.parquet"), "--gold", str(gold_file)]) == 0
    )
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("crossed_at").type == pa.int64()
    rows = {row["subject_id"]: row for row in table.to_pylist()}
    assert rows["new"]["crossed_at"] is None
    assert rows["lens"]["crossed_at"] > 800


@pytest.mark.parametrize(
    ("votes", "gold", "options", "message"),
    [
        ("", GOLD, (), "in.csv: is empty; it needs a header with subject_id, volunteer_id, answer"),
        (VOTES + "s1,,LENS\n", GOLD, (), "in.csv: row 9 (line 10), column volunteer_id: is empty. Correct it, or"),
        (VOTES, "subject_id,answer\n", (), "gold.csv: no row below the header"),
        (VOTES, GOLD + "sim,\n", (), "gold.csv: row 3 (line 4), column answer: is empty. Correct it\n"),
        (VOTES, GOLD + "sim,NOT\n", (), "gold.csv: row 3 (line 4), column answer: is 'NOT', an earlier row says"),
        (VOTES, GOLD, ("--positive", "lens"), "--positive: 'lens' is no answer in "),
        (VOTES, GOLD, ("--prior", "1.5"), "--prior: 1.5 is not between the thresholds 1e-07 and 0.95"),
        (VOTES, GOLD, ("--prior", "nan"), "--prior: nan is not between"),
        (VOTES, GOLD, ("--prior", "small"), "argument --prior: invalid float value: 'small'"),
        (VOTES.replace(HEADER, HEADER.replace("\n", ",created_at\n")), GOLD, (), "has 3 fields, the header has 4"),
        (
            "subject_id,volunteer_id,answer,task\n1,a,LENS,T0\n1,a,x,T1\n",
            GOLD,
            (),
            "column task: swap follows one task",
        ),
    ],
)
def test_bad_input_is_named_in_one_line(files, refused, votes, gold, options, message):
    assert message in refused(files(votes, gold), *options)


def test_gold_is_needed_and_no_file_is_overwritten(files, refused, tmp_path, capsys):
    paths = files()
    with pytest.raises(SystemExit, match="2"):
        main(["swap", str(paths[0]), "-o", str(tmp_path / "out.csv")])
    assert "the following arguments are required: --gold" in capsys.readouterr().err
    assert "would overwrite the input" in refused(paths, "--volunteers", paths[1])
    assert "two outputs have the same name" in refused(paths, "--volunteers", tmp_path / "out.csv")


def test_one_task_may_be_named(files, run):
    votes = VOTES.replace("LENS", "LENS,T0").replace("NOT", "NOT,T0").replace("answer\n", "answer,task\n")
    assert run(files(votes)) == run(files())
