"""Drawing boxes by mouse, keyboard and touch; values are pixels of the original picture."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.classify_page import open_classify, sending, stamp, stored_once
from tests.support.site import Site

SLUG = "clump-scout"


@pytest.fixture
def drawing(page: Page) -> Page:
    open_classify(page, SLUG)
    return page


class Stage:
    """Where the stamp lies on the screen: from pixels of the original picture to the window and back."""

    def __init__(self, page: Page) -> None:
        box = stamp(page).bounding_box()
        assert box is not None
        self.left, self.top, self.side = box["x"], box["y"], box["width"]
        self.pixels: float = stamp(page).evaluate("image => image.naturalWidth")
        self.scale = self.side / self.pixels

    def window(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.scale, self.top + y * self.scale


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def submit(page: Page) -> list[dict[str, Any]]:
    with sending(page) as sent:
        page.keyboard.press("Enter")
    assert sent.status == 201
    return sent.body["annotations"][0]["value"]


def sides(box: dict[str, Any]) -> list[float]:
    return [box["x"], box["y"], box["width"], box["height"]]


def test_boxes_are_drawn_moved_resized_and_deleted_by_mouse(drawing: Page, site: Site) -> None:
    stage = Stage(drawing)
    n = stage.pixels
    drag(drawing, stage.window(0.1 * n, 0.1 * n), stage.window(0.3 * n, 0.3 * n))
    drag(drawing, stage.window(0.6 * n, 0.6 * n), stage.window(0.9 * n, 0.8 * n))
    drag(drawing, stage.window(0.6 * n, 0.1 * n), stage.window(0.7 * n, 0.2 * n))
    expect(drawing.locator(".box")).to_have_count(3)
    drawing.keyboard.press("Delete")  # the last one drawn is selected
    expect(drawing.locator(".box")).to_have_count(2)
    drag(drawing, stage.window(0.2 * n, 0.2 * n), stage.window(0.3 * n, 0.25 * n))  # its inside: moves it
    drag(drawing, stage.window(0.4 * n, 0.35 * n), stage.window(0.5 * n, 0.45 * n))  # its corner: resizes it
    with sending(drawing) as sent:
        drawing.get_by_role("button", name="Done · 2 boxes").click()
    assert sent.status == 201
    value = stored_once(site, sent.body["id"])["annotations"][0]["value"]
    assert sides(value[0]) == pytest.approx([0.2 * n, 0.15 * n, 0.3 * n, 0.3 * n], abs=2 / stage.scale)
    assert sides(value[1]) == pytest.approx([0.6 * n, 0.6 * n, 0.3 * n, 0.2 * n], abs=2 / stage.scale)


def test_the_keyboard_alone_adds_moves_resizes_and_switches_boxes(drawing: Page) -> None:
    stage = Stage(drawing)
    side, step = stage.pixels / 5, max(1, round(stage.pixels / 100))
    corner = (stage.pixels - side) / 2
    drawing.keyboard.press("n")
    drawing.keyboard.press("ArrowLeft")
    drawing.keyboard.press("Shift+ArrowDown")
    drawing.keyboard.press("n")
    drawing.keyboard.press("2")  # the second tool, for the selected box
    drawing.keyboard.press("Shift+Tab")  # back to the first box
    drawing.keyboard.press("ArrowUp")
    expect(drawing.locator("#announcer")).to_contain_text("pixels")
    first, second = submit(drawing)
    assert sides(first) == pytest.approx([corner - step, corner - step, side, side + step], abs=0.01)
    assert sides(second) == pytest.approx([corner, corner, side, side], abs=0.01)
    assert (first["tool"], second["tool"]) == (0, 1)


def test_undo_and_redo_go_through_every_change(drawing: Page) -> None:
    boxes = drawing.locator(".box")
    drawing.keyboard.press("n")
    drawing.keyboard.press("n")
    drawing.keyboard.press("Delete")
    expect(boxes).to_have_count(1)
    drawing.keyboard.press("Control+z")
    expect(boxes).to_have_count(2)
    for _ in range(2):
        drawing.keyboard.press("Control+z")
    expect(boxes).to_have_count(0)
    expect(drawing.get_by_role("button", name="Undo")).to_be_disabled()
    for _ in range(2):
        drawing.keyboard.press("Control+Shift+z")
    expect(boxes).to_have_count(2)


def test_nothing_here_stores_an_empty_list(drawing: Page, site: Site) -> None:
    with sending(drawing) as sent:
        drawing.get_by_role("button", name="Nothing here").click()
    assert stored_once(site, sent.body["id"])["annotations"] == [{"task": "T0", "value": []}]


def test_a_box_dragged_beyond_the_picture_ends_at_its_edge(drawing: Page) -> None:
    stage = Stage(drawing)
    n = stage.pixels
    drag(drawing, stage.window(0.8 * n, 0.8 * n), stage.window(1.2 * n, 0.9 * n))
    (box,) = submit(drawing)
    assert box["x"] + box["width"] == pytest.approx(n, abs=0.02)


def test_a_box_drawn_on_a_zoomed_stamp_has_the_pixels_under_the_pointer(drawing: Page) -> None:
    stage = Stage(drawing)
    n = stage.pixels
    drawing.mouse.move(*stage.window(0.4 * n, 0.4 * n))
    drawing.mouse.wheel(0, -400)
    expect(drawing.locator("#zoom-fit")).not_to_have_text("Fit")
    zoomed = Stage(drawing)
    assert zoomed.scale > 1.5 * stage.scale
    assert zoomed.window(0.4 * n, 0.4 * n) == pytest.approx(stage.window(0.4 * n, 0.4 * n), abs=2)
    drag(drawing, zoomed.window(0.4 * n, 0.4 * n), zoomed.window(0.5 * n, 0.45 * n))
    (box,) = submit(drawing)
    assert sides(box) == pytest.approx([0.4 * n, 0.4 * n, 0.1 * n, 0.05 * n], abs=2 / zoomed.scale)


def touch(page: Page, *moments: list[tuple[float, float]]) -> None:
    """Fingers on the screen: each moment lists where they are; they lift after the last one."""
    session = page.context.new_cdp_session(page)
    for i, fingers in enumerate(moments):
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(fingers)]
        kind = "touchStart" if i == 0 or len(fingers) > len(moments[i - 1]) else "touchMove"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


def test_a_finger_draws_and_two_fingers_zoom(phone: Page) -> None:
    open_classify(phone, SLUG)
    stage = Stage(phone)
    n = stage.pixels
    at = stage.window
    touch(phone, [at(0.2 * n, 0.2 * n)], [at(0.4 * n, 0.3 * n)], [at(0.5 * n, 0.5 * n)])
    expect(phone.locator(".box")).to_have_count(1)
    left, right = at(0.45 * n, 0.7 * n), at(0.55 * n, 0.7 * n)
    wide = [at(0.3 * n, 0.7 * n), at(0.7 * n, 0.7 * n)]
    touch(phone, [left], [left, right], wide, wide)
    expect(phone.locator(".box")).to_have_count(1)  # the pinch drew nothing
    assert Stage(phone).scale > 1.5 * stage.scale
    with sending(phone) as sent:
        phone.get_by_role("button", name="Done · 1 box").tap()
    (box,) = sent.body["annotations"][0]["value"]
    assert sides(box) == pytest.approx([0.2 * n, 0.2 * n, 0.3 * n, 0.3 * n], abs=2 / stage.scale)


def test_the_last_stamp_leads_to_a_clear_end(drawing: Page) -> None:
    end = drawing.get_by_role("heading", name="You have seen everything")
    for _ in range(60):
        if end.is_visible():
            break
        with sending(drawing):
            drawing.keyboard.press("Enter")
        expect(drawing.locator("#answers > *").or_(end)).to_be_visible()
    expect(end).to_be_visible()
    expect(drawing.get_by_role("link", name="See the results")).to_be_visible()
    drawing.reload()
    expect(end).to_be_visible()
