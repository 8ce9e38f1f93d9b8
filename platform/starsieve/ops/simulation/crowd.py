"""Volunteers of known skill, and what they answer where the truth is known: one class per task type.

A value is drawn as a code, an index into a table of values, so that what many say is stored once.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from starsieve.ops.simulation.plan import Ints
from starsieve.projects.task_types import BoxesTask, GradeTask, MultipleTask, SingleTask, Task, TextTask

Floats = NDArray[np.float64]
AnyTask = TypeVar("AnyTask", bound=Task)

SIDE = 256  # pixels of a simulated stamp
BOX = 24.0  # pixels, about, of a true box
MOST_BOXES = 8
SKIPS = 0.05  # of tasks that need no answer
LENS_LEVELS = ("X", "C", "B", "A")
LEVEL_SHARES = (0.65, 0.14, 0.07, 0.04, 0.10)  # of X, C, B, A and of I
SAYS_INTERESTING = (0.04, 0.55)  # of anything else, and of what is interesting and no lens
PHRASES = (
    "nothing unusual",
    "faint arc to the upper left",
    "looks like two galaxies",
    "a star in the way",
    "blue knots along the arm",
    "bright core",
    "artefact of the camera",
    "tail towards the lower right",
)


@dataclass(frozen=True)
class Skills:
    """Each volunteer's habits, arrays (n_volunteers,).

    `effort`: weight in who classifies next. `accuracy`: chance of the true answer to an easy question. `habit` in
    [0, 1): which answer a guess goes to. `sharpness`, `leniency`: a grade is seen with noise 1 / sharpness levels,
    leniency levels too high. `misses`: chance of missing a plain box or answer. `false`: boxes per subject where
    nothing is. `scatter`: pixels of a mark. `pace`: seconds per task.
    """

    effort: Floats
    accuracy: Floats
    habit: Floats
    sharpness: Floats
    leniency: Floats
    misses: Floats
    false: Floats
    scatter: Floats
    pace: Floats

    def of(self, volunteer: Ints) -> "Skills":
        return Skills(**{field.name: getattr(self, field.name)[volunteer] for field in fields(self)})


def make_skills(n: int, seed: int) -> Skills:
    """Log-normal effort, so that a few do most of the work; the rest around what real projects report."""
    rng = np.random.default_rng([seed, 1])
    effort = rng.lognormal(2.6, 1.9, n)
    return Skills(
        effort=np.minimum(effort, np.quantile(effort, 0.999)),
        accuracy=rng.beta(6, 2.5, n),
        habit=rng.random(n),
        sharpness=rng.lognormal(0.4, 0.35, n),
        leniency=rng.normal(0, 0.4, n),
        misses=rng.beta(2.2, 6.0, n),
        false=rng.gamma(1.0, 0.3, n),
        scatter=rng.uniform(1.0, 4.0, n),
        pace=rng.lognormal(1.6, 0.5, n),
    )


@dataclass(frozen=True)
class Coded:
    """`values[codes[i]]` is row i's value, in the canonical form of the task's check_value."""

    codes: Ints
    values: Sequence[Any]


class Crowd(ABC, Generic[AnyTask]):
    """How truth and answers of one task type come about."""

    @abstractmethod
    def truths(self, task: AnyTask, n: int, rng: np.random.Generator) -> Coded:
        """The truth of n subjects."""

    @abstractmethod
    def answers(
        self, task: AnyTask, truth: Coded, skills: Skills, difficulty: Floats, rng: np.random.Generator
    ) -> Coded:
        """What volunteers say: truth, skills and the subject's difficulty (0 easy … 1 hopeless) row by row."""


class SingleCrowd(Crowd[SingleTask]):
    def truths(self, task: SingleTask, n: int, rng: np.random.Generator) -> Coded:
        shares = 1.0 / (1.0 + np.arange(len(task.answers)))
        return Coded(rng.choice(len(task.answers), n, p=shares / shares.sum()), range(len(task.answers)))

    def answers(
        self, task: SingleTask, truth: Coded, skills: Skills, difficulty: Floats, rng: np.random.Generator
    ) -> Coded:
        """Right with accuracy (1 - difficulty) + difficulty / n, else a neighbour of the truth as often as a habit."""
        n = len(task.answers)
        right = rng.random(len(truth.codes)) < skills.accuracy * (1 - difficulty) + difficulty / n
        neighbour = truth.codes + rng.choice([-1, 1], len(truth.codes))
        neighbour = np.where((neighbour < 0) | (neighbour >= n), 2 * truth.codes - neighbour, neighbour)
        habit = (skills.habit * n).astype(np.int64)
        use_habit = (rng.random(len(truth.codes)) < 0.5) & (habit != truth.codes)
        wrong = np.where(use_habit, habit, neighbour)
        return Coded(np.where(right, truth.codes, wrong), range(n))


class MultipleCrowd(Crowd[MultipleTask]):
    def truths(self, task: MultipleTask, n: int, rng: np.random.Generator) -> Coded:
        return _sets(rng.random((n, len(task.answers))) < 0.15)

    def answers(
        self, task: MultipleTask, truth: Coded, skills: Skills, difficulty: Floats, rng: np.random.Generator
    ) -> Coded:
        """Each true answer is found unless missed; each other one is chosen by mistake."""
        members = np.zeros((len(truth.values), len(task.answers)), dtype=bool)
        for row, chosen in zip(members, truth.values, strict=True):
            row[chosen] = True
        finds = (1 - skills.misses) * (1 - 0.5 * difficulty)
        mistakes = 0.1 * (1 - skills.accuracy)
        chance = np.where(members[truth.codes], finds[:, None], mistakes[:, None])
        return _sets(rng.random(chance.shape) < chance)


def _sets(members: NDArray[np.bool_]) -> Coded:
    packed = members @ (1 << np.arange(members.shape[1], dtype=np.int64))
    distinct, codes = np.unique(packed, return_inverse=True)
    sets = [[i for i in range(members.shape[1]) if number >> i & 1] for number in distinct.tolist()]
    return Coded(codes, sets)


class GradeCrowd(Crowd[GradeTask]):
    VALUES = (*LENS_LEVELS, "I")

    def truths(self, task: GradeTask, n: int, rng: np.random.Generator) -> Coded:
        return Coded(rng.choice(5, n, p=LEVEL_SHARES), self.VALUES)

    def answers(
        self, task: GradeTask, truth: Coded, skills: Skills, difficulty: Floats, rng: np.random.Generator
    ) -> Coded:
        """The level with the grader's leniency and noise, rounded; what is interesting and no lens looks like X."""
        is_interesting = truth.codes == 4
        noise = rng.normal(0, 1, len(truth.codes)) * (1 + difficulty) / skills.sharpness
        seen = np.where(is_interesting, 0, truth.codes) + skills.leniency + noise
        level = np.clip(np.rint(seen), 0, 3).astype(np.int64)
        says_interesting = rng.random(len(level)) < np.where(is_interesting, *reversed(SAYS_INTERESTING))
        return Coded(np.where(says_interesting, 4, level), self.VALUES)


class BoxesCrowd(Crowd[BoxesTask]):
    def truths(self, task: BoxesTask, n: int, rng: np.random.Generator) -> Coded:
        n_boxes = np.minimum(rng.geometric(1 / 3.5, n) - 1, min(MOST_BOXES, task.max_marks))
        subject = np.repeat(np.arange(n), n_boxes)
        sides = rng.uniform(0.7 * BOX, 1.3 * BOX, (len(subject), 2))
        places = rng.uniform(0, SIDE - 1.3 * BOX, (len(subject), 2))
        return _boxes(subject, n, places, sides, rng.integers(len(task.tools), size=len(subject)))

    def answers(
        self, task: BoxesTask, truth: Coded, skills: Skills, difficulty: Floats, rng: np.random.Generator
    ) -> Coded:
        """The true boxes that are not missed, each a little off, and some where nothing is."""
        n = len(truth.codes)
        row, places, sides, tool = _listed(truth)
        seen = rng.random(len(row)) < (1 - skills.misses[row]) * (1 - 0.5 * difficulty[row])
        row, places, sides, tool = row[seen], places[seen], sides[seen], tool[seen]
        scatter = skills.scatter[row][:, None]
        places = np.asarray(places + rng.normal(0, 1, places.shape) * scatter, dtype=np.float64)
        sides = np.asarray(np.maximum(sides + rng.normal(0, 1, sides.shape) * scatter, 3.0), dtype=np.float64)
        room = task.max_marks - np.bincount(row, minlength=n)
        false = np.repeat(np.arange(n), np.minimum(rng.poisson(skills.false), room))
        confused = rng.random(len(row)) > skills.accuracy[row]
        tool = np.where(confused, rng.integers(len(task.tools), size=len(row)), tool)
        return _boxes(
            np.concatenate([row, false]),
            n,
            np.concatenate([places, rng.uniform(0, SIDE - BOX, (len(false), 2))]),
            np.concatenate([sides, np.full((len(false), 2), BOX)]),
            np.concatenate([tool, rng.integers(len(task.tools), size=len(false))]),
        )


def _boxes(row: Ints, n_rows: int, places: Floats, sides: Floats, tool: Ints) -> Coded:
    """One list of boxes per row, in the canonical form: two decimals, the middle inside the stamp."""
    sides = np.asarray(np.round(sides, 2), dtype=np.float64)
    places = np.asarray(np.round(np.clip(places, -sides / 2, SIDE - sides / 2), 2) + 0.0, dtype=np.float64)
    values: list[list[dict[str, Any]]] = [[] for _ in range(n_rows)]
    columns = (row, places[:, 0], places[:, 1], sides[:, 0], sides[:, 1], tool)
    for i, x, y, width, height, which in zip(*(column.tolist() for column in columns), strict=True):
        values[i].append({"x": x, "y": y, "width": width, "height": height, "tool": which})
    return Coded(np.arange(n_rows), values)


def _listed(truth: Coded) -> tuple[Ints, Floats, Floats, Ints]:
    """The true boxes of every row: row, place, sides, tool."""
    flat = [[b["x"], b["y"], b["width"], b["height"], b["tool"]] for boxes in truth.values for b in boxes]
    table = np.array(flat, dtype=np.float64).reshape(-1, 5)
    lengths = np.array([len(boxes) for boxes in truth.values], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    counts = lengths[truth.codes]
    row = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = table[np.repeat(starts[truth.codes], counts) + within]
    return row, chosen[:, :2], chosen[:, 2:4], chosen[:, 4].astype(np.int64)


class TextCrowd(Crowd[TextTask]):
    def truths(self, task: TextTask, n: int, rng: np.random.Generator) -> Coded:
        return Coded(rng.integers(len(PHRASES), size=n), PHRASES)

    def answers(
        self, task: TextTask, truth: Coded, skills: Skills, difficulty: Floats, rng: np.random.Generator
    ) -> Coded:
        right = rng.random(len(truth.codes)) < skills.accuracy * (1 - difficulty)
        return Coded(np.where(right, truth.codes, rng.integers(len(PHRASES), size=len(right))), PHRASES)


CROWDS: Mapping[str, Crowd[Any]] = {
    "single": SingleCrowd(),
    "multiple": MultipleCrowd(),
    "grade": GradeCrowd(),
    "boxes": BoxesCrowd(),
    "text": TextCrowd(),
}
