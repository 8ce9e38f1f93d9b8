"""The classify page in both themes, on a desk and on a phone: axe finds nothing, and nothing moves sideways."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.classify_page import open_classify, question

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


@pytest.mark.parametrize(("theme", "options"), [("dark", {}), ("light", PHONE)], ids=["dark-desk", "light-phone"])
@pytest.mark.parametrize("slug", ["galaxy-zoo", "lens-grading", "clump-scout"])
def test_axe_finds_nothing_on_the_classify_page(
    new_context: Callable[..., BrowserContext], live_url: str, slug: str, options: dict[str, object], theme: str
) -> None:
    context = new_context(reduced_motion="reduce", **options)
    context.add_cookies([{"name": "theme", "value": theme, "url": live_url}])
    page = context.new_page()
    page.goto(f"/projects/{slug}/")
    page.locator("#workflows").get_by_role("link", name="Classify").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Skip").click()
    assert page.locator("html").get_attribute("data-theme") == theme
    if slug == "clump-scout":
        page.keyboard.press("n")
    for panel in page.locator("details.aside:not([hidden])").all():
        panel.evaluate("details => { details.open = true; }")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    page.keyboard.press("?")
    assert violations(page) == []


def test_a_new_question_takes_the_focus_and_is_announced(page: Page) -> None:
    open_classify(page, "galaxy-zoo")
    page.get_by_role("button", name="Smooth").click()
    expect(question(page)).to_be_focused()
    expect(question(page)).to_contain_text("How rounded")
