"""A million votes and ten: CPU, memory, linearity and quality of the pooled model, beside crowd-kit's Dawid–Skene."""

import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

import aggregation
from benchmarks import peers
from benchmarks.crowd import ANSWERS, Crowd, simulate_crowd
from benchmarks.figures import CpuClock, Figure, cpu_seconds, own_process, peak_megabytes

SUBJECTS = 100_000
SEED = 0
STEPS = 10  # of EM, the same at both sizes
STREAMED = 200_000


def measure_scale(tiny: bool) -> Iterator[Figure]:
    crowd = simulate_crowd(2_000 if tiny else SUBJECTS, SEED)
    yield from _quality(crowd)
    yield from _cost(crowd, tiny)
    if not tiny:
        yield from _ten_times_as_many()
    yield _stream(crowd)


def _columns(crowd: Crowd) -> tuple[Any, ...]:
    return crowd.subject, crowd.volunteer, crowd.answer, ANSWERS


def _quality(crowd: Crowd) -> Iterator[Figure]:
    yield Figure("votes", len(crowd.subject), "votes")
    methods = {
        "majority": aggregation.majority,
        "Dawid–Skene": aggregation.dawid_skene,
        "pooled": aggregation.pooled_dawid_skene,
    }
    for name, method in methods.items():
        posterior, ours = method(*_columns(crowd)).posterior, name == "pooled"
        right, loss = aggregation.accuracy(posterior, crowd.truth), aggregation.log_loss(posterior, crowd.truth)
        yield Figure(f"{name}, accuracy", right, "share right", at_least=0.935 if ours else None)
        yield Figure(f"{name}, log loss", loss, "nats", at_most=0.20 if ours else None)
        error = aggregation.expected_calibration_error(posterior, crowd.truth)
        yield Figure(f"{name}, calibration error", error, "of probability")


def _cost(crowd: Crowd, tiny: bool) -> Iterator[Figure]:
    """Our methods, and crowd-kit's in the same breath."""
    calls = {
        "majority": lambda: aggregation.majority(*_columns(crowd)),
        "Dawid–Skene": lambda: aggregation.dawid_skene(*_columns(crowd)),
        "pooled": lambda: aggregation.pooled_dawid_skene(*_columns(crowd)),
    }
    spent = dict(zip(calls, cpu_seconds(*calls.values(), repeats=3), strict=True))
    for name, seconds in spent.items():
        yield Figure(f"{name}, CPU", seconds, "CPU s", at_most=1.0 if name == "pooled" else None)
    yield Figure("pooled, peak memory above the input", _peak_memory(crowd), "MB", at_most=200)
    if tiny:
        return
    frame = peers.frame_of(*_columns(crowd)[:3])
    theirs, posterior = _timed(lambda: peers.PEERS["DawidSkene"](frame, ANSWERS, len(crowd.truth)))
    yield Figure("crowd-kit's Dawid–Skene, CPU", theirs, "CPU s")
    yield Figure("crowd-kit's Dawid–Skene, accuracy", aggregation.accuracy(posterior, crowd.truth), "share right")
    yield Figure("crowd-kit's Dawid–Skene, log loss", aggregation.log_loss(posterior, crowd.truth), "nats")
    yield Figure("crowd-kit's CPU over that of pooled", theirs / spent["pooled"], "×", at_least=20)


def _timed(call: Any) -> tuple[float, Any]:
    with CpuClock() as clock:
        result = call()
    return clock.seconds, result


def _ten_times_as_many() -> Iterator[Figure]:
    small, large = simulate_crowd(SUBJECTS, SEED), simulate_crowd(10 * SUBJECTS, SEED)
    many = f"{len(large.subject):,} votes"
    seconds, fit = _timed(lambda: aggregation.pooled_dawid_skene(*_columns(large)))
    yield Figure(f"pooled, CPU, {many}", seconds, "CPU s", at_most=8.0)
    yield Figure(f"pooled, accuracy, {many}", aggregation.accuracy(fit.posterior, large.truth), "share right")
    yield Figure(f"pooled, log loss, {many}", aggregation.log_loss(fit.posterior, large.truth), "nats")
    yield Figure(f"pooled, peak memory above the input, {many}", _peak_memory(large), "MB", at_most=750)
    spent = cpu_seconds(lambda: _steps(small), lambda: _steps(large), repeats=2)
    ratio = (spent[1] / len(large.subject)) / (spent[0] / len(small.subject))
    yield Figure("pooled, CPU per vote over that at a tenth of the votes", ratio, "×", at_most=1.4)


def _steps(crowd: Crowd) -> None:
    aggregation.pooled_dawid_skene(*_columns(crowd), max_iterations=STEPS, tolerance=0.0)


def _stream(crowd: Crowd) -> Figure:
    """Votes one by one, as they would come."""
    running = aggregation.RunningPooled(ANSWERS)
    n = min(STREAMED, len(crowd.subject))
    order = np.random.default_rng(SEED).permutation(len(crowd.subject))[:n]
    rows = list(zip(*(column[order].tolist() for column in astuple(crowd)[:3]), strict=True))
    with CpuClock() as clock:
        for row in rows:
            running.add(*row)
    return Figure("running pooled, CPU per vote", 1e6 * clock.seconds / n, "µs", at_most=20)


def _peak_memory(crowd: Crowd) -> float:
    """Megabytes that the fit adds to the peak of a process that has loaded the votes and nothing else."""
    with tempfile.TemporaryDirectory() as folder, own_process() as run:
        file = Path(folder) / "votes.npy"
        np.save(file, np.stack(astuple(crowd)[:3]))
        added: float = run(_memory_of_fit, str(file))
    return added


def _memory_of_fit(file: str) -> float:
    subject, volunteer, answer = np.load(file)
    aggregation.pooled_dawid_skene([0, 0, 1], [0, 1, 0], [0, 1, 0], ANSWERS)  # what the first call alone needs
    before = peak_megabytes()
    aggregation.pooled_dawid_skene(subject, volunteer, answer, ANSWERS)
    return peak_megabytes() - before
