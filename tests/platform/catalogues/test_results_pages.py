"""The results pages: who may see what, and what they say."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from django.test import Client
from django.urls import reverse

from classify.models import SubjectProgress
from starsieve.catalogues import services
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box


def at(name: str, workflow: Any, *more: Any) -> str:
    return reverse(name, args=[workflow.project.slug, workflow.pk, *more])


@pytest.fixture
def workflow(survey: Any) -> Any:
    made = survey.workflow(TREE)
    for values in [(0,), (1, [0]), (1, [0, 1]), (1, [])]:
        survey.answer(made, "one", *values)
    return made


PAGES = ["results", "results_subjects", "releases"]


@pytest.mark.parametrize("name", PAGES)
def test_everyone_sees_the_results_of_a_public_project(client: Client, workflow: Any, name: str) -> None:
    assert client.get(at(name, workflow)).status_code == 200


@pytest.mark.parametrize("hidden", [{"is_public": False}, {"status": "draft"}])
def test_a_project_that_may_not_be_seen_has_no_results(
    client: Client, survey: Any, workflow: Any, hidden: dict[str, Any]
) -> None:
    for field, value in hidden.items():
        setattr(workflow.project, field, value)
    workflow.project.save()
    one = survey.named(workflow, "one").pk
    addresses = [*(at(name, workflow) for name in PAGES), at("subject_result", workflow, one),
                 at("results_plot", workflow, "per-day")]  # fmt: skip
    assert {client.get(address).status_code for address in addresses} == {404}
    client.force_login(survey.owner)
    assert {client.get(address).status_code for address in addresses} == {200}


def test_a_workflow_is_found_in_its_own_project_only(client: Client, survey: Any, workflow: Any) -> None:
    other = survey.workflow(GRADE)
    address = reverse("results", args=[other.project.slug, workflow.pk])
    assert client.get(address).status_code == 404


def test_the_overview_counts_and_shows_a_picture_with_words_for_each_question(client: Client, workflow: Any) -> None:
    page = client.get(at("results", workflow))
    html = page.content.decode()
    assert "Mean vote fractions over 1 subjects: Smooth 25%, Features or disk 75%." in html
    assert "50 % retired" in html
    assert "From all 1 classified subjects" in html
    for plot in page.context["plots"]:
        assert at("results_plot", workflow, plot.name) in html


def test_a_plot_is_a_picture_that_may_be_kept_while_its_numbers_last(client: Client, workflow: Any) -> None:
    version = client.get(at("results", workflow)).context["statistics"].version
    address = at("results_plot", workflow, "T0-fractions")
    kept = client.get(address, {"theme": "light", "v": version})
    assert kept["Content-Type"] == "image/svg+xml"
    assert "max-age=86400" in kept["Cache-Control"]
    assert "private" in kept["Cache-Control"]
    ElementTree.fromstring(kept.content)
    assert "max-age=0" in client.get(address)["Cache-Control"]
    assert "max-age=0" in client.get(address, {"v": "x\n"})["Cache-Control"]


def test_another_workflows_version_does_not_open_its_numbers(client: Client, survey: Any, workflow: Any) -> None:
    version = client.get(at("results", workflow)).context["statistics"].version
    other = survey.workflow(TREE)
    assert client.get(at("results_plot", other, "T0-fractions"), {"v": version}).status_code == 404


def test_an_unknown_plot_does_not_exist(client: Client, workflow: Any) -> None:
    assert client.get(at("results_plot", workflow, "T9-fractions")).status_code == 404


def test_a_workflow_without_answers_says_so(client: Client, survey: Any) -> None:
    assert b"No classifications yet" in client.get(at("results", survey.workflow(GRADE))).content


def test_the_subject_table_leads_on_with_its_order_and_filter(
    client: Client, workflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starsieve.catalogues.subject_table.PAGE_SIZE", 1)
    page = client.get(at("results_subjects", workflow), {"sort": "count"})
    assert [row.progress.subject.name for row in page.context["page"].rows] == ["one"]
    following = client.get(at("results_subjects", workflow) + page.context["next_url"])
    assert [row.progress.subject.name for row in following.context["page"].rows] == ["two"]
    assert b"Back to the start" in following.content


def test_an_order_that_is_not_offered_does_not_exist(client: Client, workflow: Any) -> None:
    assert client.get(at("results_subjects", workflow), {"sort": "price"}).status_code == 404


def test_the_subject_page_tells_how_many_reached_each_question(client: Client, survey: Any, workflow: Any) -> None:
    page = client.get(at("subject_result", workflow, survey.named(workflow, "one").pk))
    results = page.context["tasks"]
    assert [(r.task.key, r.n, r.reached) for r in results] == [("T0", 4, 1.0), ("T1", 3, 0.75)]
    assert [(bar.label, bar.n, bar.percent) for bar in results[0].bars] == [
        ("Smooth", 1, "25%"), ("Features or disk", 3, "75%"),
    ]  # fmt: skip
    html = page.content.decode()
    assert "3 of 4 volunteers (75%)" in html
    assert "Retired: classification count" in html
    assert "150.000000°" in html


def test_grades_show_the_letter_and_the_mean(client: Client, survey: Any) -> None:
    workflow = survey.workflow(GRADE)
    for grade in "AAB":
        survey.answer(workflow, "one", grade)
    html = client.get(at("subject_result", workflow, survey.named(workflow, "one").pk)).content.decode()
    assert "grade <strong>A</strong>" in html
    assert "mean 2.67 on X 0 to A 3" in html


def test_consensus_boxes_lie_over_the_stamp_in_its_own_pixels(client: Client, survey: Any) -> None:
    workflow = survey.workflow(BOXES)
    for _ in range(2):
        survey.answer(workflow, "one", [box(20, 30, 12, 8)])
    html = client.get(at("subject_result", workflow, survey.named(workflow, "one").pk)).content.decode()
    assert 'viewBox="0 0 100 80"' in html
    assert '<rect class="box" x="20.0" y="30.0" width="12.0" height="8.0">' in html
    assert "style=" not in html


def test_a_subject_nobody_classified_says_so(client: Client, survey: Any, workflow: Any) -> None:
    page = client.get(at("subject_result", workflow, survey.named(workflow, "two").pk))
    assert b"Not classified yet" in page.content


def test_hidden_metadata_and_the_control_sample_are_for_scientists(
    client: Client, survey: Any, workflow: Any, member: Callable[..., Any]
) -> None:
    SubjectProgress.objects.filter(workflow=workflow).update(is_control=True)
    address = at("subject_result", workflow, survey.named(workflow, "one").pk)
    for role in (None, "volunteer", "expert", "moderator"):
        if role:
            client.force_login(member(workflow, role))
        html = client.get(address).content.decode()
        assert "truth" not in html
        assert "control sample" not in html
    client.force_login(member(workflow, "scientist"))
    html = client.get(address).content.decode()
    assert "truth" in html
    assert "control sample" in html


def test_a_subject_of_another_workflow_is_not_found(client: Client, survey: Any, workflow: Any) -> None:
    stranger = survey.named(survey.workflow(GRADE), "one")
    assert client.get(at("subject_result", workflow, stranger.pk)).status_code == 404


# --- By hand ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("role", "reason"), [("scientist", "human"), ("moderator", "human"), ("expert", "expert")])
def test_those_who_may_retire_and_reopen_by_hand(
    client: Client, survey: Any, workflow: Any, member: Callable[..., Any], role: str, reason: str
) -> None:
    client.force_login(member(workflow, role))
    two = survey.named(workflow, "two")
    address = at("decide_subject", workflow, two.pk)
    assert client.post(address, {"decision": "retire"}).status_code == 302
    assert SubjectProgress.objects.get(subject=two).retirement_reason == reason
    assert b"Reopen" in client.get(at("subject_result", workflow, two.pk)).content
    client.post(address, {"decision": "reopen"})
    assert SubjectProgress.objects.get(subject=two).retired_at is None


def test_a_decision_that_is_none_changes_nothing(
    client: Client, survey: Any, workflow: Any, member: Callable[..., Any]
) -> None:
    client.force_login(member(workflow, "scientist"))
    two = survey.named(workflow, "two")
    page = client.post(at("decide_subject", workflow, two.pk), {"decision": "sell"}, follow=True)
    assert b"Choose to retire or to reopen" in page.content
    assert SubjectProgress.objects.get(subject=two).retired_at is None


@pytest.mark.parametrize("role", [None, "volunteer", "tester"])
def test_others_may_not_retire(
    client: Client, survey: Any, workflow: Any, member: Callable[..., Any], role: str | None
) -> None:
    if role:
        client.force_login(member(workflow, role))
    two = survey.named(workflow, "two")
    assert client.post(at("decide_subject", workflow, two.pk), {"decision": "retire"}).status_code == 403
    assert b">Retire<" not in client.get(at("subject_result", workflow, two.pk)).content
    assert SubjectProgress.objects.get(subject=two).retired_at is None


def test_a_subject_number_that_no_database_holds_is_not_found(client: Client, survey: Any, workflow: Any) -> None:
    client.force_login(survey.owner)
    assert client.get(at("subject_result", workflow, 10**30)).status_code == 404
    assert client.post(at("decide_subject", workflow, 10**30), {"decision": "retire"}).status_code == 404


def test_a_decision_is_not_taken_by_looking(client: Client, survey: Any, workflow: Any) -> None:
    client.force_login(survey.owner)
    assert client.get(at("decide_subject", workflow, survey.named(workflow, "two").pk)).status_code == 405


# --- Queries ------------------------------------------------------------------------------------------------------
def test_the_pages_cost_a_fixed_number_of_queries(
    client: Client, survey: Any, workflow: Any, django_assert_max_num_queries: Any
) -> None:
    services.refresh_disagreement(workflow=workflow)
    client.get(at("results", workflow))
    with django_assert_max_num_queries(10):
        client.get(at("results", workflow))
    version = client.get(at("results", workflow)).context["statistics"].version
    with django_assert_max_num_queries(1):
        client.get(at("results_plot", workflow, "T0-fractions"), {"v": version})
    with django_assert_max_num_queries(8):
        client.get(at("results_subjects", workflow), {"sort": "disagreement"})
