"""Driving the classify page in a browser, and reading what the site stored."""

import re
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.site import Site, wait_until

#: Where the page sends one classification.
POSTS = re.compile(r"/api/v1/workflows/\d+/classifications$")


def open_classify(page: Page, slug: str) -> None:
    """From the project's page to its first stamp, past the tutorial."""
    page.goto(f"/projects/{slug}/")
    page.locator("#workflows").get_by_role("link", name="Classify").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(stamp(page)).to_be_visible()


def stamp(page: Page) -> Locator:
    return page.locator("#world img")


def question(page: Page) -> Locator:
    return page.locator("#question")


def ready(page: Page) -> None:
    """Wait until the page takes an answer: a key pressed between two stamps is dropped on purpose."""
    expect(page.locator("#answers > *")).to_be_visible()


class Sent:
    """The classification that the page sent, and the server's answer to it."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {}
        self.status = 0
        self.answer: dict[str, Any] = {}


@contextmanager
def sending(page: Page):
    """`with sending(page) as sent:` waits for the classification that the block submits."""
    sent = Sent()
    is_post = lambda response: POSTS.search(response.url) and response.request.method == "POST"  # noqa: E731
    with page.expect_response(is_post) as caught:
        yield sent
    sent.body = caught.value.request.post_data_json
    sent.status = caught.value.status
    sent.answer = caught.value.json()


def stored(site: Site, client_id: str) -> list[dict[str, Any]]:
    """The rows with this client id: subject, annotations, user (None: anonymous), version."""
    return site.evaluate(
        "list(apps.get_model('classify', 'Classification').objects"
        f".filter(client_id='{client_id}')"
        ".values('subject_id', 'annotations', 'volunteer__user__username', 'workflow_version__major'))"
    )


def stored_once(site: Site, client_id: str) -> dict[str, Any]:
    rows = wait_until(lambda: stored(site, client_id), seconds=20, what=f"classification {client_id}")
    assert len(rows) == 1
    return rows[0]
