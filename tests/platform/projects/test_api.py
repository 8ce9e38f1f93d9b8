from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from starsieve.projects.models import Project, Subject, Workflow
from starsieve.projects.services import create_project, publish_version
from starsieve.projects.workflow_templates import TEMPLATES

pytestmark = pytest.mark.django_db


def token(user: Any, scope: str) -> dict[str, str]:
    from starsieve.accounts.services import make_token

    _, key = make_token(user=user, name="script", scope=scope, expires_at=None)
    return {"Authorization": f"Token {key}"}


@pytest.fixture
def subject(project: Project, subject_set: Any) -> Subject:
    frame = {"path": "stamps/ab/ab.png", "width": 10, "height": 12, "band": "r", "stretch": "log"}
    return Subject.objects.create(
        project=project, subject_set=subject_set, name="sim-17", frames=[frame], origin="simulated",
        metadata={"note": "n"}, hidden_metadata={"truth": "lens"}, ra=1, dec=2,
    )  # fmt: skip


def test_projects_are_listed_in_pages_for_whoever_may_see_them(
    client: Client, project: Project, owner: Any, django_assert_num_queries: Any
) -> None:
    create_project(title="Draft", slug="draft", summary="S", template="gz2", owner=owner)
    for i in range(3):
        create_project(title=f"P{i}", slug=f"p{i}", summary="S", template="gz2", owner=owner, status="live")
    with django_assert_num_queries(2):
        first = client.get("/api/v1/projects?page_size=3").json()
    assert [row["slug"] for row in first["results"]] == ["deep-field", "p0", "p1"]
    assert first["results"][0]["workflows"] == [
        {"id": project.workflows.get().pk, "name": "Rings", "version": "1.1", "is_active": True}
    ]
    rest = client.get(first["next"]).json()
    assert ([row["slug"] for row in rest["results"]], rest["next"]) == (["p2"], None)
    client.force_login(owner)
    assert len(client.get("/api/v1/projects").json()["results"]) == 5


def test_a_project_is_read_with_its_texts(client: Client, project: Project) -> None:
    body = client.get("/api/v1/projects/deep-field").json()
    assert body["title"] == "Deep field"
    assert body["tutorial"] == TEMPLATES["gz-rings"].tutorial
    assert client.get("/api/v1/projects/none").status_code == 404


NEW = {"title": "Lenses", "slug": "lenses", "summary": "Grade.", "template": "lens-grading"}


def test_a_project_is_made_with_an_admin_token_only(client: Client, owner: Any) -> None:
    def post(**headers: Any) -> int:
        return client.post("/api/v1/projects", NEW, content_type="application/json", headers=headers).status_code

    assert post() == 401
    assert post(**token(owner, "read")) == 403
    assert post(**token(owner, "classify")) == 403
    assert post(**token(owner, "admin")) == 201
    assert post(**token(owner, "admin")) == 409
    made = Project.objects.get(slug="lenses")
    assert (made.status, made.memberships.get().user, made.workflows.count()) == ("draft", owner, 1)


@pytest.mark.parametrize(
    "change",
    [{"slug": "new"}, {"slug": "a b"}, {"template": "x"}, {"title": ""}, {"title": None}, {"grading_by": "nobody"}],
)
def test_a_bad_project_is_refused_naming_the_field(owners_client: Client, change: dict[str, Any]) -> None:
    answer = owners_client.post("/api/v1/projects", NEW | change, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert [error["field"] for error in answer.json()["errors"]] == list(change)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not Project.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[" * 50_000, b'{"title": "a", "title": "b"}', b'{"title": "\\u0000"}', b'{"title": "\\ud800"}',
        b'{"a": NaN}', b"\xff",
    ],
)  # fmt: skip
def test_a_hostile_body_is_a_bad_request(owners_client: Client, body: bytes) -> None:
    answer = owners_client.post("/api/v1/projects", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_a_workflow_tells_its_current_version_and_tasks(client: Client, workflow: Workflow) -> None:
    body = client.get(f"/api/v1/workflows/{workflow.pk}").json()
    assert (body["version"], body["first"], body["project"]) == ("1.1", "T0", "deep-field")
    assert body["tasks"] == TEMPLATES["gz-rings"].definition["tasks"]
    assert body["retirement"] == {"classification_count": 10}


def test_a_workflow_without_a_version_is_not_there(client: Client, workflow: Workflow) -> None:
    Workflow.objects.filter(pk=workflow.pk).update(current=None)
    assert client.get(f"/api/v1/workflows/{workflow.pk}").status_code == 404


def test_versions_are_published_and_listed(
    client: Client, workflow: Workflow, owner: Any, django_assert_num_queries: Any
) -> None:
    headers = token(owner, "admin")
    address = f"/api/v1/workflows/{workflow.pk}/versions"

    def publish(definition: Any) -> Any:
        return client.post(address, {"definition": definition}, content_type="application/json", headers=headers)

    definition = TEMPLATES["gz-rings"].fresh_definition()
    assert publish(definition).status_code == 200
    definition["retirement"]["classification_count"] = 3
    answer = publish(definition)
    assert (answer.status_code, answer.json()["version"]) == (201, "2.1")
    with django_assert_num_queries(2):
        versions = client.get(address).json()["results"]
    assert [version["version"] for version in versions] == ["1.1", "2.1"]
    assert versions[1]["definition"] == definition


@pytest.mark.parametrize("definition", [{}, [], None, 5, "x", {"tasks": {"T0": {"type": "single"}}}])
def test_a_refused_definition_names_every_place(owners_client: Client, workflow: Workflow, definition: Any) -> None:
    answer = owners_client.post(
        f"/api/v1/workflows/{workflow.pk}/versions", {"definition": definition}, content_type="application/json"
    )
    assert answer.status_code in (400, 422)
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields
    assert all(field.startswith("definition") for field in fields)
    if isinstance(definition, dict) and definition:
        assert {"definition.first", "definition.tasks.T0.question", "definition.tasks.T0.answers"} <= set(fields)
    workflow.refresh_from_db()
    assert str(workflow.current) == "1.1"


@pytest.mark.parametrize("role", ["expert", "moderator", "tester", "volunteer", None])
def test_only_editors_publish(sign_in: Callable[..., Client], workflow: Workflow, role: str | None) -> None:
    body = {"definition": TEMPLATES["gz2"].fresh_definition()}
    answer = sign_in(role).post(f"/api/v1/workflows/{workflow.pk}/versions", body, content_type="application/json")
    assert answer.status_code == 403


def test_a_scientist_publishes(sign_in: Callable[..., Client], workflow: Workflow) -> None:
    body = {"definition": TEMPLATES["gz2"].fresh_definition()}
    answer = sign_in("scientist").post(
        f"/api/v1/workflows/{workflow.pk}/versions", body, content_type="application/json"
    )
    assert answer.status_code == 201


def test_a_subject_tells_only_what_a_volunteer_may_know(client: Client, subject: Subject) -> None:
    answer = client.get(f"/api/v1/subjects/{subject.pk}")
    assert answer.json() == {
        "id": subject.pk,
        "project": "deep-field",
        "frames": [
            {"url": "/media/stamps/ab/ab.png", "width": 10, "height": 12, "band": "r", "stretch": "log"}
        ],
        "metadata": {"note": "n"},
    }  # fmt: skip
    assert not any(word in answer.content for word in (b"sim", b"lens", b"truth", b"Field"))


@pytest.mark.parametrize("state", [{"is_public": False}, {"status": "draft"}])
def test_nothing_of_a_project_that_may_not_be_seen_exists(
    client: Client, sign_in: Callable[..., Client], subject: Subject, workflow: Workflow, state: dict[str, Any]
) -> None:
    Project.objects.update(**state)
    addresses = [
        "projects/deep-field", f"workflows/{workflow.pk}", f"workflows/{workflow.pk}/versions", f"subjects/{subject.pk}"
    ]  # fmt: skip
    stranger, member = sign_in(None), sign_in("volunteer")
    for address in addresses:
        assert client.get(f"/api/v1/{address}").status_code == 404
        assert stranger.get(f"/api/v1/{address}").status_code == 404
        assert member.get(f"/api/v1/{address}").status_code == 200
    lists = [someone.get("/api/v1/projects").json()["results"] for someone in (client, stranger, member)]
    assert [len(rows) for rows in lists] == [0, 0, 1]
    body = {"definition": {}}
    post = stranger.post(f"/api/v1/workflows/{workflow.pk}/versions", body, content_type="application/json")
    assert post.status_code == 404


def test_numbers_beyond_any_key_are_not_found(client: Client) -> None:
    for address in ("workflows/{}", "workflows/{}/versions", "subjects/{}"):
        assert client.get(f"/api/v1/{address.format(10**30)}").status_code == 404


def test_a_long_history_comes_in_pages(client: Client, workflow: Workflow, owner: Any) -> None:
    definition = TEMPLATES["gz-rings"].fresh_definition()
    for count in (2, 3, 4):
        definition["retirement"]["classification_count"] = count
        publish_version(workflow=workflow, definition=definition, user=owner)
    page = client.get(f"/api/v1/workflows/{workflow.pk}/versions?page_size=3").json()
    assert [version["version"] for version in page["results"]] == ["1.1", "2.1", "3.1"]
    assert [version["version"] for version in client.get(page["next"]).json()["results"]] == ["4.1"]
