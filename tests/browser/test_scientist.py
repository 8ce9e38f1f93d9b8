"""A scientist's way from a template to a catalogue, all of it in the browser."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Download, Page, expect

from tests.support.account_pages import sign_up
from tests.support.classify_page import open_classify, ready, sending

NAME, PASSWORD = "vera", "dark matter turns"
SLUG, TITLE = "arc-search", "Arc search"
MANAGE = f"/projects/{SLUG}/manage"


@dataclass(frozen=True)
class Project:
    """What the scientist's browser knows after making the project, and the state to open another page with."""

    storage: str
    workflow: int
    report: str
    rejects: list[list[str]]


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def archive() -> bytes:
    """A manifest of three stamps, of which the second is broken."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("manifest.csv", "name,image,field\nA-1,a1.png,North\nA-2,a2.png,North\nA-3,a3.png,South\n")
        made.writestr("a1.png", picture(1))
        made.writestr("a2.png", picture(2)[:200])
        made.writestr("a3.png", picture(3))
    return file.getvalue()


def fill_new_project(page: Page, title: str, slug: str) -> None:
    page.goto("/")
    page.locator("summary").filter(has_text=NAME).click()
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Address").fill(slug)
    page.get_by_label("Summary").fill("Which of these hold arcs?")
    page.locator("label").filter(has_text="Lens grading").click()  # the whole card is the label
    page.get_by_role("button", name="Create the project").click()


def make_project(page: Page) -> Project:
    """Template, archive, link to the workflow, doors open."""
    sign_up(page, NAME, PASSWORD)
    fill_new_project(page, TITLE, SLUG)
    page.goto(f"{MANAGE}/subjects/")
    files = {"name": "arcs.zip", "mimeType": "application/zip", "buffer": archive()}
    page.get_by_label("ZIP archive").set_input_files(files)  # type: ignore[arg-type]
    page.get_by_label("Into the set").fill("First arcs")
    page.get_by_role("button", name="Upload and check").click()
    report = page.locator("main .alert").first.inner_text()
    rows = page.get_by_role("region", name="Rejected rows").locator("tbody tr").all()
    rejects = [row.locator("td").all_inner_texts() for row in rows]
    page.get_by_label("Set", exact=True).select_option(label="First arcs")
    page.get_by_role("button", name="Link", exact=True).click()
    page.goto(f"{MANAGE}/")
    page.get_by_label("Status").select_option(label="Live")
    page.get_by_role("button", name="Save").click()
    page.goto(f"{MANAGE}/workflows/")
    page.get_by_role("rowheader").get_by_role("link").click()
    page.wait_for_url(f"**{MANAGE}/workflows/*/")
    workflow = int(page.url.rstrip("/").rsplit("/", 1)[1])
    return Project(json.dumps(page.context.storage_state()), workflow, report, rejects)


@pytest.fixture(scope="module")
def project(browser: Browser, live_url: str) -> Project:
    with browser.new_context(base_url=live_url) as context:
        context.set_default_timeout(15_000)
        return make_project(context.new_page())


@pytest.fixture
def scientist(project: Project, new_context: Callable[..., BrowserContext]) -> Page:
    """Signed in as the project's owner."""
    return new_context(storage_state=json.loads(project.storage)).new_page()


def test_a_broken_picture_is_reported_with_its_row_and_the_others_are_kept(project: Project, scientist: Page) -> None:
    assert project.report == "2 subjects created, 0 unchanged, 1 rejected."
    ((row, name, column, message),) = project.rejects
    assert (row, name, column) == ("3", "A-2", "image")
    assert "a2.png" in message
    scientist.goto(f"{MANAGE}/subjects/")
    table = scientist.get_by_role("region", name="Table of subject sets")
    expect(table.get_by_role("row").filter(has_text="First arcs")).to_contain_text("2")


def test_a_new_project_has_the_templates_questions_and_is_a_draft_that_strangers_do_not_find(
    scientist: Page, page: Page
) -> None:
    fill_new_project(scientist, "Second arcs", "second-arcs")
    scientist.goto("/projects/second-arcs/")
    expect(scientist.locator(".project-head").get_by_text("Draft")).to_be_visible()
    expect(scientist.get_by_role("heading", name="Lens grading")).to_be_visible()
    stranger = page.goto("/projects/second-arcs/")
    assert stranger is not None
    assert stranger.status == 404


def test_an_address_that_is_taken_is_refused_beside_its_field_and_what_was_typed_is_kept(scientist: Page) -> None:
    fill_new_project(scientist, "Other title", SLUG)
    field = scientist.get_by_label("Address")
    expect(scientist.locator(".field").filter(has=field).locator(".field-error")).to_be_visible()
    expect(scientist.get_by_label("Title")).to_have_value("Other title")
    expect(scientist.get_by_label("Lens grading")).to_be_checked()


def sums_of(text: str) -> dict[str, str]:
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in text.splitlines())}


def test_results_and_release_hold_what_was_classified_in_the_page(
    project: Project, scientist: Page, page: Page
) -> None:
    grades: dict[int, list[str]] = {}
    for visitor, key in ((scientist, "a"), (page, "c")):
        open_classify(visitor, SLUG)
        with sending(visitor) as first:
            visitor.keyboard.press(key)
        grades.setdefault(first.body["subject"], []).append(key.upper())
    ready(page)
    with sending(page) as last:
        page.keyboard.press("x")
    grades.setdefault(last.body["subject"], []).append("X")

    results = f"/projects/{SLUG}/results/{project.workflow}/"
    page.goto(results)
    assert stat(page, "Classifications") == "3"
    assert stat(page, "Subjects") == "2"
    twice = next(subject for subject, given in grades.items() if len(given) == 2)
    page.goto(f"{results}subjects/{twice}/")
    for grade in "ABCIX":
        bar = page.locator(".bars li").filter(has=page.locator(f"meter[aria-label^='{grade}']"))
        expect(bar.locator(".bar-value")).to_have_text("50%" if grade in grades[twice] else "0%")

    scientist.goto(f"{results}releases/")
    scientist.get_by_role("button", name="Freeze and write the files").click()
    files = scientist.get_by_role("region", name="Files of release 1")
    expect(files).to_be_visible(timeout=60_000)  # the page follows the worker by itself
    expect(scientist.locator(".release .badge")).to_have_text("Done")
    downloads = {name: download(scientist, name) for name in ("SHA256SUMS", "subjects.csv", "subjects.parquet")}
    assert downloads["subjects.csv"].suggested_filename == f"{SLUG}-release-1-subjects.csv"
    paths = {name: Path(download.path()) for name, download in downloads.items()}
    sums = sums_of(paths["SHA256SUMS"].read_text())
    for name in ("subjects.csv", "subjects.parquet"):
        digest = hashlib.sha256(paths[name].read_bytes()).hexdigest()
        assert sums[name] == digest
        expect(files.get_by_role("row").filter(has_text=name)).to_contain_text(digest)
    rows = {int(row["subject_id"]): row for row in csv.DictReader(paths["subjects.csv"].read_text().splitlines())}
    table = {row["subject_id"]: row for row in pq.read_table(paths["subjects.parquet"]).to_pylist()}
    assert rows.keys() == table.keys()
    assert {row["name"] for row in rows.values()} == {"A-1", "A-3"}
    for subject, row in rows.items():
        given = grades.get(subject, [])
        assert int(row["n_classifications"]) == table[subject]["n_classifications"] == len(given)
        for grade in "ABCIX":
            count, fraction = f"grade_{grade}_count", f"grade_{grade}_fraction"
            assert int(row[count]) == table[subject][count] == given.count(grade)
            assert float(row[fraction]) == table[subject][fraction] == given.count(grade) / len(given)


def stat(page: Page, name: str) -> str:
    return page.locator(".stat").filter(has=page.get_by_text(name, exact=True)).locator("dd").inner_text()


def download(page: Page, name: str) -> Download:
    with page.expect_download() as caught:
        page.get_by_role("link", name=name, exact=True).first.click()
    return caught.value


def test_a_workflow_with_a_cycle_is_refused_with_its_place_and_nothing_changes(
    project: Project, scientist: Page
) -> None:
    address = f"{MANAGE}/workflows/{project.workflow}/"
    scientist.goto(address)
    text = scientist.get_by_label("Definition").input_value()
    definition = json.loads(text)
    definition["tasks"]["T0"]["next"] = "T1"
    definition["tasks"]["T1"] = {**definition["tasks"]["T0"], "name": "again", "next": "T0"}
    typed = json.dumps(definition)
    scientist.get_by_label("Definition").fill(typed)
    scientist.get_by_role("button", name="Publish").click()
    problems = scientist.locator("#problems")
    expect(problems).to_contain_text("Nothing is saved: the definition has 1 problem.")
    expect(problems.locator("li")).to_have_text("tasks.T1 leads back to T0: T0 → T1 → T0")
    assert json.loads(scientist.get_by_label("Definition").input_value()) == definition  # nothing typed is lost
    scientist.goto(address)
    assert scientist.get_by_label("Definition").input_value() == text
    expect(scientist.get_by_role("region", name="Table of versions").locator("tbody tr")).to_have_count(1)
    workflow = scientist.request.get(f"/api/v1/workflows/{project.workflow}").json()
    assert (workflow["version"], list(workflow["tasks"])) == ("1.1", ["T0"])
