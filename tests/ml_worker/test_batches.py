"""People launch, cancel and retry; the rows say everything that happened."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classify.models import SubjectProgress
from ml_worker.models import ModelVersion, Prediction, PrefilterBatch
from ml_worker.services import (
    PrefilterConflict,
    PrefilterRefused,
    cancel_prefilter_batch,
    register_model,
    retry_shard,
)
from ml_worker.shards import claim_shard, complete_shard, leave_shard, record_shard_scores, unscored_subjects

pytestmark = pytest.mark.django_db


def score_by_number(subject: Any) -> float:
    """0, 0.05 … 0.95 for the subjects north-0 … north-19."""
    return int(subject.name.rpartition("-")[2]) / 20


def progress_of(workflow: Any) -> dict[str, Any]:
    return {p.subject.name: p for p in SubjectProgress.objects.filter(workflow=workflow).select_related("subject")}


def fresh(batch: Any) -> Any:
    return PrefilterBatch.objects.with_progress().get(pk=batch.pk)


def test_shards_cover_the_set_once_in_runs_of_the_asked_size(launch: Any, subject_set: Any) -> None:
    batch = launch()
    shards = list(batch.shards.order_by("index"))
    assert [s.n_subjects for s in shards] == [8, 8, 4]
    ids = list(subject_set.subjects.order_by("id").values_list("id", flat=True))
    covered = [i for s in shards for i in ids if s.first_subject_id <= i <= s.last_subject_id]
    assert covered == ids


def test_a_message_per_shard_is_sent_when_the_launch_is_stored(
    launch: Any, messages: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        batch = launch()
        assert messages == []
    assert messages == list(batch.shards.values_list("pk", flat=True))


def test_an_unreachable_broker_loses_no_batch(
    launch: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    from kombu.exceptions import OperationalError

    calls = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        raise OperationalError("no broker")

    monkeypatch.setattr("ml_worker.shards.current_app.send_task", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        batch = launch()
    assert len(calls) == 1
    assert batch.shards.filter(state="pending").count() == 3


def test_high_scores_come_first_and_low_ones_are_held(launch: Any, score_all: Any, workflow: Any) -> None:
    batch = launch(show_above=0.5, control_fraction=0)
    score_all(batch, score_by_number)
    batch = fresh(batch)
    assert batch.state == "done"
    assert batch.finished_at is not None
    assert batch.routing == {"shown": 10, "held": 10, "control": 0, "left_alone": 0}
    progress = progress_of(workflow)
    assert {name for name, p in progress.items() if p.is_held} == {f"north-{i}" for i in range(10)}
    shown = sorted((p.bucket, name) for name, p in progress.items() if not p.is_held)
    assert [name for _, name in shown] == [f"north-{i}" for i in range(10, 20)]


def test_a_fraction_sets_the_cut_from_the_scores(launch: Any, score_all: Any) -> None:
    batch = launch(show_fraction=0.25, control_fraction=0)
    assert batch.show_above is None
    score_all(batch, score_by_number)
    batch = fresh(batch)
    assert batch.show_above == 0.75
    assert batch.routing["shown"] == 5


def test_a_second_batch_of_the_same_model_reuses_the_scores_and_can_show_all_again(
    launch: Any, score_all: Any, workflow: Any
) -> None:
    score_all(launch(control_fraction=0), score_by_number)
    written = list(Prediction.objects.order_by("id").values_list("id", "created_at"))
    again = launch(show_above=0.0)

    def refuse(subject: Any) -> float:
        raise AssertionError(f"{subject} is scored already")

    score_all(again, refuse)
    assert list(Prediction.objects.order_by("id").values_list("id", "created_at")) == written
    assert fresh(again).n_scored == 20
    assert not any(p.is_held for p in progress_of(workflow).values())


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"show_above": None}, "show_above"),
        ({"show_above": 0.5, "show_fraction": 0.5}, "show_above"),
        ({"show_above": 1.01}, "show_above"),
        ({"show_above": float("nan")}, "show_above"),
        ({"show_fraction": -0.1}, "show_fraction"),
        ({"control_fraction": 2}, "control_fraction"),
        ({"shard_size": 0}, "shard_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(launch: Any, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(PrefilterRefused) as refusal:
        launch(**arguments)
    assert refusal.value.field == field
    assert not PrefilterBatch.objects.exists()


def test_a_set_without_subjects_is_refused_and_leaves_no_batch(launch: Any, make_set: Any) -> None:
    with pytest.raises(PrefilterRefused, match="no subjects"):
        launch(subject_set=make_set("empty", 0))
    assert not PrefilterBatch.objects.exists()


def test_a_set_that_the_workflow_does_not_use_is_refused(launch: Any, workflow: Any) -> None:
    foreign = workflow.project.subject_sets.create(name="elsewhere")
    with pytest.raises(PrefilterRefused, match="not linked"):
        launch(subject_set=foreign)


def test_a_second_batch_on_the_same_subjects_waits_for_the_first(launch: Any, owner: Any) -> None:
    first = launch()
    with pytest.raises(PrefilterConflict, match=f"batch {first.pk} .* has not finished"):
        launch()
    cancel_prefilter_batch(batch=first, user=owner)
    assert launch().pk != first.pk


def test_cancelling_a_waiting_batch_ends_it_at_once_and_routes_nothing(launch: Any, owner: Any, workflow: Any) -> None:
    batch = cancel_prefilter_batch(batch=launch(), user=owner)
    assert batch.state == "cancelled"
    assert set(batch.shards.values_list("state", flat=True)) == {"cancelled"}
    assert {(p.bucket, p.is_held) for p in progress_of(workflow).values()} == {(50, False)}


def test_a_running_shard_is_told_after_its_minibatch_and_its_scores_are_kept(launch: Any, owner: Any) -> None:
    batch = launch()
    shard = claim_shard(shard_id=batch.shards.get(index=0).pk)
    assert shard is not None
    subjects = list(unscored_subjects(shard))
    assert record_shard_scores(shard=shard, scores={subjects[0].pk: 0.9})
    assert cancel_prefilter_batch(batch=batch, user=owner).state == "running"
    assert not record_shard_scores(shard=shard, scores={subjects[1].pk: 0.8})
    complete_shard(shard=shard)
    assert fresh(batch).state == "cancelled"
    assert Prediction.objects.count() == 2


def test_cancelling_twice_changes_nothing_and_a_finished_batch_cannot_be_cancelled(
    launch: Any, owner: Any, score_all: Any
) -> None:
    batch = cancel_prefilter_batch(batch=launch(), user=owner)
    assert cancel_prefilter_batch(batch=batch, user=owner).cancel_requested_at == batch.cancel_requested_at
    done = launch()
    score_all(done, score_by_number)
    with pytest.raises(PrefilterConflict, match="already finished"):
        cancel_prefilter_batch(batch=done, user=owner)


def test_a_batch_with_a_failed_shard_routes_nothing_until_the_shard_is_retried(
    launch: Any, owner: Any, score_all: Any, workflow: Any
) -> None:
    batch = launch(control_fraction=0)
    broken = claim_shard(shard_id=batch.shards.get(index=1).pk)
    assert broken is not None
    leave_shard(shard=broken, state="failed", error="the disk is on fire")
    score_all(batch, score_by_number)
    assert fresh(batch).state == "failed"
    assert not any(p.is_held for p in progress_of(workflow).values())

    retried = retry_shard(shard=broken, user=owner)
    assert (retried.state, retried.attempts, retried.error) == ("pending", 0, "")
    assert fresh(batch).state == "running"
    score_all(batch, score_by_number)
    assert fresh(batch).state == "done"
    assert fresh(batch).routing["held"] == 10


def test_a_shard_that_did_its_work_cannot_be_retried(launch: Any, owner: Any, score_all: Any) -> None:
    batch = launch()
    score_all(batch, score_by_number)
    with pytest.raises(PrefilterConflict, match="only a failed one"):
        retry_shard(shard=batch.shards.get(index=0), user=owner)


def test_a_retry_never_routes_over_a_newer_batch(launch: Any, owner: Any, score_all: Any) -> None:
    old = launch()
    for shard in old.shards.all():
        claimed = claim_shard(shard_id=shard.pk)
        assert claimed is not None
        leave_shard(shard=claimed, state="failed", error="x")
    score_all(launch(), score_by_number)
    with pytest.raises(PrefilterConflict, match="is newer"):
        retry_shard(shard=old.shards.get(index=0), user=owner)


def test_models_of_one_name_are_numbered_and_the_same_bytes_are_registered_once(tmp_path: Path, settings: Any) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"weights")
    second.write_bytes(b"other weights")
    texts = {"name": "arcs", "architecture": "efficientnet_b0", "provenance": "random, for tests"}
    one, two = register_model(path=first, **texts), register_model(path=second, **texts)
    assert (one.version, two.version) == (1, 2)
    assert (Path(settings.MODEL_ROOT) / one.file).read_bytes() == b"weights"
    assert register_model(path=first, **texts) == one
    assert list(Path(settings.MODEL_ROOT).glob("*.part")) == []
    assert ModelVersion.objects.named("arcs").first() == two
    assert ModelVersion.objects.named("arcs:1").first() == one
    assert not ModelVersion.objects.named("arcs:99999999999999999999").exists()


@pytest.mark.parametrize(
    ("changes", "field"), [({"name": "../x"}, "name"), ({"name": "a:1"}, "name"), ({"provenance": " "}, "provenance")]
)
def test_a_model_without_a_proper_name_or_provenance_is_refused(
    tmp_path: Path, changes: dict[str, str], field: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"weights")
    texts = {"name": "arcs", "architecture": "efficientnet_b0", "provenance": "random"} | changes
    with pytest.raises(PrefilterRefused) as refusal:
        register_model(path=path, **texts)
    assert refusal.value.field == field


@pytest.mark.services
def test_of_two_launches_at_the_same_moment_one_is_refused(
    threaded_db: None, launch: Callable[..., Any], messages: list[int]
) -> None:
    from django.db import connections

    outcomes: list[str] = []
    start = threading.Barrier(4)

    def attempt() -> None:
        start.wait()
        try:
            launch()
            outcomes.append("launched")
        except PrefilterConflict:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["launched", "refused", "refused", "refused"]
    assert PrefilterBatch.objects.count() == 1
