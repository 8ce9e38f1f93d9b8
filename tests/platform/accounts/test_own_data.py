"""A person takes their data along, and goes, leaving the science behind."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.test import Client

from classify.models import Classification, Volunteer
from starsieve.accounts.models import ApiToken, User
from starsieve.accounts.own_data import obstacles_of
from starsieve.accounts.services import AccountError, delete_account, make_token
from starsieve.projects.models import Membership, Project, Subject, SubjectSet, Workflow, WorkflowVersion

PASSWORD = "Volunteer!23"
MOMENT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def project(make_user: Any) -> Project:
    owner = make_user("owner")
    project = Project.objects.create(slug="zoo", title="Zoo", summary="Galaxies", created_by=owner)
    Membership.objects.create(project=project, user=owner, role="owner")
    return project


@pytest.fixture
def classification(ada: User, project: Project) -> Classification:
    subject_set = SubjectSet.objects.create(project=project, name="first")
    subject = Subject.objects.create(project=project, subject_set=subject_set, name="HDF-1", frames=[])
    workflow = Workflow.objects.create(project=project, name="shapes")
    version = WorkflowVersion.objects.create(
        workflow=workflow, major=1, minor=1, definition={}, created_by=project.created_by
    )
    return Classification.objects.create(
        client_id=uuid4(), workflow=workflow, workflow_version=version, subject=subject,
        volunteer=Volunteer.objects.create(user=ada, visitor=uuid4()), annotations=[{"task": "T0", "value": 1}],
        started_at=MOMENT, finished_at=MOMENT,
    )  # fmt: skip


def test_the_download_holds_account_roles_tokens_and_classifications(
    ada: User, signed_in: Client, project: Project, classification: Classification
) -> None:
    Membership.objects.create(project=project, user=ada, role="expert")
    _, key = make_token(user=ada, name="laptop", scope="read", expires_at=None)

    answer = signed_in.get("/account/data/")

    assert answer["Content-Disposition"].startswith("attachment")
    text = answer.getvalue().decode()
    data = json.loads(text)
    assert data["account"]["email"] == "ada@example.org"
    assert [(row["project__slug"], row["role"]) for row in data["memberships"]] == [("zoo", "expert")]
    assert [row["name"] for row in data["api_tokens"]] == ["laptop"]
    assert data["classifications"][0]["annotations"] == [{"task": "T0", "value": 1}]
    for secret in (key, ApiToken.objects.get().digest, ada.password):
        assert secret not in text


def test_the_download_holds_nobody_else_s(make_user: Any, classification: Classification) -> None:
    client = Client()
    client.force_login(make_user("eve"))

    data = json.loads(client.get("/account/data/").getvalue())

    assert data["classifications"] == []
    assert "ada" not in json.dumps(data)


def test_deleting_the_account_keeps_the_classification_and_nothing_personal(
    ada: User, signed_in: Client, project: Project, classification: Classification
) -> None:
    Membership.objects.create(project=project, user=ada, role="expert")
    EmailAddress.objects.create(user=ada, email="ada@example.org")
    make_token(user=ada, name="laptop", scope="read", expires_at=None)
    Client().post("/accounts/login/", {"login": "ada", "password": "wrong"})

    answer = signed_in.post("/account/delete/", {"password": PASSWORD})

    assert answer.status_code == 302
    kept = Classification.objects.get()
    assert kept.annotations == classification.annotations
    assert (kept.volunteer.user, kept.volunteer.visitor) == (None, None)
    ada.refresh_from_db()
    assert ada.username.startswith("deleted-")
    assert (ada.email, ada.credit_name, ada.is_active, ada.has_usable_password()) == ("", "", False, False)
    for rows in (ApiToken, EmailAddress, AccessAttempt, Session):
        assert not rows.objects.exists(), rows
    assert not Membership.objects.filter(user=ada).exists()


def test_after_deletion_no_session_goes_on_and_the_name_is_free(ada: User, signed_in: Client) -> None:
    elsewhere = Client()
    elsewhere.force_login(ada)

    signed_in.post("/account/delete/", {"password": PASSWORD})

    assert elsewhere.get("/account/").status_code == 302
    assert elsewhere.post("/accounts/login/", {"login": "ada", "password": PASSWORD}).status_code == 200
    User.objects.create_user("ada")


def test_a_wrong_password_deletes_nothing_and_counts_towards_the_lock_out(ada: User, signed_in: Client) -> None:
    for _ in range(4):
        answer = signed_in.post("/account/delete/", {"password": "wrong"})
        assert "not your password" in answer.content.decode()

    assert signed_in.post("/account/delete/", {"password": "wrong"}).status_code == 429
    assert User.objects.filter(username="ada", is_active=True).exists()


def test_looking_at_the_page_deletes_nothing(signed_in: Client) -> None:
    assert signed_in.get("/account/delete/", {"password": PASSWORD}).status_code == 200
    assert User.objects.filter(username="ada").exists()


def test_the_only_owner_of_a_project_must_hand_it_over_first(project: Project, make_user: Any) -> None:
    owner = project.created_by
    client = Client()
    client.force_login(owner)

    page = client.post("/account/delete/", {"password": PASSWORD}).content.decode()

    assert "only owner of “Zoo”" in page
    with pytest.raises(AccountError, match="Zoo"):
        delete_account(user=owner)
    Membership.objects.create(project=project, user=make_user("grace"), role="owner")
    delete_account(user=owner)
    project.refresh_from_db()
    assert project.created_by.username.startswith("deleted-")


def test_the_only_superuser_must_name_another_first(make_user: Any) -> None:
    root = make_user("root", is_superuser=True)

    assert "only superuser" in obstacles_of(root)[0]
    make_user("second", is_superuser=True)
    assert obstacles_of(root) == []
