"""`make test`: lint, types, and every test on SQLite and on PostgreSQL, with a real Redis, worker and Chromium.

`python tests/run.py lint|types|docs` runs that part alone.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "platform")]

from tests.support.services import chromium, running_services  # noqa: E402

BIN = Path(sys.executable).parent
ROOMS_WITH_DATABASE = ["tests/classify", "tests/platform", "tests/ml_worker", "tests/contract"]
QUICK = "not services and not browser"
PYTEST: list[str | Path] = [sys.executable, "-W", "error", "-m", "pytest", "-q", "--durations=5"]
# Without DEBUG, settings want a secret key.
MYPY: list[str | Path] = ["env", "DEBUG=1", BIN / "mypy", "platform/starsieve", "classify", "aggregation", "ml_worker"]


def run(title: str, *command: str | Path, **environment: str) -> None:
    """Run one step; a failing step ends the whole run with its status."""
    started = time.monotonic()
    print(f"\n== {title}", flush=True)
    finish(title, start(*command, **environment), started)


def start(*command: str | Path, output: IO[bytes] | None = None, **environment: str) -> subprocess.Popen[bytes]:
    words = [str(part) for part in command]
    return subprocess.Popen(words, cwd=REPOSITORY, env=os.environ | environment, stdout=output, stderr=output)


def finish(title: str, step: subprocess.Popen[bytes], started: float) -> None:
    status = step.wait()
    print(f"-- {title}: {'ok' if status == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True)
    if status != 0:
        sys.exit(status)


def side_by_side(steps: dict[str, list[str | Path]], **environment: str) -> None:
    """Run commands at once that leave a core free, or mostly wait; each one's output comes as a whole."""
    started = time.monotonic()
    print(f"\n== {' and '.join(steps)}, side by side", flush=True)
    with ExitStack() as stack:
        outputs = {title: stack.enter_context(tempfile.TemporaryFile()) for title in steps}
        running = {title: start(*steps[title], output=outputs[title], **environment) for title in steps}
        for title, step in running.items():
            step.wait()
            outputs[title].seek(0)
            print(f"\n== {title}\n{outputs[title].read().decode(errors='replace')}", flush=True)
        for title, step in running.items():
            finish(title, step, started)


def pytest(title: str, *arguments: str, **environment: str) -> None:
    run(title, *PYTEST, *arguments, **environment)


def lint() -> None:
    run("ruff", BIN / "ruff", "check", ".")
    run("import-linter", BIN / "lint-imports", "--no-cache", DEBUG="1")
    run("migrations", sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", DEBUG="1")


def types() -> None:
    run("mypy", *MYPY)


def docs() -> None:
    pytest("documentation", "tests/contract/test_docs.py")


def everything() -> None:
    os.environ["CHROMIUM"] = chromium()
    lint()
    quick: list[str | Path] = [*PYTEST, "-n", "2", "-m", QUICK]
    side_by_side({"types": MYPY, "unit and contract tests, on SQLite": [*quick, "tests", "--ignore=tests/browser"]})
    with running_services() as services:
        database = {"DATABASE_URL": services["TEST_DATABASE_URL"]}
        pytest("what asks a database, on PostgreSQL", "-n", "2", "-m", f"database and {QUICK}", *ROOMS_WITH_DATABASE,
               **services, **database)  # fmt: skip
        side_by_side(
            {
                "services": [*PYTEST, "-m", "services", *ROOMS_WITH_DATABASE],
                "browser": [*PYTEST, "tests/browser"],
            },
            **services,
            **database,
        )


PARTS: dict[str, Callable[[], None]] = {"lint": lint, "types": types, "docs": docs, "everything": everything}

if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) > 1 else "everything"
    if part not in PARTS:
        sys.exit(f"unknown part {part!r}; known: {', '.join(PARTS)}")
    try:
        PARTS[part]()
    except RuntimeError as problem:
        sys.exit(f"make test cannot go on: {problem}")
