"""What every task type offers: reading its definition, checking a value, naming the next task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Frame:
    """One picture of a subject, as far as an annotation's value depends on it: its size in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """A picture with a caption shown in a task's help. `image` is a path in the media storage."""

    image: str
    caption: str


@dataclass
class Problems:
    """Everything wrong with a definition, each with its place, so that an author mends all of it in one go."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, message: str) -> None:
        self.found.append((place, message))

    def text(self, data: dict[str, Any], name: str, place: str, *, required: bool = False, longest: int = 2000) -> str:
        value = data.get(name, "")
        if not isinstance(value, str):
            self.add(f"{place}.{name}", "must be text")
            return ""
        if required and not value.strip():
            self.add(f"{place}.{name}", "is missing or empty")
        if len(value) > longest:
            self.add(f"{place}.{name}", f"is longer than {longest} characters")
        return value

    def target(self, data: dict[str, Any], place: str) -> str | None:
        """The `next` of a task or an answer: a task key, or null for the end."""
        value = data.get("next")
        if value is not None and not isinstance(value, str):
            self.add(f"{place}.next", "must be a task key or null")
            return None
        return value

    def objects(self, data: dict[str, Any], name: str, place: str) -> list[dict[str, Any]]:
        value = data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.add(f"{place}.{name}", "must be a list of objects")
            return []
        return value

    def unknown_fields(self, data: dict[str, Any], known: Sequence[str], place: str) -> None:
        for name in sorted(set(data) - set(known)):
            self.add(f"{place}.{name}", f"is not a known field; known here: {', '.join(sorted(known))}")


class ValueProblem(ValueError):
    """An annotation's value does not fit its task. `place` is relative to the value, e.g. `[3].width`."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place


TASK_FIELDS = ("type", "name", "question", "help", "examples", "required", "next")


@dataclass(frozen=True)
class Task(ABC):
    key: str
    name: str
    question: str
    help: str
    examples: tuple[Example, ...]
    required: bool
    next: str | None

    type: ClassVar[str]

    @classmethod
    @abstractmethod
    def from_json(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> Self:
        """Read the task from its definition; every fault goes into `problems` with its place."""

    @abstractmethod
    def check_value(self, value: Any, frames: Sequence[Frame]) -> Any:
        """The value in canonical form; raises ValueProblem. None (skipped) is handled by the caller."""

    def next_task(self, value: Any) -> str | None:
        """Key of the task after this one, given a checked value (None: skipped)."""
        return self.next

    def targets(self) -> Iterator[tuple[str, str | None]]:
        """Every way out of this task as (place within the task, key of the next task or None for the end)."""
        yield "next", self.next

    @staticmethod
    def common_fields(key: str, data: dict[str, Any], place: str, problems: Problems) -> dict[str, Any]:
        """The fields that all task types share, ready for the constructor."""
        examples = []
        for i, entry in enumerate(problems.objects(data, "examples", place)):
            where = f"{place}.examples.{i}"
            image = problems.text(entry, "image", where, required=True, longest=300)
            if image.startswith("/") or ".." in image.split("/"):
                problems.add(f"{where}.image", "must be a path inside the media storage")
            examples.append(Example(image, problems.text(entry, "caption", where, longest=300)))
        required = data.get("required", True)
        if not isinstance(required, bool):
            problems.add(f"{place}.required", "must be true or false")
        return {
            "key": key,
            "name": problems.text(data, "name", place, longest=60) or key,
            "question": problems.text(data, "question", place, required=True, longest=500),
            "help": problems.text(data, "help", place, longest=10_000),
            "examples": tuple(examples),
            "required": bool(required),
            "next": problems.target(data, place),
        }
