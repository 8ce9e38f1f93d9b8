"""`make test`: lint, types, and every test on SQLite and on PostgreSQL, with a real Redis, worker and Chromium.

`python tests/run.py lint|types|docs` runs that part alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "platform")]

from tests.support.services import chromium, running_services  # noqa: E402

BIN = Path(sys.executable).parent
ROOMS_WITH_DATABASE = ["tests/classify", "tests/platform", "tests/ml_worker", "tests/contract"]
QUICK = "not services and not browser"


def run(title: str, *command: str | Path, **environment: str) -> None:
    """Run one step; a failing step ends the whole run with its status."""
    print(f"\n== {title}", flush=True)
    started = time.monotonic()
    result = subprocess.run([str(part) for part in command], cwd=REPOSITORY, env=os.environ | environment, check=False)
    print(
        f"-- {title}: {'ok' if result.returncode == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True
    )
    if result.returncode != 0:
        sys.exit(result.returncode)


def pytest(title: str, *arguments: str, **environment: str) -> None:
    run(title, sys.executable, "-W", "error", "-m", "pytest", "-q", *arguments, **environment)


def lint() -> None:
    run("ruff", BIN / "ruff", "check", ".")
    run("import-linter", BIN / "lint-imports", "--no-cache", DEBUG="1")
    run("migrations", sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", DEBUG="1")


def types() -> None:
    run("mypy", BIN / "mypy", "platform/starsieve", "classify", "aggregation", "ml_worker", DEBUG="1")


def docs() -> None:
    pytest("documentation", "tests/contract/test_docs.py")


def everything() -> None:
    os.environ["CHROMIUM"] = chromium()
    lint()
    types()
    pytest("tests on SQLite", "-n", "2", "-m", QUICK, "--durations=8")
    with running_services() as services:
        database = {"DATABASE_URL": services["TEST_DATABASE_URL"]}
        pytest("tests on PostgreSQL", "-n", "2", "-m", QUICK, *ROOMS_WITH_DATABASE, "--ignore=tests/ml_worker/nets",
               **services, **database)  # fmt: skip
        pytest("services and browser", "-m", "services or browser", "--durations=8", **services, **database)


PARTS: dict[str, Callable[[], None]] = {"lint": lint, "types": types, "docs": docs, "everything": everything}

if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) > 1 else "everything"
    if part not in PARTS:
        sys.exit(f"unknown part {part!r}; known: {', '.join(PARTS)}")
    try:
        PARTS[part]()
    except RuntimeError as problem:
        sys.exit(f"make test cannot go on: {problem}")
