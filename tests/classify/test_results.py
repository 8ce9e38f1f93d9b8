"""Consensus on one subject as other rooms read it."""

from typing import Any

from classify.results import current_summary, subject_summary
from classify.versions import definition_of

GRADE = {"type": "grade", "question": "How sure are you?"}
TREE = {
    "T0": {
        "type": "single",
        "question": "What is it?",
        "answers": [{"key": "smooth", "label": "Smooth", "next": None}, {"key": "disk", "label": "Disk"}],
        "next": "T1",
    },
    "T1": GRADE,
}


def test_every_task_has_a_summary_also_one_that_nobody_reached(world: Any) -> None:
    workflow = world.workflow(TREE)
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=0)
    summary = subject_summary(world.progress(workflow, subject), definition_of(workflow.current))
    assert list(summary) == ["T0", "T1"]
    assert summary["T0"]["fractions"] == [1.0, 0.0]
    assert (summary["T1"]["n"], summary["T1"]["grade"]) == (0, None)


def test_tallies_of_earlier_questions_are_not_taken_for_answers_to_the_new_ones(world: Any) -> None:
    workflow = world.workflow({"T0": TREE["T0"] | {"next": None}})
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=1)
    world.publish(workflow, {"T0": GRADE})
    progress = world.progress(workflow, subject)
    assert current_summary(progress, workflow.current)["T0"]["n"] == 0
    world.classify(workflow, subject, answer="B")
    assert current_summary(world.progress(workflow, subject), workflow.current)["T0"]["counts"]["B"] == 1
