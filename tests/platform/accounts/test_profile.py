"""The profile page and the theme."""

import pytest
from django.test import Client

from starsieve.accounts.models import User


def test_the_profile_keeps_credit_name_and_theme(ada: User, signed_in: Client) -> None:
    answer = signed_in.post("/account/", {"credit_name": "Ada Lovelace", "theme": "light"}, follow=True)

    ada.refresh_from_db()
    assert (ada.credit_name, ada.theme) == ("Ada Lovelace", "light")
    assert 'data-theme="light"' in answer.content.decode()


def test_a_person_cannot_raise_their_powers_by_the_profile(ada: User, signed_in: Client) -> None:
    signed_in.post("/account/", {"theme": "dark", "is_staff": "on", "is_superuser": "on", "username": "root"})

    ada.refresh_from_db()
    assert (ada.is_staff, ada.is_superuser, ada.username) == (False, False, "ada")


def test_what_a_person_writes_is_escaped(signed_in: Client) -> None:
    signed_in.post("/account/", {"credit_name": '"><script>alert(1)</script>', "theme": "dark"})

    assert "<script>alert" not in signed_in.get("/account/").content.decode()


def test_the_profile_counts_what_the_rooms_hold(signed_in: Client) -> None:
    page = signed_in.get("/account/").content.decode()

    assert "<dt>Classifications</dt><dd>0</dd>" in page


def test_visitors_are_sent_to_the_sign_in_page(db: None, client: Client) -> None:
    assert client.get("/account/")["Location"] == "/accounts/login/?next=/account/"


def test_a_visitor_s_theme_lives_in_a_cookie(db: None, client: Client) -> None:
    answer = client.post("/account/theme/", {"theme": "light", "next": "/accounts/login/"})

    assert answer["Location"] == "/accounts/login/"
    assert answer.cookies["theme"]["httponly"]
    assert answer.cookies["theme"]["samesite"] == "Lax"
    assert 'data-theme="light"' in client.get("/accounts/login/").content.decode()
    assert "sessionid" not in client.cookies


def test_a_user_s_theme_is_the_same_in_every_browser(ada: User, signed_in: Client) -> None:
    answer = signed_in.post("/account/theme/", {"theme": "light"}, headers={"Accept": "application/json"})

    assert answer.status_code == 204
    other = Client()
    other.force_login(User.objects.get())
    assert 'data-theme="light"' in other.get("/account/").content.decode()


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_the_theme_switch_leads_to_our_own_pages_only(db: None, client: Client, address: str) -> None:
    assert client.post("/account/theme/", {"theme": "dark", "next": address})["Location"] == "/"


def test_an_unknown_theme_is_refused(db: None, client: Client) -> None:
    answer = client.post("/account/theme/", {"theme": "<b>pink"})

    assert answer.status_code == 400
    assert "<b>" not in answer.content.decode()


def test_a_made_up_theme_cookie_is_ignored(db: None, client: Client) -> None:
    client.cookies["theme"] = "x onload=alert"

    assert 'data-theme="dark"' in client.get("/accounts/login/").content.decode()
