"""Gold standards: what they may be, and what a volunteer is told."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from classify.errors import GoldStandardRefused
from classify.feedback import answer_is_right
from classify.models import GoldStandard
from classify.services import set_gold_standard
from starsieve.projects.definitions import parse_definition

ANSWERS = [{"key": key, "label": key} for key in ("smooth", "disk", "star")]
TASKS = {
    "single": {"type": "single", "question": "Q", "answers": ANSWERS},
    "multiple": {"type": "multiple", "question": "Q", "answers": ANSWERS},
    "grade": {"type": "grade", "question": "Q"},
    "boxes": {"type": "boxes", "question": "Q", "tools": [{"key": "clump", "label": "Clump"}]},
    "text": {"type": "text", "question": "Q"},
}


def box(x: float, y: float = 10, size: float = 20) -> dict[str, float]:
    return {"x": x, "y": y, "width": size, "height": size}


@pytest.mark.parametrize(
    ("kind", "truth", "right", "wrong"),
    [
        ("single", 1, [1], [0, 2]),
        ("single", [0, 1], [0, 1], [2]),
        ("grade", "A", ["A"], ["B", "I", "X"]),
        ("grade", ["A", "B", "C"], ["A", "B", "C"], ["I", "X"]),
        ("multiple", [0, 2], [[0, 2]], [[0], [0, 1, 2], []]),
        ("multiple", [], [[]], [[1]]),
        ("boxes", [], [[]], [[box(1)]]),
        ("boxes", [box(10)], [[box(12)]], [[], [box(40)], [box(12), box(60)], [box(12), box(11)]]),
        ("boxes", [box(10), box(50)], [[box(49), box(11)]], [[box(49), box(51)], [box(10)]]),
    ],
)
def test_answers_are_judged_by_the_truth(kind: str, truth: Any, right: list[Any], wrong: list[Any]) -> None:
    data = {"first": "T0", "tasks": {"T0": TASKS[kind]}, "retirement": {"classification_count": 1}}
    task = parse_definition(data).tasks["T0"]
    assert [answer_is_right(task, truth, answer) for answer in right] == [True] * len(right)
    assert [answer_is_right(task, truth, answer) for answer in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("single", 3), ("single", "smooth"), ("single", []), ("single", [0, 3]), ("single", None), ("single", True),
        ("grade", "D"), ("grade", []), ("grade", ["A", "lens"]), ("grade", 1),
        ("multiple", 1), ("multiple", [0, 0]), ("multiple", [[0], [1]]),
        ("boxes", {}), ("boxes", [{"x": 1}]), ("boxes", [box(500)]),
        ("text", "an arc"),
    ],
)  # fmt: skip
def test_a_truth_that_does_not_fit_the_task_is_refused(world: Any, kind: str, value: Any) -> None:
    workflow = world.workflow({"T0": TASKS[kind]})
    with pytest.raises(GoldStandardRefused):
        set_gold_standard(
            workflow=workflow, subject=workflow.project.subjects.first(), task="T0", value=value, source="expert"
        )
    assert not GoldStandard.objects.exists()


def test_unknown_tasks_sources_and_foreign_subjects_are_refused(world: Any) -> None:
    workflow, other = world.workflow(), world.workflow()
    subject = workflow.project.subjects.first()
    with pytest.raises(GoldStandardRefused, match="T7"):
        set_gold_standard(workflow=workflow, subject=subject, task="T7", value=0, source="expert")
    with pytest.raises(GoldStandardRefused, match="another project"):
        set_gold_standard(
            workflow=workflow, subject=other.project.subjects.first(), task="T0", value=0, source="expert"
        )
    with pytest.raises(ValidationError):
        set_gold_standard(workflow=workflow, subject=subject, task="T0", value=0, source="hearsay")


def test_setting_a_truth_again_replaces_it(world: Any) -> None:
    workflow = world.workflow({"T0": TASKS["grade"]})
    subject = workflow.project.subjects.first()
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value="X", source="expert")
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value=["C", "A"], source="simulated")
    gold = GoldStandard.objects.get()
    assert (gold.value, gold.source) == (["A", "C"], "simulated")


def test_without_messages_of_its_own_a_truth_has_plain_ones(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value=1, source="expert")
    right, wrong = (world.classify(workflow, subject, answer=answer).feedback[0] for answer in (1, 0))
    assert (right["is_right"], wrong["is_right"]) == (True, False)
    assert right["message"]
    assert wrong["message"] != right["message"]


def test_a_silent_truth_gives_no_feedback(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value=1, source="expert", give_feedback=False)
    assert world.classify(workflow, subject, answer=0).feedback is None


def test_a_task_that_was_not_reached_or_was_skipped_is_not_judged(world: Any) -> None:
    first = {**TASKS["single"], "answers": [{"key": "a", "label": "A", "next": None}, {"key": "b", "label": "B"}]}
    workflow = world.workflow({"T0": {**first, "next": "T1"}, "T1": {**TASKS["grade"], "required": False}})
    subject = workflow.project.subjects.first()
    set_gold_standard(workflow=workflow, subject=subject, task="T1", value="A", source="expert")
    assert world.classify(workflow, subject, answer=0).feedback is None
    skipped = [{"task": "T0", "value": 1}, {"task": "T1", "value": None}]
    assert world.classify(workflow, subject, answer=skipped).feedback is None
    answered = [{"task": "T0", "value": 1}, {"task": "T1", "value": "A"}]
    assert world.classify(workflow, subject, answer=answered).feedback[0]["is_right"] is True


def test_a_truth_of_earlier_questions_says_nothing_on_the_new_ones(world: Any) -> None:
    workflow = world.workflow()
    subject = workflow.project.subjects.first()
    set_gold_standard(workflow=workflow, subject=subject, task="T0", value=1, source="expert")
    for kind, answer in (("grade", "A"), ("boxes", [])):
        world.publish(workflow, {"T0": TASKS[kind]})
        assert world.classify(workflow, subject, answer=[{"task": "T0", "value": answer}]).feedback is None
