"""Any number of answers, none included. Value: the sorted list of answer indices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Task, ValueProblem
from starsieve.projects.task_types.problems import Problems
from starsieve.projects.task_types.single import Answer, read_answers


@dataclass(frozen=True)
class MultipleTask(Task):
    answers: tuple[Answer, ...]

    type = "multiple"

    @classmethod
    def from_json(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> Self:
        problems.unknown_fields(data, (*TASK_FIELDS, "answers"), place)
        return cls(
            **cls.common_fields(key, data, place, problems),
            answers=read_answers(data, place, problems, branching=False),
        )

    def check_value(self, value: Any, frames: Sequence[Frame]) -> list[int]:
        if not isinstance(value, list):
            raise ValueProblem("must be a list of answer indices")
        for i, index in enumerate(value):
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(self.answers):
                raise ValueProblem(f"must be a whole number between 0 and {len(self.answers) - 1}", f"[{i}]")
        if len(set(value)) != len(value):
            raise ValueProblem("names an answer twice")
        return sorted(value)

    def without_texts(self) -> Self:
        return replace(super().without_texts(), answers=tuple(replace(answer, label="") for answer in self.answers))
