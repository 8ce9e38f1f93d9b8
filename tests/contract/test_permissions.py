"""Every kind of person against every address and method, in a public, a private and a draft project."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

from starsieve.accounts.services import make_token
from tests.contract.endpoints import ACCOUNTS, ENDPOINTS, NOBODY, SESSION, VIEWERS, Call, Endpoint
from tests.contract.world import ANONYMOUS, KINDS, PEOPLE, SECRET_METADATA, SUPERUSER, Place, World

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
UNKNOWN_API = "api_unknown"  # answers 404 to everything; see test_api_rules.py


def named_patterns(patterns: Any, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """(route, name) of every address outside the admin, which test_the_admin_is_for_staff covers."""
    for each in patterns:
        route = f"{prefix}{each.pattern}"
        if isinstance(each, URLResolver):
            if each.namespace != "admin":
                yield from named_patterns(each.url_patterns, route)
        elif isinstance(each, URLPattern) and not route.startswith("admin/"):
            yield route, each.name


def test_every_address_has_a_name_and_a_row_in_the_table() -> None:
    found = dict(named_patterns(get_resolver().url_patterns))

    assert [route for route, name in found.items() if not name] == []
    names = set(found.values()) - {UNKNOWN_API}
    assert names - set(ENDPOINTS) == set(), "new addresses: add who may use them to tests/contract/endpoints.py"
    assert set(ENDPOINTS) - names == set(), "addresses that are gone"
    assert len(found) == len(set(found.values())), "two addresses share a name"


def send(client: Client, world: World, place: Place, name: str, method: str, call: Call | None = None) -> Any:
    endpoint = ENDPOINTS[name]
    assert endpoint.arguments is not None
    address = reverse(name, kwargs=endpoint.arguments(world, place))
    body = call.body(world, place) if call and call.body else {}
    sending = getattr(client, method.lower())
    if method == "GET":
        answer = sending(address)
    elif endpoint.form == "api":
        answer = sending(address, body, content_type="application/json")
    else:
        answer = sending(address, body) if method == "POST" else sending(address)
    answer.read = content_of(answer)
    return answer


def content_of(answer: Any) -> bytes:
    """All of it: a file is closed when it has been read."""
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


class Undone:
    """What happens inside is taken back at the end, without hiding it from services that look at transactions."""

    def __enter__(self) -> None:
        self.point = transaction.savepoint()

    def __exit__(self, *error: object) -> None:
        transaction.savepoint_rollback(self.point)


def writes_of(queries: list[dict[str, str]], call: Call) -> list[str]:
    harmless = SESSION | call.writes
    statements = [query["sql"] for query in queries if query["sql"].lstrip().startswith(WRITES)]
    return [sql[:160] for sql in statements if not any(f'"{table}"' in sql for table in harmless)]


def expected(endpoint: Endpoint, call: Call, kind: str, person: str) -> frozenset[int] | None:
    """The answers that are right for a person who may not; None for one who may."""
    is_in_project = endpoint.in_project and not call.own_list
    is_hidden = is_in_project and person not in VIEWERS[kind]
    if person in call.people(kind) and not is_hidden:
        return None
    if not is_in_project:
        refused = frozenset({403, 404})
    elif is_hidden:
        refused = call.hidden
    else:
        refused = frozenset({403})
    if person == ANONYMOUS:  # is asked to sign in, which tells nothing about the project
        refused |= {302} if endpoint.form != "api" else {401}
    return refused


def fault(world: World, client: Client, person: str, place: Place, name: str, method: str) -> str | None:
    endpoint = ENDPOINTS[name]
    call = endpoint.calls[method]
    with Undone(), CaptureQueriesContext(connection) as queries:
        answer = send(client, world, place, name, method, call)
    refused = expected(endpoint, call, place.kind, person)
    where = f"{method} {name} as {person} in {place.kind}: {answer.status_code}"
    if refused is None:
        if answer.status_code not in call.done:
            return f"{where}, although allowed: {answer.read[:300]}"
        if to_sign_in(answer):
            return f"{where}, sent to the sign-in page although allowed"
    else:
        if answer.status_code not in refused:
            return f"{where}, should be one of {sorted(refused)}"
        if answer.status_code == 302 and not to_sign_in(answer):
            return f"{where}, sent to {answer['Location']} and not to the sign-in page"
    written = writes_of(queries.captured_queries, call)
    if written and (refused is not None or method == "GET"):
        return f"{where}, but it wrote {written}"
    return None


def to_sign_in(answer: Any) -> bool:
    return answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("name", ENDPOINTS)
def test_exactly_the_right_people_may(name: str, world: World) -> None:
    """Refused calls and GETs write nothing; those who may not see a project are told that there is none."""
    places = [world.places[kind] for kind in KINDS] if ENDPOINTS[name].in_project else [world.places["public"]]
    clients = {person: world.client(person) for person in PEOPLE}

    faults = [
        fault(world, client, person, place, name, method)
        for method in ENDPOINTS[name].calls
        for place in places
        for person, client in clients.items()
    ]

    assert [each for each in faults if each] == []


def test_no_other_method_is_taken(world: World) -> None:
    client, place = world.client(SUPERUSER), world.places["public"]
    wrong = []
    for name, endpoint in ENDPOINTS.items():
        for method in METHODS:
            if method in endpoint.calls:
                continue
            with Undone(), CaptureQueriesContext(connection) as queries:
                answer = send(client, world, place, name, method)
            harmless = frozenset().union(*(call.writes for call in endpoint.calls.values()))
            # allauth sends people who are signed in away from its sign-in pages, and shows that a link has expired,
            # whatever the method.
            is_refused = answer.status_code == 405 or (answer.status_code in (200, 302) and name in ACCOUNTS)
            if not is_refused or writes_of(queries.captured_queries, Call(NOBODY, writes=harmless)):
                wrong.append(f"{method} {name}: {answer.status_code}")

    assert wrong == []


def unsafe_calls() -> Iterator[tuple[str, str, Call]]:
    for name, endpoint in ENDPOINTS.items():
        for method, call in endpoint.calls.items():
            if method != "GET":
                yield name, method, call


@pytest.mark.parametrize("person", ["owner", "tester", ANONYMOUS])
def test_a_page_from_elsewhere_changes_nothing(world: World, person: str) -> None:
    """Without the CSRF token, a session cookie is worth nothing to an unsafe call."""
    client, place = world.client(person, enforce_csrf_checks=True), world.places["public"]
    wrong = []
    for name, method, call in unsafe_calls():
        with Undone(), CaptureQueriesContext(connection) as queries:
            answer = send(client, world, place, name, method, call)
        if answer.status_code not in (401, 403) or writes_of(queries.captured_queries, Call(NOBODY)):
            wrong.append(f"{method} {name}: {answer.status_code}")

    assert wrong == []


SCOPES = ["read", "classify", "admin"]


def test_a_token_does_no_more_than_its_scope(world: World) -> None:
    keys = {}
    for user in filter(None, world.people.values()):
        for scope in SCOPES:
            keys[user.username, scope] = make_token(user=user, name=scope, scope=scope, expires_at=None)[1]
    wrong = []
    for name, endpoint in ENDPOINTS.items():
        for method, call in endpoint.calls.items() if endpoint.form == "api" else ():
            person = next(each for each in PEOPLE if each in call.people("public"))
            needed = "read" if method == "GET" else call.scope
            right = SCOPES[SCOPES.index(needed) :] if needed else []
            passed = []
            for scope in SCOPES:
                client = Client(headers={"Authorization": f"Token {keys[person, scope]}"}, enforce_csrf_checks=True)
                with Undone():
                    answer = send(client, world, world.places["public"], name, method, call)
                if answer.status_code in call.done:
                    passed.append(scope)
                elif answer.status_code != 403 or "token" not in answer.json()["detail"].lower():
                    wrong.append(f"{method} {name} with {scope}: {answer.status_code} {answer.read[:200]}")
            if passed != right:
                wrong.append(f"{method} {name}: {passed} instead of {right}")

    assert wrong == []


def test_one_project_s_address_does_not_open_another_s_things(world: World) -> None:
    """The owner of both puts the ids of one project into the address of the other: there is no such thing."""
    own, foreign = world.places["public"], world.places["private"]
    client = world.client("owner")
    tried, wrong = 0, []
    for name, endpoint in ENDPOINTS.items():
        assert endpoint.arguments is not None
        arguments = endpoint.arguments(world, own)
        foreigners = endpoint.arguments(world, foreign)
        ids = [key for key, value in arguments.items() if isinstance(value, int) and value != foreigners[key]]
        for key in ids if "slug" in arguments else ():
            for method in endpoint.calls:
                tried += 1
                answer = getattr(client, method.lower())(reverse(name, kwargs=arguments | {key: foreigners[key]}))
                content_of(answer)
                if answer.status_code != 404:
                    wrong.append(f"{method} {name} with {key} of another project: {answer.status_code}")

    assert tried > 10
    assert wrong == []


def test_hidden_metadata_reaches_nobody_who_may_not_edit(world: World) -> None:
    found = []
    for person in ("volunteer", ANONYMOUS):
        client = world.client(person)
        for name, endpoint in ENDPOINTS.items():
            if (
                "GET" in endpoint.calls
                and SECRET_METADATA.encode() in send(client, world, world.places["public"], name, "GET").read
            ):
                found.append(f"{name} as {person}")

    assert found == []


def admin_addresses(patterns: Any) -> Iterator[str]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from admin_addresses(each.url_patterns)
        elif each.name and each.name not in ("login", "logout"):
            for arguments in (
                {},
                {"object_id": "1"},
                {"app_label": "accounts"},
                {"content_type_id": 1, "object_id": 1},
            ):
                try:
                    yield reverse(f"admin:{each.name}", kwargs=arguments)
                except NoReverseMatch:
                    continue


def test_the_admin_is_for_staff(world: World) -> None:
    admin = next(each for each in get_resolver().url_patterns if getattr(each, "namespace", "") == "admin")
    addresses = sorted({*admin_addresses(admin.url_patterns), reverse("background_work")})
    assert len(addresses) > 30

    for person in ("owner", "stranger", ANONYMOUS):
        client = world.client(person)
        for address in addresses:
            for method in ("get", "post"):
                answer = getattr(client, method)(address)
                assert answer.status_code == 302, (person, method, address)
                assert "/login/" in answer["Location"]


def test_where_experts_grade_others_only_look(world: World) -> None:
    place = world.places["public"]
    place.project.grading_by = "experts"
    place.project.save()

    for person in PEOPLE:
        with Undone():
            answer = send(
                world.client(person),
                world,
                place,
                "api_classifications",
                "POST",
                Call(frozenset(), lambda w, p: p.classification),
            )
        is_grader = person in (SUPERUSER, "owner", "scientist", "expert")
        assert answer.status_code == (201 if is_grader else 403), person


@pytest.mark.parametrize("person", ["owner", "scientist", "volunteer", ANONYMOUS])
def test_only_makers_of_releases_read_single_classifications(world: World, person: str) -> None:
    place = world.places["public"]
    client = world.client(person)
    is_maker = person in ("owner", "scientist")

    page = reverse(
        "release_file",
        kwargs={"slug": place.project.slug, "release_id": place.release.pk, "name": "classifications.csv"},
    )
    answer = client.get(page)
    content_of(answer)
    assert answer.status_code == (200 if is_maker else 404)
    listed = client.get(reverse("api_release", kwargs={"pk": place.release.pk})).content.decode()
    assert ("classifications.csv" in listed) is is_maker
