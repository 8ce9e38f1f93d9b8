"""Boxes drawn on a stamp. Value: a list of {"x", "y", "width", "height"[, "tool", "details"]} in pixels of the original
frame, origin top left, x and y the top-left corner. An empty list says: looked, found none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Task, ValueProblem
from starsieve.projects.task_types.problems import Problems, is_storable

DEFAULT_MAX_MARKS = 100
SIDES = ("x", "y", "width", "height")
LARGEST = 1e9
MOST_TOOLS = 20
MOST_DETAILS = 20
LONGEST_DETAIL = 500


@dataclass(frozen=True)
class Tool:
    key: str
    label: str


@dataclass(frozen=True)
class BoxesTask(Task):
    tools: tuple[Tool, ...]
    max_marks: int

    type = "boxes"

    @classmethod
    def from_json(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> Self:
        problems.unknown_fields(data, (*TASK_FIELDS, "tools", "max_marks"), place)
        max_marks = data.get("max_marks", DEFAULT_MAX_MARKS)
        if isinstance(max_marks, bool) or not isinstance(max_marks, int) or not 1 <= max_marks <= 500:
            problems.add(f"{place}.max_marks", "must be a whole number between 1 and 500")
            max_marks = DEFAULT_MAX_MARKS
        return cls(
            **cls.common_fields(key, data, place, problems),
            tools=_read_tools(data, place, problems),
            max_marks=max_marks,
        )

    def without_texts(self) -> Self:
        return replace(super().without_texts(), tools=tuple(replace(tool, label="") for tool in self.tools))

    def check_value(self, value: Any, frames: Sequence[Frame]) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise ValueProblem("must be a list of boxes")
        if len(value) > self.max_marks:
            raise ValueProblem(f"has {len(value)} boxes, at most {self.max_marks} are taken")
        return [self._check_box(box, f"[{i}]", frames[0]) for i, box in enumerate(value)]

    def _check_box(self, box: Any, place: str, frame: Frame) -> dict[str, Any]:
        if not isinstance(box, dict):
            raise ValueProblem("must be an object", place)
        for name in sorted(set(box) - {*SIDES, "tool", "details"}):
            raise ValueProblem("is not a field of a box", f"{place}.{name}")
        checked: dict[str, Any] = {side: _check_number(box.get(side), f"{place}.{side}") for side in SIDES}
        for side, size in (("width", frame.width), ("height", frame.height)):
            if not 0 < checked[side] <= 2 * size:
                raise ValueProblem(f"must be above 0 and at most {2 * size}, twice the frame", f"{place}.{side}")
        overlaps_x = checked["x"] < frame.width and checked["x"] + checked["width"] > 0
        overlaps_y = checked["y"] < frame.height and checked["y"] + checked["height"] > 0
        if not (overlaps_x and overlaps_y):
            raise ValueProblem(f"lies outside the {frame.width} × {frame.height} frame", place)
        checked["tool"] = self._check_tool(box.get("tool", 0), f"{place}.tool")
        if "details" in box:
            checked["details"] = _check_details(box["details"], f"{place}.details")
        return checked

    def _check_tool(self, tool: Any, place: str) -> int:
        if isinstance(tool, bool) or not isinstance(tool, int) or not 0 <= tool < len(self.tools):
            raise ValueProblem(f"must be a whole number between 0 and {len(self.tools) - 1}", place)
        return tool


def _check_number(value: Any, place: str) -> float:
    # The bound comes first: an int of a few hundred digits has no float at all. A NaN fails it too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise ValueProblem("must be a finite number", place)
    return round(float(value), 2) + 0.0  # -0.0 becomes 0.0, so that equal boxes are equal bytes


def _check_details(details: Any, place: str) -> list[Any]:
    """Answers to a tool's own questions: a short list of numbers and short texts, stored as they are."""
    if not isinstance(details, list) or len(details) > MOST_DETAILS:
        raise ValueProblem(f"must be a list of at most {MOST_DETAILS} answers", place)
    for i, answer in enumerate(details):
        if isinstance(answer, str):
            is_fit = len(answer) <= LONGEST_DETAIL and is_storable(answer)
        elif isinstance(answer, int | float):
            is_fit = -LARGEST <= answer <= LARGEST
        else:
            is_fit = answer is None
        if not is_fit:
            raise ValueProblem(f"must be a number, null or a text of at most {LONGEST_DETAIL}", f"{place}[{i}]")
    return details


def _read_tools(data: dict[str, Any], place: str, problems: Problems) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    found_before = len(problems.found)
    for i, entry in enumerate(problems.objects(data, "tools", place, most=MOST_TOOLS)):
        where = f"{place}.tools.{i}"
        problems.unknown_fields(entry, ("key", "label"), where)
        key = problems.slug(entry, "key", where, required=True)
        if key and any(tool.key.lower() == key.lower() for tool in tools):
            problems.add(f"{where}.key", f"repeats the key {key!r}; each tool needs its own")
        tools.append(Tool(key, problems.text(entry, "label", where, required=True, longest=120)))
    if not tools and len(problems.found) == found_before:
        problems.add(f"{place}.tools", "needs at least one tool")
    return tuple(tools)
