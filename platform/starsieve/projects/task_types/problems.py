"""What is wrong with a definition, and the texts that a definition may hold."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
