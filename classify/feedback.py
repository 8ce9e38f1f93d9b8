"""What a volunteer is told after answering a subject whose truth is known."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict

import numpy as np

from aggregation.boxes import box_iou
from classify.errors import GoldStandardRefused
from classify.models import GoldStandard
from starsieve.projects.task_types import Frame, Task, ValueProblem

#: A drawn box marks a true one where their intersection over union is at least this.
SAME_PLACE_IOU = 0.3
RIGHT = "Right!"
WRONG = "Not this time."


class TaskFeedback(TypedDict):
    task: str
    is_right: bool
    message: str
    truth: Any
    source: str


def feedback_on(
    golds: Iterable[GoldStandard],
    tasks: dict[str, Task],
    annotations: Sequence[dict[str, Any]],
    frames: Sequence[Frame],
) -> list[TaskFeedback] | None:
    """What to tell about the answered tasks that have a gold standard; None where there is nothing to tell.

    Not judged: tasks that the answers did not reach or skipped, and a gold standard made for a version of the task
    that took other values.
    """
    answers = {annotation["task"]: annotation["value"] for annotation in annotations}
    told: list[TaskFeedback] = []
    for gold in golds:
        answer = answers.get(gold.task)
        if not gold.give_feedback or answer is None:
            continue
        try:
            truth = checked_truth(tasks[gold.task], gold.value, frames)
        except GoldStandardRefused:
            continue
        is_right = answer_is_right(tasks[gold.task], truth, answer)
        message = (gold.right_message or RIGHT) if is_right else (gold.wrong_message or WRONG)
        told.append(TaskFeedback(task=gold.task, is_right=is_right, message=message, truth=truth, source=gold.source))
    return told or None


def answer_is_right(task: Task, truth: Any, answer: Any) -> bool:
    """Judge a checked answer by a checked truth (the meaning of each is in GoldStandard)."""
    return _rule(task)[1](truth, answer)


def checked_truth(task: Task, value: Any, frames: Sequence[Frame]) -> Any:
    """The gold value in canonical form; raises GoldStandardRefused if it does not fit the task."""
    try:
        return _rule(task)[0](task, value, frames)
    except ValueProblem as problem:
        raise GoldStandardRefused(f"value{problem.place} {problem.message}") from None


def _one_or_accepted(task: Task, value: Any, frames: Sequence[Frame]) -> Any:
    if not isinstance(value, list):
        return task.check_value(value, frames)
    if not value:
        raise ValueProblem("accepts no answer at all")
    return sorted({task.check_value(accepted, frames) for accepted in value})


def _exact(task: Task, value: Any, frames: Sequence[Frame]) -> Any:
    return task.check_value(value, frames)


def _is_accepted(truth: Any, answer: Any) -> bool:
    return answer in truth if isinstance(truth, list) else answer == truth


def _is_equal(truth: Any, answer: Any) -> bool:
    return bool(truth == answer)


def _marks_all_and_only(truth: Any, answer: Any) -> bool:
    """Whether drawn and true boxes pair off one to one, nearest pairs first."""
    if len(truth) != len(answer):
        return False
    if not truth:
        return True
    iou = box_iou(_sides(truth), _sides(answer))
    for _ in truth:
        best = np.unravel_index(int(iou.argmax()), iou.shape)
        if iou[best] < SAME_PLACE_IOU:
            return False
        iou[best[0], :] = -1.0
        iou[:, best[1]] = -1.0
    return True


def _sides(boxes: Sequence[dict[str, float]]) -> list[list[float]]:
    return [[box["x"], box["y"], box["width"], box["height"]] for box in boxes]


Check = Callable[[Task, Any, Sequence[Frame]], Any]
Judge = Callable[[Any, Any], bool]
RULES: dict[str, tuple[Check, Judge]] = {
    "single": (_one_or_accepted, _is_accepted),
    "grade": (_one_or_accepted, _is_accepted),
    "multiple": (_exact, _is_equal),
    "boxes": (_exact, _marks_all_and_only),
}


def _rule(task: Task) -> tuple[Check, Judge]:
    if task.type not in RULES:
        raise GoldStandardRefused(f"a {task.type} task has no gold standard; these have: {', '.join(RULES)}")
    return RULES[task.type]
