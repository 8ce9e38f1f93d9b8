"""POST …/classifications/batch: each entry as if it had been sent alone, one answer for each, in order."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from classify.models import Classification, Volunteer

GRADE = {"type": "grade", "question": "How sure are you?"}


@pytest.fixture
def submit_batch(client: Client) -> Callable[..., Any]:
    def post(workflow: Any, entries: Any, *, by: Client = client, **headers: Any) -> Any:
        address = f"/api/v1/workflows/{workflow.pk}/classifications/batch"
        content = {"classifications": entries}
        return by.post(address, content, content_type="application/json", **headers)

    return post


def results_of(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.content
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def statuses(response: Any) -> list[int]:
    return [result["status"] for result in results_of(response)]


def test_each_entry_is_stored_and_answered_in_its_place(world: Any, submit_batch: Any, make_body: Any) -> None:
    workflow = world.workflow(subjects=3, limit=1)
    entries = [make_body(subject.pk) for subject in workflow.project.subjects.all()]
    results = results_of(submit_batch(workflow, entries))
    assert results == [
        {
            "id": entry["id"],
            "status": 201,
            "receipt": {"id": entry["id"], "retired": True, "feedback": None},
            "problem": None,
        }
        for entry in entries
    ]
    assert Classification.objects.count() == 3
    assert Volunteer.objects.count() == 1


def test_the_same_batch_again_changes_nothing(world: Any, submit_batch: Any, make_body: Any) -> None:
    workflow = world.workflow(subjects=3)
    entries = [make_body(subject.pk) for subject in workflow.project.subjects.all()]
    first, again = submit_batch(workflow, entries), submit_batch(workflow, entries)
    assert statuses(again) == [200, 200, 200]
    assert [result["receipt"] for result in results_of(again)] == [result["receipt"] for result in results_of(first)]
    assert Classification.objects.count() == 3


def test_repeats_within_a_batch_are_repeats(world: Any, submit_batch: Any, make_body: Any) -> None:
    workflow = world.workflow(subjects=2)
    one, other = workflow.project.subjects.values_list("pk", flat=True)
    entry = make_body(one)
    same_id_elsewhere = {**entry, "subject": other}
    response = submit_batch(workflow, [entry, entry, make_body(one), same_id_elsewhere])
    assert statuses(response) == [201, 200, 409, 409]
    assert Classification.objects.count() == 1
    assert world.progress(workflow, workflow.project.subjects.first()).classification_count == 1


def test_two_tabs_that_send_the_same_waiting_entries_store_each_once(
    world: Any, submit_batch: Any, submit: Any, make_body: Any
) -> None:
    workflow = world.workflow(subjects=4)
    entries = [make_body(subject.pk) for subject in workflow.project.subjects.all()]
    assert submit(workflow, entries[1]).status_code == 201
    assert statuses(submit_batch(workflow, entries[:3])) == [201, 200, 201]
    assert statuses(submit_batch(workflow, entries[1:])) == [200, 200, 201]
    assert Classification.objects.count() == 4


def test_a_bad_entry_costs_itself_alone(world: Any, submit_batch: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow(subjects=3)
    first, second, third = workflow.project.subjects.values_list("pk", flat=True)
    bad = [
        make_body(second, answer=7),
        make_body(10**15),
        make_body(second, version="9.9"),
        make_body(second, metadata={"x": "y" * 17_000}),
        {"id": 7},
        {},
        None,
        [],
        "x",
    ]
    response = submit_batch(workflow, [make_body(first), *bad, make_body(third)])
    assert statuses(response) == [201, *[422] * len(bad), 201]
    assert Classification.objects.count() == 2
    for sent, result in zip(bad, results_of(response)[1:-1], strict=True):
        alone = submit(workflow, json.dumps(sent))
        assert result["problem"] == alone.json()
        assert result["receipt"] is None
        assert result["id"] == (sent.get("id") if isinstance(sent, dict) and sent.get("id") != 7 else None)


def test_a_refused_batch_makes_no_volunteer(world: Any, submit_batch: Any) -> None:
    assert statuses(submit_batch(world.workflow(), [{}, {}])) == [422, 422]
    assert not Volunteer.objects.exists()


def test_feedback_comes_with_each_receipt(world: Any, submit_batch: Any, make_body: Any) -> None:
    from classify.services import set_gold_standard

    workflow = world.workflow({"T0": GRADE}, subjects=2)
    plain, known = workflow.project.subjects.all()
    set_gold_standard(workflow=workflow, subject=known, task="T0", value="A", source="expert")
    results = results_of(submit_batch(workflow, [make_body(plain.pk, answer="A"), make_body(known.pk, answer="X")]))
    assert results[0]["receipt"]["feedback"] is None
    assert results[1]["receipt"]["feedback"][0]["is_right"] is False


def test_an_empty_batch_is_answered_with_nothing(world: Any, submit_batch: Any) -> None:
    assert results_of(submit_batch(world.workflow(), [])) == []


@pytest.mark.parametrize("entries", [None, {}, "x", 7, [{}] * 51])
def test_what_is_no_batch_is_refused_as_a_whole(world: Any, submit_batch: Any, entries: Any) -> None:
    response = submit_batch(world.workflow(), entries)
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == ["classifications"]


def test_a_body_that_is_no_object_is_refused(world: Any, client: Client, make_body: Any) -> None:
    address = f"/api/v1/workflows/{world.workflow().pk}/classifications/batch"
    response = client.post(address, [make_body(1)], content_type="application/json")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body"


def test_a_closed_workflow_takes_no_batch(world: Any, submit_batch: Any, make_body: Any) -> None:
    workflow = world.workflow(status="paused")
    assert submit_batch(workflow, [make_body(1)]).status_code == 403


def test_a_lapsed_session_stores_nothing_under_nobody(world: Any, submit_batch: Any, make_body: Any) -> None:
    workflow, user = world.workflow(), world.user("ada")
    entries = [make_body(workflow.project.subjects.first().pk)]
    assert submit_batch(workflow, entries, HTTP_X_STARSIEVE_VOLUNTEER=f"user:{user.pk}").status_code == 401
    assert not Classification.objects.exists()


@pytest.fixture
def rate(monkeypatch: Any) -> Any:
    cache.clear()
    yield lambda text: monkeypatch.setattr("starsieve.api.throttling.ClientThrottle.rate", text, raising=False)
    cache.clear()


def test_every_entry_counts_as_a_call(world: Any, submit_batch: Any, submit: Any, make_body: Any, rate: Any) -> None:
    rate("5/min")
    workflow = world.workflow(subjects=6)
    entries = [make_body(subject.pk) for subject in workflow.project.subjects.all()]
    assert statuses(submit_batch(workflow, entries[:3])) == [201] * 3
    refused = submit_batch(workflow, entries[3:])  # the third of them is the sixth call
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 61
    assert Classification.objects.count() == 3
    assert submit(workflow, entries[3]).status_code == 201
    assert submit(workflow, entries[4]).status_code == 429


def test_a_batch_larger_than_the_rate_passes_when_nothing_else_was_sent(
    world: Any, submit_batch: Any, submit: Any, make_body: Any, rate: Any
) -> None:
    rate("2/min")
    workflow = world.workflow(subjects=4)
    entries = [make_body(subject.pk) for subject in workflow.project.subjects.all()]
    assert statuses(submit_batch(workflow, entries)) == [201] * 4
    assert submit(workflow, entries[0]).status_code == 429
