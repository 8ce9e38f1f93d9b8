"""The releases page: making, listing, downloading, trying again."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from starsieve.catalogues.models import Release
from tests.platform.catalogues.conftest import GRADE

Download = Callable[..., Any]
CHOICES = {"method": "fractions", "formats": ["csv", "votable"]}


@pytest.fixture
def workflow(survey: Any) -> Any:
    made = survey.workflow(GRADE)
    survey.answer(made, "one", "A")
    return made


def page(workflow: Any) -> str:
    return reverse("releases", args=[workflow.project.slug, workflow.pk])


def file_at(release: Any, name: str) -> str:
    return reverse("release_file", args=[release.workflow.project.slug, release.pk, name])


@pytest.mark.parametrize("role", ["owner", "scientist"])
def test_those_who_may_make_a_release_by_the_button(
    client: Client, survey: Any, workflow: Any, member: Callable[..., Any], role: str
) -> None:
    user = survey.owner if role == "owner" else member(workflow, role)
    client.force_login(user)
    assert client.post(page(workflow), CHOICES).status_code == 302
    release = Release.objects.get()
    assert (release.created_by, release.number, release.state) == (user, 1, "pending")
    assert release.settings == {"method": "fractions", "formats": ["csv", "votable"], "include_classifications": False}


@pytest.mark.parametrize("role", [None, "volunteer", "tester", "moderator", "expert"])
def test_others_may_not(client: Client, workflow: Any, member: Callable[..., Any], role: str | None) -> None:
    if role:
        client.force_login(member(workflow, role))
    assert client.post(page(workflow), CHOICES).status_code == 403
    assert b"Make a release" not in client.get(page(workflow)).content
    assert not Release.objects.exists()


@pytest.mark.parametrize("choices", [{}, {**CHOICES, "formats": []}, {**CHOICES, "method": "magic"}])
def test_a_choice_that_is_refused_is_shown_with_its_field(
    client: Client, survey: Any, workflow: Any, choices: dict[str, Any]
) -> None:
    client.force_login(survey.owner)
    answer = client.post(page(workflow), choices)
    assert answer.status_code == 400
    assert answer.context["form"].errors
    assert not Release.objects.exists()


def test_a_finished_release_lists_its_files_with_their_sums(
    client: Client, workflow: Any, make_release: Callable[..., Any]
) -> None:
    release = make_release(workflow)
    release.refresh_from_db()
    html = client.get(page(workflow)).content.decode()
    for entry in release.files:
        assert file_at(release, entry["name"]) in html
        assert entry["sha256"] in html


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("subjects.csv", "text/csv; charset=utf-8"),
        ("subjects.fits", "application/fits"),
        ("subjects.vot", "application/x-votable+xml"),
        ("subjects.parquet", "application/vnd.apache.parquet"),
        ("provenance.json", "application/json"),
        ("SHA256SUMS", "text/plain; charset=utf-8"),
    ],
)
def test_everyone_can_download_what_was_published(
    download: Download, workflow: Any, make_release: Callable[..., Any], name: str, content_type: str
) -> None:
    release = make_release(workflow)
    release.refresh_from_db()
    answer = download(file_at(release, name))
    digest = next(entry["sha256"] for entry in release.files if entry["name"] == name)
    assert hashlib.sha256(answer.body).hexdigest() == digest
    assert answer["Content-Type"] == content_type
    assert answer["ETag"] == f'"{digest}"'
    assert f'filename="{workflow.project.slug}-release-1-{name}"' in answer["Content-Disposition"]


def test_a_private_projects_files_do_not_exist_for_others(
    client: Client, download: Download, survey: Any, workflow: Any, make_release: Callable[..., Any]
) -> None:
    release = make_release(workflow)
    workflow.project.is_public = False
    workflow.project.save()
    assert download(file_at(release, "subjects.csv")).status_code == 404
    client.force_login(survey.owner)
    assert download(file_at(release, "subjects.csv")).status_code == 200


def test_single_answers_are_for_those_who_may_make_releases(
    client: Client, download: Download, workflow: Any, make_release: Callable[..., Any], member: Callable[..., Any]
) -> None:
    release = make_release(workflow, include_classifications=True)
    address = file_at(release, "classifications.csv")
    for role in (None, "expert"):
        if role:
            client.force_login(member(workflow, role))
        assert download(address).status_code == 404
        assert address not in client.get(page(workflow)).content.decode()
    client.force_login(member(workflow, "scientist"))
    assert download(address).status_code == 200
    assert address in client.get(page(workflow)).content.decode()


@pytest.mark.parametrize("name", ["secrets.txt", "..%2Fsecret_key", ".subjects", "subjects.xls"])
def test_only_listed_files_exist(client: Client, workflow: Any, make_release: Callable[..., Any], name: str) -> None:
    release = make_release(workflow)
    assert client.get(file_at(release, "subjects.csv").replace("subjects.csv", name)).status_code == 404


def test_a_file_that_is_gone_from_the_disk_is_not_an_error_of_ours(
    client: Client, workflow: Any, make_release: Callable[..., Any]
) -> None:
    from starsieve.catalogues.files import release_folder

    release = make_release(workflow)
    (release_folder(release) / "subjects.csv").unlink()
    assert client.get(file_at(release, "subjects.csv")).status_code == 404


def test_what_went_wrong_is_told_to_those_who_can_mend_it(
    client: Client, survey: Any, workflow: Any, make_release: Callable[..., Any]
) -> None:
    release = make_release(workflow, build=False)
    Release.objects.update(state="failed", error="OSError: No space left on device")
    assert b"No space left" not in client.get(page(workflow)).content
    retry = reverse("release_retry", args=[workflow.project.slug, release.pk])
    assert client.post(retry).status_code == 403
    client.force_login(survey.owner)
    assert b"No space left" in client.get(page(workflow)).content
    assert client.post(retry).status_code == 302
    release.refresh_from_db()
    assert (release.state, release.error) == ("pending", "")


def test_a_release_being_written_is_watched_by_the_page(
    client: Client, workflow: Any, make_release: Callable[..., Any]
) -> None:
    release = make_release(workflow, build=False)
    html = client.get(page(workflow)).content.decode()
    assert f'data-release="/api/v1/releases/{release.pk}"' in html


def test_the_admin_site_shows_releases_and_changes_none(
    client: Client, workflow: Any, make_release: Callable[..., Any], make_user: Callable[..., Any]
) -> None:
    release = make_release(workflow)
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    assert b"release 1 of Main" in client.get("/admin/catalogues/release/").content
    shown = client.get(f"/admin/catalogues/release/{release.pk}/change/").content.decode()
    assert release.salt not in shown
    assert client.get("/admin/catalogues/release/add/").status_code == 403
    assert client.post(f"/admin/catalogues/release/{release.pk}/delete/", {"post": "yes"}).status_code == 403
