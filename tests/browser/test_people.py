"""People: accounts, tokens, themes, roles, and the work that someone did before signing in."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.account_pages import call, make_token, sign_up
from tests.support.classify_page import open_classify, sending, stored_once
from tests.support.site import Site, wait_until

PASSWORD = "eight bright arcs"
RESET_LINK = re.compile(r"http://\S+(/accounts/password/reset/key/\S+)")


def sign_out(page: Page, username: str) -> None:
    page.locator("summary").filter(has_text=username).click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def fill_sign_in(page: Page, username: str, password: str) -> None:
    page.get_by_role("link", name="Sign in").first.click()
    page.locator("[name=login]").fill(username)
    page.locator("[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_signing_up_out_and_in_again(page: Page) -> None:
    sign_up(page, "henrietta", PASSWORD)
    sign_out(page, "henrietta")
    fill_sign_in(page, "henrietta", "wrong " + PASSWORD)
    expect(page.get_by_role("alert")).to_be_visible()
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("summary").filter(has_text="henrietta")).to_be_visible()


def test_a_forgotten_password_is_reset_by_the_mailed_link_once(page: Page, site: Site) -> None:
    sign_up(page, "annie", PASSWORD)
    sign_out(page, "annie")
    page.goto("/accounts/login/")
    page.get_by_role("link", name="Forgot").click()
    page.locator("[name=email]").fill("annie@example.org")
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    mail = site.folder / "gunicorn.log"  # the demo's mail goes to the console
    link = wait_until(lambda: RESET_LINK.findall(mail.read_text()), seconds=15, what="the mail")[-1]
    page.goto(link)
    page.locator("[name=password1]").fill("nine bright arcs")
    page.locator("[name=password2]").fill("nine bright arcs")
    page.get_by_role("button", name="Save the password").click()
    fill_sign_in(page, "annie", PASSWORD)
    expect(page.get_by_role("alert")).to_be_visible()
    page.locator("[name=password]").fill("nine bright arcs")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("summary").filter(has_text="annie")).to_be_visible()
    sign_out(page, "annie")
    page.goto(link)
    expect(page.get_by_role("heading", name="The link has expired")).to_be_visible()


def switch_theme(page: Page) -> None:
    with page.expect_response("**/account/theme/"):
        page.get_by_role("button", name="Switch between dark and light").click()


def test_a_visitors_theme_is_kept_by_the_browser_and_a_persons_by_the_account(
    new_context: Callable[..., BrowserContext],
) -> None:
    page = new_context().new_page()
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    switch_theme(page)
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.goto("/about/")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    sign_up(page, "cecilia", PASSWORD)
    page.goto("/account/")
    chosen = page.get_by_role("radio", checked=True).get_attribute("value")
    switch_theme(page)
    page.reload()
    kept = page.locator("html").get_attribute("data-theme")
    elsewhere = new_context().new_page()
    elsewhere.goto("/")
    fill_sign_in(elsewhere, "cecilia", PASSWORD)
    elsewhere.goto("/account/")
    assert elsewhere.locator("html").get_attribute("data-theme") == kept
    assert kept != chosen


def test_a_token_is_shown_once_works_in_a_script_and_stops_when_revoked(page: Page, site: Site) -> None:
    sign_up(page, "jocelyn", PASSWORD)
    key = make_token(page, "pulsar script", "read")
    page.goto("/account/tokens/")
    assert key not in page.content()
    tokens = f"{site.url}/api/v1/tokens"
    status, answer = call(f"{site.url}/api/v1/projects/lens-grading", key)
    assert (status, answer["slug"]) == (200, "lens-grading")
    status, problem = call(tokens, key, {"name": "another"})
    assert (status, problem["status"]) == (403, 403)
    page.get_by_role("button", name="Revoke pulsar script").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status").filter(has_text="no longer works")).to_be_visible()
    assert call(f"{site.url}/api/v1/projects/lens-grading", key)[0] == 401


def test_work_done_before_signing_in_belongs_to_the_account_afterwards(page: Page, site: Site) -> None:
    open_classify(page, "clump-scout")
    with sending(page) as sent:
        page.keyboard.press("Enter")
    assert stored_once(site, sent.body["id"])["volunteer__user__username"] is None
    sign_up(page, "maria", PASSWORD)
    page.goto("/projects/clump-scout/")
    with page.expect_response("**/next?*") as offered:
        page.locator("#workflows").get_by_role("link", name="Classify").first.click()
    assert sent.body["subject"] not in [subject["id"] for subject in offered.value.json()["subjects"]]
    expect(page.locator("#classified")).to_have_text("1 by you")
    assert stored_once(site, sent.body["id"])["volunteer__user__username"] == "maria"


@pytest.fixture
def grading_by_experts(site: Site) -> Iterator[None]:
    project = "apps.get_model('projects', 'Project').objects.filter(slug='lens-grading')"
    site.evaluate(f"{project}.update(grading_by='experts')")
    yield
    site.evaluate(f"{project}.update(grading_by='everyone')")


@pytest.mark.usefixtures("grading_by_experts")
def test_where_experts_grade_a_volunteer_is_told_so_and_an_expert_grades(
    page: Page, new_context: Callable[..., BrowserContext], sign_in: Callable[[Page, str], None]
) -> None:
    sign_in(page, "volunteer")
    page.goto("/projects/lens-grading/")
    page.get_by_role("navigation", name="Project").get_by_role("link", name="Classify").click()
    expect(page.get_by_role("heading", name="Experts grade here")).to_be_visible()
    expect(page.locator("#world")).to_have_count(0)
    workflow = page.url.rstrip("/").rsplit("/", 1)[1]
    refusal = page.request.get(f"/api/v1/workflows/{workflow}/next")
    assert (refusal.status, refusal.json()["status"]) == (403, 403)
    expert = new_context().new_page()
    sign_in(expert, "expert")
    open_classify(expert, "lens-grading")
    with sending(expert) as sent:
        expert.keyboard.press("x")
    assert sent.status == 201


def set_role(owner: Page, username: str, role: str) -> None:
    owner.goto("/projects/galaxy-zoo/manage/members/")
    chooser = owner.get_by_label(f"Role of {username}", exact=True)
    if chooser.count():
        chooser.select_option(label=role)
        owner.get_by_role("button", name=f"Change the role of {username}").click()
    else:
        owner.get_by_label("User name", exact=True).fill(username)
        owner.get_by_label("Role", exact=True).select_option(label=role)
        owner.get_by_role("button", name="Add", exact=True).click()
    expect(chooser).to_have_value(role.lower())


def test_a_role_opens_and_closes_the_management_pages(
    page: Page, new_context: Callable[..., BrowserContext], sign_in: Callable[[Page, str], None]
) -> None:
    owner = new_context().new_page()
    sign_in(owner, "admin")
    sign_up(page, "williamina", PASSWORD)
    for role, sees in (("Scientist", True), ("Moderator", False)):
        set_role(owner, "williamina", role)
        page.goto("/projects/galaxy-zoo/")
        tabs = page.get_by_role("navigation", name="Project")
        expect(tabs.get_by_role("link", name="Results")).to_be_visible()
        expect(tabs.get_by_role("link", name="Manage")).to_have_count(1 if sees else 0)
        answer = page.goto("/projects/galaxy-zoo/manage/")
        assert answer is not None
        assert answer.status == (200 if sees else 403)
    expect(page.locator("main")).to_contain_text("Your role in “Galaxy Zoo: Deep Field” does not allow this")
    owner.get_by_role("button", name="Remove williamina").click()
    owner.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(owner.get_by_label("Role of williamina", exact=True)).to_have_count(0)
