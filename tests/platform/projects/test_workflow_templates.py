import json
from pathlib import Path
from typing import Any

import pytest

from starsieve.projects.definitions import parse_definition
from starsieve.projects.workflow_templates import TEMPLATES, Template

TREES = {
    "gz2": "gz2",
    "gz-decals-dr12": "gz_decals_dr12",
    "gz-decals": "gz_decals_dr5",
    "gz-euclid": "gz_euclid",
    "gz-rings": "gz_rings",
    "lens-judges": "lens_expert_judges",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_every_template_is_a_valid_workflow_with_help_and_a_tutorial(template: Template) -> None:
    definition = parse_definition(template.definition)
    assert all(len(task.help) > 40 for task in definition.tasks.values())
    assert 3 <= len(template.tutorial) <= 4
    assert all(step["title"] and step["text"] for step in template.tutorial)
    assert 0 < len(template.summary) <= 240


def test_every_file_of_the_folder_is_offered() -> None:
    import starsieve.projects.workflow_templates as package

    files = {path.stem for path in Path(package.__file__).parent.glob("*.json")}
    assert files == set(TEMPLATES)


def test_what_a_project_gets_is_its_own() -> None:
    template = TEMPLATES["gz2"]
    template.fresh_definition()["tasks"].clear()
    template.fresh_tutorial().clear()
    assert template.task_count == 11
    assert template.tutorial


@pytest.mark.parametrize(("key", "source"), TREES.items())
def test_a_tree_asks_what_the_published_one_asks(key: str, source: str, shared_data: Path) -> None:
    facts = json.loads((shared_data / "gz_trees.json").read_text())[source]
    definition = TEMPLATES[key].definition
    tasks: dict[str, Any] = definition["tasks"]
    task_key = {question["key"]: f"T{i}" for i, question in enumerate(facts["questions"])}
    assert list(tasks) == list(task_key.values())
    assert definition["first"] == task_key[facts["first"]]
    for question in facts["questions"]:
        task = tasks[task_key[question["key"]]]
        assert task["type"] == ("multiple" if question["multiple"] else "single")
        assert (task["name"], task["question"]) == (question["key"], question["text"])
        keys_and_labels = [(answer["key"], answer["label"]) for answer in question["answers"]]
        assert [(answer["key"], answer["label"]) for answer in task["answers"]] == keys_and_labels
        if question["multiple"]:
            assert task["next"] == task_key.get(question["next_after"])
        else:
            targets = [task_key.get(answer["next"]) for answer in question["answers"]]
            assert [answer["next"] for answer in task["answers"]] == targets


def test_every_volunteer_tree_of_the_facts_is_offered(shared_data: Path) -> None:
    facts = json.loads((shared_data / "gz_trees.json").read_text())
    assert {name for name in facts if not name.startswith("_")} == set(TREES.values())
