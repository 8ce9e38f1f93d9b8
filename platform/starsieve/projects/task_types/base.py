"""What every task type offers: reading its definition, checking a value, naming the next task."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

MOST_EXAMPLES = 20
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
SURROGATE = re.compile("[\ud800-\udfff]")
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]*\Z")


def is_storable(text: str) -> bool:
    """Whether every database takes the text: PostgreSQL refuses NUL, and a lone surrogate has no UTF-8."""
    return "\x00" not in text and (text.isascii() or not SURROGATE.search(text))


def shown(value: Any) -> str:
    """A value as an error message quotes it: never longer than a line, whatever was sent."""
    text = ascii(value) if not isinstance(value, str) or not is_storable(value) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def is_media_picture(path: str) -> bool:
    """Whether a path names a picture inside the media storage: relative, no step upwards, .png or .jpg."""
    parts = path.split("/")
    is_plain = all(SLUG.match(part) for part in parts)
    return is_plain and path.lower().endswith(PICTURE_SUFFIXES)


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
        if not is_storable(value):
            self.add(f"{place}.{name}", "has a NUL character or half of a surrogate pair")
            return ""
        return value

    def slug(self, data: dict[str, Any], name: str, place: str, *, required: bool = False) -> str:
        """A short key that becomes part of a column's name in a catalogue."""
        value = self.text(data, name, place, required=required, longest=60)
        if value and not SLUG.match(value):
            self.add(f"{place}.{name}", "has letters, digits and - _ + . only, and begins with a letter or digit")
        return value

    def target(self, data: dict[str, Any], place: str) -> str | None:
        """The `next` of a task or an answer: a task key, or null for the end."""
        value = data.get("next")
        if value is not None and not isinstance(value, str):
            self.add(f"{place}.next", "must be a task key or null")
            return None
        return value

    def objects(self, data: dict[str, Any], name: str, place: str, *, most: int) -> list[dict[str, Any]]:
        value = data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.add(f"{place}.{name}", "must be a list of objects")
            return []
        if len(value) > most:
            self.add(f"{place}.{name}", f"has {len(value)} entries, at most {most} are taken")
            return []
        return value

    def unknown_fields(self, data: dict[str, Any], known: Sequence[str], place: str) -> None:
        for name in sorted(set(data) - set(known)):
            where = f"{place}.{name}".lstrip(".") if SLUG.match(name) and len(name) <= 60 else place or "definition"
            self.add(where, f"{shown(name)} is not a known field; known here: {', '.join(sorted(known))}")


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

    def without_texts(self) -> Self:
        """The task with every wording blanked: what decides whether old and new classifications compare."""
        return replace(self, question="", help="", examples=())

    @staticmethod
    def common_fields(key: str, data: dict[str, Any], place: str, problems: Problems) -> dict[str, Any]:
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
        }
