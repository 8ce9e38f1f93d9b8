"""`training` in a workflow's definition: what is read, what is refused and where."""

from typing import Any

import pytest

from starsieve.projects.definitions import DefinitionError, parse_definition
from starsieve.projects.models import Workflow
from starsieve.projects.services import publish_version
from starsieve.projects.training import Training
from starsieve.projects.workflow_templates import TEMPLATES

RATES = [[0, 0.5], [20, 0.2], [60, 0]]


def definition(training: Any) -> dict[str, Any]:
    grade = {"type": "grade", "question": "How sure?"}
    return {"first": "T0", "tasks": {"T0": grade}, "retirement": {"classification_count": 5}, "training": training}


def test_a_schedule_says_the_rate_of_everyone() -> None:
    training = parse_definition(definition({"rates": RATES})).training
    assert training == Training(((0, 0.5), (20, 0.2), (60, 0.0)))
    assert [training.rate(n) for n in (0, 19, 20, 59, 60, 10**6)] == [0.5, 0.5, 0.2, 0.2, 0, 0]
    assert (training.highest_rate, training.last_threshold) == (0.5, 60)


@pytest.mark.parametrize("training", [None, "absent"])
def test_without_a_schedule_there_is_none(training: Any) -> None:
    data = definition(training)
    if training == "absent":
        del data["training"]
    assert parse_definition(data).training is None


@pytest.mark.parametrize(
    ("training", "place", "message"),
    [
        ([], "training", "must be an object with rates"),
        ({"rates": RATES, "rate": 1}, "training.rate", "is not a known field"),
        ({}, "training.rates", "must be a list of 1 to 20 pairs"),
        ({"rates": []}, "training.rates", "must be a list of 1 to 20 pairs"),
        ({"rates": [[i, 0.1] for i in range(21)]}, "training.rates", "must be a list of 1 to 20 pairs"),
        ({"rates": [[0, 0.5], 3]}, "training.rates[1]", "must be a pair"),
        ({"rates": [[0, 0.5, 1]]}, "training.rates[0]", "must be a pair"),
        ({"rates": [[0.5, 0.5]]}, "training.rates[0][0]", "must be a whole number"),
        ({"rates": [[True, 0.5]]}, "training.rates[0][0]", "must be a whole number"),
        ({"rates": [[-1, 0.5]]}, "training.rates[0][0]", "must be a whole number"),
        ({"rates": [[0, "0.5"]]}, "training.rates[0][1]", "must be a share between 0 and 1"),
        ({"rates": [[0, 1.5]]}, "training.rates[0][1]", "must be a share between 0 and 1"),
        ({"rates": [[0, float("nan")]]}, "training.rates[0][1]", "must be a share between 0 and 1"),
        ({"rates": [[5, 0.5]]}, "training.rates[0][0]", "must be 0"),
        ({"rates": [[0, 0.5], [9, 0.4], [9, 0.3]]}, "training.rates[2][0]", "must be above 9"),
        ({"rates": [[0, 0.2], [9, 0.3]]}, "training.rates[1][1]", "must not be above 0.2"),
    ],
)
def test_a_fault_is_named_with_its_place(training: Any, place: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(definition(training))
    [(found, said)] = caught.value.problems
    assert found == place
    assert message in said


@pytest.mark.django_db
def test_a_new_schedule_raises_the_minor_number(workflow: Workflow, owner: Any) -> None:
    changed = TEMPLATES["gz-rings"].fresh_definition()
    changed["training"] = {"rates": RATES}
    assert publish_version(workflow=workflow, definition=changed, user=owner).number == "1.2"
    changed["training"] = {"rates": [[0, 1]]}
    assert publish_version(workflow=workflow, definition=changed, user=owner).number == "1.3"
