"""One block of a simulation, made in memory: subjects with their truth, and everything that is said about them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classify.tallying import states_of
from starsieve.ops.simulation.crowd import CROWDS, SKIPS, Coded, Floats, Skills
from starsieve.ops.simulation.plan import Block, Ints, Plan, classification_counts, ranks, who_sees_what
from starsieve.ops.simulation.tree import Step, joined, walk
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import Task

SECOND = 1_000_000  # microseconds
USUAL_GAP = 4 * SECOND  # between two classifications of the project
OWN_TIME = 20 * SECOND  # that the busiest volunteer needs for one
LONGEST = 5 * 365 * 24 * 3600 * SECOND  # of the whole simulation


@dataclass(frozen=True)
class Timing:
    """The first and the last moment, in microseconds since 1970, and how many classifications lie between them."""

    begin: int
    end: int
    n: int


def timing(plan: Plan, skills: Skills, until: int) -> Timing:
    """Classifications evenly spread up to `until`, not faster than the busiest volunteer can work."""
    gap = max(USUAL_GAP, OWN_TIME * float(skills.effort.max() / skills.effort.sum()))
    return Timing(until - int(min(gap * max(plan.classifications, 1), LONGEST)), until, plan.classifications)


@dataclass(frozen=True)
class Truth:
    """The true answer of every task for every subject, the true path through the tree, and the difficulty."""

    by_task: dict[str, Coded]
    path: list[Step]
    difficulty: Floats


@dataclass(frozen=True)
class Said:
    """The block's classifications in the order of arrival; `rank` counts those of the same subject from 0."""

    subject: Ints
    volunteer: Ints
    rank: Ints
    steps: list[Step]
    annotations: list[str]
    created: Ints
    finished: Ints
    started: Ints


def limit_of(definition: WorkflowDefinition) -> int:
    """Classifications after which a subject retires; more than anybody gives where nothing does."""
    return definition.retirement.classification_count or 10**6


def make_truth(definition: WorkflowDefinition, n: int, rng: np.random.Generator) -> Truth:
    by_task = {key: CROWDS[task.type].truths(task, n, rng) for key, task in definition.tasks.items()}
    path = walk(definition, n, lambda task, rows: Coded(by_task[task.key].codes[rows], by_task[task.key].values))
    return Truth(by_task, path, rng.beta(2, 6, n))


def make_said(
    definition: WorkflowDefinition, block: Block, truth: Truth, skills: Skills, time: Timing, rng: np.random.Generator
) -> Said:
    counts = classification_counts(block, limit_of(definition), len(skills.effort), rng)
    subject, volunteer = who_sees_what(counts, skills.effort, rng)
    theirs, difficulty = skills.of(volunteer), truth.difficulty[subject]

    def draw(task: Task, rows: Ints) -> Coded:
        true = truth.by_task[task.key]
        asked = Coded(true.codes[subject[rows]], true.values)
        said = CROWDS[task.type].answers(task, asked, theirs.of(rows), difficulty[rows], rng)
        return said if task.required else _some_skipped(said, rng)

    steps = walk(definition, len(subject), draw)
    annotations = [f"[{text}]" for text in joined(steps, len(subject), _annotation)]
    n_tasks = np.zeros(len(subject))
    for step in steps:
        n_tasks[step.rows] += 1
    created = _arrivals(block, time, rng)
    finished = created - rng.integers(SECOND // 20, SECOND, len(created))
    seconds = theirs.pace * n_tasks * rng.lognormal(0, 0.4, len(created))
    started = finished - (SECOND * seconds).astype(np.int64)
    return Said(subject, volunteer, ranks(subject), steps, annotations, created, finished, started)


def _annotation(task: Task, value: Any) -> str:
    return json.dumps({"task": task.key, "value": value})


def _some_skipped(said: Coded, rng: np.random.Generator) -> Coded:
    values = [*said.values, None]
    return Coded(np.where(rng.random(len(said.codes)) < SKIPS, len(values) - 1, said.codes), values)


def _arrivals(block: Block, time: Timing, rng: np.random.Generator) -> Ints:
    """Ascending: each in its own slice of the simulation's time."""
    slices = block.first_classification + np.arange(block.n_classifications)
    share = (slices + rng.random(block.n_classifications)) / max(time.n, 1)
    return time.begin + (share * (time.end - time.begin)).astype(np.int64)


def tallies_of(steps: Sequence[Step], subject: Ints, n_subjects: int) -> list[str]:
    """SubjectProgress.tallies of each subject, as JSON text."""
    found: list[list[str]] = [[] for _ in range(n_subjects)]
    for step in steps:
        answered = np.array([value is not None for value in step.said.values], dtype=bool)[step.said.codes]
        rows, codes = step.rows[answered], step.said.codes[answered]
        states = states_of(step.task, subject[rows], codes, _without_none(step.said.values), n_subjects)
        opening = f"{json.dumps(step.task.key)}: "
        for fragments, state in zip(found, states, strict=True):
            if state is not None:
                fragments.append(opening + json.dumps(state))
    return [f"{{{', '.join(fragments)}}}" for fragments in found]


def _without_none(values: Sequence[Any]) -> Sequence[Any]:
    """A skipped task is always the last value of the table, so that the codes of the others stay."""
    return values[:-1] if len(values) and values[-1] is None else values


def times(microseconds: Ints) -> list[str]:
    """UTC as the databases take it: "2026-05-01 12:00:00.000000"."""
    texts = np.datetime_as_string(microseconds.astype("datetime64[us]"), unit="us").astype("U26")
    texts.view(np.uint32).reshape(-1, 26)[:, 10] = ord(" ")
    listed: list[str] = texts.tolist()
    return listed
