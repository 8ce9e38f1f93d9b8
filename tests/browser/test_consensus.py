"""What the models say, in the browser: fitted by a worker at the press of a button, with pictures in both themes."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.site import Site

SLUG = "judged-grades"
# A project of its own, so that its gold standard changes no other test's queue: sixteen stamps of the demo, graded by
# six volunteers, half of them lenses. One volunteer in six is wrong about every stamp.
MAKE = f"""
from datetime import UTC, datetime
from uuid import uuid4
from classify.models import Volunteer
from classify.services import Submission, record_classification, set_gold_standard
from starsieve.accounts.models import User
from starsieve.projects.models import Subject, SubjectSet
from starsieve.projects.services import create_project, link_subject_set

stamps = list(Subject.objects.filter(project__slug="lens-grading")[:16])
project = create_project(
    title="Judged grades", slug="{SLUG}", summary="Lenses whose truth is known.", template="lens-grading",
    owner=User.objects.get(username="admin"), status="live", is_public=True,
)
workflow = project.workflows.get()
group = SubjectSet.objects.create(project=project, name="Known")
subjects = [
    Subject.objects.create(project=project, subject_set=group, name=f"K-{{i:02}}", frames=stamp.frames)
    for i, stamp in enumerate(stamps)
]
link_subject_set(workflow=workflow, subject_set=group)
now = datetime.now(UTC)
for juror in range(6):
    volunteer = Volunteer.objects.create(visitor=uuid4())
    for i, subject in enumerate(subjects):
        grade = "AX"[(i + (juror == 5)) % 2]
        record_classification(workflow=workflow, volunteer=volunteer, submission=Submission(
            client_id=uuid4(), subject_id=subject.pk, workflow_version=workflow.current.number,
            annotations=[{{"task": "T0", "value": grade}}], started_at=now, finished_at=now, metadata={{}},
        ))
for i, subject in enumerate(subjects):
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value="AX"[i % 2], source="expert")
"""
LOADED = "image => image.complete && image.naturalWidth > 0"
TOO_WIDE = "document.scrollingElement.scrollWidth - screen.width"


@pytest.fixture(scope="module")
def results(site: Site) -> str:
    """The address of the results of a workflow with gold standards, not fitted yet."""
    site.execute(MAKE)
    workflow = "apps.get_model('projects', 'Workflow').objects.get(project__slug=" + repr(SLUG) + ").pk"
    return f"/projects/{SLUG}/results/{site.evaluate(workflow)}/"


@pytest.fixture(scope="module")
def fitted(site: Site, results: str) -> str:
    site.manage("run_consensus", SLUG)
    return results


def test_a_scientist_asks_for_the_numbers_and_they_appear_by_themselves(
    page: Page, results: str, sign_in: Callable[[Page, str], None]
) -> None:
    sign_in(page, "admin")
    page.goto(results)
    page.get_by_role("button", name="Update now").click()
    expect(page.locator("main")).to_contain_text("The consensus is being computed; the numbers appear here")
    plot = page.get_by_role("img", name="Reliability on 16 gold subjects")
    expect(plot).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Update now")).to_be_enabled()
    expect(page.get_by_role("region", name="Figures on the gold standard")).to_contain_text("Accuracy")


def test_the_plots_are_drawn_in_the_theme_of_the_page(page: Page, phone: Page, fitted: str, live_url: str) -> None:
    drawn = {}
    for visitor, theme in ((page, "dark"), (phone, "light")):
        visitor.context.add_cookies([{"name": "theme", "value": theme, "url": live_url}])
        visitor.goto(fitted)
        plot = visitor.get_by_role("img", name="Reliability on 16 gold subjects")
        plot.scroll_into_view_if_needed()
        visitor.wait_for_function(LOADED, arg=plot.element_handle())
        drawn[theme] = visitor.request.get(plot.get_attribute("src") or "").text()
        assert visitor.evaluate(TOO_WIDE) <= 0
        assert Axe().run(visitor).response["violations"] == []
    assert "#f5b461" in drawn["dark"]
    assert "#9c4f00" in drawn["light"]


def test_votes_and_probability_stand_beside_each_other_on_a_phone(phone: Page, fitted: str) -> None:
    phone.goto(f"{fitted}subjects/")
    phone.get_by_role("link", name="K-00").click()
    votes, probability = (
        phone.locator(f'meter[aria-label="A · Definite lens, {kind}"]') for kind in ("votes", "probability")
    )
    assert float(votes.get_attribute("value") or 0) == pytest.approx(5 / 6, abs=1e-3)
    assert float(probability.get_attribute("value") or 0) > 5 / 6
    expect(phone.get_by_text("Consensus: A, probability")).to_be_visible()
    above, below = votes.bounding_box(), probability.bounding_box()
    assert above
    assert below
    assert (above["x"], above["width"]) == (below["x"], below["width"])
    assert above["y"] < below["y"]
    assert phone.evaluate(TOO_WIDE) <= 0
