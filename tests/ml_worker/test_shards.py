"""A shard is scored by one process at a time, survives the loss of any, and no subject is scored twice."""

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from classify.models import SubjectProgress
from ml_worker.models import Prediction, PrefilterBatch, Shard
from ml_worker.services import cancel_prefilter_batch
from ml_worker.shards import (
    MOST_ATTEMPTS,
    ClaimLost,
    Unreadable,
    claim_shard,
    complete_shard,
    put_back_shard,
    record_shard_scores,
    requeue_lost_shards,
    unscored_subjects,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def first_shard(launch: Callable[..., Any]) -> Any:
    return launch(control_fraction=0).shards.get(index=0)


def silent(shard: Any) -> None:
    """As if the process that holds the shard had died an hour ago."""
    Shard.objects.filter(pk=shard.pk).update(heartbeat_at=timezone.now() - timedelta(hours=1))


def test_a_shard_is_claimed_once(first_shard: Any) -> None:
    claimed = claim_shard(shard_id=first_shard.pk)
    assert claimed is not None
    assert (claimed.state, claimed.attempts) == ("running", 1)
    assert PrefilterBatch.objects.get().state == "running"
    assert claim_shard(shard_id=first_shard.pk) is None


def test_a_message_for_a_shard_that_is_gone_is_harmless() -> None:
    assert claim_shard(shard_id=2**62) is None


def test_a_message_delivered_again_after_the_work_is_harmless(first_shard: Any) -> None:
    claimed = claim_shard(shard_id=first_shard.pk)
    assert claimed is not None
    complete_shard(shard=claimed)
    assert claim_shard(shard_id=first_shard.pk) is None


def test_scores_counts_and_histogram_grow_with_each_minibatch(first_shard: Any) -> None:
    shard = claim_shard(shard_id=first_shard.pk)
    assert shard is not None
    ids = [s.pk for s in unscored_subjects(shard)]
    record_shard_scores(shard=shard, scores={ids[0]: 0.0, ids[1]: 0.52})
    record_shard_scores(shard=shard, scores={ids[2]: 1.0})
    shard.refresh_from_db()
    assert shard.n_scored == 3
    assert {place: n for place, n in enumerate(shard.histogram) if n} == {0: 1, 10: 1, 19: 1}
    assert [s.pk for s in unscored_subjects(Shard.objects.select_related("batch").get(pk=shard.pk))] == ids[3:]


def test_recording_the_same_scores_again_writes_no_second_prediction(first_shard: Any) -> None:
    shard = claim_shard(shard_id=first_shard.pk)
    assert shard is not None
    scores = {s.pk: 0.25 for s in unscored_subjects(shard)}
    record_shard_scores(shard=shard, scores=scores)
    record_shard_scores(shard=shard, scores=scores)
    assert Prediction.objects.count() == len(scores)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.01, 1.01])
def test_a_score_that_is_no_probability_is_refused_whole(first_shard: Any, score: float) -> None:
    shard = claim_shard(shard_id=first_shard.pk)
    assert shard is not None
    ids = [s.pk for s in unscored_subjects(shard)]
    with pytest.raises(ValueError, match=f"subject {ids[1]}"):
        record_shard_scores(shard=shard, scores={ids[0]: 0.5, ids[1]: score})
    assert not Prediction.objects.exists()


def test_a_process_given_up_for_lost_cannot_write_any_more(first_shard: Any, messages: list[int]) -> None:
    late = claim_shard(shard_id=first_shard.pk)
    assert late is not None
    silent(late)
    requeue_lost_shards()
    with pytest.raises(ClaimLost):
        record_shard_scores(shard=late, scores={late.first_subject_id: 0.5})
    successor = claim_shard(shard_id=first_shard.pk)
    assert successor is not None
    for write in (lambda: complete_shard(shard=late), lambda: put_back_shard(shard=late, error="x")):
        with pytest.raises(ClaimLost):
            write()
    assert record_shard_scores(shard=successor, scores={late.first_subject_id: 0.5})


def test_the_next_attempt_scores_only_what_has_no_score_yet(first_shard: Any, messages: list[int]) -> None:
    shard = claim_shard(shard_id=first_shard.pk)
    assert shard is not None
    ids = [s.pk for s in unscored_subjects(shard)]
    record_shard_scores(
        shard=shard,
        scores=dict.fromkeys(ids[:3], 0.5),
        unreadable=[Unreadable(ids[3], "north-3", "the file is missing")],
    )
    silent(shard)
    assert requeue_lost_shards()["lost"] == 1
    assert messages == [shard.pk]
    again = claim_shard(shard_id=shard.pk)
    assert again is not None
    assert (again.attempts, again.n_scored, again.n_unreadable, again.histogram[10]) == (2, 3, 0, 3)
    assert [s.pk for s in unscored_subjects(again)] == ids[3:]


def test_a_shard_with_a_recent_heartbeat_is_left_alone(first_shard: Any, messages: list[int]) -> None:
    shard = claim_shard(shard_id=first_shard.pk)
    assert shard is not None
    assert not any(requeue_lost_shards().values())
    assert record_shard_scores(shard=shard, scores={})


def test_a_shard_that_kills_whatever_scores_it_fails_in_the_end(launch: Any, messages: list[int]) -> None:
    batch = launch(shard_size=100)
    for _ in range(MOST_ATTEMPTS):
        shard = claim_shard(shard_id=batch.shards.get().pk)
        assert shard is not None
        silent(shard)
        counts = requeue_lost_shards()
    assert counts["failed"] == 1
    shard.refresh_from_db()
    assert shard.state == "failed"
    assert f"lost {MOST_ATTEMPTS} times" in shard.error
    assert PrefilterBatch.objects.get().state == "failed"


def test_passing_faults_are_tried_again_until_the_attempts_are_used_up(launch: Any, messages: list[int]) -> None:
    batch = launch(shard_size=100)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        shard = claim_shard(shard_id=batch.shards.get().pk)
        assert shard is not None
        assert shard.attempts == attempt
        put_back_shard(shard=shard, error="storage is away")
    shard.refresh_from_db()
    assert (shard.state, len(messages)) == ("failed", MOST_ATTEMPTS - 1)
    assert "storage is away" in shard.error


def test_a_lost_shard_of_a_cancelled_batch_is_cancelled(launch: Any, owner: Any, messages: list[int]) -> None:
    batch = launch()
    shard = claim_shard(shard_id=batch.shards.get(index=0).pk)
    assert shard is not None
    cancel_prefilter_batch(batch=batch, user=owner)
    silent(shard)
    requeue_lost_shards()
    batch.refresh_from_db()
    assert batch.state == "cancelled"
    assert set(batch.shards.values_list("state", flat=True)) == {"cancelled"}


def test_messages_that_got_lost_are_sent_again_only_while_nothing_runs(launch: Any, messages: list[int]) -> None:
    batch = launch()
    Shard.objects.update(enqueued_at=timezone.now() - timedelta(hours=1))
    ids = list(batch.shards.values_list("pk", flat=True))
    running = claim_shard(shard_id=ids[0])
    assert running is not None
    assert requeue_lost_shards()["resent"] == 0
    complete_shard(shard=running)
    assert requeue_lost_shards()["resent"] == 2
    assert messages == ids[1:]
    assert requeue_lost_shards()["resent"] == 0


def test_a_batch_whose_last_scorer_died_before_finishing_it_is_finished(launch: Any, score_all: Any) -> None:
    batch = launch()
    score_all(batch, lambda subject: 0.75)
    PrefilterBatch.objects.update(state="running", finished_at=None, routing={})
    assert requeue_lost_shards()["settled"] == 1
    batch.refresh_from_db()
    assert (batch.state, batch.routing["shown"]) == ("done", 20)


def test_unreadable_subjects_stay_as_they_were(launch: Any, workflow: Any) -> None:
    batch = launch(shard_size=100, show_above=1.0, control_fraction=0)
    shard = claim_shard(shard_id=batch.shards.get().pk)
    assert shard is not None
    first, *others = unscored_subjects(shard)
    report = [Unreadable(first.pk, first.name, "cannot be read")]
    record_shard_scores(shard=shard, scores={s.pk: 0.1 for s in others}, unreadable=report)
    complete_shard(shard=shard)
    batch.refresh_from_db()
    assert batch.routing == {"shown": 0, "held": 19, "control": 0, "left_alone": 1}
    left = SubjectProgress.objects.get(workflow=workflow, subject=first)
    assert (left.is_held, left.bucket) == (False, 50)
    shard.refresh_from_db()
    assert shard.unreadable == [{"subject": first.pk, "name": first.name, "reason": "cannot be read"}]
    assert shard.can_retry


@pytest.mark.services
def test_of_many_claims_at_the_same_moment_one_succeeds(
    threaded_db: None, launch: Callable[..., Any], messages: list[int]
) -> None:
    from django.db import connections

    shard_id = launch().shards.get(index=0).pk
    claims: list[uuid.UUID] = []
    start = threading.Barrier(8)

    def attempt() -> None:
        start.wait()
        shard = claim_shard(shard_id=shard_id)
        if shard is not None:
            claims.append(shard.claim)
        connections.close_all()

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 1
    assert Shard.objects.get(pk=shard_id).claim == claims[0]
