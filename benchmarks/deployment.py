"""A deployment on this machine: PostgreSQL, Redis and web servers as processes of their own, stopped at the end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.site import family_seconds
from tests.support.services import Postgresql, Redis, free_port, postgresql_server, redis_server, wait_for_port

GUNICORN = ["gunicorn", "starsieve.wsgi", "--worker-class", "gthread", "--workers", "1", "--threads", "4"]


class WebServer:
    """One gunicorn master with one process of four threads, on a port that it keeps when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / f"web-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = str(Path(sys.executable).parent / GUNICORN[0])
        command = [program, *GUNICORN[1:], "--bind", f"127.0.0.1:{self.port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for_port(self.port, self.process, seconds=60)

    def end(self, how: signal.Signals) -> None:
        """Master and process at once, as when a machine goes."""
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Deployment:
    def __init__(self, postgresql: Postgresql, redis: Redis) -> None:
        self.postgresql = postgresql
        self.redis = redis
        self.web: list[WebServer] = []

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.web]

    def start_web(self, folder: Path, n: int) -> None:
        """Django must be set up: the servers take its settings from the environment."""
        self.web = [WebServer(folder) for _ in range(n)]
        for server in self.web:
            server.start()

    def seconds(self) -> tuple[float, float]:
        """CPU seconds so far of the web servers, and of PostgreSQL and Redis."""
        web = sum(family_seconds(server.process.pid) for server in self.web if server.process is not None)
        return web, family_seconds(self.postgresql.process) + family_seconds(self.redis.process.pid)


@contextmanager
def deployment() -> Iterator[Deployment]:
    """Databases that run; web servers follow once Django is set up. All is stopped at the end, whatever happens."""
    with ExitStack() as stack:
        made = Deployment(stack.enter_context(postgresql_server()), stack.enter_context(redis_server()))
        try:
            yield made
        finally:
            for server in made.web:
                server.end(signal.SIGTERM)
