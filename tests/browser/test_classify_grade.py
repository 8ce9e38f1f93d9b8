"""Grading lens candidates: one key per grade, several pictures per stamp, feedback where the truth is known."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.support.classify_page import open_classify, question, ready, sending, stamp, stored_once
from tests.support.site import Site

SLUG = "lens-grading"
MEANINGS = {"A": "Definite", "B": "Probable", "C": "Possible", "I": "Interesting", "X": "Not a lens"}


@pytest.fixture
def grading(page: Page) -> Page:
    open_classify(page, SLUG)
    return page


def test_one_key_grades_the_stamp_and_brings_the_next_one(grading: Page, site: Site) -> None:
    before = stamp(grading).get_attribute("src") or ""
    with sending(grading) as sent:
        grading.keyboard.press("b")
    assert sent.status == 201
    assert stored_once(site, sent.body["id"])["annotations"] == [{"task": "T0", "value": "B"}]
    expect(stamp(grading)).not_to_have_attribute("src", before)


def test_every_grade_has_a_button_that_says_what_it_means(grading: Page) -> None:
    for grade, meaning in MEANINGS.items():
        button = grading.get_by_role("button", name=f"{grade}: ")
        expect(button).to_contain_text(meaning)
        with sending(grading) as sent:
            button.click()
        assert sent.body["annotations"] == [{"task": "T0", "value": grade}]


def test_a_key_held_down_grades_one_stamp_only(grading: Page) -> None:
    with sending(grading):
        grading.keyboard.down("x")
    ready(grading)
    with sending(grading) as sent:
        grading.keyboard.down("x")  # what the keyboard's repeat sends
        grading.keyboard.up("x")
        grading.keyboard.press("b")
    assert sent.body["annotations"] == [{"task": "T0", "value": "B"}]


def test_pictures_of_a_stamp_switch_by_key_and_thumbnail_and_the_choice_is_kept(grading: Page) -> None:
    frames = grading.locator("#frames button")
    assert frames.count() >= 2
    first = stamp(grading).get_attribute("src") or ""
    grading.keyboard.press("]")
    expect(frames.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(stamp(grading)).not_to_have_attribute("src", first)
    frames.nth(0).click()
    expect(stamp(grading)).to_have_attribute("src", first)
    grading.keyboard.press("[")
    last = frames.count() - 1
    expect(frames.nth(last)).to_have_attribute("aria-pressed", "true")
    with sending(grading) as sent:
        grading.keyboard.press("x")
    assert sent.body["metadata"]["frame"] == last
    expect(frames.nth(last)).to_have_attribute("aria-pressed", "true")


def test_zoom_and_look_are_kept_from_stamp_to_stamp(grading: Page) -> None:
    fitted = stamp(grading).bounding_box()
    for key in ("+", "k", "k", "v"):
        grading.keyboard.press(key)
    expect(grading.locator("#zoom-fit")).to_have_text("1.3×")
    with sending(grading):
        grading.keyboard.press("x")
    assert stamp(grading).evaluate("image => image.style.filter") == "brightness(1.2) contrast(1) invert(1)"
    zoomed = stamp(grading).bounding_box()
    assert fitted is not None
    assert zoomed is not None
    assert zoomed["width"] == pytest.approx(1.25 * fitted["width"], rel=0.01)
    grading.keyboard.press("0")
    grading.keyboard.press("r")
    assert stamp(grading).evaluate("image => image.style.filter") == "brightness(1) contrast(1) invert(0)"


def test_nothing_tells_a_training_stamp_apart_until_it_has_been_graded(page: Page) -> None:
    offered = []

    def note(response: object) -> None:
        if "/next?" in response.url:  # type: ignore[attr-defined]
            offered.extend(response.json()["subjects"])  # type: ignore[attr-defined]

    page.on("response", note)
    open_classify(page, SLUG)
    feedback = page.locator("#feedback")
    told = None
    for _ in range(64):
        expect(feedback).to_be_hidden()
        ready(page)
        with sending(page) as sent:
            page.keyboard.press("x")
        told = sent.answer["feedback"]
        if told:
            break
    assert told, "no training stamp came up"
    expect(feedback).to_be_visible()
    expect(feedback).to_contain_text(told[0]["message"])
    assert {frozenset(subject) for subject in offered} == {frozenset({"id", "frames", "metadata"})}
    assert "simulat" not in json.dumps(offered).lower()
    feedback.get_by_role("button", name="Close the feedback").click()
    expect(feedback).to_be_hidden()
    expect(question(page)).to_be_visible()


def test_a_phone_grades_by_touch(phone: Page) -> None:
    open_classify(phone, SLUG)
    with sending(phone) as sent:
        phone.get_by_role("button", name="C: ").tap()
    assert sent.body["annotations"] == [{"task": "T0", "value": "C"}]
