"""The model of boxes in the platform: what a run keeps, which subjects settle, what a release says."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.platform.catalogues.conftest import BOXES, box
from tests.platform.catalogues.test_release_contents import FORMATS, cast, rows_of

SPOTS = [(20, 20), (60, 45)]


@pytest.fixture
def clumpy(survey: Any) -> Callable[..., Any]:
    """A workflow of subjects with two clumps each (and of blank ones) that eight volunteers have marked."""

    def make(*, n: int = 12, blank: int = 4, settled: bool = False, **consensus: Any) -> Any:
        rng = np.random.default_rng(3)
        tasks = copy.deepcopy(BOXES)
        if consensus:
            tasks["T0"]["consensus"] = consensus
        names = tuple(f"c{i:02}" for i in range(n)) + tuple(f"b{i:02}" for i in range(blank))
        workflow = survey.workflow(tasks, names=names, limit=50)
        if settled:
            from starsieve.projects.services import publish_version

            definition = copy.deepcopy(workflow.current.definition)
            definition["retirement"]["settled"] = True
            publish_version(workflow=workflow, definition=definition, user=survey.owner)
            workflow.refresh_from_db()
        people = [survey.volunteer() for _ in range(8)]
        for name in names:
            for volunteer in people:
                drawn = [
                    box(*(np.array(spot) + rng.normal(0, 1, 2)).round(2).tolist(), tool=int(rng.random() < 0.2))
                    for spot in (SPOTS if name.startswith("c") else [])
                    if rng.random() < 0.9
                ]
                survey.answer(workflow, name, drawn, volunteer=volunteer)
        return workflow

    return make


def run(workflow: Any) -> Any:
    from starsieve.catalogues.consensus.runs import run_consensus

    return run_consensus(workflow=workflow)


def test_a_run_finds_the_clumps_with_probability_and_errors(clumpy: Callable[..., Any]) -> None:
    done = run(clumpy())
    said = done.subjects.get(subject__name="c00").tasks["T0"]
    places = sorted((clump["x"], clump["y"]) for clump in said["clumps"])
    np.testing.assert_allclose(places, SPOTS, atol=1.5)
    for clump in said["clumps"]:
        assert clump["probability"] > 0.9
        assert 0 < clump["x_error"] < 2
        assert sum(clump["label_fractions"].values()) == pytest.approx(1, abs=1e-5)
        assert clump["n_seen"] == 8
    assert said["risk"] < 0.5
    blank = done.subjects.get(subject__name="b00").tasks["T0"]
    assert (blank["clumps"], blank["settled"]) == ([], "blank")
    fit = done.tasks["T0"]["fit"]
    assert (fit["method"], fit["n_subjects"], fit["n_volunteers"], fit["n_clumps"]) == ("skills", 16, 8, 24)


def test_a_run_keeps_the_marks_with_who_drew_them(clumpy: Callable[..., Any]) -> None:
    row = run(clumpy()).subjects.get(subject__name="c00")
    said, drawn = row.tasks["T0"], row.marks["T0"]
    assert len(drawn["p_fp"]) == len(drawn["p_fn"]) == 8
    for number, clump in enumerate(said["clumps"]):
        members = [i for i, member in enumerate(drawn["member"]) if member == number]
        assert len(members) == clump["n_marks"]
        assert len({drawn["volunteer"][i] for i in members}) == len(members)
        assert np.mean([drawn["boxes"][i][0] for i in members]) == pytest.approx(clump["x"], abs=1)
    blank = row.run.subjects.get(subject__name="b00").marks["T0"]
    assert (blank["boxes"], len(blank["p_fn"])) == ([], 8)


def test_the_subject_page_shows_what_was_drawn(clumpy: Callable[..., Any], survey: Any, client: Any) -> None:
    workflow = clumpy(n=2, blank=1)
    client.force_login(survey.owner)
    base = f"/projects/{workflow.project.slug}/results/{workflow.pk}"
    page = f"{base}/subjects/{survey.named(workflow, 'c00').pk}/"
    assert b"marks-plot" not in client.get(page).content
    done = run(workflow)
    picture = f"{base}/consensus/{done.pk}/subjects/{survey.named(workflow, 'c00').pk}/T0.svg"
    assert f'src="{picture}?theme='.encode() in client.get(page).content
    answer = client.get(f"{picture}?theme=light")
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/svg+xml")
    assert b"2 consensus boxes" in answer.content
    assert client.get(picture.replace("T0.svg", "T9.svg")).status_code == 404
    assert client.get(picture.replace(f"/consensus/{done.pk}/", "/consensus/999/")).status_code == 404


def test_the_same_run_again_gives_the_same_numbers(clumpy: Callable[..., Any]) -> None:
    workflow = clumpy()
    first = {row.subject_id: row.tasks for row in run(workflow).subjects.all()}
    assert {row.subject_id: row.tasks for row in run(workflow).subjects.all()} == first


def test_voting_needs_no_run(clumpy: Callable[..., Any]) -> None:
    from starsieve.catalogues.consensus.runs import NothingToFit

    with pytest.raises(NothingToFit):
        run(clumpy(n=2, blank=0, method="voting"))


def test_gold_boxes_judge_the_model_that_did_not_see_them(clumpy: Callable[..., Any], survey: Any) -> None:
    from classify.models import GoldStandard

    workflow = clumpy()
    for i in range(10):
        truth = [{"x": x, "y": y, "width": 10, "height": 10} for x, y in SPOTS]
        GoldStandard.objects.create(
            workflow=workflow, subject=survey.named(workflow, f"c{i:02}"), task="T0", value=truth, source="expert"
        )
    judgement = run(workflow).tasks["T0"]["judgement"]
    assert (judgement["n_gold"], judgement["n_true"]) == (10, [20])
    assert judgement["figures"]["completeness"][0] == 1.0
    assert judgement["figures"]["purity"][0] == 1.0
    assert sum(point["n"] for point in judgement["reliability"]) == 20


def test_settled_subjects_retire_where_the_workflow_says_so_and_stay_open_when_reopened(
    clumpy: Callable[..., Any], survey: Any
) -> None:
    from classify.models import SubjectProgress
    from classify.services import reopen_subject

    workflow = clumpy(settled=True)
    run(workflow)
    rows = SubjectProgress.objects.filter(workflow=workflow, retirement_reason="settled")
    assert rows.filter(subject__name__startswith="b").count() == 4
    assert rows.filter(subject__name__startswith="c").count() > 6
    reopened = rows.get(subject__name="b00").subject
    reopen_subject(workflow=workflow, subject=reopened)
    run(workflow)
    assert SubjectProgress.objects.get(workflow=workflow, subject=reopened).retired_at is None


def test_without_the_rule_a_run_retires_nothing(clumpy: Callable[..., Any]) -> None:
    from classify.models import SubjectProgress

    workflow = clumpy()
    run(workflow)
    assert not SubjectProgress.objects.filter(workflow=workflow).exclude(retired_at=None).exists()


def test_a_rebuild_keeps_what_a_run_has_settled(clumpy: Callable[..., Any]) -> None:
    from classify.models import SubjectProgress
    from classify.rebuild import rebuild_results

    workflow = clumpy(settled=True)
    run(workflow)
    rows = SubjectProgress.objects.filter(workflow=workflow).values_list("pk", "retired_at", "retirement_reason")
    before = list(rows)
    assert rebuild_results(workflow=workflow) == 0
    assert list(rows.all()) == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_clump_table_of_a_release_is_the_models(
    clumpy: Callable[..., Any], make_release: Callable[..., Any], suffix: str
) -> None:
    workflow = clumpy(n=3, blank=1)
    release = make_release(workflow)
    run_of = run(workflow)
    clumps = rows_of(release, "clumps", suffix)
    said = run_of.subjects.get(subject__name="c00").tasks["T0"]["clumps"]
    first = [row for row in clumps if row["name"] == "c00"]
    assert len(first) == len(said) == 2
    for row, clump in zip(first, said, strict=True):
        for name in ("x", "y", "width", "height", "probability", "x_error", "height_error"):
            assert cast(row[name], 0.0) == pytest.approx(clump[name], abs=1e-6)
        assert cast(row["fraction"], 0.0) == pytest.approx(clump["n_marks"] / 8)
        assert cast(row["clumps_odd_fraction"], 0.0) == pytest.approx(clump["label_fractions"]["odd"], abs=1e-6)
    subjects = {row["name"]: row for row in rows_of(release, "subjects", suffix)}
    assert cast(subjects["c00"]["n_clumps"], 0) == 2
    assert cast(subjects["b00"]["n_clumps"], 0) == 0
    assert cast(subjects["b00"]["risk"], 0.0) < 0.5


def test_counting_alone_gives_the_voted_boxes(clumpy: Callable[..., Any], make_release: Callable[..., Any]) -> None:
    release = make_release(clumpy(n=2, blank=0), method="fractions")
    clumps = rows_of(release, "clumps", "parquet")
    assert "probability" not in clumps[0]
    assert len(clumps) == 4


@pytest.mark.parametrize(
    ("retirement", "place", "words"),
    [
        ({"classification_count": 5, "settled": "yes"}, "retirement.settled", "must be true or false"),
        ({"classification_count": 5, "soon": 1}, "retirement.soon", "not a known field"),
    ],
)
def test_a_retirement_rule_that_is_none_is_refused(retirement: Any, place: str, words: str) -> None:
    from starsieve.projects.definitions import DefinitionError, parse_definition

    with pytest.raises(DefinitionError) as refused:
        parse_definition({"first": "T0", "tasks": BOXES, "retirement": retirement})
    assert refused.value.problems[0][0] == place
    assert words in refused.value.problems[0][1]


def test_only_boxes_with_the_model_can_settle() -> None:
    from starsieve.projects.definitions import DefinitionError, parse_definition

    tasks = copy.deepcopy(BOXES)
    tasks["T0"]["consensus"] = {"method": "voting"}
    with pytest.raises(DefinitionError, match="needs a task of type boxes"):
        parse_definition({"first": "T0", "tasks": tasks, "retirement": {"classification_count": 5, "settled": True}})
