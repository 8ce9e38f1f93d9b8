"""The documentation names everything that a user can set, run or ask."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from starsieve.projects.task_types import TASK_TYPES

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = REPOSITORY / "docs" / "guide"
OWN_APPS = ("starsieve.", "classify", "ml_worker")


def test_every_environment_variable_of_the_settings_is_documented() -> None:
    settings = (REPOSITORY / "platform" / "starsieve" / "settings.py").read_text()
    variables = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings))
    assert "DATABASE_URL" in variables
    documented = (GUIDE / "configuration.md").read_text()
    assert {name for name in variables if f"`{name}`" not in documented} == set()


def test_every_task_type_has_a_heading() -> None:
    text = (GUIDE / "workflows.md").read_text()
    assert [name for name in TASK_TYPES if f"\n## {name}\n" not in text] == []


def test_every_management_command_has_a_heading() -> None:
    ours = {name for name, app in get_commands().items() if isinstance(app, str) and app.startswith(OWN_APPS)}
    assert "import_subjects" in ours
    text = (GUIDE / "commands.md").read_text()
    assert sorted(name for name in ours if f"\n## {name}\n" not in text) == []


def test_every_make_target_is_in_the_readme() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    readme = (REPOSITORY / "README.md").read_text()
    assert [target for target in targets.group(1).split() if f"make {target}" not in readme] == []


@pytest.mark.parametrize(
    "page",
    sorted(str(path.relative_to(REPOSITORY)) for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]),
)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in local if not ((REPOSITORY / page).parent / link).exists()] == []
