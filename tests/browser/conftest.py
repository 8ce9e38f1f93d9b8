"""One demo site for all browser tests: web server and worker are processes of their own; Chromium is real."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.services import chromium
from tests.support.site import Site, new_site

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A demo with few stamps; its worker runs the prefilter."""
    with new_site(tmp_path_factory.mktemp("site")) as site:
        site.manage("load_demo", "--small")
        site.start_web()
        site.start_worker()
        yield site


@pytest.fixture(scope="session")
def live_url(site: Site) -> str:
    return site.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def new_context(browser: Browser, live_url: str) -> Iterator[Callable[..., BrowserContext]]:
    """new_context(viewport=…, …) → a fresh visitor; a script error on any of its pages fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(base_url=live_url, **{"viewport": DESKTOP, **options})
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.set_default_timeout(15_000)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert not errors, errors


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    """A visitor at a desk."""
    return new_context().new_page()


@pytest.fixture
def phone(new_context: Callable[..., BrowserContext]) -> Page:
    """A visitor with a phone."""
    return new_context(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2).new_page()


@pytest.fixture
def sign_in(site: Site) -> Callable[[Page, str], None]:
    """sign_in(page, "admin") through the sign-in page."""

    def sign(page: Page, username: str) -> None:
        page.goto("/accounts/login/")
        page.locator("input[name=login], input[name=username]").first.fill(username)
        page.locator("input[name=password]").fill(site.password(username))
        page.locator("main form button[type=submit], main form button:not([type])").first.click()
        page.wait_for_url(lambda url: "/accounts/login" not in url)

    return sign
