"""A run that is divided over the workers: it says what one process says, and outlives what befalls its workers."""

import copy
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

pytestmark = pytest.mark.services  # hundreds of rounds take a minute, and workers that share them share PostgreSQL

QUESTION = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [{"key": "smooth", "label": "Smooth"}, {"key": "features", "label": "Features"}],
    },
}  # fmt: skip
TREE = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [
            {"key": "smooth", "label": "Smooth", "next": "arms"},
            {"key": "features", "label": "Features", "next": None},
        ],
    },
    "arms": {
        "type": "single", "name": "arms", "question": "Are there spiral arms?", "next": "lens",
        "answers": [{"key": "yes", "label": "Yes"}, {"key": "no", "label": "No"}],
    },
    "lens": {"type": "grade", "name": "lens", "question": "Is it a lens?"},
}  # fmt: skip
#: A question in between that is only counted decides what comes next: the pooled questions are fitted one by one.
ONE_BY_ONE = copy.deepcopy(TREE)
ONE_BY_ONE["T0"]["consensus"] = {"method": "majority"}
ONE_BY_ONE["arms"]["next"] = "tight"
ONE_BY_ONE["tight"] = {**copy.deepcopy(QUESTION["T0"]), "name": "tight", "next": "lens"}

N_SUBJECTS, N_VOLUNTEERS = 60, 8


def walk(rng: np.random.Generator, tasks: dict[str, Any], truth: int) -> list[dict[str, Any]]:
    """Annotations of one volunteer who is mostly right about every question."""
    answers: list[dict[str, Any]] = []
    key: str | None = "T0"
    while key is not None:
        task = tasks[key]
        right = truth if rng.random() < 0.8 else 1 - truth
        answers.append({"task": key, "value": "AX"[right] if task["type"] == "grade" else right})
        given = task["answers"][right] if "answers" in task else {}
        key = given.get("next", task.get("next"))
    return answers


@pytest.fixture
def voted(survey: Any) -> Callable[..., Any]:
    """voted(tasks) → a workflow with votes of a simulated crowd on all subjects, and gold on a third of them."""
    from classify.models import Classification, GoldStandard

    def make(tasks: dict[str, Any], *, with_gold: bool = True) -> Any:
        rng = np.random.default_rng(7)
        workflow = survey.workflow(tasks, names=tuple(f"s{number}" for number in range(N_SUBJECTS)), limit=100)
        people = [survey.volunteer() for _ in range(N_VOLUNTEERS)]
        here, now = {"workflow": workflow}, timezone.now()
        for number, subject in enumerate(workflow.project.subjects.order_by("id")):
            truth = int(rng.integers(2))
            Classification.objects.bulk_create(
                Classification(
                    **here, workflow_version=workflow.current, subject=subject, volunteer=volunteer,
                    client_id=uuid.uuid4(), annotations=walk(rng, tasks, truth), started_at=now, finished_at=now,
                )
                for volunteer in people[: 3 + number % 6]
            )  # fmt: skip
            if with_gold and number % 3 == 0:
                GoldStandard.objects.create(**here, subject=subject, task="T0", value=truth, source="expert")
        return workflow

    return make


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """EM ends early, in one process as over shards: each round is a dozen statements."""
    from aggregation import sharded

    go_on = sharded.next_round
    monkeypatch.setattr(sharded, "next_round", lambda *given: go_on(*given[:-1], 0.01))


@pytest.fixture(autouse=True)
def nothing_held(settings: Any) -> Iterator[None]:
    """A few shards, which one process can hold, and no votes in memory from another test."""
    from starsieve.catalogues.consensus import split

    settings.CONSENSUS_SHARD_VOTES = 150
    settings.CONSENSUS_SHARDS_HELD = 9
    split._held_votes.clear()
    yield
    split._held_votes.clear()


def begin(workflow: Any) -> Any:
    from starsieve.catalogues.consensus.runs import run_consensus

    return run_consensus(workflow=workflow, may_split=True)


def work(run: Any, *, at_most: int = 1000) -> int:
    """Take the run's waiting pieces one after the other, as a single worker process does; how many there were."""
    from starsieve.catalogues.consensus.split import work_on

    done = 0
    while done < at_most and work_on(run_id=run.pk):
        done += 1
    run.refresh_from_db()
    return done


def alone(workflow: Any) -> tuple[Any, ...]:
    """What a single process says."""
    from starsieve.catalogues.consensus.runs import run_consensus

    return what(run_consensus(workflow=workflow))


def what(run: Any) -> tuple[Any, ...]:
    """What a run says of its tasks and subjects, and what it leaves behind for votes to come."""
    from classify.models import LiveFit

    fit = LiveFit.objects.filter(workflow=run.workflow, is_in_force=True).get()
    return (
        run.tasks,
        dict(run.subjects.values_list("subject_id", "tasks")),
        fit.parameters,
        dict(fit.skills.values_list("volunteer_id", "tasks")),
        dict(fit.evidence.values_list("subject_id", "tasks")),
    )


def assert_alike(found: Any, expected: Any, place: str = "") -> None:
    """The same structure and texts; numbers may differ in the last digit that is stored."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), place
        for key in expected:
            assert_alike(found[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), place
        for number, each in enumerate(expected):
            assert_alike(found[number], each, f"{place}/{number}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1.1e-6, rel=1e-9), place
    else:
        assert found == expected, place


@pytest.mark.parametrize("with_gold", [False, True])
@pytest.mark.parametrize("tasks", [QUESTION, TREE, ONE_BY_ONE], ids=["question", "tree", "one by one"])
def test_a_split_run_stores_what_a_single_process_stores(voted: Any, tasks: dict[str, Any], with_gold: bool) -> None:
    workflow = voted(tasks, with_gold=with_gold)
    expected = alone(workflow)
    run = begin(workflow)
    assert (run.state, run.split.n_shards > 2) == ("running", True)
    work(run)
    assert (run.state, run.error) == ("done", "")
    assert_alike(what(run), expected)
    first = workflow.consensus_runs.earliest("id")
    assert (run.n_classifications, run.watermark, run.n_read) == (
        first.n_classifications, first.watermark, first.n_read,
    )  # fmt: skip


def test_nothing_is_left_of_the_shards_when_a_run_has_ended(voted: Any) -> None:
    from starsieve.catalogues.consensus import split
    from starsieve.catalogues.models import ConsensusBlock, ConsensusShard, ConsensusSplit

    run = begin(voted(QUESTION))
    work(run)
    assert not ConsensusSplit.objects.exists() | ConsensusShard.objects.exists() | ConsensusBlock.objects.exists()
    split.forget_ended_runs()
    assert not split._held_votes


def test_a_run_that_one_process_can_hold_is_not_split(voted: Any, settings: Any) -> None:
    settings.CONSENSUS_SHARD_VOTES = 10_000
    assert begin(voted(QUESTION)).state == "done"


def test_a_workflow_without_pooled_tasks_is_not_split(voted: Any) -> None:
    tasks = copy.deepcopy(QUESTION)
    tasks["T0"]["consensus"] = {"method": "one-coin"}
    assert begin(voted(tasks)).state == "done"


def test_every_round_may_be_done_by_a_process_that_has_not_seen_the_one_before(voted: Any) -> None:
    from starsieve.catalogues.consensus import split

    workflow = voted(QUESTION)
    expected = alone(workflow)
    run = begin(workflow)
    while work(run, at_most=1):
        split._held_votes.clear()
    assert run.state == "done"
    assert_alike(what(run), expected)


def test_a_process_takes_the_shards_whose_votes_it_has_and_keeps_no_more_than_it_may(voted: Any, settings: Any) -> None:
    from starsieve.catalogues.consensus import shards, split

    settings.CONSENSUS_SHARDS_HELD = 2
    run = begin(voted(QUESTION))
    work(run, at_most=run.split.n_shards)
    held = [pk for pk, _ in split._held_votes]
    assert len(held) == 2
    assert shards.claim_shard(run_id=run.pk, held=held).pk in held


def test_a_shard_that_another_process_holds_comes_last(voted: Any) -> None:
    from starsieve.catalogues.consensus import shards

    run = begin(voted(QUESTION))
    first = run.split.shards.first()
    run.split.shards.filter(pk=first.pk).update(holder="elsewhere:1", heartbeat_at=timezone.now())
    claimed = [shards.claim_shard(run_id=run.pk, held=[]).pk for _ in range(run.split.n_shards)]
    assert claimed[-1] == first.pk
    assert shards.claim_shard(run_id=run.pk, held=[]) is None


def lose(shard: Any) -> None:
    """As if the process that works on it had been killed an hour ago."""
    from starsieve.catalogues.models import ConsensusShard

    long_ago = timezone.now() - timedelta(hours=1)
    ConsensusShard.objects.filter(pk=shard.pk).update(heartbeat_at=long_ago)


def test_a_lost_shard_waits_again_and_whoever_lost_it_can_no_longer_answer(voted: Any) -> None:
    from starsieve.catalogues.consensus import shards

    workflow = voted(QUESTION)
    expected = alone(workflow)
    run = begin(workflow)
    taken = shards.claim_shard(run_id=run.pk, held=[])
    assert shards.requeue_lost_shards()["lost"] == 0
    lose(taken)
    assert shards.requeue_lost_shards()["lost"] == 1
    with pytest.raises(shards.ClaimLost):
        shards.answer_round(shard=taken, messages={"answer 0": b"of a ghost"})
    work(run)
    assert_alike(what(run), expected)


def test_a_shard_that_is_lost_again_and_again_fails_the_run(voted: Any) -> None:
    from starsieve.catalogues.consensus import shards

    run = begin(voted(QUESTION))
    for _ in range(shards.MOST_ATTEMPTS):
        taken = run.split.shards.filter(state="pending").first()
        run.split.shards.exclude(pk=taken.pk).update(state="done")
        lose(shards.claim_shard(run_id=run.pk, held=[taken.pk]))
        shards.requeue_lost_shards()
    run.refresh_from_db()
    assert run.state == "failed"
    assert "lost 5 times" in run.error
    assert run.workflow.consensus_runs.lost().count() == 0


def test_a_worker_that_dies_before_the_next_round_is_made_leaves_it_to_another(voted: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import shards, split

    workflow = voted(QUESTION)
    expected = alone(workflow)
    run = begin(workflow)
    with monkeypatch.context() as dying:
        dying.setattr(split, "advance", lambda **_: False)
        work(run)
    assert run.split.round == 0
    assert shards.requeue_lost_shards()["advanced"] == 0  # it may be at it
    for shard in run.split.shards.all():
        lose(shard)
    assert shards.requeue_lost_shards()["advanced"] == 1
    work(run)
    assert_alike(what(run), expected)


def test_a_worker_that_dies_while_it_stores_leaves_that_to_another(voted: Any) -> None:
    from starsieve.catalogues.consensus import shards

    workflow = voted(QUESTION)
    expected = alone(workflow)
    run = begin(workflow)
    while not run.split.shards.filter(place=run.split.n_shards).exists():
        work(run, at_most=1)
    lose(shards.claim_shard(run_id=run.pk, held=[]))
    assert run.state == "running"
    assert shards.requeue_lost_shards()["lost"] == 1
    work(run)
    assert run.state == "done"
    assert_alike(what(run), expected)


def test_a_worker_that_dies_when_it_has_stored_leaves_the_rest_to_another(voted: Any, monkeypatch: Any) -> None:
    from classify.models import LiveFit
    from starsieve.catalogues.consensus import closing, shards
    from starsieve.catalogues.models import ConsensusShard

    class Killed(BaseException):
        """Nothing that could be caught and noted."""

    def die(**_: Any) -> None:
        raise Killed

    workflow = voted(QUESTION)
    expected = alone(workflow)
    LiveFit.objects.all().delete()
    run = begin(workflow)
    with monkeypatch.context() as dying:
        dying.setattr(closing, "weigh_from_now_on", die)
        with pytest.raises(Killed):
            work(run)
    run.refresh_from_db()
    assert run.state == "done"
    lose(ConsensusShard.objects.get(state="running"))
    assert shards.requeue_lost_shards()["lost"] == 1
    work(run)
    assert_alike(what(run), expected)
    assert not ConsensusShard.objects.exists()


def test_messages_that_were_lost_are_sent_again(voted: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import shards

    run = begin(voted(QUESTION))
    assert shards.requeue_lost_shards()["resent"] == 0
    run.split.shards.update(enqueued_at=timezone.now() - timedelta(hours=1))
    sent = []
    monkeypatch.setattr(shards, "enqueue", lambda run_id, n, **_: sent.append((run_id, n)))
    assert shards.requeue_lost_shards()["resent"] == run.split.n_shards
    assert sent == [(run.pk, run.split.n_shards)]


def test_a_broker_that_is_away_stops_nothing_for_good(voted: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import shards
    from starsieve.catalogues.tasks import work_on_consensus

    def refuse(**_: Any) -> None:
        raise OSError("no broker")

    run = begin(voted(QUESTION))
    monkeypatch.setattr(work_on_consensus, "apply_async", refuse)
    shards.enqueue(run.pk, 3)
    work(run)
    assert run.state == "done"


def test_two_that_make_the_next_round_at_once_make_it_once(voted: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import split

    run = begin(voted(QUESTION))
    with monkeypatch.context() as both:
        both.setattr(split, "advance", lambda **_: False)
        work(run)
    asked = split._ask
    overtaken = []

    def overtake(row: Any, *arguments: Any, **values: Any) -> bool:
        if not overtaken:
            overtaken.append(True)
            assert split.advance(run_id=run.pk)
        return bool(asked(row, *arguments, **values))

    monkeypatch.setattr(split, "_ask", overtake)
    assert not split.advance(run_id=run.pk)
    run.split.refresh_from_db()
    assert run.split.round == 1


def test_votes_that_change_under_way_end_the_run_with_the_reason(voted: Any, survey: Any) -> None:
    from classify.models import Classification, Volunteer
    from starsieve.catalogues.consensus import split

    run = begin(voted(QUESTION))
    work(run, at_most=run.split.n_shards)
    someone = Classification.objects.first().volunteer_id
    Volunteer.objects.filter(pk=someone).update(merged_into=survey.volunteer())
    split._held_votes.clear()
    work(run)
    assert run.state == "failed"
    assert "volunteers signed in" in run.error
    assert begin(run.workflow).state == "running"


def test_gold_set_under_way_waits_for_the_next_run(voted: Any) -> None:
    from classify.models import GoldStandard

    workflow = voted(QUESTION)
    expected = alone(workflow)
    run = begin(workflow)
    work(run, at_most=7)
    GoldStandard.objects.filter(workflow=workflow).delete()
    work(run)
    assert_alike(what(run), expected)


def test_a_passing_fault_is_tried_again_and_another_fails_the_run(voted: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import split

    run = begin(voted(QUESTION))
    with monkeypatch.context() as away:
        away.setattr(split, "_answer", lambda _: (_ for _ in ()).throw(OSError("the disk is away")))
        work(run, at_most=1)
    shard = run.split.shards.get(attempts=1)
    assert (shard.state, shard.error) == ("pending", "OSError: the disk is away")
    monkeypatch.setattr(split, "_answer", lambda _: 1 / 0)
    work(run, at_most=1)
    assert (run.state, run.error) == ("failed", "ZeroDivisionError: division by zero")


def test_a_split_run_is_not_given_up_while_its_workers_are_away(voted: Any) -> None:
    from starsieve.catalogues.consensus.runs import give_up_lost_runs
    from starsieve.catalogues.models import ConsensusRun

    run = begin(voted(QUESTION))
    ConsensusRun.objects.update(heartbeat_at=timezone.now() - timedelta(hours=3))
    assert give_up_lost_runs() == 0
    work(run)
    assert run.state == "done"


def test_the_page_of_background_work_says_how_far_a_split_run_is(voted: Any) -> None:
    from starsieve.catalogues.consensus import shards
    from starsieve.ops.work import background_work

    run = begin(voted(QUESTION))
    work(run, at_most=run.split.n_shards)
    shards.beat(shards.claim_shard(run_id=run.pk, held=[]))
    step = background_work().workflows[0].consensus
    assert step.level == "busy"
    assert f"Round 1 on {run.split.n_shards} shards" in step.detail


def test_a_message_for_a_run_that_is_over_does_nothing(voted: Any) -> None:
    from starsieve.catalogues.tasks import work_on_consensus

    run = begin(voted(QUESTION))
    work(run)
    work_on_consensus(run.pk)
    work_on_consensus(10**6)
    assert run.state == "done"


def test_long_messages_are_cut_into_rows(voted: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import blocks

    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    workflow = voted(TREE)
    expected = alone(workflow)
    run = begin(workflow)
    work(run, at_most=run.split.n_shards - 1)
    assert run.split.blocks.filter(place__gt=0).exists()
    work(run)
    assert_alike(what(run), expected)


def test_an_answer_needs_its_claim(voted: Any) -> None:
    from starsieve.catalogues.consensus import shards

    run = begin(voted(QUESTION))
    taken = shards.claim_shard(run_id=run.pk, held=[])
    taken.claim = uuid.uuid4()
    with pytest.raises(shards.ClaimLost):
        shards.answer_round(shard=taken, messages={"answer 0": b""})
    assert not run.split.blocks.exclude(name="asked").exists()
