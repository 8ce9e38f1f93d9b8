"""GET …/next and POST …/classifications as outside clients use them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from classify.models import Classification, Volunteer

GRADE = {"type": "grade", "question": "How sure are you?"}


def problem_of(response: Any, status: int) -> dict[str, Any]:
    """The problem document of a refusal, checked to be one."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["detail"]
    return document


@pytest.fixture
def token_for(db: None) -> Callable[..., dict[str, str]]:
    from starsieve.accounts.authentication import digest_of
    from starsieve.accounts.models import ApiToken

    def make(user: Any, scope: str) -> dict[str, str]:
        key = uuid4().hex
        ApiToken.objects.create(user=user, name="script", digest=digest_of(key), scope=scope)
        return {"HTTP_AUTHORIZATION": f"Token {key}"}

    return make


# --- next ---------------------------------------------------------------------------------------------------------


def test_next_gives_frames_and_public_metadata_and_nothing_else(world: Any, get_next: Any) -> None:
    workflow = world.workflow(subjects=0)
    [subject] = world.subjects(workflow, 1, metadata={"z": 0.4}, hidden_metadata={"truth": "lens"}, origin="simulated")
    response = get_next(workflow)
    assert response.status_code == 200
    assert response.json() == {
        "workflow_version": "1.1",
        "subjects": [
            {
                "id": subject.pk,
                "frames": [
                    {"url": "/media/stamps/ab/abc.png", "width": 100, "height": 80, "band": "VIS", "stretch": "asinh"}
                ],
                "metadata": {"z": 0.4},
            }
        ],
        "remaining": 1,
        "finished": False,
        "reason": "",
        "retry_after": None,
    }


def test_next_never_tells_a_gold_standard(world: Any, get_next: Any) -> None:
    from classify.services import set_gold_standard

    workflow = world.workflow({"T0": GRADE}, subjects=1)
    plain = get_next(workflow).json()
    set_gold_standard(
        workflow=workflow, subject=workflow.project.subjects.get(), task="T0", value="X", source="expert",
        wrong_message="That was a dud",
    )  # fmt: skip
    assert get_next(workflow).json() == plain


def test_next_is_not_cached_and_sets_the_csrf_cookie(world: Any, get_next: Any) -> None:
    response = get_next(world.workflow())
    assert "no-store" in response["Cache-Control"]
    assert "csrftoken" in response.cookies


@pytest.mark.parametrize("count", ["0", "21", "-1", "x", "", "1.5", "9" * 30, "1\x00"])
def test_a_bad_count_is_refused(world: Any, get_next: Any, count: str) -> None:
    document = problem_of(get_next(world.workflow(), count=count), 400)
    assert document["errors"][0]["field"] == "count"


def test_excluded_subjects_are_not_served_but_are_left(world: Any, get_next: Any) -> None:
    workflow = world.workflow(subjects=3)
    ids = sorted(workflow.project.subjects.values_list("id", flat=True))
    answer = get_next(workflow, count=20, exclude=f"{ids[0]},{ids[2]}").json()
    assert [subject["id"] for subject in answer["subjects"]] == [ids[1]]
    assert answer["remaining"] == 3
    answer = get_next(workflow, count=20, exclude=",".join(map(str, ids))).json()
    assert (answer["subjects"], answer["finished"], answer["remaining"]) == ([], False, 3)


@pytest.mark.parametrize("exclude", ["x", "1;2", "1.5", "-1", "9" * 25, ",".join(["1"] * 51), "١"])
def test_a_bad_exclude_is_refused(world: Any, get_next: Any, exclude: str) -> None:
    document = problem_of(get_next(world.workflow(), exclude=exclude), 400)
    assert document["errors"][0]["field"] == "exclude"


def test_a_visitor_is_not_served_again_what_they_classified(
    world: Any, get_next: Any, submit: Any, make_body: Any
) -> None:
    workflow = world.workflow(subjects=3)
    served = []
    for _ in range(3):
        subject = get_next(workflow).json()["subjects"][0]["id"]
        assert submit(workflow, make_body(subject)).status_code == 201
        served.append(subject)
    assert len(set(served)) == 3
    answer = get_next(workflow).json()
    assert answer["subjects"] == []
    assert (answer["finished"], answer["reason"], answer["remaining"]) == (True, "seen_all", 0)


def test_all_retired_is_told_apart_from_all_seen(world: Any, get_next: Any) -> None:
    workflow = world.workflow(subjects=1, limit=1)
    world.classify(workflow, workflow.project.subjects.get())
    answer = get_next(workflow).json()
    assert (answer["finished"], answer["reason"]) == (True, "all_retired")


def test_a_workflow_without_subjects_says_so(world: Any, get_next: Any) -> None:
    answer = get_next(world.workflow(subjects=0)).json()
    assert (answer["finished"], answer["reason"]) == (True, "empty")


def test_unknown_workflows_are_not_found(world: Any, client: Client) -> None:
    for number in ("0", "12345", "9" * 25):
        problem_of(client.get(f"/api/v1/workflows/{number}/next"), 404)


# --- submit -------------------------------------------------------------------------------------------------------


def test_a_submission_is_created_and_answered_with_its_receipt(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    content = make_body(workflow.project.subjects.first().pk)
    response = submit(workflow, content)
    assert response.status_code == 201
    assert response.json() == {"id": content["id"], "retired": False, "feedback": None}
    assert str(Classification.objects.get().client_id) == content["id"]


def test_a_repeated_delivery_is_answered_200_with_the_same_body(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    content = make_body(workflow.project.subjects.first().pk)
    first = submit(workflow, content)
    again = submit(workflow, content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Classification.objects.count() == 1


def test_a_second_classification_of_the_subject_is_a_conflict(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first().pk
    assert submit(workflow, make_body(subject)).status_code == 201
    problem_of(submit(workflow, make_body(subject)), 409)


def test_someone_elses_id_is_a_conflict(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    content = make_body(workflow.project.subjects.first().pk)
    assert submit(workflow, content).status_code == 201
    problem_of(submit(workflow, content, by=Client()), 409)
    assert Classification.objects.count() == 1


def test_the_subjects_id_may_come_back_as_text(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    assert submit(workflow, make_body(str(subject.pk))).status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None), ("id", "7"), ("id", 7.5), ("id", []), ("id", "x" * 36), ("id", 7),
        ("id", "{12345678-1234-5678-1234-56781234}"),
        ("subject", None), ("subject", True), ("subject", "S0"), ("subject", 1.0), ("subject", -1), ("subject", 10**18),
        ("subject", 10**30), ("subject", "9" * 40), ("subject", {}), ("subject", "١"),
        ("workflow_version", None), ("workflow_version", "7.7"), ("workflow_version", 1.1), ("workflow_version", ""),
        ("workflow_version", []), ("workflow_version", "1.1" * 50),
        ("annotations", None), ("annotations", {}), ("annotations", "T0"), ("annotations", []), ("annotations", [1]),
        ("annotations", [{"task": "T0"}]), ("annotations", [{"task": "T0", "value": 2}]),
        ("annotations", [{"task": "T0", "value": True}]), ("annotations", [{"task": "T0", "value": 10**18}]),
        ("annotations", [{"task": "T9", "value": 0}]), ("annotations", [{"task": 0, "value": 0}]),
        ("annotations", [{"task": "T0", "value": 0, "more": 1}]),
        ("annotations", [{"task": "T0", "value": 0}, {"task": "T0", "value": 0}]),
        ("started_at", None), ("started_at", "yesterday"), ("started_at", "2026-05-01T12:00:00"), ("started_at", 5),
        ("started_at", "2026-05-01"), ("finished_at", "0001-01-01T00:00:00+23:00"),
        ("started_at", "9999-12-31T23:59:59-23:00"), ("finished_at", "2025-01-01T00:00:00Z"),
        ("metadata", "x"), ("metadata", []), ("metadata", {"x": "y" * 17_000}),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(world: Any, submit: Any, make_body: Any, field: str, value: Any) -> None:
    workflow = world.workflow()
    content = make_body(workflow.project.subjects.first().pk, **{field: value})
    if value is None:
        del content[field]
    document = problem_of(submit(workflow, content), 422)
    assert document["errors"][0]["field"].split(".")[0].split("[")[0] == field
    assert not Classification.objects.exists()


def test_every_field_at_fault_is_named(world: Any, submit: Any) -> None:
    document = problem_of(submit(world.workflow(), {}), 422)
    assert [error["field"] for error in document["errors"]] == [
        "id", "subject", "workflow_version", "annotations", "started_at", "finished_at",
    ]  # fmt: skip


def test_an_older_version_of_the_workflow_is_still_taken(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    world.publish(workflow, {"T0": GRADE})
    subject = workflow.project.subjects.first()
    assert submit(workflow, make_body(subject.pk, version="1.1")).status_code == 201
    assert Classification.objects.get().workflow_version.number == "1.1"


def test_feedback_comes_with_the_receipt(world: Any, submit: Any, make_body: Any) -> None:
    from classify.services import set_gold_standard

    workflow = world.workflow({"T0": GRADE})
    subject = workflow.project.subjects.first()
    set_gold_standard(
        workflow=workflow, subject=subject, task="T0", value=["C", "B", "A"], source="simulated",
        right_message="A simulated lens, well found.", wrong_message="There was a simulated lens.",
    )  # fmt: skip
    assert submit(workflow, make_body(subject.pk, answer="B")).json()["feedback"] == [
        {
            "task": "T0", "is_right": True, "message": "A simulated lens, well found.", "truth": ["A", "B", "C"],
            "source": "simulated",
        }
    ]  # fmt: skip
    told = submit(workflow, make_body(subject.pk, answer="X"), by=Client()).json()["feedback"]
    assert told[0]["is_right"] is False
    assert told[0]["message"] == "There was a simulated lens."


def test_get_on_the_submissions_is_not_allowed(world: Any, client: Client) -> None:
    problem_of(client.get(f"/api/v1/workflows/{world.workflow().pk}/classifications"), 405)


# --- who ----------------------------------------------------------------------------------------------------------


def test_without_the_csrf_token_nothing_is_stored(world: Any, submit: Any, make_body: Any, get_next: Any) -> None:
    workflow = world.workflow()
    strict = Client(enforce_csrf_checks=True)
    content = make_body(workflow.project.subjects.first().pk)
    problem_of(submit(workflow, content, by=strict), 403)
    assert not Classification.objects.exists()
    token = get_next(workflow, by=strict).cookies["csrftoken"].value
    assert submit(workflow, content, by=strict, HTTP_X_CSRFTOKEN=token).status_code == 201


def test_a_token_with_the_classify_scope_stores_under_its_users_volunteer(
    world: Any, submit: Any, make_body: Any, token_for: Any
) -> None:
    workflow, user = world.workflow(), world.user("ada")
    strict = Client(enforce_csrf_checks=True)
    content = make_body(workflow.project.subjects.first().pk)
    assert submit(workflow, content, by=strict, **token_for(user, "classify")).status_code == 201
    assert Volunteer.objects.get().user == user


def test_a_read_token_may_ask_for_the_next_subject_but_not_submit(
    world: Any, submit: Any, make_body: Any, token_for: Any, client: Client
) -> None:
    workflow = world.workflow()
    token = token_for(world.user("ada"), "read")
    assert client.get(f"/api/v1/workflows/{workflow.pk}/next", **token).status_code == 200
    problem_of(submit(workflow, make_body(workflow.project.subjects.first().pk), **token), 403)


def test_a_lapsed_session_does_not_store_work_under_nobody(world: Any, submit: Any, make_body: Any) -> None:
    workflow, user = world.workflow(), world.user("ada")
    content = make_body(workflow.project.subjects.first().pk)
    problem_of(submit(workflow, content, HTTP_X_STARSIEVE_VOLUNTEER=f"user:{user.pk}"), 401)
    assert not Classification.objects.exists()
    signed_in = Client()
    signed_in.force_login(user)
    assert submit(workflow, content, by=signed_in, HTTP_X_STARSIEVE_VOLUNTEER=f"user:{user.pk}").status_code == 201
    assert submit(workflow, content, by=signed_in, HTTP_X_STARSIEVE_VOLUNTEER="visitor").status_code == 200


@pytest.mark.parametrize(
    ("status", "is_public", "role", "expected"),
    [
        ("live", True, None, 200),
        ("live", True, "volunteer", 200),
        ("live", False, None, 404),
        ("live", False, "volunteer", 200),
        ("paused", True, None, 403),
        ("paused", True, "volunteer", 403),
        ("paused", True, "tester", 200),
        ("draft", True, None, 404),
        ("draft", True, "volunteer", 403),
        ("draft", True, "scientist", 200),
        ("finished", True, None, 403),
        ("finished", True, "owner", 403),
    ],
)
def test_who_may_classify_in_which_state(
    world: Any,
    get_next: Any,
    submit: Any,
    make_body: Any,
    status: str,
    is_public: bool,
    role: str | None,
    expected: int,
) -> None:
    from starsieve.projects.models import Membership

    workflow = world.workflow(status=status, is_public=is_public)
    browser = Client()
    if role is not None:
        user = world.user("ada")
        Membership.objects.create(project=workflow.project, user=user, role=role)
        browser.force_login(user)
    content = make_body(workflow.project.subjects.first().pk)
    assert get_next(workflow, by=browser).status_code == expected
    assert submit(workflow, content, by=browser).status_code == (201 if expected == 200 else expected)
    assert Classification.objects.exists() == (expected == 200)


def test_a_paused_project_says_so(world: Any, get_next: Any) -> None:
    assert "paused" in problem_of(get_next(world.workflow(status="paused")), 403)["detail"]


def test_where_experts_grade_nobody_else_does(world: Any, get_next: Any, submit: Any, make_body: Any) -> None:
    from starsieve.projects.models import Membership

    workflow = world.workflow({"T0": GRADE}, grading_by="experts")
    content = make_body(workflow.project.subjects.first().pk, answer="A")
    assert "experts" in problem_of(get_next(workflow), 403)["detail"]
    problem_of(submit(workflow, content), 403)
    expert = world.user("ada")
    Membership.objects.create(project=workflow.project, user=expert, role="expert")
    browser = Client()
    browser.force_login(expert)
    assert submit(workflow, content, by=browser).status_code == 201


def test_a_workflow_that_is_switched_off_takes_answers_of_testers_only(world: Any, get_next: Any) -> None:
    workflow = world.workflow()
    workflow.is_active = False
    workflow.save()
    problem_of(get_next(workflow), 403)
    browser = Client()
    browser.force_login(workflow.project.created_by)
    assert get_next(workflow, by=browser).status_code == 200
