"""A tutorial as its author writes it: Markdown in which every `## heading` begins a step."""

import re
from collections.abc import Sequence
from typing import Any

from starsieve.projects.task_types import is_media_picture

MOST_STEPS = 20
LONGEST_TITLE = 120
LONGEST_STEP = 4000
IMAGE = re.compile(r"!\[\]\(([^)\s]+)\)\s*\Z")


class TutorialError(ValueError):
    """The text cannot be cut into steps; the message names the line."""


def tutorial_text(steps: Sequence[dict[str, Any]]) -> str:
    parts = []
    for step in steps:
        image = f"\n\n![]({step['image']})" if step.get("image") else ""
        parts.append(f"## {step['title']}\n{step['text']}{image}")
    return "\n\n".join(parts)


def tutorial_steps(text: str) -> list[dict[str, str]]:
    """The steps: title, text and, where a step's last line is `![](path)`, an image in the media storage."""
    steps: list[dict[str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("## "):
            steps.append({"title": line[3:].strip(), "text": ""})
        elif steps:
            steps[-1]["text"] += line + "\n"
        elif line.strip():
            raise TutorialError(f"line {number}: begin every step with a line “## Its title”")
    for step in steps:
        _finish(step)
    if len(steps) > MOST_STEPS:
        raise TutorialError(f"{len(steps)} steps; at most {MOST_STEPS} are taken")
    return steps


def _finish(step: dict[str, str]) -> None:
    step["text"] = step["text"].strip()
    if found := IMAGE.search(step["text"]):
        if not is_media_picture(found[1]):
            raise TutorialError(f"step “{step['title']}”: {found[1]} is no path of a .png or .jpg in the media storage")
        step["image"] = found[1]
        step["text"] = step["text"][: found.start()].strip()
    if not step["title"] or len(step["title"]) > LONGEST_TITLE:
        raise TutorialError(f"a step's title has 1 to {LONGEST_TITLE} characters, not {len(step['title'])}")
    if len(step["text"]) > LONGEST_STEP:
        raise TutorialError(f"step “{step['title']}” is longer than {LONGEST_STEP} characters")
