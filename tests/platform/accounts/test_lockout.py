"""Five wrong passwords for one name from one address: then the door is closed for a quarter of an hour."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils import timezone

from starsieve.accounts.lockout import folded
from starsieve.accounts.models import User

PASSWORD = "Volunteer!23"


def fail(client: Client, name: str = "ada", times: int = 1, address: str = "/accounts/login/", **extra: Any) -> Any:
    for _ in range(times):
        answer = client.post(address, {"login": name, "username": name, "password": "wrong-one"}, **extra)
    return answer


@pytest.fixture
def staff(make_user: Any) -> User:
    return make_user("root", is_staff=True, is_superuser=True)


@pytest.mark.parametrize(("address", "name"), [("/accounts/login/", "ada"), ("/admin/login/", "root")])
def test_the_fifth_failure_locks_and_even_the_right_password_is_refused(
    ada: User, staff: User, client: Client, address: str, name: str
) -> None:
    assert fail(client, name, 4, address).status_code == 200

    locked = fail(client, name, 1, address)

    assert locked.status_code == 429
    assert "Too many wrong passwords" in locked.content.decode()
    assert "15 minutes" in locked.content.decode()
    assert 14 * 60 < int(locked["Retry-After"]) <= 15 * 60 + 1
    right = client.post(address, {"username": name, "password": PASSWORD})
    assert right.status_code == 429
    assert "_auth_user_id" not in client.session


def test_the_two_login_pages_share_one_count(staff: User, client: Client) -> None:
    fail(client, "root", 3, "/admin/login/")

    assert fail(client, "root", 2).status_code == 429


def test_the_door_opens_again_after_the_wait(ada: User, client: Client) -> None:
    fail(client, times=5)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=15, seconds=1))

    assert client.post("/accounts/login/", {"login": "ada", "password": PASSWORD}).status_code == 302


def test_knocking_while_locked_does_not_make_the_wait_longer(ada: User, client: Client) -> None:
    fail(client, times=5)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=10))

    locked = fail(client)

    assert int(locked["Retry-After"]) <= 5 * 60 + 1


def test_a_right_password_forgives_earlier_failures(ada: User, client: Client) -> None:
    fail(client, times=4)
    client.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
    client.post("/accounts/logout/")

    assert fail(client, times=4).status_code == 200


def test_a_name_that_does_not_exist_locks_in_the_same_way(ada: User) -> None:
    known, unknown = fail(Client(), "ada", 5), fail(Client(), "eve", 5)

    assert known.status_code == unknown.status_code == 429
    assert known["Retry-After"] == unknown["Retry-After"]


@pytest.mark.parametrize("spelling", ["ADA", " ada", "ａｄａ"])
def test_another_spelling_of_the_name_is_no_way_round(ada: User, client: Client, spelling: str) -> None:
    fail(client, "ada", 4)

    assert fail(client, spelling).status_code == 429


def test_spellings_that_a_database_takes_for_equal_fold_to_one_name() -> None:
    assert folded("ſaﬁye") == folded("SAFIYE") == folded("safıye")


def test_another_person_at_the_same_address_signs_in(ada: User, make_user: Any, client: Client) -> None:
    make_user("grace")
    fail(client, "ada", 5)

    assert client.post("/accounts/login/", {"login": "grace", "password": PASSWORD}).status_code == 302


def test_the_owner_signs_in_from_elsewhere_while_somebody_is_locked(ada: User, client: Client) -> None:
    fail(client, times=5, REMOTE_ADDR="203.0.113.9")

    assert client.post("/accounts/login/", {"login": "ada", "password": PASSWORD}).status_code == 302


def test_behind_one_trusted_proxy_the_caller_s_own_address_counts(settings: Any, ada: User, client: Client) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    fail(client, times=5, HTTP_X_FORWARDED_FOR="203.0.113.9")

    right = {"login": "ada", "password": PASSWORD}
    assert client.post("/accounts/login/", right, HTTP_X_FORWARDED_FOR="203.0.113.9").status_code == 429
    assert client.post("/accounts/login/", right, HTTP_X_FORWARDED_FOR="203.0.113.10").status_code == 302


def test_without_a_trusted_proxy_a_made_up_address_changes_nothing(ada: User, client: Client) -> None:
    for number in range(4):
        fail(client, HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")

    assert fail(client, HTTP_X_FORWARDED_FOR="203.0.113.99").status_code == 429


def test_a_name_longer_than_the_column_is_a_plain_refusal(db: None, client: Client) -> None:
    assert fail(client, "x" * 5000).status_code == 200


def test_many_people_sign_in_from_one_address_at_once(make_user: Any) -> None:
    people = [make_user(f"vol{i}") for i in range(60)]

    answers = [Client().post("/accounts/login/", {"username": p.username, "password": PASSWORD}) for p in people]

    assert {answer.status_code for answer in answers} == {302}


def test_too_many_tries_get_a_page_of_ours(settings: Any, ada: User, client: Client) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "2/m/ip"}
    fail(client, times=2)

    answer = fail(client)

    assert answer.status_code == 429
    assert '<main id="main"' in answer.content.decode()


def test_what_is_kept_of_a_failure_has_no_password_in_it(ada: User, client: Client) -> None:
    fail(client)

    kept = AccessAttempt.objects.get()
    assert "wrong-one" not in kept.post_data
