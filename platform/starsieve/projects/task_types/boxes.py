"""Boxes drawn on a stamp. Value: a list of {"x", "y", "width", "height"[, "tool", "details"]} in pixels of the original
frame, origin top left, x and y the top-left corner. An empty list says: looked, found none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Problems, Task, ValueProblem

DEFAULT_MAX_MARKS = 100
SIDES = ("x", "y", "width", "height")


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
            if not isinstance(box["details"], list):
                raise ValueProblem("must be a list", f"{place}.details")
            checked["details"] = box["details"]
        return checked

    def _check_tool(self, tool: Any, place: str) -> int:
        if isinstance(tool, bool) or not isinstance(tool, int) or not 0 <= tool < len(self.tools):
            raise ValueProblem(f"must be a whole number between 0 and {len(self.tools) - 1}", place)
        return tool


def _check_number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueProblem("must be a finite number", place)
    return round(float(value), 2)


def _read_tools(data: dict[str, Any], place: str, problems: Problems) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for i, entry in enumerate(problems.objects(data, "tools", place)):
        where = f"{place}.tools.{i}"
        problems.unknown_fields(entry, ("key", "label"), where)
        key = problems.text(entry, "key", where, required=True, longest=60)
        if any(tool.key == key for tool in tools):
            problems.add(f"{where}.key", f"repeats the key {key!r}; each tool needs its own")
        tools.append(Tool(key, problems.text(entry, "label", where, required=True, longest=120)))
    if not tools:
        problems.add(f"{place}.tools", "needs at least one tool")
    return tuple(tools)
