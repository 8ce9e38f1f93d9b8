"""API tokens: made once, stored as a hash, limited by scope and time, revocable."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from starsieve.accounts.authentication import digest_of
from starsieve.accounts.models import ApiToken, User
from starsieve.accounts.services import MOST_TOKENS, AccountError, make_token, revoke_token


def bearer(key: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {key}")
    return client


@pytest.fixture
def key(ada: User) -> str:
    return make_token(user=ada, name="telescope-cron", scope="read", expires_at=None)[1]


class Open(APIView):
    """Anybody reads; a classification may be sent with the scope `classify`; DELETE needs `admin`."""

    token_scope = "classify"

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.get_username()})

    def post(self, request: Request) -> Response:
        return Response(status=201)


class Closed(APIView):
    def delete(self, request: Request) -> Response:
        return Response(status=204)


CALLS = {"read": ("get", Open), "classify": ("post", Open), "admin": ("delete", Closed)}


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("read", {"read"}), ("classify", {"read", "classify"}), ("admin", {"read", "classify", "admin"})],
)
def test_a_scope_allows_what_it_names_and_what_is_below(ada: User, scope: str, allowed: set[str]) -> None:
    _, key = make_token(user=ada, name="script", scope=scope, expires_at=None)
    passed = set()
    for needed, (method, view) in CALLS.items():
        request = getattr(APIRequestFactory(), method)("/", headers={"Authorization": f"Token {key}"})
        answer = view.as_view()(request)
        assert answer.status_code in (200, 201, 204, 403)
        if answer.status_code != 403:
            passed.add(needed)
        else:
            assert f"needs the scope “{needed}”" in answer.data["detail"]

    assert passed == allowed


@pytest.mark.parametrize("word", ["Token", "token", "Bearer"])
def test_the_owner_is_who_calls(ada: User, key: str, word: str) -> None:
    request = APIRequestFactory().get("/", headers={"Authorization": f"{word} {key}"})

    assert Open.as_view()(request).data == {"user": "ada"}


def test_only_the_hash_of_the_key_is_stored(key: str) -> None:
    token = ApiToken.objects.get()

    assert token.digest == digest_of(key)
    assert key not in str(ApiToken.objects.values())
    assert len(key) > 40


@pytest.mark.parametrize(
    "header", ["Token", "Token a b", "Token wrong", "Token " + "x" * 5000, "Token \xff", "Bearer wrong"]
)
def test_a_header_that_names_no_token_is_refused_and_not_taken_for_anonymous(db: None, header: str) -> None:
    answer = APIClient().get("/api/v1/tokens", HTTP_AUTHORIZATION=header)

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"] == "Token"


def test_expired_revoked_and_inactive_tokens_stop_at_once(ada: User, key: str) -> None:
    client = bearer(key)
    assert client.get("/api/v1/tokens").status_code == 200

    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/tokens").status_code == 401
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    assert client.get("/api/v1/tokens").status_code == 200
    User.objects.update(is_active=False)
    assert client.get("/api/v1/tokens").status_code == 401
    User.objects.update(is_active=True)
    revoke_token(token=ApiToken.objects.get())
    assert client.get("/api/v1/tokens").status_code == 401


def test_when_a_token_was_used_is_kept_to_five_minutes(key: str) -> None:
    bearer(key).get("/api/v1/tokens")
    first = ApiToken.objects.get().last_used_at
    bearer(key).get("/api/v1/tokens")
    assert first is not None
    assert ApiToken.objects.get().last_used_at == first

    ApiToken.objects.update(last_used_at=first - timedelta(minutes=6))
    bearer(key).get("/api/v1/tokens")
    assert ApiToken.objects.get().last_used_at >= first


def test_a_session_makes_a_token_over_the_api_and_sees_its_key_once(signed_in: Client) -> None:
    made = signed_in.post("/api/v1/tokens", {"name": "laptop", "scope": "classify"}, "application/json")

    assert made.status_code == 201
    assert bearer(made.json()["key"]).get("/api/v1/tokens").status_code == 200
    listed = signed_in.get("/api/v1/tokens").json()["results"]
    assert [(token["name"], token["scope"]) for token in listed] == [("laptop", "classify")]
    assert "key" not in listed[0]
    assert "digest" not in listed[0]


def test_a_token_cannot_make_another_one(ada: User) -> None:
    _, key = make_token(user=ada, name="script", scope="admin", expires_at=None)

    answer = bearer(key).post("/api/v1/tokens", {"name": "heir"}, "json")

    assert answer.status_code == 403
    assert "session" in answer.json()["detail"]
    assert ApiToken.objects.count() == 1


def test_a_session_without_csrf_makes_nothing(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)

    assert client.post("/api/v1/tokens", {"name": "x"}, "application/json").status_code == 403
    assert not ApiToken.objects.exists()


def test_visitors_have_no_tokens(db: None, client: Client) -> None:
    assert client.get("/api/v1/tokens").status_code == 401
    assert client.post("/api/v1/tokens", {"name": "x"}, "application/json").status_code == 401
    assert client.delete("/api/v1/tokens/1").status_code == 401


def test_nobody_sees_or_revokes_another_person_s_token(key: str, make_user: Any) -> None:
    client = Client()
    client.force_login(make_user("eve"))
    token = ApiToken.objects.get()

    assert client.get("/api/v1/tokens").json()["results"] == []
    assert client.delete(f"/api/v1/tokens/{token.pk}").status_code == 404
    assert client.post(f"/account/tokens/{token.pk}/revoke/").status_code == 404
    assert "telescope-cron" not in client.get("/account/tokens/").content.decode()
    assert ApiToken.objects.get().revoked_at is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "x", "scope": "root"}, "scope"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "soon"}, "expires_at"),
    ],
)
def test_a_bad_request_names_the_field(signed_in: Client, body: dict[str, str], field: str) -> None:
    answer = signed_in.post("/api/v1/tokens", body, "application/json")

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_api_revokes(signed_in: Client, key: str) -> None:
    token = ApiToken.objects.get()

    assert signed_in.delete(f"/api/v1/tokens/{token.pk}").status_code == 204
    assert bearer(key).get("/api/v1/tokens").status_code == 401
    assert signed_in.delete(f"/api/v1/tokens/{token.pk}").status_code == 404


def test_a_person_has_a_bounded_number_of_tokens(ada: User, signed_in: Client) -> None:
    for number in range(MOST_TOKENS):
        make_token(user=ada, name=str(number), scope="read", expires_at=None)

    with pytest.raises(AccountError, match="revoke one"):
        make_token(user=ada, name="more", scope="read", expires_at=None)
    assert signed_in.post("/api/v1/tokens", {"name": "more"}, "application/json").status_code == 409
    page = signed_in.post("/account/tokens/", {"name": "more", "scope": "read", "lifetime": "30"})
    assert "revoke one" in page.content.decode()


def test_the_page_shows_the_new_key_once_and_is_never_cached(signed_in: Client) -> None:
    answer = signed_in.post("/account/tokens/", {"name": "laptop", "scope": "read", "lifetime": "30"})

    found = re.search(r"ss_[\w-]{43}", answer.content.decode())
    assert found is not None
    assert "no-store" in answer["Cache-Control"]
    assert bearer(found.group()).get("/api/v1/tokens").status_code == 200
    token = ApiToken.objects.get()
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert found.group() not in signed_in.get("/account/tokens/").content.decode()


def test_a_token_without_end_is_made_on_request(signed_in: Client) -> None:
    signed_in.post("/account/tokens/", {"name": "laptop", "scope": "read", "lifetime": ""})

    assert ApiToken.objects.get().expires_at is None


def test_the_page_revokes(signed_in: Client, key: str) -> None:
    signed_in.post(f"/account/tokens/{ApiToken.objects.get().pk}/revoke/")

    assert bearer(key).get("/api/v1/tokens").status_code == 401
    assert "None yet" in signed_in.get("/account/tokens/").content.decode()
