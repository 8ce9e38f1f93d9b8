"""Free text. Value: a string."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Task, ValueProblem
from starsieve.projects.task_types.problems import Problems, is_storable

LONGEST = 5000


@dataclass(frozen=True)
class TextTask(Task):
    type = "text"

    @classmethod
    def from_json(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> Self:
        problems.unknown_fields(data, TASK_FIELDS, place)
        return cls(**cls.common_fields(key, data, place, problems))

    def check_value(self, value: Any, frames: Sequence[Frame]) -> str:
        if not isinstance(value, str):
            raise ValueProblem("must be text")
        if len(value) > LONGEST:
            raise ValueProblem(f"is longer than {LONGEST} characters")
        if not is_storable(value):
            raise ValueProblem("has a NUL character or half of a surrogate pair")
        return value.strip()
