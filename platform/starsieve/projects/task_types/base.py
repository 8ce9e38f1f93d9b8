"""What every task type offers: reading its definition, checking a value, naming the next task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from starsieve.projects.task_types.consensus import Consensus, read_consensus
from starsieve.projects.task_types.problems import Problems, is_media_picture

MOST_EXAMPLES = 20


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


class ValueProblem(ValueError):
    """An annotation's value does not fit its task. `place` is relative to the value, e.g. `[3].width`."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place


TASK_FIELDS = ("type", "name", "question", "help", "examples", "required", "next", "consensus")


@dataclass(frozen=True)
class Task(ABC):
    key: str
    name: str
    question: str
    help: str
    examples: tuple[Example, ...]
    required: bool
    next: str | None
    consensus: Consensus | None

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

    def without_texts(self) -> Self:
        """The task without its wording and without how its answers are combined: what decides whether old and new
        classifications compare.
        """
        return replace(self, question="", help="", examples=(), consensus=None)

    @classmethod
    def common_fields(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> dict[str, Any]:
        """The fields that all task types share, ready for the constructor."""
        examples = []
        for i, entry in enumerate(problems.objects(data, "examples", place, most=MOST_EXAMPLES)):
            where = f"{place}.examples.{i}"
            problems.unknown_fields(entry, ("image", "caption"), where)
            image = problems.text(entry, "image", where, required=True, longest=300)
            if image and not is_media_picture(image):
                problems.add(f"{where}.image", "must be the path of a .png or .jpg inside the media storage")
            examples.append(Example(image, problems.text(entry, "caption", where, longest=300)))
        required = data.get("required", True)
        if not isinstance(required, bool):
            problems.add(f"{place}.required", "must be true or false")
        return {
            "key": key,
            "name": problems.slug(data, "name", place) or key,
            "question": problems.text(data, "question", place, required=True, longest=500),
            "help": problems.text(data, "help", place, longest=10_000),
            "examples": tuple(examples),
            "required": bool(required),
            "next": problems.target(data, place),
            "consensus": read_consensus(cls.type, data, place, problems),
        }
