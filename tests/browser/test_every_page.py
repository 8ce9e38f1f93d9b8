"""Every page that links lead to, on a desk and on a phone, dark and light: it answers, it fits, nothing is wrong."""

import re
from collections import deque
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Response

from tests.support.site import Site

DARK_DESK = ("dark", {"viewport": {"width": 1440, "height": 900}})
LIGHT_PHONE = ("light", {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True})
LOOKS = pytest.mark.parametrize(("theme", "options"), [DARK_DESK, LIGHT_PHONE], ids=["dark-desk", "light-phone"])
# Downloads, pictures, documents for programs, and Django's own administration pages.
NO_PAGES = re.compile(r"/(account/data/|media/|admin/|metrics|api/v1/(?!docs)|projects/[^/]+/releases/|.*\.svg$)")
UNLINKED = ["/accounts/password/reset/done/", "/accounts/password/reset/key/done/", "/accounts/inactive/"]
PUBLIC = {
    "/", "/about/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/api/v1/docs",
    "/projects/*/", "/projects/*/classify/*/", "/projects/*/results/*/", "/projects/*/results/*/subjects/",
    "/projects/*/results/*/subjects/*/", "/projects/*/results/*/releases/", *UNLINKED,
}  # fmt: skip
SAME_FOR_ALL = {"/about/", "/api/v1/docs", "/projects/*/classify/*/"}
SIGNED_IN = {
    "/account/", "/account/tokens/", "/account/delete/", "/accounts/password/change/", "/accounts/email/",
    "/projects/new/", "/projects/*/manage/", "/projects/*/manage/members/", "/projects/*/manage/subjects/",
    "/projects/*/manage/workflows/", "/projects/*/manage/workflows/*/", "/projects/*/manage/prefilter/",
    "/projects/*/manage/prefilter/*/",
}  # fmt: skip
# Not window.innerWidth: a phone zooms out until everything fits.
TOO_WIDE = "document.scrollingElement.scrollWidth - screen.width"
LINKS = "Array.from(document.links, link => link.href)"
UNFOLD = "document.querySelectorAll('main details').forEach(details => { details.open = true; })"


def in_project(path: str) -> str:
    """The path with every number as *: one subject, one batch … of each project is enough."""
    return re.sub(r"/\d+(?=/)", "/*", path)


def kind(path: str) -> str:
    """The path with project names as *, too: pages of one kind are the same template."""
    return in_project(re.sub(r"^/projects/(?!new/)[^/]+/", "/projects/*/", path))


class Crawl:
    """Follows links from page to page and notes what is wrong on each."""

    def __init__(self, page: Page, live_url: str) -> None:
        self.page = page
        self.live_url = live_url
        self.visited: list[str] = []
        self.problems: dict[str, list[str]] = {}
        page.on("console", self._hear)
        page.on("response", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":  # what the Content-Security-Policy blocks is among them
            self._note(f"console: {message.text}")

    def _see(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"{response.status} {response.url}")

    def _note(self, problem: str) -> None:
        path = urlsplit(self.page.url).path
        self.problems.setdefault(path, []).append(problem)

    def run(self, starts: list[str], theme: str, *, alike: Callable[[str], str], known: Collection[str] = ()) -> None:
        """Visit one page of those for which `alike` says the same, and none for which it says something `known`."""
        waiting = deque(starts)
        known = set(known)
        while waiting:
            path = waiting.popleft()
            if alike(path) in known or NO_PAGES.match(path):
                continue
            known.add(alike(path))
            self.visit(path, theme)
            ours = [urlsplit(link) for link in self.page.evaluate(LINKS) if link.startswith(self.live_url + "/")]
            waiting.extend(link.path for link in ours)

    def visit(self, path: str, theme: str) -> None:
        self.page.goto(path)
        self.page.evaluate(UNFOLD)
        self.visited.append(urlsplit(self.page.url).path)
        if (shown := self.page.locator("html").get_attribute("data-theme")) != theme:
            self._note(f"is {shown}")
        if (excess := self.page.evaluate(TOO_WIDE)) > 0:
            self._note(f"is {excess} pixels too wide")
        for broken in Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]:
            self._note(f"{broken['id']}: {broken['help']}: {broken['nodes'][0]['html']}")

    @property
    def report(self) -> str:
        return "\n".join(f"{path}\n    " + "\n    ".join(found) for path, found in self.problems.items())


@pytest.fixture(scope="module")
def full_site(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demo with a release and a prefilter batch that shows all, so that their pages have something to show."""
    project = "apps.get_model('projects', 'Project').objects.get(slug='lens-grading')"
    workflow = site.evaluate(f"{project}.workflows.get().pk")
    site.manage("make_release", str(workflow), "-o", str(tmp_path_factory.mktemp("release")))
    site.manage("prefilter", "lens-grading", "--model=lens-finder", "--set=Candidates", "--show-above=0", "--wait")
    return site


@pytest.fixture
def crawl(new_context: Callable[..., BrowserContext], live_url: str) -> Callable[..., Crawl]:
    def make(theme: str, options: dict[str, Any]) -> Crawl:
        context = new_context(reduced_motion="reduce", **options)
        context.add_cookies([{"name": "theme", "value": theme, "url": live_url}])
        return Crawl(context.new_page(), live_url)

    return make


@LOOKS
def test_every_public_page_is_in_order(
    full_site: Site, crawl: Callable[..., Crawl], theme: str, options: dict[str, Any]
) -> None:
    visitor = crawl(theme, options)
    # Every project's pages where the screen is narrow, as what they hold differs in width; else one of a kind.
    visitor.run(["/", *UNLINKED], theme, alike=in_project if options == LIGHT_PHONE[1] else kind)
    assert visitor.report == ""
    assert {kind(path) for path in visitor.visited} >= PUBLIC


@LOOKS
def test_every_page_of_those_who_run_projects_is_in_order(
    full_site: Site,
    crawl: Callable[..., Crawl],
    sign_in: Callable[[Page, str], None],
    theme: str,
    options: dict[str, Any],
) -> None:
    admin = crawl(theme, options)
    sign_in(admin.page, "admin")
    if admin.page.locator("html").get_attribute("data-theme") != theme:
        with admin.page.expect_response("**/account/theme/"):
            admin.page.get_by_role("button", name="Switch between dark and light").click()
    starts = [
        "/projects/lens-grading/",
        "/projects/lens-grading/manage/prefilter/",
        "/",
        "/account/",
        "/account/delete/",
    ]
    admin.run(starts, theme, alike=kind, known=SAME_FOR_ALL)
    assert admin.report == ""
    assert {kind(path) for path in admin.visited} >= SIGNED_IN


def test_an_address_that_does_not_exist_has_a_page_that_leads_on(page: Page) -> None:
    response = page.goto("/no/such/page/")
    assert response is not None
    assert response.status == 404
    assert Axe().run(page).response["violations"] == []
    page.get_by_role("link", name="Projects").first.click()
    page.wait_for_url("**/")
