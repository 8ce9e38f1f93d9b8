"""What every JSON endpoint shares: problem documents, bodies, pages, query keys. Shown on the tokens endpoint."""

import base64
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.db import InterfaceError, OperationalError
from django.test import Client
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from starsieve.accounts.models import ApiToken, User
from starsieve.accounts.services import make_token
from starsieve.api.problems import Conflict, Unprocessable, problem_body
from starsieve.api.throttling import ClientThrottle

TOKENS = "/api/v1/tokens"


@pytest.fixture
def ada(make_user: Any) -> User:
    return make_user("ada")


@pytest.fixture
def signed_in(ada: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(ada)
    return client


def assert_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["detail"]
    return body


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
@pytest.mark.parametrize("address", ["/api/", "/api/v1/", "/api/v1/nope", "/api/v2/projects", "/api/v1/tokens/"])
def test_unknown_addresses_answer_with_a_problem(method: str, address: str) -> None:
    assert_problem(getattr(Client(enforce_csrf_checks=True), method)(address), 404)


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(signed_in: Client) -> None:
    answer = signed_in.put(TOKENS, {}, "application/json")

    assert_problem(answer, 405)
    assert {"GET", "POST"} <= set(answer["Allow"].split(", "))
    assert "PUT" not in answer["Allow"]


def test_options_tells_nothing(signed_in: Client) -> None:
    assert_problem(signed_in.options(TOKENS), 405)


def test_a_fault_of_ours_is_a_problem_without_its_details(signed_in: Client, monkeypatch: Any) -> None:
    def break_down(self: Any) -> None:
        raise RuntimeError("secret path /srv/x")

    monkeypatch.setattr("starsieve.accounts.api.TokenList.get_queryset", break_down)

    answer = signed_in.get(TOKENS)

    assert_problem(answer, 500)
    assert b"secret" not in answer.content


@pytest.mark.parametrize("lost", [OperationalError, InterfaceError])
def test_a_database_that_went_away_is_worth_another_try(
    signed_in: Client, monkeypatch: Any, lost: type[Exception]
) -> None:
    def break_down(self: Any) -> None:
        raise lost("terminating connection due to administrator command")

    monkeypatch.setattr("starsieve.accounts.api.TokenList.get_queryset", break_down)

    answer = signed_in.get(TOKENS)

    assert_problem(answer, 503)
    assert int(answer["Retry-After"]) > 0
    assert b"terminating" not in answer.content


@pytest.mark.django_db
def test_a_fault_of_ours_on_a_page_is_a_page_that_asks_no_database(monkeypatch: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.contract.faulty_urls"

    answer = Client(raise_request_exception=False).get("/broken/")

    assert answer.status_code == 500
    assert "Something broke" in answer.content.decode()
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize("accept", ["text/html", "application/xml"])
def test_an_answer_is_never_html(signed_in: Client, accept: str) -> None:
    assert_problem(signed_in.get(TOKENS, headers={"Accept": accept}), 406)


HOSTILE_BODIES = {
    "not JSON": b"{",
    "not an object": b"[1]",
    "a bare string": b'"x"',
    "NaN": b'{"name": NaN}',
    "not UTF-8": b'{"name": "\xff"}',
    "a NUL": b'{"name": "a\\u0000b"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a key twice": b'{"name": "a", "name": "b"}',
    "deep nesting": b"[" * 100_000,
    "a huge number": b'{"name": ' + b"9" * 5000 + b"}",
    "the wrong type": b'{"name": {"x": []}}',
}


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES.keys())
def test_a_hostile_body_is_refused_politely(signed_in: Client, body: bytes) -> None:
    assert_problem(signed_in.post(TOKENS, body, "application/json"), 400)
    assert not ApiToken.objects.exists()


def test_a_body_longer_than_the_limit_is_413(signed_in: Client, settings: Any) -> None:
    body = b'{"name": "' + b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"}'

    assert_problem(signed_in.post(TOKENS, body, "application/json"), 413)


@pytest.mark.parametrize("charset", ["zlib", "hex", "rot13", "utf-16", "idna", "undefined"])
def test_a_body_is_utf_8_whatever_the_header_claims(signed_in: Client, charset: str) -> None:
    answer = signed_in.generic("POST", TOKENS, b'{"name": "x"}', f"application/json; charset={charset}")

    assert_problem(answer, 400)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_a_form_is_not_taken_for_json(signed_in: Client, kind: str) -> None:
    assert_problem(signed_in.post(TOKENS, b"name=x", kind), 415)


@pytest.mark.parametrize("key", ["user__password", "__class__", "name__startswith", "a%5F%5Fb"])
@pytest.mark.parametrize("address", [TOKENS, "/api/v1/schema", "/api/v1/nope"])
def test_a_query_key_that_reaches_through_relations_is_refused(signed_in: Client, address: str, key: str) -> None:
    body = assert_problem(signed_in.get(f"{address}?{key}=x"), 400)

    assert "__" in body["detail"]


@pytest.mark.parametrize(
    "cursor", ["x", "", "%00", "p", "p=abc", "p=-1", "p=1e9", "p=" + "9" * 30, "o=-1", "o=99999", "r=x", "p=%00"]
)
def test_a_made_up_cursor_is_no_fault_of_the_server(signed_in: Client, cursor: str) -> None:
    encoded = quote(base64.b64encode(cursor.encode()).decode())
    for value in (encoded, quote(cursor)):
        assert signed_in.get(f"{TOKENS}?cursor={value}").status_code in (200, 404)


@pytest.mark.parametrize("size", ["0", "-1", "x", "999999999", "%00"])
def test_a_made_up_page_size_is_harmless(signed_in: Client, size: str) -> None:
    assert signed_in.get(f"{TOKENS}?page_size={size}").status_code == 200


def test_a_list_is_read_page_by_page_without_gaps(ada: User, signed_in: Client) -> None:
    for number in range(5):
        make_token(user=ada, name=str(number), scope="read", expires_at=None)
    names, address = [], f"{TOKENS}?page_size=2"
    while address:
        page = signed_in.get(address).json()
        names += [token["name"] for token in page["results"]]
        address = page["next"]

    assert names == ["0", "1", "2", "3", "4"]


def test_a_client_that_calls_too_often_is_told_when_to_come_back(signed_in: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("starsieve.api.throttling.ClientThrottle.rate", "2/min", raising=False)
    cache.clear()
    try:
        for _ in range(2):
            assert signed_in.get(TOKENS).status_code == 200
        answer = signed_in.get(TOKENS)
    finally:
        cache.clear()

    assert_problem(answer, 429)
    assert 0 < int(answer["Retry-After"]) <= 61


def test_after_a_burst_a_client_goes_on_at_the_rate(signed_in: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("starsieve.api.throttling.ClientThrottle.rate", "6/min", raising=False)
    now = [1e9]
    monkeypatch.setattr("starsieve.api.throttling.ClientThrottle.timer", lambda _: now[0])
    call = lambda: signed_in.get(TOKENS)  # noqa: E731
    cache.clear()
    try:
        assert [call().status_code for _ in range(7)] == [200] * 6 + [429]
        assert int(call()["Retry-After"]) in (10, 11)  # refused calls are not counted
        for _ in range(3):
            now[0] += 10
            assert [call().status_code, call().status_code] == [200, 429]
        now[0] += 60
        assert [call().status_code for _ in range(7)] == [200] * 6 + [429]
    finally:
        cache.clear()


def test_a_whole_period_of_calls_fits_into_one_moment(monkeypatch: Any) -> None:
    """The shares of a moment today, which a number holds to a tenth of a microsecond, do not add up exactly."""
    monkeypatch.setattr(ClientThrottle, "rate", "700/min", raising=False)
    monkeypatch.setattr(ClientThrottle, "timer", lambda _: 1_790_000_000.123)
    request = APIRequestFactory().get("/")
    request.user = AnonymousUser()
    cache.clear()
    try:
        allowed = [ClientThrottle().allow_request(request, APIView()) for _ in range(701)]
    finally:
        cache.clear()
    assert allowed == [True] * 700 + [False]


class Raising(APIView):
    error = Exception()

    def get(self, request: Request) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "errors"),
    [
        (Conflict("Already there."), 409, []),
        (Unprocessable("annotations[0].value", "is 9; answers go from 0 to 2"), 422, ["annotations[0].value"]),
        (exceptions.ValidationError({"a": [{"b": ["wrong"]}], "c": "bad"}), 400, ["a[0].b", "c"]),
        (exceptions.ValidationError(["wrong"]), 400, ["body"]),
        (exceptions.NotFound(), 404, []),
    ],
)
def test_a_refusal_names_the_fields_at_fault(error: Exception, status: int, errors: list[str]) -> None:
    answer = Raising.as_view(error=error)(APIRequestFactory().get("/"))

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert [each["field"] for each in answer.data["errors"]] == errors


def test_a_problem_says_each_wrong_field_in_its_detail() -> None:
    body = problem_body(exceptions.ValidationError({"name": ["is empty"], "scope": ["is unknown"]}))

    assert body["detail"] == "name: is empty; scope: is unknown"
