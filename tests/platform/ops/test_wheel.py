"""The wheel is the product too: it works outside the repository, templates and static files inside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

RENDER = """
import django
django.setup()
import starsieve, classify, aggregation
from django.core.management import call_command
from django.template.loader import get_template
assert "unpacked" in starsieve.__file__ and "unpacked" in classify.__file__, starsieve.__file__
call_command("migrate", verbosity=0)
call_command("collectstatic", verbosity=0, interactive=False)
from django.test import Client
response = Client().get("/", headers={"host": "127.0.0.1"})
assert response.status_code == 200, response.status_code
assert b"<html" in response.content
print("rendered by", get_template("base.html").origin.name)
"""


@pytest.mark.services
def test_the_wheel_migrates_collects_and_renders_outside_the_repository(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("starsieve-*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(unpacked),  # before the checkout, which an editable install appends
        "DJANGO_SETTINGS_MODULE": "starsieve.settings",
        "SECRET_KEY": "of-the-wheel-test-" + "x" * 40,
        "HTTPS": "0",
        "STARSIEVE_VAR": str(tmp_path / "var"),
    }
    result = subprocess.run(
        [sys.executable, "-c", RENDER], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert str(unpacked) in result.stdout
