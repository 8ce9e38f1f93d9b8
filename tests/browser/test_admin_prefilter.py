"""The prefilter, launched from page, API and command line: a worker, a process of its own, changes what comes next."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.account_pages import call, make_token
from tests.support.classify_page import open_classify, stamp
from tests.support.site import Site, wait_until

SLUG = "lens-grading"
PREFILTER = f"/projects/{SLUG}/manage/prefilter/"
N_CANDIDATES = 24
CANDIDATES = "subject__subject_set__name='Candidates', subject__subject_set__project__slug='lens-grading'"
QUEUE = f"apps.get_model('classify', 'SubjectProgress').objects.filter({CANDIDATES})"
PREDICTIONS = f"apps.get_model('ml_worker', 'Prediction').objects.filter({CANDIDATES})"


@contextmanager
def no_worker(site: Site) -> Iterator[None]:
    """Stop the worker as a deployment does; start another one afterwards."""
    worker = site.processes[-1]
    worker.terminate()
    worker.wait(30)
    try:
        yield
    finally:
        site.start_worker()


@pytest.fixture(autouse=True)
def fresh_queue(site: Site) -> Iterator[None]:
    """As if no prefilter had ever run and nobody had retired a candidate, for this test and for those after it."""
    fresh = f"{QUEUE}.update(bucket=50, is_held=False, is_control=False, retired_at=None, retirement_reason='')"
    assert site.evaluate(fresh) == N_CANDIDATES
    yield
    site.evaluate(fresh)


@pytest.fixture(autouse=True)
def no_training_subjects(site: Site) -> Iterator[None]:
    """Without them, what comes next is what the queue says: training subjects are drawn by chance."""
    rows = "apps.get_model('classify', 'SubjectProgress').objects"
    ids = site.evaluate(f"list({rows}.filter(is_training=True).values_list('pk', flat=True))")
    site.evaluate(f"{rows}.update(is_training=False)")
    yield
    site.evaluate(f"{rows}.filter(pk__in={ids}).update(is_training=True)")


@pytest.fixture
def admin(page: Page, sign_in: Callable[[Page, str], None]) -> Page:
    sign_in(page, "admin")
    return page


@pytest.fixture
def volunteer(new_context: Callable[..., BrowserContext]) -> Callable[[], Page]:
    """volunteer() → someone whom the site has never seen."""
    return lambda: new_context().new_page()


def launch(admin: Page, **fields: str) -> int:
    """From the project's page by Manage and Prefilter; the number of the batch whose page comes next."""
    admin.goto(f"/projects/{SLUG}/")
    admin.get_by_role("navigation", name="Project").get_by_role("link", name="Manage").click()
    admin.get_by_role("navigation", name="Manage").get_by_role("link", name="Prefilter").click()
    admin.get_by_label("Subjects", exact=True).select_option(label=f"Lens grading: Candidates ({N_CANDIDATES})")
    admin.get_by_label("Model", exact=True).select_option(label="lens-finder 1")
    for name, value in fields.items():
        admin.locator(f"[name={name}]").fill(value)
    admin.get_by_role("button", name="Launch").click()
    admin.wait_for_url(f"**{PREFILTER}*/")
    return int(admin.url.rstrip("/").rsplit("/", 1)[1])


def served(visitor: Page) -> list[int]:
    """Everything that the site would have this visitor classify, in order (70 subjects at most)."""
    visitor.goto(f"/projects/{SLUG}/")
    visitor.locator("#workflows").get_by_role("link", name="Classify").first.click()
    visitor.wait_for_url("**/classify/*/")
    address = f"/api/v1/workflows/{visitor.url.rstrip('/').rsplit('/', 1)[1]}/next"
    order: list[int] = []
    while True:
        known = ",".join(map(str, order[-50:]))
        answer = visitor.request.get(address, params={"count": 20, "exclude": known} if known else {"count": 20}).json()
        fresh = [subject["id"] for subject in answer["subjects"] if subject["id"] not in order]
        if not fresh:
            return order
        order += fresh


def scores(site: Site) -> dict[int, float]:
    """The network's score of every candidate."""
    return dict(site.evaluate(f"list({PREDICTIONS}.values_list('subject_id', 'score'))"))


def place(score: float) -> int:
    """Subjects of one place in the queue come in random order: there are 49 places from 0 to 1."""
    return int(49 * score)


def stat(page: Page, name: str) -> str:
    return page.locator("#batch-stats .stat").filter(has_text=name).locator("dd").inner_text()


def test_without_a_worker_a_batch_waits_and_a_cancelled_one_changes_nothing(
    admin: Page, volunteer: Callable[[], Page], site: Site
) -> None:
    before = set(served(volunteer()))
    with no_worker(site):
        launch(admin, show_fraction="0.1")
        expect(admin.locator("#batch-waiting")).to_have_text("Waiting for a worker to take the first shard.")
        assert stat(admin, "State") == "Waiting"
        admin.get_by_role("button", name="Cancel batch").click()
        admin.get_by_role("dialog").get_by_role("button", name="Cancel batch").click()
        expect(admin.locator("#batch-stats [data-field=state]")).to_have_text("Cancelled")
        expect(admin.get_by_role("button", name="Cancel batch")).to_have_count(0)
    assert set(served(volunteer())) == before


def test_the_likeliest_lens_is_shown_first_and_held_stamps_never(
    admin: Page, volunteer: Callable[[], Page], site: Site
) -> None:
    polled = []
    admin.on(
        "response", lambda response: polled.append(response.url) if "/prefilter-batches/" in response.url else None
    )
    batch = launch(admin, show_fraction="0.25", control_fraction="0", shard_size="4")
    expect(admin.locator("#batch-stats [data-field=state]")).to_have_text("Done", timeout=60_000)
    assert polled  # the page followed the worker by itself
    assert polled[0].endswith(f"/api/v1/prefilter-batches/{batch}")
    assert stat(admin, "Shards done") == "6 of 6"
    assert stat(admin, "Held") == "18"
    score = scores(site)
    ranked = sorted(score, key=lambda subject: -score[subject])
    order = [subject for subject in served(volunteer()) if subject in score]
    assert set(order) == set(ranked[:6])
    assert [place(score[subject]) for subject in order] == [place(score[subject]) for subject in ranked[:6]]
    visitor = volunteer()
    open_classify(visitor, SLUG)
    first = [subject for subject in ranked if place(score[subject]) == place(score[ranked[0]])]
    pictures = [
        frame["url"]
        for subject in first
        for frame in visitor.request.get(f"/api/v1/subjects/{subject}").json()["frames"]
    ]
    assert stamp(visitor).get_attribute("src") in pictures


def test_a_token_launches_a_batch_whose_control_sample_is_served_among_the_others(
    admin: Page, volunteer: Callable[[], Page], site: Site
) -> None:
    key = make_token(admin, "prefilter", "admin")
    api = f"{site.url}/api/v1"
    workflow = site.evaluate(f"{QUEUE}.values_list('workflow_id', 'subject__subject_set_id')[0]")
    (model,) = call(f"{api}/models", key)[1]["results"]
    body = {
        "workflow": workflow[0], "subject_set": workflow[1], "model": model["id"],
        "show_above": 0.5, "control_fraction": 0.5, "seed": 7,
    }  # fmt: skip
    status, batch = call(f"{api}/prefilter-batches", key, body)
    assert status == 201
    address = f"{api}/prefilter-batches/{batch['id']}"
    batch = wait_until(
        lambda: (now := call(address, key)[1])["finished_at"] and now, seconds=60, what="the worker to finish the batch"
    )
    assert batch["state"] == "done"
    score = scores(site)
    shown = {subject for subject in score if score[subject] >= 0.5}
    held = set(site.evaluate(f"list({QUEUE}.filter(is_held=True).values_list('subject_id', flat=True))"))
    control = set(score) - shown - held
    assert (len(shown), len(held), len(control)) == tuple(
        batch["routing"][part] for part in ("shown", "held", "control")
    )
    assert control
    assert held
    order = [subject for subject in served(volunteer()) if subject in score]
    assert set(order) == shown | control
    last_shown = max(order.index(subject) for subject in shown)
    assert min(order.index(subject) for subject in control) < last_shown
    status, problem = call(f"{api}/prefilter-batches", make_token(admin, "reader", "read"), body)
    assert (status, problem["status"]) == (403, 403)


def test_the_command_launches_a_batch_and_waits_for_the_worker(volunteer: Callable[[], Page], site: Site) -> None:
    options = ["--model=lens-finder:1", "--set=Candidates", "--show-fraction=0.125", "--control=0", "--wait"]
    printed = site.manage("prefilter", SLUG, *options)
    assert "3 shown, 21 held, 0 shown as control sample." in printed
    score = scores(site)
    best = set(sorted(score, key=lambda subject: -score[subject])[:3])
    assert {subject for subject in served(volunteer()) if subject in score} == best
