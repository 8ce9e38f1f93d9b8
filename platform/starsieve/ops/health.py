"""Is what this process needs within reach? Each part is asked in a thread of its own and given a short time."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.db import connections

from starsieve.celery import app

TIME_LIMIT = 2.0


@dataclass(frozen=True)
class PartState:
    is_ready: bool
    detail: str
    ms: float


def ask_database() -> None:
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    finally:
        connection.close()  # a thread's connection is nobody else's


def ask_broker() -> None:
    with app.connection_for_write(connect_timeout=TIME_LIMIT) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIME_LIMIT)
    for name in ("data_folder_out", "control_folder"):
        if folder := settings.CELERY_BROKER_TRANSPORT_OPTIONS.get(name):
            _require_writable(Path(folder))


def ask_storage() -> None:
    """A folder must take files; an object store must answer whether an object exists."""
    storage = storages["default"]
    if isinstance(storage, FileSystemStorage):
        _require_writable(Path(storage.base_location))
    else:
        storage.exists("readiness")


CHECKS: Mapping[str, Callable[[], None]] = {
    "database": ask_database,
    "broker": ask_broker,
    "storage": ask_storage,
}
_running: dict[str, threading.Thread] = {}
_lock = threading.Lock()


def states(checks: Mapping[str, Callable[[], None]] = CHECKS, *, limit: float = TIME_LIMIT) -> dict[str, PartState]:
    """The state of each part, in no more than `limit` seconds in all.

    A part that hangs keeps its one thread; it is not asked again, and reported as unreachable, until that thread ends.
    """
    answers: dict[str, PartState] = {}
    started = time.monotonic()
    threads = {name: _start(name, check, answers) for name, check in checks.items()}
    for thread in threads.values():
        if thread is not None:
            thread.join(max(0.0, limit - (time.monotonic() - started)))
    waited = 1000 * (time.monotonic() - started)
    silent = PartState(False, f"no answer within {limit:g} s", round(waited, 1))
    return {name: answers.get(name, silent) for name in checks}


def _start(name: str, check: Callable[[], None], answers: dict[str, PartState]) -> threading.Thread | None:
    def ask() -> None:
        started = time.monotonic()
        try:
            check()
        except Exception as error:  # whatever a driver raises, it means: not ready
            answers[name] = PartState(False, type(error).__name__, _ms_since(started))
        else:
            answers[name] = PartState(True, "ok", _ms_since(started))

    with _lock:
        earlier = _running.get(name)
        if earlier is not None and earlier.is_alive():
            return None
        # A daemon: a hanging part must not keep the process from ending.
        thread = threading.Thread(target=ask, name=f"readiness-{name}", daemon=True)
        _running[name] = thread
        thread.start()
        return thread


def _ms_since(started: float) -> float:
    return round(1000 * (time.monotonic() - started), 1)


def _require_writable(folder: Path) -> None:
    """Raises OSError unless files can be made in the folder, or the folder itself can still be made."""
    standing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        raise PermissionError(str(folder))
