"""Driving the account pages in a browser, and calling the API as a script does."""

import json
import urllib.error
import urllib.request
from typing import Any

from playwright.sync_api import Page


def sign_up(page: Page, username: str, password: str) -> None:
    page.goto("/accounts/signup/")
    page.locator("[name=username]").fill(username)
    page.locator("[name=email]").fill(f"{username}@example.org")
    page.locator("[name=password1]").fill(password)
    page.locator("[name=password2]").fill(password)
    page.get_by_role("button", name="Make the account").click()
    page.wait_for_url(lambda url: "/signup" not in url)


def make_token(page: Page, name: str, scope: str) -> str:
    """The key of a new token of the person who is signed in; the page still shows it."""
    page.goto("/account/tokens/")
    page.locator("[name=name]").fill(name)
    page.locator("[name=scope]").select_option(scope)
    page.get_by_role("button", name="Make the token").click()
    return page.get_by_label("The new key").inner_text()


def call(url: str, key: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """GET, or POST of a JSON body, with a token: status and JSON answer."""
    headers = {"Authorization": f"Token {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)
