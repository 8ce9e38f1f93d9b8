"""A Starsieve in this very process, on a database of the bench's own, spoken to through its WSGI application."""

import io
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from benchmarks.figures import CpuClock


def start_django(folder: Path, database_url: str = "", redis_url: str = "") -> None:
    """Settings as in production without HTTPS, everything that is written inside `folder`. Once per process;
    processes that it starts find the same settings in their environment.
    """
    os.environ.update(
        DJANGO_SETTINGS_MODULE="starsieve.settings",
        STARSIEVE_VAR=str(folder),
        DATABASE_URL=database_url or f"sqlite:///{folder / 'bench.sqlite3'}",
        SECRET_KEY=secrets.token_hex(32),
        DEBUG="0",
        HTTPS="0",
        LOG_LEVEL="WARNING",
        REDIS_URL=redis_url,
        CELERY_BROKER_URL=redis_url or "memory://",
        API_RATE="1000000/s",
    )
    (folder / "static").mkdir(parents=True, exist_ok=True)
    import django

    django.setup()


def make_workflow(slug: str, n_subjects: int, *, template: str = "gz-decals", limit: int | None = None) -> Any:
    """A live public project with a template's workflow (the Galaxy Zoo tree), its queue filled by `simulate`.

    `limit` is how many classifications retire a subject, if not the template's own number.
    """
    from starsieve.accounts.models import User
    from starsieve.ops.simulation.plan import Plan
    from starsieve.ops.simulation.services import simulate
    from starsieve.projects.models import Project
    from starsieve.projects.services import create_project, publish_version

    owner, _ = User.objects.get_or_create(username="owner")
    project = create_project(
        title=slug, slug=slug, summary="For measuring", template=template, owner=owner, status=Project.Status.LIVE
    )
    workflow = project.workflows.get()
    if limit is not None:
        assert workflow.current is not None
        definition = workflow.current.definition | {"retirement": {"classification_count": limit}}
        publish_version(workflow=workflow, definition=definition, user=owner)
        workflow.refresh_from_db()
    if n_subjects:
        simulate(workflow=workflow, plan=Plan(n_subjects, 1, 0, gold=0.0), until=datetime.now(UTC))
    return workflow


def shortest_annotations(workflow: Any) -> list[dict[str, Any]]:
    """The first answer to each question, along the tree: smooth, round, not merging, nothing rare."""
    definition = workflow.current.parsed
    annotations, key = [], definition.first
    while key is not None:
        task = definition.tasks[key]
        value: Any = 0 if task.type == "single" else []
        annotations.append({"task": key, "value": value})
        key = task.next_task(value)
    return annotations


def process_seconds(process: int) -> float:
    """CPU seconds that a process has used so far, user and system (Linux)."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def family_seconds(process: int) -> float:
    """The same of a process, of the children it has and of those that it has waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    seconds = process_seconds(process) + ended
    for child in children:
        with suppress(FileNotFoundError):  # it has ended meanwhile
            seconds += family_seconds(int(child))
    return seconds


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def sign_in(username: str) -> str:
    """A new volunteer's session key."""
    from django.test import Client

    from starsieve.accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user(username))
    return str(client.cookies["sessionid"].value)


class Browser:
    """A signed-in volunteer's browser: cookies, CSRF token, JSON."""

    def __init__(self, application: Any, username: str) -> None:
        self.application = application
        self.cookies = {"sessionid": sign_in(username)}

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, clock: CpuClock | None = None) -> Any:
        """The answer, parsed if it is JSON. Raises RuntimeError for anything but 200 and 201."""
        environ, answer = self._environ(method, path, body), _Answer()
        with clock or CpuClock():
            chunks = self.application(environ, answer.start)
            content = b"".join(chunks)
            chunks.close()
        if not answer.status.startswith(("200", "201")):
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        self.cookies.update(answer.cookies())
        return json.loads(content) if answer.is_json else content

    def _environ(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "HTTP_X_CSRFTOKEN": self.cookies.get("csrftoken", ""),
            "wsgi.input": io.BytesIO(content),
        }
        setup_testing_defaults(environ)
        return environ


class _Answer:
    """Status and headers that the application started its answer with."""

    status = ""
    headers: list[tuple[str, str]]

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status, self.headers = status, headers

    @property
    def is_json(self) -> bool:
        return "json" in dict(self.headers).get("Content-Type", "")

    def cookies(self) -> dict[str, str]:
        pairs = [value.partition(";")[0].partition("=") for name, value in self.headers if name == "Set-Cookie"]
        return {name.strip(): value for name, _, value in pairs}
