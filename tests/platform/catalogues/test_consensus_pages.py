"""What the results pages say of a consensus run, and to whom."""

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from aggregation import reliability
from starsieve.catalogues.consensus import judging, pictures, runs
from starsieve.catalogues.consensus.methods import BOXES_METHOD, METHODS
from starsieve.catalogues.consensus.pages import consensus_on_subjects
from starsieve.catalogues.consensus.pooled import POOLED
from starsieve.catalogues.consensus.words import METHOD_WORDS, percent
from starsieve.catalogues.models import ConsensusRun
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box

BRANCHING = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [
            {"key": "smooth", "label": "Smooth", "next": None},
            {"key": "features", "label": "Features", "next": "arms"},
        ],
    },
    "arms": {
        "type": "single", "name": "arms", "question": "Are there spiral arms?",
        "answers": [{"key": "yes", "label": "Yes"}, {"key": "no", "label": "No"}],
    },
}  # fmt: skip
QUESTION = {"T0": {**BRANCHING["T0"], "answers": [{"key": "a", "label": "Smooth"}, {"key": "b", "label": "Features"}]}}
COUNTED = {"T0": {**QUESTION["T0"], "consensus": {"method": "majority"}}}


def at(name: str, workflow: Any, *more: Any) -> str:
    return reverse(name, args=[workflow.project.slug, workflow.pk, *more])


def overview(client: Client, workflow: Any) -> str:
    html: str = client.get(at("results", workflow)).content.decode()
    return html


def subject_page(client: Client, survey: Any, workflow: Any, name: str) -> str:
    html: str = client.get(at("subject_result", workflow, survey.named(workflow, name).pk)).content.decode()
    return html


def waiting(workflow: Any, **fields: Any) -> Any:
    return ConsensusRun.objects.create(workflow=workflow, workflow_version=workflow.current, **fields)


@pytest.fixture
def classified(survey: Any) -> Callable[..., Any]:
    """classified(tasks, {"one": [0, 1]}) → a workflow whose volunteers each in turn gave one answer per subject."""

    def make(tasks: dict[str, Any], answers: dict[str, list[Any]]) -> Any:
        workflow = survey.workflow(tasks, names=tuple(answers), limit=100)
        people = [survey.volunteer() for _ in range(max(map(len, answers.values())))]
        for name, values in answers.items():
            for volunteer, value in zip(people, values, strict=False):
                survey.answer(workflow, name, *(value if isinstance(value, tuple) else (value,)), volunteer=volunteer)
        return workflow

    return make


@pytest.fixture
def question(classified: Any) -> Any:
    return classified(QUESTION, {"one": [0, 0, 0, 1], "two": [1, 1, 1, 1]})


@pytest.fixture
def judged(classified: Any) -> Any:
    """A question with a gold standard on twelve subjects, fitted."""
    from classify.models import GoldStandard

    truth = {f"g{i:02}": i % 2 for i in range(12)}
    workflow = classified(QUESTION, {name: [t, t, t, 1 - t if t else t] for name, t in truth.items()})
    for name, value in truth.items():
        subject = workflow.project.subjects.get(name=name)
        GoldStandard.objects.create(workflow=workflow, subject=subject, task="T0", value=value, source="expert")
    runs.run_consensus(workflow=workflow)
    return workflow


# --- Overview -----------------------------------------------------------------------------------------------------
def test_the_overview_says_what_the_model_is_and_what_it_found(client: Client, question: Any) -> None:
    run = runs.run_consensus(workflow=question)
    html = overview(client, question)
    assert METHOD_WORDS["pooled"].sentence in html
    assert "8 votes by 4 volunteers on 2 subjects" in html
    assert f"8 classifications up to number {run.watermark}, for version 1.1" in html
    assert "Votes on one subject resemble each other" in html
    assert "show so little that votes on them are guesses" in html
    assert "The fit settled after" in html
    assert at("consensus_plot", question, run.pk, "T0-crowd") in html
    assert "Share of volunteers who give the true answer: Smooth" in html
    assert "T0-reliability" not in html
    assert "as soon as at least 10 subjects with votes have a gold standard" in html


def test_where_gold_exists_the_overview_shows_reliability_and_figures(client: Client, judged: Any) -> None:
    html = overview(client, judged)
    assert at("consensus_plot", judged, judged.consensus_runs.get().pk, "T0-reliability") in html
    assert "Reliability on 12 gold subjects:" in html
    assert "By gold: 6 Smooth, 6 Features." in html
    for figure in ("Accuracy", "Log loss", "Brier score", "Calibration error (ECE-15)", "AUC of Smooth"):
        assert f'<th scope="row">{figure}</th>' in html
    assert "Completeness of Features at false-positive rate 0.001" in html
    assert "95% interval" in html
    assert "as soon as at least" not in html


def test_questions_of_a_tree_say_how_often_they_apply(client: Client, classified: Any) -> None:
    workflow = classified(BRANCHING, {"spiral": [(1, 0)] * 4, "smooth": [(0,), (0,), (0,), (1, 1)]})
    reach = runs.run_consensus(workflow=workflow).tasks["arms"]["fit"]["reach"]
    html = overview(client, workflow)
    assert f"By the model, the question applies to {percent(reach)} of the subjects." in html
    assert html.count("the question applies to") == 1  # not of the first
    assert "The questions of the tree are fitted together." in html


def test_a_workflow_that_only_counts_has_no_such_section(client: Client, classified: Any) -> None:
    assert 'id="consensus"' not in overview(client, classified(COUNTED, {"one": [0, 1]}))


def test_before_the_first_answer_there_is_no_section_and_before_the_first_run_it_says_so(
    client: Client, survey: Any
) -> None:
    workflow = survey.workflow(QUESTION)
    assert 'id="consensus"' not in overview(client, workflow)
    survey.answer(workflow, "one", 0)
    assert "Nothing is computed yet" in overview(client, workflow)


def test_what_came_after_the_fit_is_counted(client: Client, survey: Any, question: Any) -> None:
    runs.run_consensus(workflow=question)
    assert "Since then" not in overview(client, question)
    survey.answer(question, "one", 1)
    assert "Since then 1 more has come." in overview(client, question)


@pytest.mark.parametrize(
    ("state", "words"), [("pending", "waits for a worker"), ("running", "The models are being fitted.")]
)
def test_a_run_that_waits_or_works_is_told_beside_the_last_numbers(
    client: Client, question: Any, state: str, words: str
) -> None:
    runs.run_consensus(workflow=question)
    waiting(question, state=state)
    html = overview(client, question)
    assert words in html
    assert "js/catalogues/consensus.js" in html
    assert "8 votes by 4 volunteers" in html


def test_why_a_run_failed_is_told_to_those_who_can_mend_it(
    client: Client, question: Any, member: Callable[..., Any]
) -> None:
    runs.run_consensus(workflow=question)
    waiting(question, state="failed", error="MemoryError: no room", finished_at=timezone.now())
    html = overview(client, question)
    assert "MemoryError" not in html
    assert "The last update did not work. The numbers below are those of the fit before." in html
    client.force_login(member(question, "scientist"))
    assert "The last fit of the models failed: MemoryError: no room" in overview(client, question)


def test_numbers_of_other_questions_are_told_from_todays(client: Client, survey: Any, question: Any) -> None:
    from starsieve.projects.services import publish_version

    runs.run_consensus(workflow=question)
    tasks = copy.deepcopy(QUESTION)
    tasks["T0"]["answers"].append({"key": "artifact", "label": "Artifact"})
    definition = {"first": "T0", "tasks": tasks, "retirement": {"classification_count": 9}}
    publish_version(workflow=question, definition=definition, user=survey.owner)
    assert "These numbers belong to version 1.1" in overview(client, question)
    assert "Consensus:" not in subject_page(client, survey, question, "one")


# --- Plots --------------------------------------------------------------------------------------------------------
def test_a_plot_is_drawn_once_in_each_theme_and_may_be_kept(
    client: Client, judged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    draw = pictures.Picture.svg
    monkeypatch.setattr(pictures.Picture, "svg", lambda self, theme: drawn.append(theme) or draw(self, theme))
    address = at("consensus_plot", judged, judged.consensus_runs.get().pk, "T0-reliability")
    dark, light, again = (client.get(address, {"theme": theme}) for theme in ("dark", "light", "dark"))
    assert drawn == ["dark", "light"]
    assert dark.content == again.content != light.content
    assert dark["Content-Type"] == "image/svg+xml"
    assert dark["Cache-Control"] in ("private, max-age=86400", "max-age=86400, private")
    assert ElementTree.fromstring(dark.content)[0].text == "Do the probabilities mean what they say?"


@pytest.mark.parametrize("name", ["T0-crowd", "T0-gold", "T0-reliability"])
def test_every_plot_has_the_size_that_the_page_gives_it(client: Client, judged: Any, name: str) -> None:
    run = judged.consensus_runs.get()
    picture = next(each for each in pictures.pictures_of(run) if each.name == name)
    root = ElementTree.fromstring(client.get(at("consensus_plot", judged, run.pk, name)).content)
    assert (float(root.get("width", 0)), float(root.get("height", 0))) == pytest.approx(picture.size, abs=0.5)


def test_a_plot_that_is_not_there_is_not_found(client: Client, survey: Any, judged: Any, question: Any) -> None:
    run = judged.consensus_runs.get()
    unfinished = waiting(question)
    for address in (
        at("consensus_plot", judged, run.pk, "T9-crowd"),
        at("consensus_plot", question, run.pk, "T0-crowd"),
        at("consensus_plot", question, unfinished.pk, "T0-crowd"),
        at("consensus_plot", question, 10**30, "T0-crowd"),
    ):
        assert client.get(address).status_code == 404
    judged.project.is_public = False
    judged.project.save()
    assert client.get(at("consensus_plot", judged, run.pk, "T0-crowd")).status_code == 404


def test_what_is_drawn_of_a_curve_is_what_was_stored() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet([0.3, 0.3], 40)
    curve = reliability(p, rng.integers(0, 2, 40), 10)
    full = curve.n > 0
    assert not full.all()
    read = pictures._read_reliability(judging._curve(curve))
    again = read.n > 0
    for name in ("n", "confidence", "accuracy", "low", "high"):
        np.testing.assert_allclose(getattr(read, name)[again], getattr(curve, name)[full], atol=1e-6)
    np.testing.assert_allclose(read.edges[:-1][again], curve.edges[:-1][full])
    np.testing.assert_allclose(read.edges[1:][again], curve.edges[1:][full])


# --- Update now ---------------------------------------------------------------------------------------------------
def test_a_scientist_has_the_consensus_computed_now(client: Client, question: Any, member: Callable[..., Any]) -> None:
    scientist = member(question, "scientist")
    client.force_login(scientist)
    assert ">Update now<" in overview(client, question)
    answer = client.post(at("update_consensus", question))
    assert answer["Location"] == at("results", question) + "#consensus"
    assert ConsensusRun.objects.get().created_by == scientist
    html = overview(client, question)
    assert "The consensus is being computed; the numbers appear here in a moment." in html
    assert "disabled>Update now<" in html


def test_asking_again_and_asking_for_nothing_get_a_friendly_answer(
    client: Client, survey: Any, question: Any, classified: Any
) -> None:
    client.force_login(survey.owner)
    client.post(at("update_consensus", question))
    again = client.post(at("update_consensus", question), follow=True).content.decode()
    assert "being computed already" in again
    assert ConsensusRun.objects.count() == 1
    nothing = client.post(at("update_consensus", classified(COUNTED, {"one": [0]})), follow=True).content.decode()
    assert "No question of this workflow has a method beyond counting votes" in nothing


@pytest.mark.parametrize("role", [None, "volunteer", "expert", "moderator"])
def test_others_may_not(client: Client, question: Any, member: Callable[..., Any], role: str | None) -> None:
    if role:
        client.force_login(member(question, role))
    assert client.post(at("update_consensus", question)).status_code == 403
    assert "Update now" not in overview(client, question)
    assert not ConsensusRun.objects.exists()


def test_the_consensus_is_not_computed_by_looking(client: Client, survey: Any, question: Any) -> None:
    client.force_login(survey.owner)
    assert client.get(at("update_consensus", question)).status_code == 405


# --- Subjects -----------------------------------------------------------------------------------------------------
def test_a_subject_page_shows_the_probability_of_each_answer_beside_the_live_votes(
    client: Client, survey: Any, question: Any
) -> None:
    run = runs.run_consensus(workflow=question)
    survey.answer(question, "one", 1)
    one = run.subjects.get(subject__name="one").subject_id
    p = consensus_on_subjects(question, [one]).of[one]["T0"]["p"]
    html = subject_page(client, survey, question, "one")
    assert f"Consensus: <strong>Smooth</strong>, probability {percent(p[0])}".replace("<1", "&lt;1") in html
    assert f'value="{p[0]:.4f}" aria-label="Smooth, probability"' in html
    assert 'value="0.6000" aria-label="Smooth, votes"' in html  # three of five
    assert "The model has read" not in html  # the vote after the fit has been weighed too
    assert run.finished_at.strftime("%Y, %H:%M UTC") in html


def test_without_a_run_a_subject_page_shows_votes_alone(client: Client, survey: Any, question: Any) -> None:
    html = subject_page(client, survey, question, "one")
    assert "probability" not in html.lower()
    assert 'aria-label="Smooth"' in html


def test_a_question_of_a_tree_says_how_probably_it_applies(client: Client, survey: Any, classified: Any) -> None:
    workflow = classified(BRANCHING, {"spiral": [(1, 0)] * 4, "smooth": [(0,), (0,), (0,), (1, 1)]})
    run = runs.run_consensus(workflow=workflow)
    reach = run.subjects.get(subject__name="smooth").tasks["arms"]["reach"]
    html = subject_page(client, survey, workflow, "smooth")
    assert f"The question applies with probability {percent(reach)}." in html
    assert html.count("The question applies") == 1


def test_a_grade_has_its_rank_and_says_when_experts_should_talk(client: Client, survey: Any, classified: Any) -> None:
    workflow = classified(GRADE, {"lens": list("AAAA"), "split": list("AAXX"), "dud": list("XXXX")})
    run = runs.run_consensus(workflow=workflow)
    row = run.subjects.get(subject__name="split")
    row.tasks["T0"]["adjudicate"] = True
    row.save()
    said = run.subjects.get(subject__name="lens").tasks["T0"]
    html = subject_page(client, survey, workflow, "lens")
    assert f"rank {said['rank']:.2f} ± {said['rank_error']:.2f}" in html
    assert "Experts should talk" not in html
    assert "Experts should talk" in subject_page(client, survey, workflow, "split")
    assert "Divided" in client.get(at("results_subjects", workflow)).content.decode()


def test_weighted_votes_are_not_called_probabilities(client: Client, survey: Any, classified: Any) -> None:
    tasks = {"T0": {**QUESTION["T0"], "consensus": {"method": "weighted"}}}
    workflow = classified(tasks, {"one": [0, 0, 1], "two": [1, 1, 1]})
    runs.run_consensus(workflow=workflow)
    html = subject_page(client, survey, workflow, "one")
    assert 'aria-label="Smooth, weighted votes"' in html
    assert 'aria-label="Smooth, probability"' not in html


@pytest.fixture
def marked(survey: Any) -> Any:
    """Boxes by six volunteers who agree on one thing on each of twelve subjects, where gold knows it; fitted."""
    from classify.models import GoldStandard

    names = tuple(f"m{i:02}" for i in range(12))
    workflow = survey.workflow(BOXES, names=names, limit=100)
    for juror in range(6):
        volunteer = survey.volunteer()
        for name in names:
            stray = [box(70, 60)] if juror == 0 else []
            survey.answer(workflow, name, [box(20 + 0.2 * juror, 30 - 0.1 * juror), *stray], volunteer=volunteer)
    for subject in workflow.project.subjects.all():
        GoldStandard.objects.create(
            workflow=workflow, subject=subject, task="T0", value=[box(20.5, 29.7)], source="expert"
        )
    runs.run_consensus(workflow=workflow)
    return workflow


def test_boxes_have_probabilities_errors_and_what_may_be_missing(client: Client, survey: Any, marked: Any) -> None:
    said = marked.consensus_runs.get().subjects.get(subject__name="m00").tasks["T0"]
    html = subject_page(client, survey, marked, "m00")
    first = said["clumps"][0]
    assert f"<strong>{len(said['clumps'])} box" in html
    assert f"probability {percent(first['probability'])}".replace(">", "&gt;") in html
    assert f'<rect class="box" x="{first["x"]}" y="{first["y"]}"' in html
    assert f"± {first['x_error']:.1f}, {first['y_error']:.1f}" in html
    assert "expected to be missing" in html
    assert "Counting alone gives 1 box." in html
    assert client.get(at("results_subjects", marked)).context["page"].rows[0].consensus.answer.endswith("box")


def test_boxes_are_judged_by_the_true_boxes(client: Client, marked: Any) -> None:
    html = overview(client, marked)
    assert "marks by 6 volunteers on 12 subjects" in html
    assert "The typical volunteer misses" in html
    assert "By gold: 12 true boxes." in html
    assert '<th scope="row">Purity</th>' in html
    address = at("consensus_plot", marked, marked.consensus_runs.get().pk, "T0-reliability")
    assert address in html
    assert b">Boxes<" in client.get(address).content


def test_the_table_has_the_consensus_of_the_first_modelled_task(
    client: Client, survey: Any, question: Any, django_assert_max_num_queries: Any
) -> None:
    address = at("results_subjects", question)
    assert "Consensus</th>" not in client.get(address).content.decode()
    runs.run_consensus(workflow=question)
    with django_assert_max_num_queries(10):
        page = client.get(address)
    assert "Consensus</th>" in page.content.decode()
    said = {row.progress.subject.name: row.consensus.answer for row in page.context["page"].rows}
    assert said == {"one": "Smooth", "two": "Features"}


def test_pages_with_a_consensus_cost_a_fixed_number_of_queries(
    client: Client, survey: Any, question: Any, django_assert_max_num_queries: Any
) -> None:
    run = runs.run_consensus(workflow=question)
    waiting(question)
    client.get(at("results", question))
    with django_assert_max_num_queries(12):
        client.get(at("results", question))
    with django_assert_max_num_queries(10):
        subject_page(client, survey, question, "one")
    with django_assert_max_num_queries(2):
        client.get(at("consensus_plot", question, run.pk, "T0-crowd"))


def test_texts_and_questions_with_several_answers_stay_as_they_are(
    client: Client, survey: Any, classified: Any
) -> None:
    workflow = classified(TREE, {"one": [(1, [0]), (1, [0, 1])], "two": [(0,), (0,)]})
    runs.run_consensus(workflow=workflow)
    html = subject_page(client, survey, workflow, "one")
    assert 'aria-label="Ring"' in html
    assert 'aria-label="Smooth, votes"' in html


# --- Words --------------------------------------------------------------------------------------------------------
def test_every_method_is_put_into_words() -> None:
    assert set(METHOD_WORDS) == {*METHODS, POOLED, BOXES_METHOD}


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.004, "<1%"), (0.5, "50%"), (0.994, "99%"), (0.9999, ">99%"), (1, "100%")]
)
def test_a_share_is_not_rounded_to_certainty(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_run_that_has_not_settled_says_so(client: Client, question: Any) -> None:
    run = runs.run_consensus(workflow=question)
    run.tasks["T0"]["fit"]["converged"] = False
    run.finished_at += timedelta(seconds=1)
    run.save()
    assert "take its numbers with care" in overview(client, question)
