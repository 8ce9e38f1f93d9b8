"""The API's description draws itself under the strict Content-Security-Policy."""

from playwright.sync_api import Page, expect

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


def test_the_api_page_shows_every_endpoint_and_violates_no_policy(page: Page) -> None:
    page.add_init_script(WATCH)

    page.goto("/api/v1/docs")
    first = page.locator(".opblock-summary").first
    first.click()

    expect(page.locator(".opblock.is-open .opblock-body")).to_be_visible()
    described = page.evaluate("fetch('/api/v1/schema').then((answer) => answer.json())")["paths"].values()
    assert page.locator(".opblock").count() == sum(len(methods) for methods in described)
    assert page.evaluate("window.violations") == []
