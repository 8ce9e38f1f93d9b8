"""Workflow templates that a new project can start from: one JSON file each, named by the template's key.

The Galaxy Zoo trees state facts (question texts, answers, flow) of the published projects; the help texts and
tutorials are our own. A file holds `name`, `summary`, `definition` and `tutorial`.
"""

import json
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from starsieve.projects.definitions import parse_definition


@dataclass(frozen=True)
class Template:
    key: str
    name: str
    summary: str
    definition: dict[str, Any]
    tutorial: list[dict[str, str]]

    @property
    def task_count(self) -> int:
        return len(self.definition["tasks"])

    def fresh_definition(self) -> dict[str, Any]:
        """A copy that its owner may change without changing the template."""
        return deepcopy(self.definition)

    def fresh_tutorial(self) -> list[dict[str, str]]:
        return deepcopy(self.tutorial)


# In the order in which the new-project page shows them.
KEYS = (
    "gz-decals",
    "lens-grading",
    "clump-scout",
    "gz2",
    "gz-decals-dr12",
    "gz-euclid",
    "gz-rings",
    "lens-judges",
)


def _load(key: str) -> Template:
    data = json.loads(files(__name__).joinpath(f"{key}.json").read_text(encoding="utf-8"))
    parse_definition(data["definition"])
    return Template(key, data["name"], data["summary"], data["definition"], data["tutorial"])


TEMPLATES: dict[str, Template] = {key: _load(key) for key in KEYS}
