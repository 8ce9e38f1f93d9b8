"""A small world to classify in: a project, a workflow with any tasks, a few subjects, people."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

SINGLE = {
    "type": "single",
    "question": "What is it?",
    "answers": [{"key": "smooth", "label": "Smooth"}, {"key": "disk", "label": "Disk"}],
}
GRADE = {"type": "grade", "question": "How sure are you?"}
BOXES = {"type": "boxes", "question": "Mark the clumps", "tools": [{"key": "clump", "label": "Clump"}]}
FRAME = {"path": "stamps/ab/abc.png", "width": 100, "height": 80, "band": "VIS", "stretch": "asinh"}
NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


class World:
    """Shortcuts through the product's own services."""

    def __init__(self) -> None:
        self.n_projects = self.n_subjects = 0

    def user(self, name: str, **fields: Any) -> Any:
        from starsieve.accounts.models import User

        return User.objects.create_user(name, f"{name}@example.org", "Volunteer!23", **fields)

    def workflow(
        self,
        tasks: dict[str, Any] | None = None,
        *,
        limit: int = 3,
        subjects: int = 3,
        retirement: dict[str, Any] | None = None,
        **project: Any,
    ) -> Any:
        """A workflow in a live public project of its own, with queued subjects."""
        from starsieve.accounts.models import User
        from starsieve.projects.models import Membership, Project
        from starsieve.projects.services import create_workflow

        self.n_projects += 1
        owner, _ = User.objects.get_or_create(username="owner")
        fields = {"title": "Lenses", "slug": f"p{self.n_projects}", "status": "live", "created_by": owner}
        project_ = Project.objects.create(**{**fields, **project})
        Membership.objects.create(project=project_, user=owner, role="owner")
        wanted = definition(tasks, limit=limit, retirement=retirement)
        workflow = create_workflow(project=project_, name="Main", definition=wanted, user=owner)
        self.subjects(workflow, subjects)
        return workflow

    def subjects(self, workflow: Any, n: int, **fields: Any) -> list[Any]:
        from starsieve.projects.models import Subject
        from starsieve.projects.services import create_subject_set, link_subject_set

        subject_set, _ = create_subject_set(project=workflow.project, name="Set")
        first = self.n_subjects
        self.n_subjects += n
        made = [
            Subject.objects.create(
                project=workflow.project, subject_set=subject_set, name=f"S{i}", **{"frames": [FRAME], **fields}
            )
            for i in range(first, self.n_subjects)
        ]
        link_subject_set(workflow=workflow, subject_set=subject_set)
        return made

    def publish(
        self,
        workflow: Any,
        tasks: dict[str, Any] | None = None,
        *,
        limit: int = 3,
        retirement: dict[str, Any] | None = None,
    ) -> Any:
        from starsieve.projects.services import publish_version

        wanted = definition(tasks, limit=limit, retirement=retirement)
        return publish_version(workflow=workflow, definition=wanted, user=workflow.project.created_by)

    def volunteer(self, user: Any = None) -> Any:
        from classify.models import Volunteer

        if user is not None:
            return Volunteer.objects.get_or_create(user=user)[0]
        return Volunteer.objects.create(visitor=uuid4())

    def classify(
        self,
        workflow: Any,
        subject: Any,
        volunteer: Any = None,
        answer: Any = 0,
        *,
        by_expert: bool = False,
        **fields: Any,
    ) -> Any:
        """record_classification by `volunteer` (a new visitor if None); `answer` is the value of T0, or annotations."""
        from classify.services import Submission, record_classification

        annotations = answer if _is_annotations(answer) else [{"task": "T0", "value": answer}]
        submission = {
            "client_id": uuid4(),
            "subject_id": subject.pk,
            "workflow_version": workflow.current.number,
            "annotations": annotations,
            "started_at": NOON,
            "finished_at": NOON + timedelta(seconds=7),
            "metadata": {"client": "test"},
        }
        return record_classification(
            workflow=workflow,
            volunteer=volunteer if volunteer is not None else self.volunteer(),
            submission=Submission(**{**submission, **fields}),
            by_expert=by_expert,
        )

    def progress(self, workflow: Any, subject: Any) -> Any:
        from classify.models import SubjectProgress

        return SubjectProgress.objects.get(workflow=workflow, subject=subject)


def _is_annotations(answer: Any) -> bool:
    return (
        isinstance(answer, list) and all(isinstance(each, dict) and "task" in each for each in answer) and answer != []
    )


def definition(
    tasks: dict[str, Any] | None = None, *, limit: int = 3, retirement: dict[str, Any] | None = None
) -> dict[str, Any]:
    tasks = tasks or {"T0": SINGLE}
    rule = retirement or {"classification_count": limit}
    return {"first": next(iter(tasks)), "tasks": tasks, "retirement": rule}


def body(subject_id: Any, version: str = "1.1", answer: Any = 0, **fields: Any) -> dict[str, Any]:
    """A valid body of POST …/classifications, `fields` put over it."""
    return {
        "id": str(uuid4()),
        "subject": subject_id,
        "workflow_version": version,
        "annotations": [{"task": "T0", "value": answer}],
        "started_at": "2026-05-01T12:00:00Z",
        "finished_at": "2026-05-01T12:00:07+00:00",
        "metadata": {"client": "web", "viewport": [1440, 900], "frame": 0},
        **fields,
    }


@pytest.fixture
def world(db: None) -> World:
    return World()


@pytest.fixture
def make_body() -> Callable[..., dict[str, Any]]:
    return body


@pytest.fixture
def make_definition() -> Callable[..., dict[str, Any]]:
    return definition


@pytest.fixture
def get_next(client: Client) -> Callable[..., Any]:
    def get(workflow: Any, *, by: Client = client, **query: Any) -> Any:
        return by.get(f"/api/v1/workflows/{workflow.pk}/next", query)

    return get


@pytest.fixture
def submit(client: Client) -> Callable[..., Any]:
    def post(workflow: Any, content: Any, *, by: Client = client, **headers: Any) -> Any:
        return by.post(
            f"/api/v1/workflows/{workflow.pk}/classifications", content, content_type="application/json", **headers
        )

    return post
