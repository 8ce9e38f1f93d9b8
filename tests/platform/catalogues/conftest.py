"""A project with a small tree, a grade and a boxes task, its subjects, and volunteers who answer."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.test import Client

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TREE = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [
            {"key": "smooth", "label": "Smooth", "next": None},
            {"key": "features", "label": "Features or disk", "next": "T1"},
        ],
    },
    "T1": {
        "type": "multiple", "name": "odd", "question": "Anything odd?",
        "answers": [{"key": "ring", "label": "Ring"}, {"key": "merger", "label": "Merger"}],
    },
}  # fmt: skip
GRADE = {"T0": {"type": "grade", "name": "lens", "question": "How sure are you?"}}
BOXES = {
    "T0": {
        "type": "boxes", "name": "clumps", "question": "Mark the clumps",
        "tools": [{"key": "clump", "label": "Clump"}, {"key": "odd", "label": "Odd clump"}],
    },
}  # fmt: skip
# One arcsecond per pixel, north up, RA growing to the left, centred on (150, 2).
WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 50.5, "CRPIX2": 40.5,
    "CD1_1": -1 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": -1 / 3600, "CUNIT1": "deg", "CUNIT2": "deg",
}  # fmt: skip
FRAME = {"path": "stamps/ab/abc.png", "width": 100, "height": 80, "band": "VIS", "stretch": "asinh"}


def box(x: float, y: float, width: float = 10, height: float = 10, tool: int = 0) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, "tool": tool}


class Survey:
    """Shortcuts through the product's own services."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.n_projects = 0

    def workflow(self, tasks: dict[str, Any], *, names: tuple[str, ...] = ("one", "two"), limit: int = 4) -> Any:
        from starsieve.projects.models import Membership, Project
        from starsieve.projects.services import create_subject_set, create_workflow, link_subject_set

        self.n_projects += 1
        project = Project.objects.create(
            title="Deep field", slug=f"deep-{self.n_projects}", status="live", created_by=self.owner, data_note="HDF"
        )
        Membership.objects.create(project=project, user=self.owner, role="owner")
        definition = {"first": "T0", "tasks": tasks, "retirement": {"classification_count": limit}}
        workflow = create_workflow(project=project, name="Main", definition=definition, user=self.owner)
        subject_set, _ = create_subject_set(project=project, name="Field 1")
        for name in names:
            self.subject(project, subject_set, name)
        link_subject_set(workflow=workflow, subject_set=subject_set)
        return workflow

    def subject(self, project: Any, subject_set: Any, name: str, **fields: Any) -> Any:
        from starsieve.projects.models import Subject

        sky = {"ra": 150.0, "dec": 2.0, "wcs": WCS}
        return Subject.objects.create(
            project=project, subject_set=subject_set, name=name, frames=[FRAME],
            metadata={"z": 0.5}, hidden_metadata={"truth": "lens"}, **{**sky, **fields},
        )  # fmt: skip

    def named(self, workflow: Any, name: str) -> Any:
        return workflow.project.subjects.get(name=name)

    def volunteer(self) -> Any:
        from classify.models import Volunteer

        return Volunteer.objects.create(visitor=uuid4())

    def answer(self, workflow: Any, name: str, *values: Any, volunteer: Any = None) -> None:
        """One classification of the subject called `name`; `values` are the answers along the tree."""
        from classify.services import Submission, record_classification

        definition = workflow.current.parsed
        annotations, key = [], definition.first
        for value in values:
            annotations.append({"task": key, "value": value})
            key = definition.tasks[key].next_task(value)
        record_classification(
            workflow=workflow,
            volunteer=volunteer or self.volunteer(),
            submission=Submission(
                client_id=uuid4(), subject_id=self.named(workflow, name).pk,
                workflow_version=workflow.current.number, annotations=annotations,
                started_at=NOON, finished_at=NOON + timedelta(seconds=5), metadata={},
            ),
        )  # fmt: skip

    def score(self, workflow: Any, scores: dict[str, float], *, model: str = "net") -> Any:
        """A finished prefilter batch of a new model with these scores."""
        from ml_worker.models import ModelVersion, Prediction, PrefilterBatch

        version = ModelVersion.objects.filter(name=model).count() + 1
        model_version = ModelVersion.objects.create(
            name=model, version=version, architecture="b0", file="x", sha256="0" * 64, provenance="simulated lenses"
        )
        PrefilterBatch.objects.create(
            workflow=workflow, subject_set=workflow.subject_sets.get(), model=model_version, show_above=0.5,
            state="done", created_by=self.owner,
        )  # fmt: skip
        for name, score in scores.items():
            Prediction.objects.create(model=model_version, subject=self.named(workflow, name), score=score)
        return model_version


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def survey(db: None, make_user: Callable[..., Any]) -> Survey:
    return Survey(make_user("owner"))


@pytest.fixture
def member(make_user: Callable[..., Any]) -> Callable[..., Any]:
    """member(workflow, "scientist") → a new user with that role in the workflow's project."""

    def make(workflow: Any, role: str) -> Any:
        from starsieve.projects.models import Membership

        user = make_user(f"{role}-{workflow.project.slug}")
        Membership.objects.create(project=workflow.project, user=user, role=role)
        return user

    return make


@pytest.fixture
def make_release(survey: Survey) -> Callable[..., Any]:
    """make_release(workflow) → a built release."""
    from starsieve.catalogues import services
    from starsieve.catalogues.release_settings import ReleaseSettings

    def make(workflow: Any, *, build: bool = True, **settings: Any) -> Any:
        workflow.refresh_from_db()
        release = services.make_release(
            workflow=workflow, user=survey.owner, settings=ReleaseSettings(**settings), build_in_background=False
        )
        if build:
            services.build(release=release)
        return release

    return make


@pytest.fixture
def file_bytes() -> Callable[[Any], dict[str, bytes]]:
    from starsieve.catalogues.files import release_folder

    def read(release: Any) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path(release_folder(release)).iterdir()}

    return read


@pytest.fixture
def download(client: Client) -> Callable[..., Any]:
    """download(address) → the answer, read to its end, which closes its file; the bytes are in `.body`."""

    def get(address: str, **options: Any) -> Any:
        answer = client.get(address, **options)
        answer.body = b"".join(answer) if answer.streaming else answer.content
        return answer

    return get
