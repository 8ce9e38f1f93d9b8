"""A running Starsieve for tests: its own database and folder, web server and worker as separate processes."""

import atexit
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.services import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WEB = ["gunicorn", "starsieve.wsgi", "--worker-class", "gthread", "--workers", "1", "--threads", "8"]
SHELL = Path(__file__).with_name("site_shell.py")
WORKER = ["celery", "-A", "starsieve", "worker", "--beat", "--concurrency", "1", "--loglevel", "WARNING"]


@dataclass
class Site:
    """One deployment. `url` is where its web server answers once started."""

    folder: Path
    environment: dict[str, str]
    url: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _shell: subprocess.Popen[str] | None = None

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
        """The JSON value of a Python expression, in a process of the site with Django set up (`apps` is there)."""
        return json.loads(self._ask("evaluate", expression))

    def execute(self, code: str) -> str:
        """Run Python code in that process; what it printed."""
        return str(self._ask("execute", code))

    def _ask(self, kind: str, code: str) -> Any:
        """One process answers all questions: setting Django up takes a hundred times as long as most of them."""
        if self._shell is None:
            with (self.folder / "shell.log").open("ab") as log:
                self._shell = subprocess.Popen(
                    [sys.executable, str(SHELL)], cwd=self.folder, env=self.environment, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
        questions, answers = self._shell.stdin, self._shell.stdout
        assert questions is not None
        assert answers is not None
        questions.write(json.dumps([kind, code]) + "\n")
        questions.flush()
        answer = json.loads(answers.readline() or json.dumps({"error": (self.folder / "shell.log").read_text()}))
        if "error" in answer:
            raise AssertionError(f"{code} ended with\n{answer['error']}")
        return answer["value"]

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
        if self._shell is not None:
            self._shell.communicate()  # the end of its input is the end of it
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
    server = os.environ.get("TEST_DATABASE_URL", "")
    template = _template(server)
    shutil.copytree(template.folder, folder, dirs_exist_ok=True)
    site = Site(folder, _environment(folder))
    if server:
        name = f"starsieve_site_{uuid.uuid4().hex[:12]}"
        _execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template.database}"')
        site.environment["DATABASE_URL"] = _with_database(server, name)
    if os.environ.get("TEST_REDIS_URL"):
        site.environment["REDIS_URL"] = _own_redis_database(os.environ["TEST_REDIS_URL"])
    try:
        yield site
    finally:
        site.stop()
        if server:
            _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass(frozen=True)
class _Template:
    """What every new site begins with: the static files and, by name or as a file in the folder, the database."""

    folder: Path
    database: str


@functools.cache
def _template(server: str) -> _Template:
    """Migrated and collected once for all sites of this test process, whose end takes it away."""
    template = _Template(Path(tempfile.mkdtemp(prefix="starsieve-site-")), f"starsieve_site_{uuid.uuid4().hex[:12]}")
    atexit.register(shutil.rmtree, template.folder, ignore_errors=True)
    site = Site(template.folder, _environment(template.folder))
    if server:
        _execute(server, f'CREATE DATABASE "{template.database}"')
        site.environment["DATABASE_URL"] = _with_database(server, template.database)
        atexit.register(_drop_template, server, template.database)
    site.manage("migrate", "--noinput", "--verbosity", "0")
    site.manage("collectstatic", "--noinput", "--verbosity", "0")
    return template


def _environment(folder: Path) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_", "CELERY_"))
    }
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "starsieve.settings",
        "STARSIEVE_VAR": str(folder),
        "SECRET_KEY": uuid.uuid4().hex * 2,
        "DEBUG": "0",
        "HTTPS": "0",
        "LOG_JSON": "0",
        "LOG_LEVEL": "INFO",
        "API_RATE": "100000/min",
    }


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


def _drop_template(server: str, database: str) -> None:
    import psycopg

    with suppress(psycopg.OperationalError):  # a server of our own may have stopped before
        _execute(server, f'DROP DATABASE "{database}"')
