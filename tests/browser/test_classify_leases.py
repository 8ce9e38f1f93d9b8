"""Where other volunteers hold all that is left, the page says so and goes on by itself."""

from playwright.sync_api import Page, expect

from tests.support.classify_page import ready, stamp
from tests.support.site import Site

SLUG = "clump-scout"
# As many volunteers as a subject takes, each holding every subject of the workflow for some seconds.
HOLD = """
from datetime import timedelta
from uuid import uuid4
from django.utils import timezone
from classify.models import Lease, SubjectProgress, Volunteer
from starsieve.projects.models import Workflow
workflow = Workflow.objects.select_related("current").get(project__slug={slug!r})
limit = workflow.current.parsed.retirement.classification_count
people = [Volunteer.objects.create(visitor=uuid4()) for _ in range(limit)]
subjects = SubjectProgress.objects.filter(workflow=workflow).values_list("subject", flat=True)
until = timezone.now() + timedelta(seconds={seconds})
Lease.objects.bulk_create(
    Lease(workflow=workflow, subject_id=subject, volunteer=each, expires_at=until)
    for each in people for subject in subjects
)
"""


def test_who_finds_everything_held_by_others_is_told_and_gets_the_next_free_stamp(
    site: Site, page: Page, phone: Page
) -> None:
    page.goto(f"/projects/{SLUG}/")
    link = page.locator("#workflows").get_by_role("link", name="Classify").first
    address = link.get_attribute("href") or ""
    site.execute(HOLD.format(slug=SLUG, seconds=8))
    for visitor in (page, phone):
        with visitor.expect_response(lambda response: "/next" in response.url) as answer:
            visitor.goto(address)
        assert answer.value.json()["reason"] == "all_leased"
        visitor.get_by_role("dialog").get_by_role("button", name="Skip").click()
        expect(visitor.locator("#stage-cover")).to_have_text(
            "Other volunteers are answering the last ones. A new one may come free any moment."
        )
        expect(visitor.locator("#stage-cover button")).to_have_count(0)
        expect(visitor.locator("#end")).to_be_hidden()
    for visitor in (page, phone):
        expect(stamp(visitor)).to_be_visible(timeout=30_000)
        ready(visitor)
        expect(visitor.locator("#stage-cover")).to_be_hidden()
