"""Votes to probabilities: CPU, memory, accuracy and linearity of aggregation's majority and Dawid–Skene."""

import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aggregation
from benchmarks.crowd import ANSWERS, Crowd, simulate_crowd
from benchmarks.figures import Figure, cpu_seconds, own_process, peak_megabytes

SUBJECTS = 100_000
SEED = 20261122
STEPS = 10  # of EM, the same at both sizes


def measure(*, tiny: bool = False) -> Iterator[Figure]:
    crowd = simulate_crowd(2_000 if tiny else SUBJECTS, SEED)
    many = f"{len(crowd.subject):,} votes"
    majority = aggregation.majority(crowd.subject, crowd.volunteer, crowd.answer, ANSWERS)
    fit = aggregation.dawid_skene(crowd.subject, crowd.volunteer, crowd.answer, ANSWERS)
    yield Figure("votes", len(crowd.subject), "votes")
    votes = (crowd.subject, crowd.volunteer, crowd.answer, ANSWERS)
    counted, fitted = cpu_seconds(
        lambda: aggregation.majority(*votes), lambda: aggregation.dawid_skene(*votes), repeats=3
    )
    yield Figure(f"majority, {many}", counted, "CPU s", at_most=0.2)
    yield Figure(f"Dawid–Skene, {many}", fitted, "CPU s", at_most=4.0)
    yield Figure("Dawid–Skene, EM steps until it settled", fit.n_iterations, "steps")
    yield Figure("Dawid–Skene, peak memory above the input", _peak_memory(crowd), "MB", at_most=200)
    yield from _quality(majority.posterior, fit.posterior, crowd.truth)
    yield _linearity(crowd)


def _quality(majority: NDArray[np.float64], fitted: NDArray[np.float64], truth: NDArray[np.int64]) -> Iterator[Figure]:
    right = aggregation.accuracy(fitted, truth)
    yield Figure("majority, accuracy", aggregation.accuracy(majority, truth), "share right")
    yield Figure("Dawid–Skene, accuracy", right, "share right", at_least=aggregation.accuracy(majority, truth))
    yield Figure("majority, log loss", aggregation.log_loss(majority, truth), "nats")
    yield Figure("Dawid–Skene, log loss", aggregation.log_loss(fitted, truth), "nats")
    for name, posterior in (("majority", majority), ("Dawid–Skene", fitted)):
        error = aggregation.expected_calibration_error(posterior, truth)
        yield Figure(f"{name}, calibration error", error, "of probability")


def _linearity(crowd: Crowd) -> Figure:
    """CPU per vote for the same number of EM steps, this crowd over one half its size in every direction."""
    half = simulate_crowd(len(crowd.truth) // 2, SEED)
    spent = cpu_seconds(lambda: _fit_steps(half), lambda: _fit_steps(crowd), repeats=5)
    ratio = (spent[1] / len(crowd.subject)) / (spent[0] / len(half.subject))
    return Figure("Dawid–Skene, CPU per vote over that at half the votes", ratio, "×", at_most=1.4)


def _fit_steps(crowd: Crowd) -> None:
    votes = (crowd.subject, crowd.volunteer, crowd.answer, ANSWERS)
    aggregation.dawid_skene(*votes, max_iterations=STEPS, tolerance=0.0)


def _peak_memory(crowd: Crowd) -> float:
    """Megabytes that the fit adds to the peak of a process that has loaded the votes and nothing else."""
    with tempfile.TemporaryDirectory() as folder, own_process() as run:
        file = Path(folder) / "votes.npy"
        np.save(file, np.stack(astuple(crowd)[:3]))
        added: float = run(_memory_of_fit, str(file))
    return added


def _memory_of_fit(file: str) -> float:
    subject, volunteer, answer = np.load(file)
    aggregation.dawid_skene([0, 0, 1], [0, 1, 0], [0, 1, 0], ANSWERS)  # what the first call alone needs
    before = peak_megabytes()
    aggregation.dawid_skene(subject, volunteer, answer, ANSWERS)
    return peak_megabytes() - before
