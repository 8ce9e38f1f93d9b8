"""What a release's files say, read back in every format."""

import copy
import csv
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table

from starsieve.catalogues.files import release_folder
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box

FORMATS = ["csv", "parquet", "fits", "vot"]


def rows_of(release: Any, table: str, suffix: str) -> list[dict[str, Any]]:
    """The table as plain rows; nulls and blanks of any format as None."""
    path = release_folder(release) / f"{table}.{suffix}"
    if suffix == "csv":
        with path.open(newline="") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    if suffix == "parquet":
        return pq.read_table(path).to_pylist()
    read = Table.read(path) if suffix == "fits" else Table.read(path, format="votable")
    return [{name: plain(row[name]) for name in read.colnames} for row in read]


def plain(value: Any) -> Any:
    if hasattr(value, "mask") and value.mask:
        return None
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value != value:
        return None
    return value or None if isinstance(value, str) else value


def cast(text: Any, like: Any) -> Any:
    """A CSV field as the type of the expected value."""
    if not isinstance(text, str) or isinstance(like, str) or like is None:
        return text
    if isinstance(like, bool):
        return {"true": True, "false": False}[text]
    return type(like)(text)


@pytest.fixture
def tree_release(survey: Any, make_release: Callable[..., Any]) -> Any:
    workflow = survey.workflow(TREE, names=("one", "ω two"), limit=4)
    survey.score(workflow, {"one": 0.25})
    for values in [(0,), (1, [0]), (1, [0, 1]), (1, [])]:
        survey.answer(workflow, "one", *values)
    return make_release(workflow)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_tells_the_votes_along_the_tree(tree_release: Any, suffix: str) -> None:
    row = rows_of(tree_release, "subjects", suffix)[0]
    expected = {
        "name": "one", "subject_set": "Field 1", "origin": "real", "ra": 150.0, "dec": 2.0,
        "n_classifications": 4, "retired": True, "retirement_reason": "classification_count",
        "shape_smooth_count": 1, "shape_smooth_fraction": 0.25, "shape_features_count": 3,
        "shape_features_fraction": 0.75, "shape_n": 4, "shape_agreement": 0.75,
        "odd_ring_count": 2, "odd_ring_fraction": 2 / 3, "odd_merger_count": 1, "odd_merger_fraction": 1 / 3,
        "odd_n": 3, "odd_agreement": 2 / 3,
        "ml_score": 0.25, "ml_model": "net 1", "is_control": False,
    }  # fmt: skip
    assert {name: cast(row[name], value) for name, value in expected.items()} == expected


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_subject_without_votes_has_zero_counts_and_null_fractions(tree_release: Any, suffix: str) -> None:
    row = rows_of(tree_release, "subjects", suffix)[1]
    assert row["name"] == ("\\u03c9 two" if suffix == "fits" else "ω two")
    assert cast(row["shape_n"], 0) == 0
    assert cast(row["retired"], False) is False
    for name in ("shape_smooth_fraction", "shape_agreement", "retirement_reason", "ml_score", "ml_model"):
        assert row[name] is None


def test_all_formats_have_the_same_columns_in_the_same_order(tree_release: Any) -> None:
    columns = [list(rows_of(tree_release, "subjects", suffix)[0]) for suffix in FORMATS]
    assert columns[0] == columns[1] == columns[2] == columns[3]


def test_the_votable_carries_units_ucds_descriptions_and_the_frame(tree_release: Any) -> None:
    table = parse_single_table(release_folder(tree_release) / "subjects.vot")
    ra = table.get_field_by_id_or_name("ra")
    assert (str(ra.unit), ra.ucd, ra.ref) == ("deg", "pos.eq.ra;meta.main", "icrs")
    for field in table.fields:
        assert field.description
        assert check_ucd(field.ucd, check_controlled_vocabulary=True)


def test_the_fits_table_carries_units_ucds_and_descriptions(tree_release: Any) -> None:
    with fits.open(release_folder(tree_release) / "subjects.fits") as hdus:
        hdus.verify("exception")
        header = hdus["SUBJECTS"].header
        place = hdus["SUBJECTS"].columns.names.index("dec") + 1
    assert (header[f"TUNIT{place}"], header[f"TUCD{place}"]) == ("deg", "pos.eq.dec;meta.main")
    assert header[f"TCOMM{place}"] == "Declination, ICRS"
    assert header["WATERMARK"] == str(tree_release.watermark)
    assert "DATE" not in header


def test_parquet_fields_carry_units_ucds_and_descriptions(tree_release: Any) -> None:
    field = pq.read_schema(release_folder(tree_release) / "subjects.parquet").field("ra")
    assert field.metadata == {b"description": b"Right ascension, ICRS", b"unit": b"deg", b"ucd": b"pos.eq.ra;meta.main"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_grades_have_a_distribution_a_consensus_and_a_mean(
    survey: Any, make_release: Callable[..., Any], suffix: str
) -> None:
    workflow = survey.workflow(GRADE, names=("one",), limit=9)
    for grade in ("A", "A", "B", "I"):
        survey.answer(workflow, "one", grade)
    row = rows_of(make_release(workflow, method="fractions"), "subjects", suffix)[0]
    expected = {
        "grade_A_count": 2, "grade_A_fraction": 0.5, "grade_B_count": 1, "grade_I_count": 1, "grade_X_count": 0,
        "grade_n": 4, "grade_agreement": 0.5, "grade": "A", "expected_grade": 8 / 3, "retired": False,
    }  # fmt: skip
    assert {name: cast(row[name], value) for name, value in expected.items()} == expected


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_model_of_a_question_adds_its_probabilities(
    survey: Any, make_release: Callable[..., Any], suffix: str
) -> None:
    from starsieve.catalogues.consensus.runs import run_consensus

    workflow = survey.workflow(TREE, names=("one", "two", "unseen"), limit=9)
    people = [survey.volunteer() for _ in range(3)]
    for volunteer in people:
        survey.answer(workflow, "one", 0, volunteer=volunteer)
        survey.answer(workflow, "two", 1, [], volunteer=volunteer)
    rows = rows_of(make_release(workflow), "subjects", suffix)
    workflow.refresh_from_db()
    run = run_consensus(workflow=workflow)
    for row in rows[:2]:
        said = run.subjects.get(subject__name=row["name"]).tasks["T0"]
        found = [cast(row[f"shape_{key}_probability"], 0.0) for key in ("smooth", "features")]
        assert found == pytest.approx(said["p"], abs=1e-9)
    assert [row["shape_answer"] for row in rows] == ["smooth", "features", None]
    assert rows[2]["shape_smooth_probability"] is None


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_model_of_grades_adds_probabilities_a_rank_and_who_should_be_talked_about(
    survey: Any, make_release: Callable[..., Any], suffix: str
) -> None:
    workflow = survey.workflow(GRADE, names=("one", "unseen"), limit=9)
    for grade in ("A", "A", "B", "A"):
        survey.answer(workflow, "one", grade)
    one, unseen = rows_of(make_release(workflow), "subjects", suffix)
    assert sum(cast(one[f"grade_{grade}_probability"], 0.0) for grade in "ABCIX") == pytest.approx(1, abs=1e-5)
    assert one["grade"] == "A"
    assert cast(one["grade_A_fraction"], 0.0) == 0.75
    assert cast(one["expected_grade"], 0.0) > 2
    assert cast(one["grade_rank_error"], 0.0) > 0
    assert cast(one["grade_adjudicate"], False) is False
    assert (unseen["grade"], unseen["grade_A_probability"], unseen["grade_rank"]) == (None, None, None)


def test_a_question_of_a_tree_says_whether_it_applies(survey: Any, make_release: Callable[..., Any]) -> None:
    tasks = copy.deepcopy(TREE)
    tasks["T1"] = {"type": "single", "name": "arms", "question": "Are there arms?",
                   "answers": [{"key": "yes", "label": "Yes"}, {"key": "no", "label": "No"}]}  # fmt: skip
    workflow = survey.workflow(tasks, names=("spiral", "smooth"), limit=9)
    people = [survey.volunteer() for _ in range(4)]
    for number, volunteer in enumerate(people):
        survey.answer(workflow, "spiral", 1, 0, volunteer=volunteer)
        survey.answer(workflow, "smooth", *((1, 1) if number == 0 else (0,)), volunteer=volunteer)
    spiral, smooth = rows_of(make_release(workflow), "subjects", "parquet")
    assert spiral["shape_applies"] == 1
    assert spiral["arms_applies"] > smooth["arms_applies"]


def test_gold_is_frozen_with_the_release_and_judges_its_models(
    survey: Any, make_release: Callable[..., Any], file_bytes: Callable[..., dict[str, bytes]]
) -> None:
    from classify.models import GoldStandard
    from starsieve.catalogues import services

    names = tuple(f"g{i:02}" for i in range(24))
    workflow = survey.workflow(TREE, names=names, limit=9)
    people = [survey.volunteer() for _ in range(4)]
    for number, name in enumerate(names):
        for volunteer in people:
            survey.answer(workflow, name, *((1, []) if number % 2 else (0,)), volunteer=volunteer)
        GoldStandard.objects.create(
            workflow=workflow, subject=survey.named(workflow, name), task="T0", value=number % 2, source="expert"
        )
    release = make_release(workflow)
    before = file_bytes(release)
    judgement = json.loads(before["provenance.json"])["consensus"]["T0"]["judgement"]
    assert (judgement["n_gold"], judgement["figures"]["accuracy"][0]) == (24, 1.0)
    row = rows_of(release, "subjects", "parquet")[1]
    assert (row["shape_answer"], row["shape_features_probability"]) == ("features", 1.0)
    GoldStandard.objects.all().delete()
    services.rebuild(release=release)
    assert file_bytes(release) == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_clumps_have_their_box_support_labels_and_sky_position(
    survey: Any, make_release: Callable[..., Any], suffix: str
) -> None:
    workflow = survey.workflow(BOXES, names=("one", "empty"), limit=9)
    # The middle of this box is the stamp's reference pixel, (50, 40) counted from the corner.
    survey.answer(workflow, "one", [box(45, 35), box(5, 5)])
    survey.answer(workflow, "one", [box(45, 35, tool=1), box(5, 5)])
    survey.answer(workflow, "one", [box(45, 35)])
    survey.answer(workflow, "one", [])
    release = make_release(workflow, method="fractions")
    clumps = rows_of(release, "clumps", suffix)
    assert len(clumps) == 2
    expected = {
        "name": "one", "task": "clumps", "clump": 1, "x": 45.0, "y": 35.0, "width": 10.0, "height": 10.0,
        "n_marks": 3, "n_seen": 4, "fraction": 0.75, "clumps_clump_fraction": 2 / 3, "clumps_odd_fraction": 1 / 3,
    }  # fmt: skip
    assert {name: cast(clumps[0][name], value) for name, value in expected.items()} == expected
    assert cast(clumps[0]["ra"], 0.0) == pytest.approx(150.0, abs=1e-9)
    assert cast(clumps[0]["dec"], 0.0) == pytest.approx(2.0, abs=1e-9)
    # 40 pixels of 1″ to the left is east, 30 up is north.
    assert cast(clumps[1]["ra"], 0.0) == pytest.approx(150 + 40 / 3600, abs=2e-5)
    assert cast(clumps[1]["dec"], 0.0) == pytest.approx(2 + 30 / 3600, abs=2e-7)
    subjects = rows_of(release, "subjects", suffix)
    assert [cast(row["n_clumps"], 0) for row in subjects] == [2, 0]


def test_a_stamp_without_coordinates_gives_clumps_without_position(
    survey: Any, make_release: Callable[..., Any]
) -> None:
    workflow = survey.workflow(BOXES, names=("one",))
    workflow.project.subjects.update(wcs=None, ra=None, dec=None)
    survey.answer(workflow, "one", [box(5, 5)])
    clump = rows_of(make_release(workflow, method="fractions"), "clumps", "parquet")[0]
    assert (clump["ra"], clump["dec"]) == (None, None)


def test_the_sums_are_those_of_the_files(tree_release: Any, file_bytes: Callable[..., dict[str, bytes]]) -> None:
    files = file_bytes(tree_release)
    sums = dict(reversed(line.split("  ")) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    tree_release.refresh_from_db()
    listed = {entry["name"]: (entry["sha256"], entry["bytes"]) for entry in tree_release.files}
    del listed["SHA256SUMS"]
    assert listed == {name: (sums[name], len(content)) for name, content in files.items()}


def test_the_provenance_names_everything_that_went_in(
    tree_release: Any, file_bytes: Callable[..., dict[str, bytes]]
) -> None:
    told = json.loads(file_bytes(tree_release)["provenance.json"])
    assert told["watermark"] == tree_release.watermark
    assert (told["n_subjects"], told["n_classifications"], told["n_volunteers"]) == (2, 4, 4)
    assert told["classifications_by_version"] == {"1.1": 4}
    assert told["workflow"]["version"] == "1.1"
    assert told["models"][0]["provenance"] == "simulated lenses"
    assert told["origin"]["real"] == 2
    assert "telescope" in told["origin"]["statement"]
    assert told["settings"]["method"] == "consensus"
    assert told["consensus"]["T0"]["fit"]["n_votes"] == 4
    assert told["consensus"]["T0"]["judgement"] is None
    assert len(told["inputs_sha256"]) == 64
    assert set(told["software"]) == {"starsieve", "numpy", "scipy", "pyarrow", "astropy"}


def test_simulated_subjects_are_stated(survey: Any, make_release: Callable[..., Any]) -> None:
    workflow = survey.workflow(GRADE)
    workflow.project.subjects.filter(name="two").update(origin="simulated")
    release = make_release(workflow)
    release.refresh_from_db()
    assert release.provenance["origin"]["simulated"] == 1
    assert "Some subjects are simulated" in release.provenance["origin"]["statement"]
    assert [row["origin"] for row in rows_of(release, "subjects", "parquet")] == ["real", "simulated"]


def test_single_answers_are_written_on_request_with_pseudonyms(
    survey: Any, make_release: Callable[..., Any], file_bytes: Callable[..., dict[str, bytes]]
) -> None:
    workflow = survey.workflow(TREE)
    ada = survey.volunteer()
    survey.answer(workflow, "one", 1, [0, 1], volunteer=ada)
    survey.answer(workflow, "two", 0, volunteer=ada)
    text = file_bytes(make_release(workflow, include_classifications=True))["classifications.csv"].decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["subject"], row["task"], row["answer"]) for row in rows] == [
        ("one", "shape", "features"), ("one", "odd", "ring|merger"), ("two", "shape", "smooth"),
    ]  # fmt: skip
    assert len({row["volunteer_id"] for row in rows}) == 1
    assert str(ada.pk) != rows[0]["volunteer_id"]


def test_a_text_that_a_spreadsheet_would_run_stays_text(
    survey: Any, make_release: Callable[..., Any], file_bytes: Callable[..., dict[str, bytes]]
) -> None:
    workflow = survey.workflow({"T0": {"type": "text", "name": "remark", "question": "Anything else?"}})
    survey.answer(workflow, "one", '=HYPERLINK("http://evil.example")\nω')
    text = file_bytes(make_release(workflow, include_classifications=True))["classifications.csv"].decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["answer"].startswith('"=')
    assert json.loads(row["answer"]) == '=HYPERLINK("http://evil.example")\nω'


def test_pseudonyms_do_not_hold_across_releases(
    survey: Any, make_release: Callable[..., Any], file_bytes: Callable[..., dict[str, bytes]]
) -> None:
    workflow = survey.workflow(GRADE)
    ada = survey.volunteer()
    pseudonyms = []
    for name in ("one", "two"):
        survey.answer(workflow, name, "A", volunteer=ada)
        text = file_bytes(make_release(workflow, include_classifications=True))["classifications.csv"].decode()
        pseudonyms.append(next(csv.DictReader(io.StringIO(text)))["volunteer_id"])
    assert pseudonyms[0] != pseudonyms[1]


def test_an_empty_workflow_gives_empty_tables(survey: Any, make_release: Callable[..., Any]) -> None:
    workflow = survey.workflow(BOXES, names=())
    release = make_release(workflow)
    for suffix in FORMATS:
        assert rows_of(release, "subjects", suffix) == []
        assert rows_of(release, "clumps", suffix) == []
    release.refresh_from_db()
    assert release.watermark == 0
    assert release.provenance["origin"]["statement"] == "There are no subjects."
