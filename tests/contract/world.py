"""A small site with every kind of person, three projects (public, private, draft) and one of each thing in each."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.test import Client
from django.utils import timezone
from PIL import Image

from classify.models import Volunteer
from classify.services import record_classification
from classify.submissions import Submission
from ml_worker.models import JobState, ModelVersion, PrefilterBatch, Shard
from starsieve.accounts.models import ApiToken, User
from starsieve.accounts.services import make_token
from starsieve.catalogues.models import ConsensusRun, Release, SubjectConsensus
from starsieve.projects.models import Membership, Project, Subject, SubjectSet, Workflow
from starsieve.projects.services import create_project, link_subject_set
from starsieve.projects.stamps import store_frame

SUPERUSER, STRANGER, ANONYMOUS = "superuser", "stranger", "anonymous"
ROLES = ("owner", "scientist", "expert", "moderator", "tester", "volunteer")
PEOPLE = (SUPERUSER, *ROLES, STRANGER, ANONYMOUS)
KINDS = ("public", "private", "draft")
MOMENT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
PASSWORD = "Volunteer!23"
SECRET_METADATA = "the-hidden-truth-77"


@dataclass
class Place:
    """One project and what is in it, as the arguments of addresses and the ids in bodies."""

    kind: str
    project: Project
    workflow: Workflow
    subject_set: SubjectSet
    spare_set: SubjectSet
    subject: Subject
    fresh: Subject
    batch: PrefilterBatch
    release: Release
    consensus: ConsensusRun

    @property
    def classification(self) -> dict[str, Any]:
        """A body that the classifications endpoint takes."""
        assert self.workflow.current is not None
        return {
            "id": str(uuid4()),
            "subject": self.fresh.pk,
            "workflow_version": self.workflow.current.number,
            "annotations": [{"task": "T0", "value": "A"}],
            "started_at": "2026-11-22T01:02:03Z",
            "finished_at": "2026-11-22T01:02:09Z",
            "metadata": {"client": "web", "viewport": [1440, 900], "frame": 0},
        }


@dataclass
class World:
    people: dict[str, User | None]
    places: dict[str, Place]
    model: ModelVersion
    tokens: dict[str, ApiToken]
    sessions: dict[str, str]

    def client(self, person: str, **options: Any) -> Client:
        """A browser in which that person has signed in."""
        client = Client(raise_request_exception=False, **options)
        if person in self.sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[person]
        return client


def make_world() -> World:
    people: dict[str, User | None] = {name: User(username=name, email=f"{name}@example.org") for name in PEOPLE}
    people[ANONYMOUS] = None
    for name, user in people.items():
        if user is not None:
            user.is_superuser = user.is_staff = name == SUPERUSER
            user.set_password(PASSWORD)
            user.save()
    model = ModelVersion.objects.create(
        name="arcs", version=1, architecture="efficientnet_b0", file="arcs.safetensors", sha256="0" * 64, provenance="-"
    )
    frame = store_frame(Image.new("L", (8, 8), 90), band="r", stretch="asinh")
    places = {kind: _place(kind, people, model, frame) for kind in KINDS}
    tokens = {
        name: make_token(user=user, name="t", scope="read", expires_at=None)[0] for name, user in people.items() if user
    }
    return World(people, places, model, tokens, {name: _session(user) for name, user in people.items() if user})


def _session(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _place(kind: str, people: dict[str, User | None], model: ModelVersion, frame: dict[str, Any]) -> Place:
    owner = people["owner"]
    assert owner is not None
    project = create_project(
        title=f"The {kind} lenses",
        slug=kind,
        summary="Grade them.",
        template="lens-grading",
        owner=owner,
        status=Project.Status.DRAFT if kind == "draft" else Project.Status.LIVE,
        is_public=kind != "private",
    )
    members = [Membership(project=project, user=people[role], role=role) for role in ROLES if role != "owner"]
    Membership.objects.bulk_create(members)
    workflow = project.workflows.get()
    subject_set = SubjectSet.objects.create(project=project, name="north")
    subject, fresh = [
        Subject.objects.create(
            project=project, subject_set=subject_set, name=f"HDF-{number}", frames=[frame], metadata={"z": 0.5},
            hidden_metadata={"truth": SECRET_METADATA}, ra=189.2, dec=62.2,
        )
        for number in (1, 2)
    ]  # fmt: skip
    link_subject_set(workflow=workflow, subject_set=subject_set)
    assert workflow.current is not None
    submission = Submission(
        client_id=uuid4(), subject_id=subject.pk, workflow_version=workflow.current.number,
        annotations=[{"task": "T0", "value": "A"}], started_at=MOMENT, finished_at=MOMENT, metadata={},
    )  # fmt: skip
    record_classification(workflow=workflow, volunteer=Volunteer.objects.create(visitor=uuid4()), submission=submission)
    return Place(
        kind, project, workflow, subject_set, SubjectSet.objects.create(project=project, name="spare"), subject, fresh,
        _batch(workflow, subject_set, subject, model, owner), _release(workflow, owner), _consensus(workflow, subject),
    )  # fmt: skip


def _batch(
    workflow: Workflow, subject_set: SubjectSet, subject: Subject, model: ModelVersion, owner: User
) -> PrefilterBatch:
    batch = PrefilterBatch.objects.create(
        workflow=workflow, subject_set=subject_set, model=model, show_above=0.5, state=JobState.FAILED,
        finished_at=timezone.now(), created_by=owner,
    )  # fmt: skip
    Shard.objects.create(
        batch=batch, index=0, first_subject_id=subject.pk, last_subject_id=subject.pk, n_subjects=1, attempts=3,
        state=JobState.FAILED, error="out of memory",
    )  # fmt: skip
    return batch


def _release(workflow: Workflow, owner: User) -> Release:
    assert workflow.current is not None
    files = ["subjects.csv", "classifications.csv"]
    release = Release.objects.create(
        workflow=workflow, workflow_version=workflow.current, number=1, watermark=1, frozen_at=MOMENT, salt="s" * 32,
        files=[{"name": name, "sha256": "0" * 64, "bytes": 5} for name in files], state=JobState.DONE,
        created_by=owner, finished_at=MOMENT,
    )  # fmt: skip
    folder = Path(settings.RELEASE_ROOT) / str(release.pk)
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("a,b\n1\n")
    return release


def _consensus(workflow: Workflow, subject: Subject) -> ConsensusRun:
    """A finished run that gold has judged."""
    fit = {
        "method": "ordinal", "settings": {}, "n_votes": 1, "n_subjects": 1, "n_volunteers": 1, "log_likelihood": -1,
        "n_iterations": 3, "converged": True, "thresholds": [-1, 0, 1], "row_strength": 20, "n_adjudicate": 0,
    }  # fmt: skip
    judgement = {
        "n_gold": 12, "classes": ["A", "another answer"], "n_true": [6, 6], "rate": 0.001, "level": 0.95,
        "figures": {"accuracy": [0.75, 0.5, 0.9]}, "confusion": [[4, 2], [1, 5]],
        "reliability": [{"n": 12, "from": 0.8, "to": 0.9, "promised": 0.8, "delivered": 0.75, "low": 0.5, "high": 0.9}],
    }  # fmt: skip
    run = ConsensusRun.objects.create(
        workflow=workflow, workflow_version=workflow.current, watermark=1, n_classifications=1, state=JobState.DONE,
        tasks={"T0": {"fit": fit, "judgement": judgement}}, finished_at=MOMENT,
    )  # fmt: skip
    said = {"n": 1, "p": [0.9, 0.1, 0, 0, 0], "answer": "A", "rank": 2.5, "rank_error": 0.3, "adjudicate": False}
    drawn = {"boxes": [[1, 1, 2, 2]], "member": [-1], "volunteer": [0], "p_fp": [0.1], "p_fn": [0.2]}
    SubjectConsensus.objects.create(run=run, subject=subject, tasks={"T0": said}, marks={"T0": drawn})
    return run
