"""One task scores one shard; every fault ends in the shard's row."""

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError
from PIL import Image

from ml_worker import tasks
from ml_worker.models import Prediction, Shard
from ml_worker.services import cancel_prefilter_batch
from ml_worker.shards import MOST_ATTEMPTS
from starsieve.projects.models import Subject

pytestmark = pytest.mark.django_db


def brightness(stamps: Sequence[Any]) -> Any:
    return np.array([stamp.mean() / 255 for stamp in stamps])


@pytest.fixture
def pictures(subject_set: Any) -> None:
    """Grey stamps of the twenty subjects, the darkest first."""
    for i, subject in enumerate(subject_set.subjects.order_by("id")):
        stream = BytesIO()
        Image.new("RGB", (8, 8), (10 * i,) * 3).save(stream, "PNG")
        default_storage.save(subject.frames[0]["path"], ContentFile(stream.getvalue()))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """network(score) puts a function in the network's place."""

    def install(score: Callable[..., Any]) -> None:
        monkeypatch.setattr(tasks, "load_network", lambda root, file, sha256: score)

    return install


def test_every_subject_of_the_shard_is_scored_and_the_batch_is_routed(
    launch: Any, pictures: None, network: Any
) -> None:
    network(brightness)
    batch = launch(show_above=0.5, control_fraction=0)
    for shard in batch.shards.all():
        tasks.score_shard(shard.pk)
    batch.refresh_from_db()
    expected = [10 * i / 255 for i in range(20)]
    assert list(Prediction.objects.order_by("subject_id").values_list("score", flat=True)) == pytest.approx(expected)
    assert batch.state == "done"
    assert batch.routing["shown"] == sum(score >= 0.5 for score in expected)


def test_a_task_delivered_again_does_nothing(launch: Any, pictures: None, network: Any) -> None:
    network(brightness)
    shard = launch().shards.get(index=0)
    tasks.score_shard(shard.pk)

    def refuse(stamps: Any) -> None:
        raise AssertionError("scored twice")

    network(refuse)
    tasks.score_shard(shard.pk)
    tasks.score_shard(2**62)
    shard.refresh_from_db()
    assert (shard.state, shard.attempts) == ("done", 1)


def test_missing_and_broken_stamps_are_counted_and_the_others_scored(
    launch: Any, pictures: None, network: Any, subject_set: Any
) -> None:
    network(brightness)
    missing, broken, *_ = subject_set.subjects.order_by("id")
    default_storage.delete(missing.frames[0]["path"])
    default_storage.delete(broken.frames[0]["path"])
    default_storage.save(broken.frames[0]["path"], ContentFile(b"\x89PNG but no more"))
    shard = launch().shards.get(index=0)
    tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert (shard.state, shard.n_scored, shard.n_unreadable) == ("done", 6, 2)
    assert [stamp["subject"] for stamp in shard.unreadable] == [missing.pk, broken.pk]
    assert "is missing" in shard.unreadable[0]["reason"]


def test_a_shard_without_any_readable_stamp_is_done_without_scores(launch: Any, network: Any) -> None:
    network(brightness)
    batch = launch()
    for shard in batch.shards.all():
        tasks.score_shard(shard.pk)
    batch.refresh_from_db()
    assert batch.state == "done"
    assert batch.routing == {"shown": 0, "held": 0, "control": 0, "left_alone": 20}


def test_cancelling_stops_a_running_shard_after_its_minibatch(
    launch: Any, owner: Any, pictures: None, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MINIBATCH", 3)
    batch = launch(shard_size=100)

    def cancel_then_score(stamps: Any) -> Any:
        cancel_prefilter_batch(batch=batch, user=owner)
        return brightness(stamps)

    network(cancel_then_score)
    tasks.score_shard(batch.shards.get().pk)
    batch.refresh_from_db()
    assert batch.state == "cancelled"
    assert Prediction.objects.count() == 3


@pytest.mark.parametrize(
    "fault", [OSError("storage is away"), OperationalError("database is locked"), SoftTimeLimitExceeded()]
)
def test_a_passing_fault_puts_the_shard_back_and_keeps_what_was_scored(
    launch: Any, pictures: None, network: Any, messages: list[int], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(tasks, "MINIBATCH", 3)
    calls = []

    def fail_at_the_second(stamps: Any) -> Any:
        calls.append(len(stamps))
        if len(calls) == 2:
            raise fault
        return brightness(stamps)

    network(fail_at_the_second)
    shard = launch(shard_size=100).shards.get()
    tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert (shard.state, shard.n_scored, shard.attempts) == ("pending", 3, 1)
    assert type(fault).__name__ in shard.error
    assert messages == [shard.pk]
    tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert (shard.state, shard.n_scored, shard.attempts, shard.error) == ("done", 20, 2, "")
    assert sum(calls) == 3 + 3 + 17


def test_a_fault_that_does_not_pass_ends_in_the_row_after_all_attempts(
    launch: Any, pictures: None, network: Any, messages: list[int]
) -> None:
    def fail(stamps: Any) -> None:
        raise OSError("storage is away")

    network(fail)
    shard = launch(shard_size=100).shards.get()
    for _ in range(MOST_ATTEMPTS + 2):
        tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert (shard.state, shard.attempts) == ("failed", MOST_ATTEMPTS)


def test_any_other_fault_fails_the_shard_at_once_naming_it(launch: Any, pictures: None, network: Any) -> None:
    def fail(stamps: Any) -> None:
        raise ZeroDivisionError("of all things")

    network(fail)
    shard = launch().shards.get(index=0)
    tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert (shard.state, shard.error) == ("failed", "ZeroDivisionError: of all things")


def test_a_score_that_is_no_number_fails_the_shard_and_stores_nothing(
    launch: Any, pictures: None, network: Any
) -> None:
    network(lambda stamps: np.full(len(stamps), np.nan))
    shard = launch().shards.get(index=0)
    tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert shard.state == "failed"
    assert "score nan" in shard.error
    assert not Prediction.objects.exists()


def test_a_process_that_lost_its_claim_stops_without_a_trace(
    launch: Any, pictures: None, network: Any, messages: list[int]
) -> None:
    batch = launch(shard_size=100)

    def lose_the_claim(stamps: Any) -> Any:
        Shard.objects.update(state="pending", claim=None)
        raise ZeroDivisionError

    network(lose_the_claim)
    tasks.score_shard(batch.shards.get().pk)
    shard = batch.shards.get()
    assert (shard.state, shard.error) == ("pending", "")


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("gone.safetensors", "no such file under MODEL_ROOT"),
        ("changed.safetensors", "its SHA-256 is not the registered one"),
        ("../outside.safetensors", "lies outside MODEL_ROOT"),
        (".", "no such file under MODEL_ROOT"),
    ],
)
def test_a_model_file_that_cannot_be_trusted_is_refused(tmp_path: Path, file: str, sentence: str) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (root / "changed.safetensors").write_bytes(b"other bytes")
    (tmp_path / "outside.safetensors").write_bytes(b"bytes")
    with pytest.raises(tasks.ModelFileError, match=sentence):
        tasks.checked_content(root, file, hashlib.sha256(b"bytes").hexdigest())


def test_a_model_file_that_is_gone_fails_the_shard_with_the_way_out(launch: Any, pictures: None) -> None:
    shard = launch().shards.get(index=0)
    tasks.score_shard(shard.pk)
    shard.refresh_from_db()
    assert shard.state == "failed"
    assert "register the model on this machine" in shard.error


def test_a_deleted_subject_does_not_stop_the_shard(launch: Any, pictures: None, network: Any, subject_set: Any) -> None:
    network(brightness)
    batch = launch(shard_size=100)
    Subject.objects.filter(pk=subject_set.subjects.order_by("id")[3].pk).delete()
    tasks.score_shard(batch.shards.get().pk)
    batch.refresh_from_db()
    assert batch.state == "done"
    assert Prediction.objects.count() == 19
