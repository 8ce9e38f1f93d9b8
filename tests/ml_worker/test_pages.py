"""The prefilter pages work without any script and show what the rows say."""

import re
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.test import Client
from django.utils import timezone

from ml_worker.models import JobState, PrefilterBatch, Shard, empty_histogram
from ml_worker.shards import (
    Unreadable,
    claim_shard,
    complete_shard,
    leave_shard,
    record_shard_scores,
    unscored_subjects,
)

pytestmark = pytest.mark.django_db
PAGE = "/projects/lenses/manage/prefilter/"


@pytest.fixture
def as_owner(owner: Any, client: Client) -> Client:
    client.force_login(owner)
    return client


@pytest.fixture
def form(workflow: Any, subject_set: Any, model: Any) -> dict[str, Any]:
    return {
        "target": f"{workflow.pk}-{subject_set.pk}", "model": model.pk, "show_above": "0.5", "show_fraction": "",
        "control_fraction": "0.05", "shard_size": "8", "seed": "",
    }  # fmt: skip


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", answer.content.decode())


def test_a_batch_is_launched_from_the_form_and_shown(as_owner: Client, form: dict[str, Any]) -> None:
    answer = as_owner.post(PAGE, form)
    batch = PrefilterBatch.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"{PAGE}{batch.pk}/"
    assert (batch.show_above, batch.shard_size) == (0.5, 8)
    page = text(as_owner.get(answer["Location"]))
    assert f"Prefilter batch {batch.pk}" in page
    assert "Waiting for a worker" in page
    assert "random-initialised, for tests" in page
    assert f"Batch {batch.pk}</a>" in text(as_owner.get(PAGE))


def test_a_batch_that_no_worker_takes_asks_whether_one_runs(as_owner: Client, form: dict[str, Any]) -> None:
    address = as_owner.post(PAGE, form)["Location"]
    assert "Is one running?" not in text(as_owner.get(address))
    PrefilterBatch.objects.update(created_at=timezone.now() - timedelta(seconds=30))
    assert "No worker has taken a shard yet. Is one running?" in text(as_owner.get(address))
    Shard.objects.filter(index=0).update(state=JobState.RUNNING)
    PrefilterBatch.objects.update(state=JobState.RUNNING)
    assert "Is one running?" not in text(as_owner.get(address))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"show_above": ""}, "Give either a score or a part to show"),
        ({"show_fraction": "0.1"}, "Give either a score or a part to show"),
        ({"show_above": "7"}, "less than or equal to 1"),
        ({"show_above": "nan"}, "Enter a number"),
        ({"target": "1-99999"}, "Select a valid choice"),
        ({"model": "99999999999999999999999"}, "Select a valid choice"),
        ({"model": "\x00"}, "Null characters are not allowed"),
        ({"shard_size": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_bad_form_says_what_to_mend(
    as_owner: Client, form: dict[str, Any], changes: dict[str, str], sentence: str
) -> None:
    answer = as_owner.post(PAGE, form | changes)
    assert answer.status_code == 400
    assert sentence in text(answer)
    assert not PrefilterBatch.objects.exists()


def test_a_second_launch_on_the_same_subjects_is_explained(as_owner: Client, form: dict[str, Any]) -> None:
    as_owner.post(PAGE, form)
    assert "has not finished; wait for it or cancel it first" in text(as_owner.post(PAGE, form))


def test_without_a_model_the_page_says_how_to_get_one(as_owner: Client, subject_set: Any) -> None:
    assert "train_model" in text(as_owner.get(PAGE))


def test_a_finished_batch_shows_what_its_scores_did(as_owner: Client, launch: Any, score_all: Any) -> None:
    batch = launch(control_fraction=0)
    score_all(batch, lambda subject: 0.9 if subject.pk % 4 == 0 else 0.2)
    page = text(as_owner.get(f"{PAGE}{batch.pk}/"))
    assert "<dt>Shown</dt><dd>5</dd>" in page
    assert "<dt>Held</dt><dd>15</dd>" in page
    assert 'data-finished="true"' in page
    assert "Cancel batch" not in page
    assert "Of 20 scored subjects" in text(as_owner.get(PAGE))


def test_cancel_and_retry_are_buttons(as_owner: Client, launch: Any) -> None:
    batch = launch()
    shard = claim_shard(shard_id=batch.shards.get(index=1).pk)
    assert shard is not None
    leave_shard(shard=shard, state="failed", error="the file <model> is gone")
    page = text(as_owner.get(f"{PAGE}{batch.pk}/"))
    assert "the file &lt;model&gt; is gone" in page
    assert f'action="{PAGE}{batch.pk}/shards/1/retry/"' in page
    as_owner.post(f"{PAGE}{batch.pk}/shards/1/retry/")
    shard.refresh_from_db()
    assert shard.state == "pending"
    answer = as_owner.post(f"{PAGE}{batch.pk}/shards/1/retry/", follow=True)
    assert "only a failed one" in text(answer)
    as_owner.post(f"{PAGE}{batch.pk}/cancel/")
    batch.refresh_from_db()
    assert batch.state == "cancelled"
    assert as_owner.get(f"{PAGE}{batch.pk}/cancel/").status_code == 405


def test_unreadable_stamps_are_named_with_the_reason(as_owner: Client, launch: Any) -> None:
    batch = launch(shard_size=100)
    shard = claim_shard(shard_id=batch.shards.get().pk)
    assert shard is not None
    first, *rest = unscored_subjects(shard)
    report = [Unreadable(first.pk, first.name, "the file is missing")]
    record_shard_scores(shard=shard, scores={s.pk: 0.9 for s in rest}, unreadable=report)
    complete_shard(shard=shard)
    page = text(as_owner.get(f"{PAGE}{batch.pk}/"))
    assert "<td>north-0</td><td>the file is missing</td>" in page
    assert "Retry<span" in page


def test_the_histogram_is_a_picture_with_a_bar_per_filled_bin(as_owner: Client, launch: Any, score_all: Any) -> None:
    batch = launch()
    score_all(batch, lambda subject: 0.9 if subject.pk % 2 else 0.2)
    for theme in ("dark", "light", "<x>"):
        answer = as_owner.get(f"{PAGE}{batch.pk}/scores.svg", {"theme": theme})
        assert answer["Content-Type"] == "image/svg+xml"
        drawing = ElementTree.fromstring(answer.content)
        bars = drawing.findall("{http://www.w3.org/2000/svg}rect")
        assert len(bars) == 2
        assert bars[0].get("fill") != bars[1].get("fill"), "shown and held differ in colour"
        assert "10 score 0.9 or more" in (drawing[0].text or "")


def test_an_empty_histogram_is_drawn_too(as_owner: Client, launch: Any) -> None:
    batch = launch()
    assert batch.shards.all().histogram() == empty_histogram()
    drawing = ElementTree.fromstring(as_owner.get(f"{PAGE}{batch.pk}/scores.svg").content)
    assert drawing[0].text == "No scores yet."


@pytest.mark.parametrize("role", ["expert", "moderator", "tester", "volunteer", None])
def test_other_roles_see_no_prefilter_page(
    client: Client, make_user: Any, launch: Any, workflow: Any, role: str | None
) -> None:
    from starsieve.projects.services import set_member

    batch, person = launch(), make_user("somebody")
    if role:
        set_member(project=workflow.project, user=person, role=role)
    client.force_login(person)
    assert client.get(PAGE).status_code == 403
    for page in ("", "scores.svg"):
        assert client.get(f"{PAGE}{batch.pk}/{page}").status_code == 403
    assert client.post(f"{PAGE}{batch.pk}/cancel/").status_code == 403
    assert client.post(f"{PAGE}{batch.pk}/shards/0/retry/").status_code == 403


def test_nobody_signed_in_is_asked_to_sign_in(client: Client, launch: Any) -> None:
    assert client.get(PAGE).headers["Location"].startswith("/accounts/login/")
    launch()


def test_a_batch_is_not_reached_through_another_project(as_owner: Client, owner: Any, launch: Any) -> None:
    from starsieve.projects.services import create_project

    create_project(title="Other", slug="other", summary="x", template="lens-grading", owner=owner, status="live")
    batch = launch()
    assert as_owner.get(f"/projects/other/manage/prefilter/{batch.pk}/").status_code == 404
    assert as_owner.get(f"{PAGE}{2**63}/").status_code == 404


def test_the_admin_site_links_to_the_launch_page_and_cancels(client: Client, make_user: Any, launch: Any) -> None:
    batch = launch()
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    listing = "/admin/ml_worker/prefilterbatch/"
    page = text(client.get(listing))
    assert f'href="{PAGE}"' in page
    assert f'href="{PAGE}{batch.pk}/"' in page
    client.post(listing, {"action": "cancel", "_selected_action": [batch.pk]})
    batch.refresh_from_db()
    assert batch.state == "cancelled"
    for name in ("modelversion", "shard"):
        assert client.get(f"/admin/ml_worker/{name}/").status_code == 200
        assert client.get(f"/admin/ml_worker/{name}/add/").status_code == 403
    assert client.get(f"{listing}{batch.pk}/change/").status_code == 200


def test_staff_without_a_role_in_the_project_cannot_cancel_from_the_admin_site(
    client: Client, make_user: Any, launch: Any
) -> None:
    from django.contrib.auth.models import Permission

    batch, clerk = launch(), make_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_prefilterbatch"))
    client.force_login(clerk)
    data = {"action": "cancel", "_selected_action": [batch.pk]}
    answer = client.post("/admin/ml_worker/prefilterbatch/", data, follow=True)
    assert "Your role does not allow cancelling" in text(answer)
    batch.refresh_from_db()
    assert batch.state == "pending"
