"""How many statements the two calls of a volunteer cost, session, user, BEGIN and COMMIT included."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db(transaction=True)

GRADE = {"type": "grade", "question": "How sure are you?"}


def statements(call: Any) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert call().status_code in (200, 201)
    return [query["sql"] for query in captured.captured_queries]


@pytest.fixture
def browsers(world: Any) -> dict[str, Client]:
    signed_in = Client()
    signed_in.force_login(world.user("ada"))
    return {"signed in": signed_in, "visitor": Client()}


@pytest.mark.parametrize(("who", "most"), [("signed in", 4), ("visitor", 3)])
def test_next(
    world: Any, browsers: dict[str, Client], get_next: Any, submit: Any, make_body: Any, who: str, most: int
) -> None:
    workflow, browser = world.workflow(subjects=8), browsers[who]
    subject = get_next(workflow, by=browser).json()["subjects"][0]["id"]
    submit(workflow, make_body(subject), by=browser)  # from now on the session and the volunteer are there
    seen = statements(lambda: get_next(workflow, by=browser, count=3))
    if connection.vendor == "sqlite":
        # BEGIN, four statements and COMMIT for the leases, not waiting for the disk and waiting again, the subjects.
        most += 9
    assert len(seen) <= most, "\n".join(seen)


@pytest.mark.parametrize("who", ["signed in", "visitor"])
def test_submit(world: Any, browsers: dict[str, Client], submit: Any, make_body: Any, who: str) -> None:
    workflow, browser = world.workflow(limit=1), browsers[who]
    first, second, _ = workflow.project.subjects.all()
    submit(workflow, make_body(first.pk), by=browser)
    seen = statements(lambda: submit(workflow, make_body(second.pk), by=browser))
    assert len(seen) <= 8, "\n".join(seen)
    assert [sql.split()[0] for sql in seen if sql.startswith(("BEGIN", "COMMIT"))] == ["BEGIN", "COMMIT"]
    assert world.progress(workflow, second).retired_at is not None


def test_submit_to_a_gold_standard_asks_for_the_truth_too(
    world: Any, browsers: dict[str, Client], submit: Any, make_body: Any
) -> None:
    from classify.services import set_gold_standard

    workflow, browser = world.workflow({"T0": GRADE}), browsers["signed in"]
    first, second, _ = workflow.project.subjects.all()
    set_gold_standard(workflow=workflow, subject=second, task="T0", value="A", source="expert")
    submit(workflow, make_body(first.pk, answer="A"), by=browser)
    seen = statements(lambda: submit(workflow, make_body(second.pk, answer="A"), by=browser))
    assert len([sql for sql in seen if not sql.startswith(("BEGIN", "COMMIT"))]) <= 8, "\n".join(seen)


def test_the_number_of_tasks_costs_no_statements(
    world: Any, browsers: dict[str, Client], submit: Any, make_body: Any
) -> None:
    tasks = {f"T{i}": {"type": "grade", "question": "Sure?", "next": f"T{i + 1}" if i < 9 else None} for i in range(10)}
    workflow, browser = world.workflow(tasks), browsers["signed in"]
    answers = [{"task": key, "value": "A"} for key in tasks]
    first, second, _ = workflow.project.subjects.all()
    submit(workflow, make_body(first.pk, annotations=answers), by=browser)
    seen = statements(lambda: submit(workflow, make_body(second.pk, annotations=answers), by=browser))
    assert len(seen) <= 8, "\n".join(seen)
