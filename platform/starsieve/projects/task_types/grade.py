"""A lens grade: A definite, B probable, C possible, I interesting but no lens, X not a lens. Value: the letter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Task, ValueProblem
from starsieve.projects.task_types.problems import Problems

GRADES = ("A", "B", "C", "I", "X")
DEFAULT_LABELS = {
    "A": "Definite lens",
    "B": "Probable lens",
    "C": "Possible lens",
    "I": "Interesting, not a lens",
    "X": "Not a lens",
}


@dataclass(frozen=True)
class GradeTask(Task):
    labels: tuple[str, ...]

    type = "grade"

    @classmethod
    def from_json(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> Self:
        problems.unknown_fields(data, (*TASK_FIELDS, "labels"), place)
        labels = data.get("labels", {})
        if not isinstance(labels, dict):
            problems.add(f"{place}.labels", "must map grades to texts")
            labels = {}
        problems.unknown_fields(labels, GRADES, f"{place}.labels")
        for grade in GRADES:
            if grade in labels:
                problems.text(labels, grade, f"{place}.labels", required=True, longest=120)
        return cls(
            **cls.common_fields(key, data, place, problems),
            labels=tuple(labels.get(grade, DEFAULT_LABELS[grade]) for grade in GRADES),
        )

    def check_value(self, value: Any, frames: Sequence[Frame]) -> str:
        if not isinstance(value, str) or value not in GRADES:
            raise ValueProblem(f"must be one of {', '.join(GRADES)}")
        return value

    def without_texts(self) -> Self:
        return replace(super().without_texts(), labels=())
