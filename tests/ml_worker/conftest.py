"""A lens-grading project with a set of twenty subjects and a registered model."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def owner(make_user: Callable[..., Any]) -> Any:
    return make_user("owner")


@pytest.fixture
def workflow(owner: Any) -> Any:
    from starsieve.projects.services import create_project

    project = create_project(
        title="Lenses", slug="lenses", summary="Grade them.", template="lens-grading", owner=owner, status="live"
    )
    return project.workflows.get()


@pytest.fixture
def make_set(workflow: Any) -> Callable[..., Any]:
    """make_set("north", 20) → a set of 20 subjects, linked to the workflow and queued."""
    from starsieve.projects.models import Subject, SubjectSet
    from starsieve.projects.services import link_subject_set

    def make(name: str, n_subjects: int) -> SubjectSet:
        subject_set = SubjectSet.objects.create(project=workflow.project, name=name)
        Subject.objects.bulk_create(
            Subject(
                project=workflow.project,
                subject_set=subject_set,
                name=f"{name}-{i}",
                frames=[{"path": f"stamps/{name}-{i}.png", "width": 32, "height": 32, "band": "r", "stretch": "asinh"}],
            )
            for i in range(n_subjects)
        )
        link_subject_set(workflow=workflow, subject_set=subject_set)
        return subject_set

    return make


@pytest.fixture
def subject_set(make_set: Callable[..., Any]) -> Any:
    return make_set("north", 20)


@pytest.fixture
def model(db: None) -> Any:
    from ml_worker.models import ModelVersion

    return ModelVersion.objects.create(
        name="arcs", version=1, architecture="efficientnet_b0", file="arcs.safetensors", sha256="0" * 64,
        provenance="random-initialised, for tests",
    )  # fmt: skip


@pytest.fixture
def launch(workflow: Any, subject_set: Any, model: Any, owner: Any) -> Callable[..., Any]:
    """launch(show_above=0.5, …) → a batch on the twenty subjects in shards of eight."""
    from ml_worker.services import launch_prefilter_batch

    def run(**changes: Any) -> Any:
        arguments = {
            "workflow": workflow, "subject_set": subject_set, "model": model, "user": owner, "shard_size": 8, "seed": 1,
        }  # fmt: skip
        if "show_fraction" not in changes:
            arguments["show_above"] = 0.5
        return launch_prefilter_batch(**(arguments | changes))

    return run


@pytest.fixture
def score_all() -> Callable[..., None]:
    """score_all(batch, score_of) claims each pending shard and scores it as a worker does, without a network."""
    from ml_worker.shards import claim_shard, complete_shard, record_shard_scores, unscored_subjects

    def run(batch: Any, score_of: Callable[[Any], float]) -> None:
        for shard_id in batch.shards.filter(state="pending").values_list("pk", flat=True):
            shard = claim_shard(shard_id=shard_id)
            assert shard is not None
            record_shard_scores(shard=shard, scores={s.pk: score_of(s) for s in unscored_subjects(shard)})
            complete_shard(shard=shard)

    return run


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The shard ids of every message sent to the worker."""
    sent: list[int] = []

    def send_task(name: str, args: list[int], countdown: float | None = None) -> None:
        assert name == "ml_worker.tasks.score_shard"
        sent.extend(args)

    monkeypatch.setattr("ml_worker.shards.current_app.send_task", send_task)
    return sent


@pytest.fixture
def threaded_db(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """A database that several threads may write: on SQLite a copy, in a file, of the test database in memory."""
    from django.db import connection

    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    memory, name = connection.connection, connection.settings_dict["NAME"]
    path = tmp_path / "threads.sqlite3"
    with sqlite3.connect(path) as copy:
        memory.backup(copy)
    copy.close()
    connection.connection, connection.settings_dict["NAME"] = None, str(path)
    try:
        yield
    finally:
        connection.close()
        connection.connection, connection.settings_dict["NAME"] = memory, name
