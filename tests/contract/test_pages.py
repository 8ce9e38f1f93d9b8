"""Every page as it is sent: security headers, no inline code, one main landmark, no id twice."""

import re
from collections import Counter
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.contract.endpoints import ENDPOINTS
from tests.contract.markup import faults_of
from tests.contract.world import ANONYMOUS, SUPERUSER, World

POLICY = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:", "blob:"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "manifest-src": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
}
PAGES = [name for name, endpoint in ENDPOINTS.items() if endpoint.form == "page" and "GET" in endpoint.calls]
ADMIN = ["/admin/", "/admin/login/", "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/projects/project/"]


def policy_of(answer: Any) -> dict[str, list[str]]:
    directives = [part.split() for part in answer["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in directives}


def assert_guarded(answer: Any) -> None:
    assert policy_of(answer) == POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("person", [SUPERUSER, ANONYMOUS])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_guarded_and_holds_no_inline_code(name: str, person: str, world: World) -> None:
    arguments = ENDPOINTS[name].arguments
    assert arguments is not None
    answer = world.client(person).get(reverse(name, kwargs=arguments(world, world.places["public"])))

    assert_guarded(answer)
    html = answer.content.decode()
    assert faults_of(html) == []
    if answer.status_code == 200:
        assert html.count("<main") == 1
        ids = Counter(re.findall(r'\sid="([^"]+)"', html))
        assert [each for each, count in ids.items() if count > 1] == []
        assert not re.search(r'(?:src|href)="(?:https?:)?//(?!www\.|github\.com|arxiv|ui\.adsabs|doi\.org)', html)


@pytest.mark.parametrize("address", ADMIN)
def test_the_admin_is_guarded_too(world: World, address: str) -> None:
    answer = world.client(SUPERUSER).get(address, follow=True)

    assert_guarded(answer)
    assert faults_of(answer.content.decode()) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", ["/no-such-page", "/api/v1/no-such", "/healthz", "/metrics", "/robots.txt", "/static/css/base.css"]
)
def test_other_answers_are_guarded(address: str, client: Client) -> None:
    answer = client.get(address)
    if answer.streaming:
        list(answer.streaming_content)

    assert policy_of(answer) == POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
def test_an_address_cannot_write_into_the_page(client: Client) -> None:
    """CVE-2025-25296's class: no page builds markup from its address, on the first visit or the second."""
    probe = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    for address in (f"/{probe}", f"/accounts/login/?next={probe}", f"/accounts/signup/?email={probe}", f"/?q={probe}"):
        for _ in range(2):
            assert "<script>alert" not in client.get(address).content.decode()
