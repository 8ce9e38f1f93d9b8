"""The API's description: every call and every object of the OpenAPI document, to be opened and followed."""

import re

from playwright.sync_api import Page, expect


def test_the_api_page_lists_every_call_of_the_document(page: Page) -> None:
    page.goto("/api/v1/docs")
    paths = page.request.get("/api/v1/schema").json()["paths"]
    listed = [tuple(summary.split()[:2]) for summary in page.locator("summary:has(.badge)").all_inner_texts()]
    assert sorted(listed) == sorted((method.upper(), path) for path, ways in paths.items() for method in ways)


def test_a_call_opens_and_leads_to_the_object_that_it_takes(page: Page) -> None:
    page.goto("/api/v1/docs")
    page.locator("summary").filter(has_text="POST").filter(has_text=re.compile(r"/classifications\s")).click()
    call = page.locator("#workflow_classify")
    expect(call.get_by_role("row").filter(has_text="409")).to_be_visible()
    call.get_by_role("link", name="Submission").click()
    expect(page.locator("#schema-Submission").get_by_role("row").filter(has_text="workflow_version")).to_be_visible()


def test_every_link_between_objects_leads_somewhere(page: Page) -> None:
    page.goto("/api/v1/docs")
    broken = page.evaluate("""
        Array.from(document.links, link => link.hash).filter(hash => hash && !document.getElementById(hash.slice(1)))
    """)
    assert broken == []
