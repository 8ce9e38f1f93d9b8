"""Prefilter batches over the API."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from ml_worker.models import PrefilterBatch, Shard
from ml_worker.shards import claim_shard, leave_shard
from starsieve.projects.models import Membership
from starsieve.projects.services import set_member

pytestmark = pytest.mark.django_db
BATCHES = "/api/v1/prefilter-batches"


@pytest.fixture
def as_owner(owner: Any, client: Client) -> Client:
    client.force_login(owner)
    return client


@pytest.fixture
def body(workflow: Any, subject_set: Any, model: Any) -> dict[str, Any]:
    return {"workflow": workflow.pk, "subject_set": subject_set.pk, "model": model.pk, "show_above": 0.5}


def post(client: Client, path: str, data: Any = None) -> Any:
    return client.post(path, data if data is not None else {}, content_type="application/json")


def test_a_launched_batch_can_be_watched_and_cancelled(as_owner: Client, body: dict[str, Any]) -> None:
    answer = post(as_owner, BATCHES, body | {"shard_size": 8, "seed": 3})
    assert answer.status_code == 201, answer.content
    batch = answer.json()
    assert batch["state"] == "pending"
    assert batch["progress"] == {
        "n_subjects": 20, "n_scored": 0, "n_unreadable": 0, "n_shards": 3, "n_done": 0, "n_failed": 0,
    }  # fmt: skip
    assert [s["index"] for s in batch["shards"]] == [0, 1, 2]
    assert batch["histogram"] == [0] * 20
    assert as_owner.get(f"{BATCHES}/{batch['id']}").json() == batch
    assert post(as_owner, f"{BATCHES}/{batch['id']}/cancel").json()["state"] == "cancelled"


def test_progress_shows_each_minibatch(as_owner: Client, launch: Any) -> None:
    from ml_worker.shards import record_shard_scores

    batch = launch()
    shard = claim_shard(shard_id=batch.shards.get(index=1).pk)
    assert shard is not None
    record_shard_scores(shard=shard, scores={shard.first_subject_id: 0.97})
    seen = as_owner.get(f"{BATCHES}/{batch.pk}").json()
    assert (seen["state"], seen["progress"]["n_scored"], seen["histogram"][-1]) == ("running", 1, 1)
    assert seen["shards"][0]["index"] == 1, "what is running comes first"


def test_the_list_holds_the_workflows_batches_newest_first(
    as_owner: Client, launch: Any, make_set: Any, workflow: Any
) -> None:
    first, second = launch(), launch(subject_set=make_set("south", 3))
    seen = as_owner.get(BATCHES, {"workflow": workflow.pk}).json()["results"]
    assert [batch["id"] for batch in seen] == [second.pk, first.pk]
    assert as_owner.get(BATCHES, {"workflow": workflow.pk + 1}).json()["results"] == []


def test_a_failed_shard_is_retried(as_owner: Client, launch: Any) -> None:
    batch = launch()
    shard = claim_shard(shard_id=batch.shards.get(index=2).pk)
    assert shard is not None
    leave_shard(shard=shard, state="failed", error="x")
    answer = post(as_owner, f"{BATCHES}/{batch.pk}/shards/2/retry")
    assert (answer.status_code, answer.json()["state"]) == (200, "pending")
    assert post(as_owner, f"{BATCHES}/{batch.pk}/shards/2/retry").status_code == 409
    assert post(as_owner, f"{BATCHES}/{batch.pk}/shards/3/retry").status_code == 404


def test_all_shards_are_listed_page_by_page(as_owner: Client, launch: Any) -> None:
    batch = launch(shard_size=1)
    page = as_owner.get(f"{BATCHES}/{batch.pk}/shards", {"page_size": 12}).json()
    rest = as_owner.get(page["next"]).json()
    assert [s["index"] for s in page["results"] + rest["results"]] == list(range(20))


def test_models_are_listed_with_their_provenance(as_owner: Client, model: Any, workflow: Any) -> None:
    (listed,) = as_owner.get("/api/v1/models").json()["results"]
    assert (listed["name"], listed["provenance"]) == ("arcs", "random-initialised, for tests")


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"workflow": 10**6}, 422, "workflow"),
        ({"workflow": 2**63}, 400, "workflow"),
        ({"workflow": 10**400}, 400, "workflow"),
        ({"workflow": "1"}, 400, "workflow"),
        ({"workflow": True}, 400, "workflow"),
        ({"subject_set": 10**9}, 422, "subject_set"),
        ({"model": 10**9}, 422, "model"),
        ({"model": None}, 400, "model"),
        ({"show_above": 1.5}, 400, "show_above"),
        ({"show_above": 10**400}, 400, "show_above"),
        ({"show_above": "0.5"}, 400, "show_above"),
        ({"show_above": None}, 422, "show_above"),
        ({"show_fraction": 0.5}, 422, "show_above"),
        ({"control_fraction": []}, 400, "control_fraction"),
        ({"shard_size": 0}, 400, "shard_size"),
        ({"seed": 2**31}, 400, "seed"),
    ],
)
def test_a_bad_body_is_refused_naming_the_field(
    as_owner: Client, body: dict[str, Any], changes: dict[str, Any], status: int, field: str
) -> None:
    answer = post(as_owner, BATCHES, body | changes)
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not PrefilterBatch.objects.exists()


@pytest.mark.parametrize("data", [[], "x", 3, {"workflow": {"$ne": 1}}])
def test_a_body_of_another_shape_is_refused(as_owner: Client, data: Any, model: Any) -> None:
    import json

    assert post(as_owner, BATCHES, json.dumps(data)).status_code == 400


def test_a_second_batch_on_the_same_subjects_conflicts(as_owner: Client, body: dict[str, Any]) -> None:
    assert post(as_owner, BATCHES, body).status_code == 201
    assert post(as_owner, BATCHES, body).status_code == 409


@pytest.mark.parametrize("pk", [0, 999, 2**63 - 1, 2**63, 10**30])
def test_an_unknown_batch_is_not_found(as_owner: Client, pk: int) -> None:
    assert as_owner.get(f"{BATCHES}/{pk}").status_code == 404
    assert as_owner.get(f"{BATCHES}/{pk}/shards").status_code == 404
    assert post(as_owner, f"{BATCHES}/{pk}/cancel").status_code == 404
    assert post(as_owner, f"{BATCHES}/{pk}/shards/{pk}/retry").status_code == 404


def test_an_unknown_shard_number_is_not_found(as_owner: Client, launch: Any) -> None:
    for index in (3, 2**31, 2**63, 10**30):
        assert post(as_owner, f"{BATCHES}/{launch_once(launch).pk}/shards/{index}/retry").status_code == 404


def launch_once(launch: Callable[..., Any]) -> Any:
    return PrefilterBatch.objects.first() or launch()


@pytest.mark.parametrize("workflow", ["x", "-1", "1.5", "²", "9" * 40, "\x00", ""])
def test_a_filter_that_is_no_number_is_refused(as_owner: Client, workflow: str) -> None:
    assert as_owner.get(BATCHES, {"workflow": workflow}).status_code == 400


ROLES = ["owner", "scientist", "expert", "moderator", "tester", "volunteer", None]


@pytest.mark.parametrize("role", ROLES)
def test_only_owners_and_scientists_launch_see_and_cancel(
    client: Client, make_user: Any, body: dict[str, Any], launch: Any, role: str | None, make_set: Any, workflow: Any
) -> None:
    person = make_user("somebody")
    if role:
        set_member(project=workflow.project, user=person, role=Membership.Role(role))
    client.force_login(person)
    batch = launch()
    is_allowed = role in ("owner", "scientist")
    south = body | {"subject_set": make_set("south", 3).pk}
    assert post(client, BATCHES, south).status_code == (201 if is_allowed else 403)
    assert client.get(f"{BATCHES}/{batch.pk}").status_code == (200 if is_allowed else 403)
    assert client.get(f"{BATCHES}/{batch.pk}/shards").status_code == (200 if is_allowed else 403)
    assert client.get("/api/v1/models").status_code == (200 if is_allowed else 403)
    assert len(client.get(BATCHES).json()["results"]) == (2 if is_allowed else 0)
    assert post(client, f"{BATCHES}/{batch.pk}/cancel").status_code == (200 if is_allowed else 403)
    batch.refresh_from_db()
    assert batch.state == ("cancelled" if is_allowed else "pending")


def test_nobody_signed_in_is_refused(client: Client, launch: Any, body: dict[str, Any]) -> None:
    batch = launch()
    assert client.get(BATCHES).status_code == 401
    assert client.get("/api/v1/models").status_code == 401
    assert post(client, BATCHES, body).status_code == 401
    assert client.get(f"{BATCHES}/{batch.pk}").status_code == 403


def test_a_private_projects_batch_does_not_exist_for_others(
    client: Client, make_user: Any, launch: Any, body: dict[str, Any], workflow: Any
) -> None:
    batch = launch()
    workflow.project.is_public = False
    workflow.project.save()
    client.force_login(make_user("stranger"))
    assert client.get(f"{BATCHES}/{batch.pk}").status_code == 404
    assert post(client, f"{BATCHES}/{batch.pk}/cancel").status_code == 404
    foreign, unknown = post(client, BATCHES, body), post(client, BATCHES, body | {"workflow": 10**6})
    assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())


def test_watching_a_batch_costs_the_same_for_many_shards(
    as_owner: Client, launch: Any, django_assert_num_queries: Any
) -> None:
    batch = launch(shard_size=1)
    Shard.objects.filter(index__gt=2).delete()
    as_owner.get(f"{BATCHES}/{batch.pk}")
    with django_assert_num_queries(6):
        as_owner.get(f"{BATCHES}/{batch.pk}")
