"""Grades to probabilities: the ordinal model on the ELSE exercise (simulated) and on real graded relevance."""

import csv
import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aggregation
from benchmarks.figures import Figure, cpu_seconds

GRADERS, STAMPS = 41, 12_086  # of the ELSE exercise
SPAMMERS = 6
ESCAPE = 4
SEED = 20261122
RELEVANCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "crowd" / "relevance"

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exercise:
    """Every grader grades every stamp; codes X C B A I = 0 .. 4."""

    subject: Ints
    grader: Ints
    grade: Ints
    truth: Ints
    sharpness: Floats
    leniency: Floats


def simulate_exercise(n_stamps: int, seed: int, spammers: int = 0) -> Exercise:
    """Grades of 41 graders: three stamps in four are X, one in 25 is A, 6 % are interesting but no lens.

    Stamp i is as lens-like as theta ~ N(0, 1). Grader j sees theta + b_j + e with e ~ N(0, 1 / a_j): noise of about 0.8
    levels (log-normal, 40 % between graders), leniency of 0.35 levels. A stamp of the escape class is given I with
    the grader's willingness ~ Beta(4, 3), others with about 2 %. The last graders may spam: one grade always, or any.
    """
    rng = np.random.default_rng(seed)
    trait = rng.normal(size=n_stamps)
    lines = np.quantile(trait, [0.75, 0.88, 0.96])
    width = np.diff(lines).mean()
    sharpness, leniency = np.exp(rng.normal(np.log(1.3), 0.4, GRADERS)) / width, rng.normal(0, 0.35, GRADERS) * width
    subject, grader = np.repeat(np.arange(n_stamps), GRADERS), np.tile(np.arange(GRADERS), n_stamps)
    seen = trait[subject] + leniency[grader] + rng.normal(size=len(subject)) / sharpness[grader]
    escapes = rng.random(n_stamps) < 0.06
    willing, slipping = rng.beta(4, 3, GRADERS), rng.beta(1, 60, GRADERS)
    says = rng.random(len(subject)) < np.where(escapes[subject], willing[grader], slipping[grader])
    grade = np.where(says, ESCAPE, np.searchsorted(lines, seen))
    for j in range(GRADERS - spammers, GRADERS):
        grade[grader == j] = j % ESCAPE if j % 2 else rng.integers(0, ESCAPE, n_stamps)
    truth = np.where(escapes, ESCAPE, np.searchsorted(lines, trait))
    return Exercise(subject, grader, grade, truth, sharpness, leniency)


def measure_grades(tiny: bool) -> Iterator[Figure]:
    exercise = simulate_exercise(400 if tiny else STAMPS, SEED)
    votes = exercise.subject, exercise.grader, exercise.grade
    many = f"{len(exercise.grade):,} grades"
    spent = cpu_seconds(lambda: aggregation.ordinal_grades(*votes), repeats=3)[0]
    yield Figure(f"grades, {GRADERS} graders x {len(exercise.truth):,} stamps ({many})", spent, "CPU s", at_most=5.0)
    yield from _quality(exercise)
    yield from _running(exercise)
    if RELEVANCE.is_dir() and not tiny:
        yield from _relevance()


def _quality(exercise: Exercise) -> Iterator[Figure]:
    votes = exercise.subject, exercise.grader, exercise.grade
    result = aggregation.ordinal_grades(*votes)
    kappa = aggregation.quadratic_weighted_kappa
    majority = kappa(aggregation.majority(*votes, ESCAPE + 1).answer, exercise.truth)
    unordered = kappa(aggregation.dawid_skene(*votes, ESCAPE + 1).answer, exercise.truth)
    yield Figure("grades, majority, quadratic-weighted kappa", majority, "")
    yield Figure("grades, Dawid–Skene, quadratic-weighted kappa", unordered, "")
    own = kappa(result.grade, exercise.truth)
    yield Figure("grades, quadratic-weighted kappa", own, "", at_least=max(majority, unordered))
    error = aggregation.mean_absolute_level_error(result.expected, exercise.truth)
    yield Figure("grades, mean error of the expected grade", error, "levels")
    calibration = aggregation.expected_calibration_error(result.posterior, exercise.truth)
    yield Figure("grades, calibration error", calibration, "of probability", at_most=0.03)
    good = result.p_at_least(2)
    is_good = (exercise.truth >= 2) & (exercise.truth != ESCAPE)
    calibration = aggregation.expected_calibration_error(np.column_stack([1 - good, good]), is_good.astype(int))
    yield Figure("grades, calibration error of P(grade ≥ B)", calibration, "of probability", at_most=0.03)
    for name in ("sharpness", "leniency"):
        found = float(np.corrcoef(getattr(result, name), getattr(exercise, name))[0, 1])
        yield Figure(f"grades, recovered {name}, correlation with the true", found, "", at_least=0.9)
    yield Figure("grades, stamps for adjudication", float(result.needs_adjudication.mean()), "of stamps")
    yield _harm_of_spammers(len(exercise.truth))


def _harm_of_spammers(n_stamps: int) -> Figure:
    spammed = simulate_exercise(n_stamps, SEED, SPAMMERS)
    honest = spammed.grader < GRADERS - SPAMMERS
    with_spam = aggregation.ordinal_grades(spammed.subject, spammed.grader, spammed.grade)
    without = aggregation.ordinal_grades(spammed.subject[honest], spammed.grader[honest], spammed.grade[honest])
    lost = [aggregation.quadratic_weighted_kappa(each.grade, spammed.truth) for each in (without, with_spam)]
    return Figure(f"grades, kappa that {SPAMMERS} spammers of {GRADERS} cost", lost[0] - lost[1], "", at_most=0.01)


def _running(exercise: Exercise) -> Iterator[Figure]:
    running = aggregation.RunningOrdinalGrades()
    votes = list(zip(exercise.subject.tolist(), exercise.grader.tolist(), exercise.grade.tolist(), strict=True))
    began = time.process_time()
    for vote in votes:
        running.add(*vote)
    per_vote = (time.process_time() - began) / len(votes)
    yield Figure("grades, adding a vote to the running form", per_vote * 1e6, "CPU µs", at_most=20.0)
    batch = running.sweep().posterior
    began = time.process_time()
    rows = np.array([running.posterior(i) for i in range(min(len(batch), 2_000))])
    yield Figure("grades, a posterior of the running form", (time.process_time() - began) / len(rows) * 1e6, "CPU µs")
    apart = float(np.abs(rows - batch[: len(rows)]).max())
    yield Figure(
        "grades, distance of the running form from the batch after a sweep", apart, "of probability", at_most=1e-6
    )


def _relevance() -> Iterator[Figure]:
    with gzip.open(RELEVANCE / "votes.csv.gz", "rt") as file:
        rows = np.array([[int(row[name]) for name in ("task", "worker", "label")] for row in csv.DictReader(file)])
    with (RELEVANCE / "truth.csv").open() as file:
        known = {int(row["task"]): int(row["truth"]) for row in csv.DictReader(file)}
    tasks, subject = np.unique(rows[:, 0], return_inverse=True)
    grader = np.unique(rows[:, 1], return_inverse=True)[1]
    truth = np.array([known.get(task, -1) for task in tasks.tolist()])
    votes = subject, grader, rows[:, 2]
    began = time.process_time()
    result = aggregation.ordinal_grades(*votes, escape=False)
    yield Figure("grades, relevance (98,453 votes, no gold given)", time.process_time() - began, "CPU s")
    kappa = aggregation.quadratic_weighted_kappa(result.grade, truth)
    yield Figure("grades, relevance, quadratic-weighted kappa", kappa, "", at_least=0.711)
    unordered = aggregation.quadratic_weighted_kappa(aggregation.dawid_skene(*votes).answer, truth)
    yield Figure("grades, relevance, Dawid–Skene's kappa", unordered, "")
    for name in ("accuracy", "log_loss"):
        value = getattr(aggregation, name)(result.posterior, truth)
        yield Figure(f"grades, relevance, {name.replace('_', ' ')}", value, "")
