"""Classifying while connection and server come and go: nothing is lost, and every way out that is offered works."""

import json

from playwright.sync_api import Page, expect

from tests.support.classify_page import POSTS, open_classify, ready, sending
from tests.support.site import Site, wait_until


def grade_until_nothing_is_left(page: Page) -> int:
    """Grade the stamps that the page holds already; how many there were."""
    graded = 0
    while True:
        expect(page.locator("#answers > *, #stage-cover button").first).to_be_visible()
        if page.locator("#stage-cover button").is_visible():
            return graded
        page.keyboard.press("x")
        graded += 1
        expect(page.locator("#classified")).to_have_text(f"{graded} by you")


def count_of(site: Site) -> int:
    return int(site.evaluate("apps.get_model('classify', 'Classification').objects.count()"))


def test_answers_given_without_connection_are_sent_once_and_the_page_goes_on_by_itself(page: Page, site: Site) -> None:
    open_classify(page, "lens-grading")
    ready(page)
    before = count_of(site)
    page.context.set_offline(True)
    calls: list[str] = []

    graded = grade_until_nothing_is_left(page)
    assert graded > 1
    expect(page.locator("#stage-cover")).to_contain_text("No connection")
    expect(page.locator("#pending")).to_have_text(f"{graded} waiting to be sent")
    page.locator("#stage-cover button").click()
    expect(page.locator("#stage-cover")).to_contain_text("No connection")

    page.on(
        "request", lambda request: calls.append(request.url.rpartition("/")[2]) if request.method == "POST" else None
    )
    page.context.set_offline(False)
    ready(page)
    expect(page.locator("#pending")).to_be_hidden()
    wait_until(lambda: count_of(site) == before + graded, seconds=20, what="the answers")
    assert calls == ["batch"]


def test_of_a_batch_the_refused_answer_alone_is_kept_aside(page: Page, site: Site) -> None:
    open_classify(page, "lens-grading")
    ready(page)
    before = count_of(site)
    page.context.set_offline(True)
    graded = grade_until_nothing_is_left(page)

    def spoil_the_first(route) -> None:  # type: ignore[no-untyped-def]
        entries = route.request.post_data_json["classifications"]
        entries[0]["annotations"][0]["value"] = "Q"
        route.continue_(post_data=json.dumps({"classifications": entries}))

    page.route("**/classifications/batch", spoil_the_first)
    page.context.set_offline(False)
    expect(page.locator(".banner-refused")).to_be_visible()
    expect(page.locator("#pending")).to_be_hidden()
    wait_until(lambda: count_of(site) == before + graded - 1, seconds=20, what="the other answers")


def test_where_batches_are_refused_the_answers_go_one_by_one(page: Page, site: Site) -> None:
    open_classify(page, "lens-grading")
    ready(page)
    before = count_of(site)
    page.context.set_offline(True)
    graded = grade_until_nothing_is_left(page)
    page.route("**/batch", lambda route: route.fulfill(status=404, content_type="application/json", body="{}"))
    page.context.set_offline(False)
    expect(page.locator("#pending")).to_be_hidden()
    wait_until(lambda: count_of(site) == before + graded, seconds=20, what="the answers")


def test_try_again_works_by_mouse_after_the_server_failed(page: Page) -> None:
    page.route("**/next*", lambda route: route.fulfill(status=503, content_type="application/json", body="{}"))
    page.goto("/projects/lens-grading/")
    page.locator("#workflows").get_by_role("link", name="Classify").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(page.locator("#stage-cover")).to_contain_text("503")

    page.unroute("**/next*")
    page.locator("#stage-cover").get_by_role("button", name="Try again").click()

    ready(page)
    expect(page.locator("#stage-cover")).to_be_hidden()


def test_a_picture_that_comes_at_the_second_try_costs_no_stamp(page: Page) -> None:
    page.route("**/media/**", lambda route: route.abort())
    page.goto("/projects/lens-grading/")
    with page.expect_response(lambda response: "/next" in response.url) as first:
        page.locator("#workflows").get_by_role("link", name="Classify").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(page.locator("#stage-cover")).to_contain_text("picture could not be loaded")

    page.unroute("**/media/**")
    page.locator("#stage-cover").get_by_role("button", name="Try again").click()
    ready(page)
    with sending(page) as sent:
        page.keyboard.press("x")

    assert sent.body["subject"] == first.value.json()["subjects"][0]["id"]


def test_a_receipt_that_is_lost_twice_does_not_count_twice(page: Page, site: Site) -> None:
    page.clock.install()
    open_classify(page, "lens-grading")
    ready(page)
    before, lost = count_of(site), []

    def lose(route) -> None:  # type: ignore[no-untyped-def]
        if len(lost) < 2:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    page.route("**/classifications", lose)
    answers: list[int] = []
    page.on("response", lambda response: answers.append(response.status) if POSTS.search(response.url) else None)
    page.keyboard.press("x")
    # The page waits longer after each failure.
    wait_until(lambda: page.clock.fast_forward(60_000) or answers, seconds=30, what="the third try")

    assert lost == [201, 200]
    assert answers == [200]
    assert count_of(site) == before + 1
