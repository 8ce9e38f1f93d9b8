"""What the site's administrators see of background work."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from classify.models import Assessment
from starsieve.accounts.models import User
from starsieve.catalogues.models import ConsensusRun
from starsieve.ops import work
from starsieve.projects.models import Project, Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db
DEFINITION = {
    "first": "T0",
    "tasks": {"T0": {"type": "text", "question": "What is it?"}},
    "retirement": {"classification_count": 3},
}


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", "root@example.org", "Volunteer!23"))
    return client


@pytest.fixture
def workflow() -> Workflow:
    owner = User.objects.create_user("owner", "owner@example.org", "Volunteer!23")
    project = Project.objects.create(title="Lenses", slug="lenses", created_by=owner)
    made = Workflow.objects.create(project=project, name="Main")
    made.current = WorkflowVersion.objects.create(
        workflow=made, major=1, minor=1, definition=DEFINITION, created_by=owner
    )
    made.save()
    return made


def row() -> work.WorkflowWork:
    return work.background_work().workflows[0]


def test_a_fresh_workflow_has_had_nothing_done(workflow: Workflow) -> None:
    assert {row().consensus.level, row().assessment.level, row().snapshot.level} == {"none"}


def test_the_last_sweep_counts(workflow: Workflow) -> None:
    run: dict[str, Any] = {"workflow": workflow, "workflow_version": workflow.current, "finished_at": timezone.now()}
    ConsensusRun.objects.create(state="failed", error="MemoryError: no room", **run)
    assert (row().consensus.level, row().consensus.detail) == ("failed", "MemoryError: no room")
    ConsensusRun.objects.create(state="done", n_classifications=1234, **run)
    assert (row().consensus.level, row().consensus.words) == ("ok", "1,234 classifications")


def test_work_that_nobody_hears_of_is_shown_as_lost(workflow: Workflow) -> None:
    now = timezone.now()
    assessment = Assessment.objects.create(workflow=workflow, started_at=now, heartbeat_at=now)
    assert row().assessment.level == "busy"
    assessment.heartbeat_at = now - timedelta(minutes=6)
    assessment.save()
    assert (row().assessment.level, work.background_work().n_failed) == ("failed", 1)


def test_the_page_shows_failures_and_a_broker_that_is_away(
    admin: Client, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    Assessment.objects.create(workflow=workflow, error="DatabaseError: <gone>")

    def away() -> int:
        raise ConnectionError("refused")

    monkeypatch.setattr(work, "waiting_messages", away)
    html = admin.get("/admin/work").content.decode()
    assert "the broker is away" in html
    assert "DatabaseError: &lt;gone&gt;" in html
    assert "Background work" in admin.get("/admin/").content.decode()


def test_it_is_for_the_sites_administrators_alone(client: Client, workflow: Workflow) -> None:
    assert client.get("/admin/work").status_code == 302
    client.force_login(workflow.project.created_by)
    assert client.get("/admin/work").status_code == 302


def test_it_costs_the_same_for_many_workflows(workflow: Workflow, django_assert_max_num_queries: Any) -> None:
    for name in "abcdefgh":
        Workflow.objects.create(project=workflow.project, name=name, current=workflow.current)
    with django_assert_max_num_queries(7):
        assert len(work.background_work().workflows) == 9
