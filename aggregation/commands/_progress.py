"""A progress bar on a terminal; nothing where standard error is a file or a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

_WIDTH = 30
_EVERY = 0.2  # seconds between two drawings


class ProgressLine:
    """`with ProgressLine("boxes") as progress: progress(done, total)` redraws one line of standard error."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = sys.stderr.isatty()
        self._began = self._drawn = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._shown or (now - self._drawn < _EVERY and done < total):
            return
        self._drawn = now
        part = done / max(total, 1)
        left = (now - self._began) * (1.0 - part) / max(part, 1e-9)
        bar = "█" * round(part * _WIDTH) + "·" * (_WIDTH - round(part * _WIDTH))
        sys.stderr.write(f"\r{self._name} {bar} {part:4.0%}, {left:4.0f} s left ")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")  # the line that says what was done takes its place
            sys.stderr.flush()
