"""Saying now and then that a long piece of work is being done, whatever the work itself is busy with."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from django.db import Error, connection

logger = structlog.get_logger(__name__)


class Heartbeat:
    """Inside, calls `beat` every `seconds` in a thread of its own, with a database connection of its own.

    A beat that the database refuses is logged, and the next one tries again: the work goes on, and whoever watches sees
    its silence. Leave it outside of transactions: at the end it waits for a beat that waits for a row.
    """

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._seconds):
                try:
                    self._beat()
                except Error as error:
                    logger.warning("heartbeat_missed", error=str(error))
                    connection.close()
        finally:
            connection.close()
