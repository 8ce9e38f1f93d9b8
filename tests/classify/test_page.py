"""The classify page gives its script all it needs, and no truth."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from classify.volunteers import VISITOR_KEY

TASKS = {
    "T0": {
        "type": "single",
        "question": "What is it?",
        "help": "Look **closely** <script>alert(1)</script>",
        "examples": [{"image": "help/spiral.png", "caption": "A spiral"}],
        "answers": [{"key": "smooth", "label": "Smooth", "next": None}, {"key": "disk", "label": "Disk"}],
        "next": "T1",
    },
    "T1": {
        "type": "multiple",
        "question": "What else?",
        "answers": [{"key": "a", "label": "A"}, {"key": "b", "label": "B"}],
        "next": "T2",
    },
    "T2": {"type": "grade", "question": "How sure?", "labels": {"A": "Sure lens"}, "next": "T3"},
    "T3": {
        "type": "boxes",
        "question": "Mark",
        "tools": [{"key": "clump", "label": "Clump"}],
        "max_marks": 7,
        "next": "T4",
    },
    "T4": {"type": "text", "question": "Anything else?", "required": False},
}


def page_of(workflow: Any, client: Client) -> Any:
    return client.get(reverse("classify", args=[workflow.project.slug, workflow.pk]))


def bootstrap_in(response: Any) -> dict[str, Any]:
    found = re.search(r'<script id="bootstrap" type="application/json">(.*?)</script>', response.content.decode(), re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_bootstrap_holds_questions_addresses_and_who_asks(world: Any, client: Client) -> None:
    tutorial = [{"title": "Welcome", "text": "Read *this*", "image": "tutorial/one.png"}, {"title": "Go", "text": ""}]
    workflow = world.workflow(TASKS, title="Galaxies", tutorial=tutorial)
    response = page_of(workflow, client)
    assert response.status_code == 200
    data = bootstrap_in(response)
    path = f"/projects/{workflow.project.slug}"
    assert data["project"] == {"slug": workflow.project.slug, "title": "Galaxies", "url": f"{path}/"}
    assert data["urls"] == {
        "next": f"/api/v1/workflows/{workflow.pk}/next",
        "classifications": f"/api/v1/workflows/{workflow.pk}/classifications",
        "workflow": f"/api/v1/workflows/{workflow.pk}",
        "project": f"{path}/",
        "results": f"{path}/results/{workflow.pk}/",
        "login": f"/accounts/login/?next=%2Fprojects%2F{workflow.project.slug}%2Fclassify%2F{workflow.pk}%2F",
        "signup": f"/accounts/signup/?next=%2Fprojects%2F{workflow.project.slug}%2Fclassify%2F{workflow.pk}%2F",
    }
    assert data["tutorial"] == [
        {"title": "Welcome", "text": "<p>Read <em>this</em></p>\n", "image_url": "/media/tutorial/one.png"},
        {"title": "Go", "text": "", "image_url": ""},
    ]
    assert (data["signed_in"], data["username"], data["who"]) == (False, "", "visitor")
    assert data["totals"] == {"classified": 0}


def test_each_kind_of_task_reaches_the_browser_whole(world: Any, client: Client) -> None:
    data = bootstrap_in(page_of(world.workflow(TASKS), client))["workflow"]
    assert (data["name"], data["version"], data["first"]) == ("Main", "1.1", "T0")
    single, multiple, grade, boxes, text = (data["tasks"][key] for key in TASKS)
    assert single["answers"] == [
        {"key": "smooth", "label": "Smooth", "next": None},
        {"key": "disk", "label": "Disk", "next": "T1"},
    ]
    assert "<strong>closely</strong>" in single["help"]
    assert "<script" not in single["help"]
    assert single["examples"] == [{"url": "/media/help/spiral.png", "caption": "A spiral"}]
    assert multiple["answers"] == [{"key": "a", "label": "A"}, {"key": "b", "label": "B"}]
    assert list(grade["labels"]) == ["A", "B", "C", "I", "X"]
    assert grade["labels"]["A"] == "Sure lens"
    assert (boxes["tools"], boxes["max_marks"]) == ([{"key": "clump", "label": "Clump"}], 7)
    assert (text["required"], text["next"], text["help"]) == (False, None, "")


def test_the_page_tells_how_much_the_person_has_done(world: Any, client: Client, submit: Any, make_body: Any) -> None:
    workflow, user = world.workflow(), world.user("ada")
    client.force_login(user)
    submit(workflow, make_body(workflow.project.subjects.first().pk))
    data = bootstrap_in(page_of(workflow, client))
    assert (data["signed_in"], data["username"], data["who"]) == (True, "ada", f"user:{user.pk}")
    assert data["totals"] == {"classified": 1}


def test_no_gold_standard_reaches_the_page(world: Any, client: Client) -> None:
    from classify.services import set_gold_standard

    workflow = world.workflow(subjects=1)
    set_gold_standard(
        workflow=workflow, subject=workflow.project.subjects.get(), task="T0", value=1, source="expert",
        wrong_message="Zebra crossing",
    )  # fmt: skip
    assert "Zebra" not in page_of(workflow, client).content.decode()


def test_the_page_gives_a_visitor_an_id_so_that_a_lost_receipt_is_no_conflict(
    world: Any, client: Client, submit: Any, make_body: Any
) -> None:
    workflow = world.workflow()
    page_of(workflow, client)
    assert VISITOR_KEY in client.session
    second_try = Client()
    second_try.cookies["sessionid"] = client.cookies["sessionid"].value
    content = make_body(workflow.project.subjects.first().pk)
    assert submit(workflow, content).status_code == 201
    assert submit(workflow, content, by=second_try).status_code == 200


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"status": "paused"}, "This project is paused"),
        ({"status": "finished"}, "This project is finished"),
        ({"grading_by": "experts"}, "Experts grade here"),
    ],
)
def test_a_closed_project_says_why_and_shows_no_classifier(
    world: Any, client: Client, fields: dict[str, Any], title: str
) -> None:
    response = page_of(world.workflow({"T0": {"type": "grade", "question": "Sure?"}}, **fields), client)
    assert response.status_code == 200
    content = response.content.decode()
    assert title in content
    assert 'id="bootstrap"' not in content


def test_what_may_not_be_seen_is_not_found(world: Any, client: Client) -> None:
    assert page_of(world.workflow(is_public=False), client).status_code == 404
    assert page_of(world.workflow(status="draft"), client).status_code == 404
    workflow, other = world.workflow(), world.workflow()
    assert client.get(reverse("classify", args=[other.project.slug, workflow.pk])).status_code == 404
    assert client.get(reverse("classify", args=[workflow.project.slug, 10**25])).status_code == 404


def test_the_page_takes_no_posts(world: Any, client: Client) -> None:
    workflow = world.workflow()
    assert client.post(reverse("classify", args=[workflow.project.slug, workflow.pk])).status_code == 405


def test_the_admin_site_shows_this_rooms_rows_and_changes_none(world: Any, client: Client) -> None:
    from classify.models import Classification

    workflow = world.workflow()
    world.classify(workflow, workflow.project.subjects.first())
    client.force_login(world.user("root", is_staff=True, is_superuser=True))
    for model in ("classification", "subjectprogress", "goldstandard", "volunteer"):
        assert client.get(f"/admin/classify/{model}/").status_code == 200
        assert client.get(f"/admin/classify/{model}/add/").status_code == 403
    stored = Classification.objects.get()
    assert client.get(f"/admin/classify/classification/{stored.pk}/change/").status_code == 200
    assert client.post(f"/admin/classify/classification/{stored.pk}/change/", {}).status_code == 403
    assert client.post(f"/admin/classify/classification/{stored.pk}/delete/", {"post": "yes"}).status_code == 403
