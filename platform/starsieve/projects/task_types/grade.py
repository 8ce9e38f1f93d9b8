"""A lens grade: A definite, B probable, C possible, I interesting but no lens, X not a lens. Value: the letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Problems, Task, ValueProblem

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
        if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
            problems.add(f"{place}.labels", "must map grades to texts")
            labels = {}
        for grade in sorted(set(labels) - set(GRADES)):
            problems.add(f"{place}.labels.{grade}", f"is not a grade; grades are {', '.join(GRADES)}")
        return cls(
            **cls.common_fields(key, data, place, problems),
            labels=tuple(labels.get(grade, DEFAULT_LABELS[grade]) for grade in GRADES),
        )

    def check_value(self, value: Any, frames: Sequence[Frame]) -> str:
        if not isinstance(value, str) or value not in GRADES:
            raise ValueProblem(f"must be one of {', '.join(GRADES)}")
        return value
