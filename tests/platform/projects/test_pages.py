import json
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from starsieve.projects.models import Project, Subject, Workflow
from starsieve.projects.services import create_project, create_subject_set, link_subject_set, set_member
from starsieve.projects.workflow_templates import TEMPLATES

pytestmark = pytest.mark.django_db

ROLES = ["owner", "scientist", "expert", "moderator", "tester", "volunteer", None]
EDITORS = {"owner", "scientist"}


def text_of(response: Any) -> str:
    return unescape(response.content.decode())


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def add_subjects(project: Project, n: int, origin: str = "real") -> None:
    subject_set, _ = create_subject_set(project=project, name=f"{origin} set", origin=origin)
    frame = {"path": "stamps/ab/ab.png", "width": 10, "height": 10, "band": "", "stretch": ""}
    Subject.objects.bulk_create(
        Subject(project=project, subject_set=subject_set, name=f"{origin}-{i}", frames=[frame], origin=origin)
        for i in range(n)
    )
    link_subject_set(workflow=project.workflows.get(), subject_set=subject_set)


def addresses(project: Project) -> dict[str, tuple[str, set[str]]]:
    """Every management address with the roles that may use it."""
    workflow = project.workflows.get()
    pages = {
        name: (reverse(name, args=[project.slug]), EDITORS)
        for name in ("manage_project", "manage_subjects", "manage_workflows")
    }
    pages["edit_workflow"] = (reverse("edit_workflow", args=[project.slug, workflow.pk]), EDITORS)
    pages["manage_members"] = (reverse("manage_members", args=[project.slug]), {"owner"})
    return pages


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_exactly_its_management_pages(
    project: Project, sign_in: Callable[..., Client], role: str | None
) -> None:
    client = sign_in(role)
    for name, (address, allowed) in addresses(project).items():
        for method in ("get", "post"):
            status = getattr(client, method)(address).status_code
            assert status == (200 if role in allowed else 403), (name, method)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_posts_exactly_what_it_may(
    project: Project, workflow: Workflow, owner: Any, sign_in: Callable[..., Client], role: str | None
) -> None:
    client = sign_in(role)
    posts = {
        reverse("link_set", args=[project.slug]): EDITORS,
        reverse("switch_workflow", args=[project.slug, workflow.pk]): EDITORS,
        reverse("change_role", args=[project.slug, owner.pk]): {"owner"},
        reverse("take_role", args=[project.slug, owner.pk]): {"owner"},
    }
    for address, allowed in posts.items():
        assert client.post(address).status_code == (302 if role in allowed else 403), address
        assert client.get(address).status_code == 405


def test_a_visitor_manages_nothing(client: Client, project: Project) -> None:
    for address, _ in addresses(project).values():
        assert client.get(address).status_code == 403
        assert client.post(address).status_code == 403


@pytest.mark.parametrize("state", [{"is_public": False}, {"status": "draft"}])
def test_a_project_that_may_not_be_seen_does_not_exist(
    client: Client, project: Project, sign_in: Callable[..., Client], owners_client: Client, state: dict[str, Any]
) -> None:
    Project.objects.filter(pk=project.pk).update(**state)
    addresses_of = [reverse("project", args=["deep-field"]), *(address for address, _ in addresses(project).values())]
    for stranger in (client, sign_in(None)):
        assert {stranger.get(address).status_code for address in addresses_of} == {404}
        assert "Deep field" not in text_of(stranger.get("/"))
    assert sign_in("volunteer").get(addresses_of[0]).status_code == 200
    assert "Deep field" in text_of(owners_client.get("/"))


def test_home_shows_projects_with_their_counts(client: Client, project: Project) -> None:
    add_subjects(project, 3)
    response = client.get("/")
    (card,) = response.context["cards"]
    assert (card.project, card.n_subjects, card.n_classifications, card.percent_done) == (project, 3, 0, 0)
    assert card.classify_workflow_id == project.workflows.get().pk
    assert card.cover_url == "/media/stamps/ab/ab.png"
    assert [stamp.name for stamp in response.context["hero_stamps"]] == ["real-0", "real-1", "real-2"]
    assert "3 stamps" in text_of(response)


def test_home_shows_no_simulated_stamp_as_the_sky(client: Client, project: Project) -> None:
    add_subjects(project, 2, origin="simulated")
    response = client.get("/")
    assert response.context["hero_stamps"] == []
    assert response.context["cards"][0].cover_url == ""


def test_home_costs_the_same_for_one_project_and_many(
    client: Client, project: Project, owner: Any, django_assert_num_queries: Any
) -> None:
    add_subjects(project, 2)
    with django_assert_num_queries(5):
        client.get("/")
    for i in range(5):
        other = create_project(title=f"P{i}", slug=f"p{i}", summary="S", template="gz2", owner=owner, status="live")
        add_subjects(other, 2)
    with django_assert_num_queries(5):
        client.get("/")


def test_a_projects_page_tells_progress_origin_and_text(client: Client, project: Project) -> None:
    add_subjects(project, 2)
    add_subjects(project, 1, origin="simulated")
    Project.objects.filter(pk=project.pk).update(description="**Bold** <script>alert(1)</script>")
    progress = project.workflows.get().progress.order_by("pk")
    progress.filter(pk=progress[0].pk).update(retired_at="2026-01-01T00:00Z")
    response = client.get("/projects/deep-field/")
    (card,) = response.context["workflow_cards"]
    assert (card.n_subjects, card.n_retired, card.percent_done, card.may_classify) == (3, 1, 33, True)
    stats = response.context["stats"]
    assert (stats["n_subjects"], stats["n_real"], stats["n_simulated"], stats["n_volunteers"]) == (3, 2, 1, 0)
    assert {stamp.name for stamp in response.context["sample_stamps"]} == {"real-0", "real-1"}
    assert "<strong>Bold</strong>" in response.content.decode()
    assert "<script>alert" not in response.content.decode()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"status": "paused"}, "paused"),
        ({"status": "finished"}, "finished"),
        ({"grading_by": "experts"}, ""),
    ],
)
def test_a_closed_project_says_why(client: Client, project: Project, state: dict[str, str], words: str) -> None:
    Project.objects.filter(pk=project.pk).update(**state)
    (card,) = client.get("/projects/deep-field/").context["workflow_cards"]
    assert words in card.closed_reason
    assert card.may_classify is (words == "")


def test_grading_kept_to_experts_says_so(client: Client, owner: Any) -> None:
    create_project(
        title="L", slug="l", summary="S", template="lens-grading", owner=owner, status="live", grading_by="experts"
    )
    (card,) = client.get("/projects/l/").context["workflow_cards"]
    assert "Experts grade" in card.closed_reason


def test_about_is_there(client: Client) -> None:
    assert client.get("/about/").status_code == 200


def test_anyone_with_an_account_makes_a_project(client: Client, make_user: Callable[..., Any]) -> None:
    assert client.get("/projects/new/").headers["Location"].startswith("/accounts/login/")
    client.force_login(make_user("ada"))
    page = text_of(client.get("/projects/new/"))
    assert all(template.name in page and template.summary in page for template in TEMPLATES.values())
    wanted = {"title": "Rings", "slug": "rings", "summary": "Rings!", "template": "gz-rings"}
    assert client.post("/projects/new/", wanted).headers["Location"] == "/projects/rings/manage/"
    assert Project.objects.get(slug="rings").memberships.get().user.username == "ada"
    again = client.post("/projects/new/", wanted)
    assert "is taken" in text_of(again)
    for change in ({"slug": "new"}, {"template": "nope"}, {"title": ""}):
        assert client.post("/projects/new/", wanted | {"slug": "r2"} | change).status_code == 200
    assert Project.objects.count() == 1


SETTINGS = {
    "title": "Deeper field", "summary": "S", "description": "d", "data_note": "", "status": "paused",
    "grading_by": "experts", "tutorial": "## One\nLook.\n\n## Two\nAnswer.\n\n![](examples/a.png)",
}  # fmt: skip


def test_settings_are_saved_with_the_tutorial_cut_into_steps(owners_client: Client, project: Project) -> None:
    address = reverse("manage_project", args=["deep-field"])
    assert owners_client.post(address, SETTINGS).status_code == 302
    project.refresh_from_db()
    assert (project.title, project.status, project.is_public) == ("Deeper field", "paused", False)
    assert project.tutorial == [
        {"title": "One", "text": "Look."},
        {"title": "Two", "text": "Answer.", "image": "examples/a.png"},
    ]
    assert SETTINGS["tutorial"] == owners_client.get(address).context["form"]["tutorial"].value()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tutorial": "Look.\n## One"}, "line 1: begin every step"),
        ({"tutorial": "## \ntext"}, "1 to 120 characters"),
        ({"tutorial": "## A\n![](../secret.png)"}, "no path of a .png"),
        ({"tutorial": "## A\n" * 21}, "at most 20"),
        ({"title": ""}, "required"),
        ({"description": "a\n" * 10_001}, "at most 20000"),
        ({"data_note": "a" * 20_001}, "at most 20000"),
        ({"status": "gone"}, "gone"),
    ],
)
def test_bad_settings_are_shown_and_change_nothing(
    owners_client: Client, project: Project, change: dict[str, str], words: str
) -> None:
    response = owners_client.post(reverse("manage_project", args=["deep-field"]), SETTINGS | change)
    assert words in text_of(response)
    project.refresh_from_db()
    assert project.title == "Deep field"


def test_members_are_added_by_user_name_changed_and_removed(
    owners_client: Client, project: Project, make_user: Callable[..., Any]
) -> None:
    ada = make_user("ada")
    members = reverse("manage_members", args=["deep-field"])
    for person, role in (("ADA", "expert"), (" ada ", "tester")):
        assert owners_client.post(members, {"person": person, "role": role}).status_code == 302
        assert project.memberships.get(user=ada).role == role
    for stranger in ("nobody", "ada@example.org"):  # an address must not tell whether it has an account
        assert "no account of that name" in text_of(owners_client.post(members, {"person": stranger, "role": "expert"}))
    owners_client.post(reverse("change_role", args=["deep-field", ada.pk]), {"role": "moderator"})
    assert project.memberships.get(user=ada).role == "moderator"
    owners_client.post(reverse("change_role", args=["deep-field", ada.pk]), {"role": "king"})
    assert project.memberships.get(user=ada).role == "moderator"
    owners_client.post(reverse("take_role", args=["deep-field", ada.pk]))
    assert not project.memberships.filter(user=ada).exists()
    assert owners_client.post(reverse("take_role", args=["deep-field", ada.pk])).status_code == 404


def test_the_last_owner_cannot_leave_by_any_page(owners_client: Client, project: Project, owner: Any) -> None:
    posts = [
        (reverse("take_role", args=["deep-field", owner.pk]), {}),
        (reverse("change_role", args=["deep-field", owner.pk]), {"role": "expert"}),
    ]
    for address, data in posts:
        assert "needs an owner" in messages_of(owners_client.post(address, data))[-1]
    response = owners_client.post(
        reverse("manage_members", args=["deep-field"]), {"person": "owner", "role": "volunteer"}
    )
    assert "needs an owner" in text_of(response)
    assert project.memberships.get().role == "owner"


def upload(archive: Any, **fields: str) -> dict[str, Any]:
    return {"archive": archive, "subject_set": "Up", "origin": "simulated", "stretch": "asinh"} | fields


def test_an_uploaded_archive_becomes_subjects_and_the_rejects_are_listed(
    owners_client: Client, project: Project, make_archive: Any, make_png: Any
) -> None:
    manifest = "name,image,#truth,note\na,p/a.png,lens,<b>\nb,p/none.png,,\n"
    archive = make_archive({"m.csv": manifest, "p/a.png": make_png()})
    address = reverse("manage_subjects", args=["deep-field"])
    assert owners_client.post(address, upload(archive)).status_code == 302
    subject = project.subjects.get()
    assert (subject.metadata, subject.hidden_metadata, subject.origin) == (
        {"note": "<b>"},
        {"truth": "lens"},
        "simulated",
    )
    page = text_of(owners_client.get(address))
    assert "p/none.png” is not in the archive" in page
    last = project.imports.get()
    assert (last.created_count, last.rejected_count, last.created_by.username) == (1, 1, "owner")


def test_an_archive_that_is_none_is_refused_in_words(owners_client: Client, project: Project) -> None:
    address = reverse("manage_subjects", args=["deep-field"])
    response = owners_client.post(address, upload(SimpleUploadedFile("x.zip", b"not a zip")))
    assert "is not a ZIP archive" in text_of(response)
    assert not project.subject_sets.exists()


def test_an_upload_into_a_set_of_the_other_origin_is_refused(
    owners_client: Client, project: Project, subject_set: Any, make_archive: Any, make_png: Any
) -> None:
    archive = make_archive({"m.csv": "name,image\na,a.png\n", "a.png": make_png()})
    response = owners_client.post(
        reverse("manage_subjects", args=["deep-field"]), upload(archive, subject_set="Field 1")
    )
    assert "need another set" in text_of(response)
    assert not project.subjects.exists()


def test_sets_are_linked_and_unlinked(
    owners_client: Client, project: Project, workflow: Workflow, subject_set: Any, owner: Any
) -> None:
    address = reverse("link_set", args=["deep-field"])
    pair = {"workflow": workflow.pk, "subject_set": subject_set.pk}
    owners_client.post(address, pair)
    assert list(workflow.subject_sets.all()) == [subject_set]
    owners_client.post(address, pair | {"unlink": "1"})
    assert not workflow.subject_sets.exists()
    foreign = create_project(title="F", slug="f", summary="S", template="gz2", owner=owner).workflows.get()
    owners_client.post(address, pair | {"workflow": foreign.pk})
    assert not foreign.subject_sets.exists()


def test_the_list_of_sets_costs_the_same_for_one_and_many(
    owners_client: Client, project: Project, django_assert_max_num_queries: Any
) -> None:
    add_subjects(project, 2)
    for i in range(20):
        create_subject_set(project=project, name=f"S{i}")
    with django_assert_max_num_queries(12):
        page = owners_client.get(reverse("manage_subjects", args=["deep-field"]))
    assert next(iter(page.context["page"])).n_subjects == 2


def test_a_workflow_is_made_from_a_template_and_closed(owners_client: Client, project: Project) -> None:
    address = reverse("manage_workflows", args=["deep-field"])
    response = owners_client.post(address, {"name": "Clumps", "template": "clump-scout"})
    workflow = project.workflows.get(name="Clumps")
    assert response.headers["Location"] == reverse("edit_workflow", args=["deep-field", workflow.pk])
    assert "already has" in text_of(owners_client.post(address, {"name": "Clumps", "template": "gz2"}))
    owners_client.post(reverse("switch_workflow", args=["deep-field", workflow.pk]), {"is_active": "0"})
    workflow.refresh_from_db()
    assert not workflow.is_active


def edited(workflow: Workflow, count: int = 10, **changes: Any) -> dict[str, Any]:
    definition = TEMPLATES["gz-rings"].fresh_definition() | changes
    return {"definition": json.dumps(definition), "retirement_count": count}


def test_a_definition_is_published_from_its_page(owners_client: Client, workflow: Workflow) -> None:
    address = reverse("edit_workflow", args=["deep-field", workflow.pk])
    shown = owners_client.get(address).context["form"]
    posted = {"definition": shown["definition"].value(), "retirement_count": shown["retirement_count"].value()}
    assert messages_of(owners_client.post(address, posted)) == ["Nothing has changed."]
    owners_client.post(address, edited(workflow, 4))
    workflow.refresh_from_db()
    assert str(workflow.current) == "2.1"
    assert workflow.current.definition["retirement"] == {"classification_count": 4}  # type: ignore[union-attr]
    assert "2.1" in text_of(owners_client.get(address))


def test_problems_of_a_definition_are_listed_with_their_places(owners_client: Client, workflow: Workflow) -> None:
    address = reverse("edit_workflow", args=["deep-field", workflow.pk])
    page = text_of(owners_client.post(address, edited(workflow, first="T7", extra=1)))
    assert "2 problems" in page
    assert "<code>first</code> names no task: 'T7'" in page
    for text, words in (("{", "line 1, column 2"), ('{"first": 1, "first": 2}', "gives the key 'first' twice")):
        page = text_of(owners_client.post(address, {"definition": text, "retirement_count": 3}))
        assert words in page
    assert "required" in text_of(owners_client.post(address, {"definition": "{}"}))
    workflow.refresh_from_db()
    assert str(workflow.current) == "1.1"


def test_another_projects_workflow_is_not_edited_here(owners_client: Client, project: Project, owner: Any) -> None:
    foreign = create_project(title="F", slug="f", summary="S", template="gz2", owner=owner).workflows.get()
    for name in ("edit_workflow", "switch_workflow"):
        address = reverse(name, args=["deep-field", foreign.pk])
        assert owners_client.post(address, {}).status_code == 404


def test_a_stored_picture_is_served_to_be_kept_and_nothing_else(client: Client, settings: Any, make_png: Any) -> None:
    folder = Path(settings.MEDIA_ROOT) / "stamps" / "ab"
    folder.mkdir(parents=True)
    (folder / "ab.png").write_bytes(make_png())
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / ".ab.png").write_bytes(make_png())
    (folder / "folder.png").mkdir()
    (Path(settings.MEDIA_ROOT).parent / "outside.png").write_bytes(make_png())
    response = client.get("/media/stamps/ab/ab.png")
    assert b"".join(response.streaming_content) == make_png()  # type: ignore[attr-defined]
    headers = response.headers
    assert headers["Content-Type"] == "image/png"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "immutable" in headers["Cache-Control"]
    for path in ("stamps/ab/page.html", "stamps/ab/.ab.png", "stamps/ab/", "stamps", "", "stamps/ab/folder.png",
                 "../outside.png", "stamps/../../outside.png", "%2e%2e/outside.png", "..%2foutside.png",
                 "/etc/passwd.png", "stamps/ab/ab.png%00.html", "stamps\\ab\\ab.png", "absent.png"):  # fmt: skip
        assert client.get(f"/media/{path}").status_code == 404, path
    assert client.post("/media/stamps/ab/ab.png").status_code == 405


def test_the_admin_shows_projects_and_changes_none(admin_client: Client, project: Project, workflow: Workflow) -> None:
    add_subjects(project, 1)
    for name in ("project", "membership", "subjectset", "subject", "subjectimport", "workflow", "workflowversion"):
        assert admin_client.get(reverse(f"admin:projects_{name}_changelist")).status_code == 200
        assert admin_client.get(reverse(f"admin:projects_{name}_add")).status_code == 403
    change = reverse("admin:projects_workflowversion_change", args=[workflow.current_id])
    assert admin_client.get(change).status_code == 200
    assert admin_client.post(change, {}).status_code == 403
    assert admin_client.post(reverse("admin:projects_project_delete", args=[project.pk])).status_code == 403


def test_a_member_of_a_private_project_sees_it_at_home(project: Project, make_user: Callable[..., Any]) -> None:
    Project.objects.filter(pk=project.pk).update(is_public=False)
    ada = make_user("ada")
    set_member(project=project, user=ada, role="volunteer")
    client = Client()
    client.force_login(ada)
    assert len(client.get("/").context["cards"]) == 1


def test_a_number_that_no_database_holds_is_nobody(owners_client: Client, project: Project) -> None:
    for page in ("change_role", "take_role"):
        assert owners_client.post(reverse(page, args=["deep-field", 10**30]), {"role": "expert"}).status_code == 404
