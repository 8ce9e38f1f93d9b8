"""The decision tree in a real browser: keys, mouse, touch, going back, and answers that outlive a lost connection."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.classify_page import POSTS, open_classify, question, sending, stamp, stored_once
from tests.support.site import Site

SLUG = "galaxy-zoo"


@pytest.fixture
def tree(page: Page) -> Page:
    open_classify(page, SLUG)
    return page


def finish_tree(page: Page) -> None:
    """Keys only: smooth, completely round, no merger, none of the rare features."""
    for key, asked in (("1", "smooth and rounded"), ("1", "How rounded"), ("1", "merging"), ("Enter", "rare features")):
        expect(question(page)).to_contain_text(asked)
        page.keyboard.press(key)


def test_a_visitor_answers_the_tree_with_keys_and_the_reached_tasks_are_stored_in_order(tree: Page, site: Site) -> None:
    with sending(tree) as sent:
        finish_tree(tree)
    assert sent.status == 201
    row = stored_once(site, sent.body["id"])
    expected = [
        {"task": "T0", "value": 0},
        {"task": "T1", "value": 0},
        {"task": "T9", "value": 0},
        {"task": "T10", "value": []},
    ]
    assert row["annotations"] == expected
    assert row["subject_id"] == sent.body["subject"]
    assert row["volunteer__user__username"] is None
    expect(tree.locator("#classified")).to_have_text("1 by you")


def test_going_back_withdraws_the_answers_after_it_and_shows_the_earlier_one(tree: Page) -> None:
    tree.get_by_role("button", name="Features or Disk").click()
    tree.get_by_role("button", name="No - Something Else").click()
    expect(question(tree)).to_contain_text("bar feature")
    tree.keyboard.press("Backspace")
    expect(question(tree)).to_contain_text("edge-on")
    expect(tree.get_by_role("button", name="No - Something Else")).to_have_attribute("aria-pressed", "true")
    tree.locator("#trail button").first.click()
    expect(question(tree)).to_contain_text("smooth and rounded")
    expect(tree.locator("#trail")).to_be_hidden()
    with sending(tree) as sent:
        finish_tree(tree)
    assert [annotation["task"] for annotation in sent.body["annotations"]] == ["T0", "T1", "T9", "T10"]


def test_the_next_stamp_needs_no_network_once_the_queue_is_filled(tree: Page) -> None:
    tree.wait_for_load_state("networkidle")
    before = stamp(tree).get_attribute("src")
    tree.route("**/media/**", lambda route: route.abort())
    finish_tree(tree)
    expect(stamp(tree)).not_to_have_attribute("src", before or "")
    assert tree.evaluate("document.querySelector('#world img').naturalWidth") > 0


def test_answers_given_without_a_connection_survive_a_reload_and_are_stored_once(tree: Page, site: Site) -> None:
    bodies = []

    def lose(route: Route) -> None:
        bodies.append(route.request.post_data_json)
        route.abort("internetdisconnected")

    tree.route(POSTS, lose)
    finish_tree(tree)
    expect(tree.locator("#pending")).to_have_text("1 waiting to be sent")
    expect(tree.locator("#banner")).to_contain_text("No connection")
    tree.unroute(POSTS)
    with sending(tree) as sent:
        tree.reload()
    assert sent.status == 201
    assert sent.body == bodies[0]
    stored_once(site, sent.body["id"])
    expect(tree.locator("#pending")).to_be_hidden()


def test_an_answer_whose_receipt_is_lost_is_sent_again_and_stored_once(tree: Page, site: Site) -> None:
    lost = []

    def lose_receipt(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().status)
        route.abort("connectionreset")

    tree.route(POSTS, lose_receipt)
    with sending(tree) as sent:
        finish_tree(tree)
    assert (lost, sent.status) == ([201], 200)
    stored_once(site, sent.body["id"])


def test_a_refused_answer_is_kept_aside_with_its_reason_and_the_next_one_goes_on(tree: Page) -> None:
    problem = {"status": 422, "title": "Content refused", "detail": "annotations[0].value: must be between 0 and 2"}

    def refuse(route: Route) -> None:
        route.fulfill(status=422, content_type="application/problem+json", json=problem)

    tree.route(POSTS, refuse)
    finish_tree(tree)
    expect(tree.locator("#banner")).to_contain_text("1 answer could not be stored: annotations[0].value")
    tree.unroute(POSTS)
    with sending(tree) as sent:
        finish_tree(tree)
    assert sent.status == 201
    tree.get_by_role("button", name="Dismiss").click()
    expect(tree.locator("#banner")).to_be_hidden()


def test_after_a_lapsed_sign_in_answers_wait_and_are_credited_at_the_next_one(
    page: Page, site: Site, sign_in: Callable[[Page, str], None]
) -> None:
    sign_in(page, "volunteer")
    open_classify(page, SLUG)
    page.context.clear_cookies(name="sessionid")
    with sending(page) as refused:
        finish_tree(page)
    assert refused.status == 401
    expect(page.locator("#banner")).to_contain_text("Your sign-in has ended; 1 answer kept here")
    sign_in(page, "volunteer")
    page.goto(f"/projects/{SLUG}/")
    with sending(page) as sent:
        page.locator("#workflows").get_by_role("link", name="Classify").first.click()
    assert (sent.status, sent.body["id"]) == (201, refused.body["id"])
    assert stored_once(site, sent.body["id"])["volunteer__user__username"] == "volunteer"


def test_single_key_shortcuts_can_be_switched_off(tree: Page) -> None:
    tree.keyboard.press("?")
    sheet = tree.get_by_role("dialog", name="Keys")
    expect(sheet).to_contain_text("Smooth")
    sheet.get_by_label("Single-key shortcuts").uncheck()
    sheet.get_by_role("button", name="Close").click()
    tree.keyboard.press("1")
    expect(question(tree)).to_contain_text("smooth and rounded")
    tree.get_by_role("button", name="Smooth").click()
    expect(question(tree)).to_contain_text("How rounded")


def test_a_phone_shows_stamp_and_answers_without_sideways_scrolling(phone: Page) -> None:
    open_classify(phone, SLUG)
    box = stamp(phone).bounding_box()
    assert box is not None
    assert box["width"] >= 340
    assert phone.evaluate("document.documentElement.scrollWidth <= screen.width")
    for answer in phone.locator(".answer").all():
        size = answer.bounding_box()
        assert size is not None
        assert size["height"] >= 44
    phone.get_by_role("button", name="Smooth").tap()
    expect(question(phone)).to_contain_text("How rounded")


def test_an_answered_stamp_does_not_come_back_to_the_same_visitor(tree: Page) -> None:
    with sending(tree) as sent:
        finish_tree(tree)
    address = tree.url
    tree.goto("about:blank")  # whatever that page still asked for is not to be taken for the next one's question
    with tree.expect_response("**/next?*") as answer:
        tree.goto(address)
    assert sent.body["subject"] not in [subject["id"] for subject in answer.value.json()["subjects"]]
