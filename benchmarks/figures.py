"""What a bench reports, and how it measures: CPU time, peak memory, a process of its own."""

import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured number, with a bar on one side or none. A figure without a bar is always ok."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ok(self) -> bool:
        if self.at_most is not None:
            return bool(self.value <= self.at_most)
        return self.at_least is None or bool(self.value >= self.at_least)

    @property
    def bar(self) -> str | None:
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return None if self.at_least is None else f">= {self.at_least:g}"

    def as_row(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "unit": self.unit, "bar": self.bar, "ok": self.ok}

    def __str__(self) -> str:
        verdict = f"  (bar {self.bar}: {'ok' if self.ok else 'MISSED'})" if self.bar else ""
        return f"{self.name}: {self.value:.4g} {self.unit}".rstrip() + verdict


class CpuClock:
    """CPU seconds of this process, all its threads, user and system, spent inside `with` blocks so far."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> "CpuClock":
        self._began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._began


def cpu_seconds(*calls: Callable[[], Any], repeats: int = 1) -> list[float]:
    """Least CPU seconds of each call over some repeats: what else a machine does only ever adds.

    The calls take turns, so that a busy spell strikes all of them and their ratios stay true.
    """
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, seconds in zip(calls, spent, strict=True):
            with CpuClock() as clock:
                call()
            seconds.append(clock.seconds)
    return [min(seconds) for seconds in spent]


def peak_megabytes() -> float:
    """Largest resident memory of this process so far, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss there starts from the parent's peak
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


@contextmanager
def own_process() -> Iterator[Callable[..., Any]]:
    """`with own_process() as run: run(function, *arguments)` calls it in a fresh interpreter.

    Whatever ends this process early (Ctrl-C, SIGTERM) ends that one too, in a way that lets it stop what it started.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_in_order) as pool:
        try:
            yield lambda function, *arguments: pool.submit(function, *arguments).result()
        except BaseException:
            for child in active_children():
                child.terminate()
            raise


def end_in_order() -> None:
    """Take the first SIGTERM or SIGINT as KeyboardInterrupt, and no other one: nothing disturbs the tidying up."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
