"""A running Starsieve for tests: its own database and folder, web server and worker as separate processes."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.services import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WEB = ["gunicorn", "starsieve.wsgi", "--worker-class", "gthread", "--workers", "1", "--threads", "8"]
WORKER = ["celery", "-A", "starsieve", "worker", "--beat", "--concurrency", "1", "--loglevel", "WARNING"]


@dataclass
class Site:
    """One deployment. `url` is where its web server answers once started."""

    folder: Path
    environment: dict[str, str]
    url: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def manage(self, *arguments: str, check: bool = True) -> str:
        """Run a management command; its standard output."""
        result = subprocess.run(
            [sys.executable, str(REPOSITORY / "manage.py"), *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if check and result.returncode != 0:
            raise AssertionError(f"{arguments} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a Python expression evaluated in a process of the site with Django set up."""
        code = f"import json; from django.apps import apps; print(json.dumps({expression}, default=str))"
        return json.loads(self.manage("shell", "--no-imports", "--command", code).splitlines()[-1])

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_web(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        process = self.start([*WEB, "--bind", f"127.0.0.1:{port}"])
        wait_until(lambda: self._answers(process), seconds=60, what="the web server to answer")

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError((self.folder / "gunicorn.log").read_text())
        try:
            urllib.request.urlopen(self.url + "/healthz", timeout=2).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return False
        except OSError:
            return False
        return True

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start(WORKER)

    def password(self, username: str) -> str:
        return str(json.loads((self.folder / "demo_logins.json").read_text())[username])

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Any, *, seconds: float, what: str) -> Any:
    """The first true value of condition(); raises AssertionError when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


@contextmanager
def new_site(folder: Path) -> Iterator[Site]:
    """A migrated site without processes, on the test PostgreSQL and Redis when they are named, else on files."""
    environment = {
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_", "CELERY_"))
        },
        "DJANGO_SETTINGS_MODULE": "starsieve.settings",
        "STARSIEVE_VAR": str(folder),
        "SECRET_KEY": uuid.uuid4().hex * 2,
        "DEBUG": "0",
        "HTTPS": "0",
        "LOG_JSON": "0",
        "LOG_LEVEL": "INFO",
        "API_RATE": "100000/min",
    }
    server = os.environ.get("TEST_DATABASE_URL", "")
    name = f"starsieve_site_{uuid.uuid4().hex[:12]}"
    if server:
        _execute(server, f'CREATE DATABASE "{name}"')
        environment["DATABASE_URL"] = _with_database(server, name)
    if os.environ.get("TEST_REDIS_URL"):
        environment["REDIS_URL"] = _own_redis_database(os.environ["TEST_REDIS_URL"])
    site = Site(folder, environment)
    try:
        site.manage("migrate", "--noinput", "--verbosity", "0")
        site.manage("collectstatic", "--noinput", "--verbosity", "0")
        yield site
    finally:
        site.stop()
        if server:
            _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _own_redis_database(server: str) -> str:
    """The next of the server's databases 1 to 15, emptied: two sites at a time must not take each other's tasks."""
    import redis

    with redis.Redis.from_url(server) as counter:
        number = 1 + int(counter.incr("starsieve-test-sites")) % 15
    url = f"{server.rsplit('/', 1)[0]}/{number}"
    with redis.Redis.from_url(url) as own:
        own.flushdb()
    return url


def _with_database(server: str, name: str) -> str:
    address, question, query = server.partition("?")
    return address.rsplit("/", 1)[0] + f"/{name}" + question + query


def _execute(server: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
