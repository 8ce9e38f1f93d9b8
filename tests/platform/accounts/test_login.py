"""Signing in, up and out through the pages."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from starsieve.accounts.models import User

PASSWORD = "Volunteer!23"


@pytest.mark.parametrize("field", ["login", "username"])
def test_the_form_takes_the_name_under_either_field(ada: User, client: Client, field: str) -> None:
    answer = client.post("/accounts/login/", {field: "ada", "password": PASSWORD})

    assert answer.status_code == 302
    assert client.cookies["sessionid"].value
    assert client.get("/account/").status_code == 200


def test_a_script_with_a_csrf_token_signs_in(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/accounts/login/")
    form = {
        "csrfmiddlewaretoken": client.cookies["csrftoken"].value,
        "username": "ada",
        "password": PASSWORD,
    }

    answer = client.post("/accounts/login/", form, headers={"Referer": "http://testserver/accounts/login/"})

    assert answer.status_code == 302
    assert "sessionid" in client.cookies


def test_without_a_csrf_token_nobody_signs_in(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)

    assert client.post("/accounts/login/", {"username": "ada", "password": PASSWORD}).status_code == 403
    assert "sessionid" not in client.cookies


@pytest.mark.parametrize("name", ["ada@example.org", "ADA", " ada "])
def test_the_address_and_any_capitals_sign_in_too(ada: User, client: Client, name: str) -> None:
    assert client.post("/accounts/login/", {"login": name, "password": PASSWORD}).status_code == 302


def test_a_wrong_name_and_a_wrong_password_read_the_same(ada: User, client: Client) -> None:
    def refusal(name: str) -> str:
        answer = client.post("/accounts/login/", {"login": name, "password": "no-such-password"})
        assert answer.status_code == 200
        text = re.sub(r'csrfmiddlewaretoken" value="[^"]+"', "", answer.content.decode())
        return text.replace(name, "NAME")

    assert refusal("ada") == refusal("zoe")
    assert "not correct" in refusal("zoe")


def test_an_inactive_account_does_not_sign_in(ada: User, client: Client) -> None:
    User.objects.update(is_active=False)

    answer = client.post("/accounts/login/", {"login": "ada", "password": PASSWORD}, follow=True)

    assert "inactive" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_signing_in_leads_only_to_our_own_pages(ada: User, client: Client) -> None:
    form = {"login": "ada", "password": PASSWORD, "next": "https://evil.example/"}

    assert client.post("/accounts/login/", form)["Location"] == "/"
    client.post("/accounts/logout/")
    assert client.post("/accounts/login/", form | {"next": "/account/"})["Location"] == "/account/"


def test_signing_out_takes_a_post(signed_in: Client) -> None:
    assert signed_in.get("/accounts/logout/").status_code == 200
    assert "_auth_user_id" in signed_in.session

    signed_in.post("/accounts/logout/")

    assert "_auth_user_id" not in signed_in.session


def sign_up(client: Client, username: str, email: str) -> Any:
    form = {"username": username, "email": email, "password1": "gamma-ray-77", "password2": "gamma-ray-77"}
    return client.post("/accounts/signup/", form)


def test_signing_up_makes_an_account_and_sends_a_confirmation(db: None, client: Client) -> None:
    answer = sign_up(client, "grace", "grace@example.org")

    assert answer.status_code == 302
    assert User.objects.get(username="grace").check_password("gamma-ray-77")
    link = re.search(r"http://testserver(/accounts/confirm-email/\S+)", mail.outbox[0].body)
    assert link is not None
    client.post(link.group(1))
    assert EmailAddress.objects.get(email="grace@example.org").verified


def test_signing_up_does_not_tell_whether_an_address_is_taken(ada: User) -> None:
    fresh = sign_up(Client(), "grace", "grace@example.org")
    taken = sign_up(Client(), "hedy", "ada@example.org")

    assert (fresh.status_code, fresh["Location"]) == (taken.status_code, taken["Location"])


def test_a_name_differing_only_in_capitals_is_taken(ada: User, client: Client) -> None:
    answer = sign_up(client, "Ada", "other@example.org")

    assert answer.status_code == 200
    assert "already exists" in answer.content.decode()


def test_a_weak_password_is_refused_with_the_reason(db: None, client: Client) -> None:
    form = {"username": "grace", "email": "g@example.org", "password1": "password", "password2": "password"}

    answer = client.post("/accounts/signup/", form)

    assert "too common" in answer.content.decode()
    assert not User.objects.exists()


def test_a_forgotten_password_is_reset_by_mail_and_ends_older_sessions(ada: User, signed_in: Client) -> None:
    visitor = Client()
    visitor.post("/accounts/password/reset/", {"email": "ada@example.org"})
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", mail.outbox[0].body)
    assert link is not None
    form_address = visitor.get(link.group(1))["Location"]
    visitor.post(form_address, {"password1": "gamma-ray-77", "password2": "gamma-ray-77"})

    ada.refresh_from_db()
    assert ada.check_password("gamma-ray-77")
    assert signed_in.get("/account/").status_code == 302
    assert "expired" in Client().get(link.group(1)).content.decode()  # once only


def test_asking_for_a_reset_reads_the_same_for_unknown_addresses(ada: User) -> None:
    known = Client().post("/accounts/password/reset/", {"email": "ada@example.org"})
    unknown = Client().post("/accounts/password/reset/", {"email": "eve@example.org"})

    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])


ACCOUNT_PAGES = [
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/reauthenticate/",
    "/accounts/logout/",
    "/account/",
    "/account/tokens/",
    "/account/delete/",
]
OPEN_PAGES = [
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/done/",
    "/accounts/password/reset/key/1-abc/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/abc/",
    "/accounts/inactive/",
]


@pytest.mark.parametrize("address", ACCOUNT_PAGES)
def test_every_account_page_is_ours(signed_in: Client, address: str) -> None:
    answer = signed_in.get(address)

    assert answer.status_code == 200
    assert '<main id="main"' in answer.content.decode()


@pytest.mark.parametrize("address", OPEN_PAGES)
def test_every_open_page_is_ours(db: None, client: Client, address: str) -> None:
    answer = client.get(address)

    assert answer.status_code == 200
    assert '<main id="main"' in answer.content.decode()
