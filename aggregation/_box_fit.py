"""Fit of the box model: partition and parameters in turn, some subjects at a time, so that memory stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation._box_belief import Belief, believe
from aggregation._box_counts import N_COLUMNS, Counts, Shared, Viewers, count_scene
from aggregation._box_jurors import BoxList, Detector, boxes_of, hear, n_grades
from aggregation._box_learning import Priors, learn_pictures, learn_population, learn_skills
from aggregation._box_model import DETECTABILITY, Pictures, Population, Scene, Skills, mark_sums
from aggregation._box_partition import segment_sums
from aggregation._box_search import best_partition
from aggregation._box_start import start_population, start_priors
from aggregation._box_store import from_plain, to_plain
from aggregation._box_table import Frame, MarkTable
from aggregation._votes import FloatArray, IntArray

Progress = Callable[[int, int], None]

_ROUNDS = 12
_SEARCH_ROUNDS = (0, 4, 8, 11)  # the partition settles sooner than the parameters
_GOLD_ROUNDS = 5  # in the first ones gold subjects alone tell what decoys are like
_FIXED_ROUNDS, _FIXED_SEARCH_ROUNDS = 3, (0, 2)  # with known parameters only the pictures are new
_CHUNK_ROWS = 30_000


@dataclass(frozen=True)
class BoxModel:
    """What a fit has learnt, for use on other marks by the same people and by newcomers.

    Attributes
    ----------
    frame
        Unit of length of all that follows.
    population, priors
        What subjects share, and how volunteers vary.
    volunteer
        Codes of the known volunteers, ascending, int (n_known,).
    skills
        Of these volunteers.
    counts
        What they did, as far as skills depend on it, float (n_known, 10); see `_box_counts`.
    detector
        How a machine detector answers.
    """

    frame: Frame
    population: Population
    priors: Priors
    volunteer: IntArray
    skills: Skills
    counts: FloatArray
    detector: Detector

    def as_json(self) -> dict[str, Any]:
        """The model as numbers, lists and dictionaries that JSON can hold without loss; see `from_json`."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> BoxModel:
        """The model that `as_json` wrote."""
        model: BoxModel = from_plain(cls, plain)
        return replace(model, counts=model.counts.reshape(-1, N_COLUMNS))

    def with_ids(self, ids: npt.ArrayLike) -> BoxModel:
        """The same with other volunteer codes: `ids[code]`, different integers from 0, such as primary keys."""
        codes = np.asarray(ids, dtype=np.int64)[self.volunteer]
        order = np.argsort(codes)
        skills = Skills(**{name: values[order] for name, values in vars(self.skills).items()})
        return replace(self, volunteer=codes[order], skills=skills, counts=self.counts[order])

    def skills_of(self, codes: IntArray) -> Skills:
        """Skills of volunteers by code; newcomers have the mean of the priors."""
        place = np.searchsorted(self.volunteer, codes)
        known = np.zeros(len(codes), dtype=bool)
        if len(self.volunteer):
            place = place.clip(max=len(self.volunteer) - 1)
            known = self.volunteer[place] == codes
        skills = newcomers(self.priors, len(codes))
        for name, values in vars(self.skills).items():
            getattr(skills, name)[known] = values[place[known]]
        return skills


@dataclass(frozen=True)
class Part:
    """Consecutive subjects of a table with their marks and classifications."""

    marks: slice
    viewers: slice
    subjects: slice


@dataclass(frozen=True)
class Jury:
    """Gold standard and detections, where there are any."""

    gold: BoxList | None
    found: BoxList | None


@dataclass(frozen=True)
class Outcome:
    """One part after the last round."""

    part: Part
    group: IntArray
    belief: Belief
    scene: Scene


@dataclass(frozen=True)
class Fit:
    """Parameters after the last round, and the volunteers' counts, (n_volunteers, 10), in the table's numbers."""

    model: BoxModel
    pictures: Pictures
    counts: FloatArray
    log_likelihood: float


def newcomers(priors: Priors, n: int) -> Skills:
    """Skills of volunteers of whom nothing is known."""
    a, b = priors.attention
    return Skills(np.full(n, a / (a + b)), np.full(n, priors.false_rate[1]), np.full(n, priors.scatter[1]))


def parts_of(table: MarkTable, rows: int = _CHUNK_ROWS) -> list[Part]:
    """Runs of subjects with about so many marks and classifications together."""
    n_marks = np.bincount(table.subject, minlength=table.n_subjects)
    n_views = np.bincount(table.viewer_subject, minlength=table.n_subjects)
    marks, views = (np.r_[0, np.cumsum(n)].tolist() for n in (n_marks, n_views))
    load = np.cumsum(n_marks + n_views)
    parts, start = [], 0
    while start < table.n_subjects:
        done = load[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(load, done + rows, side="right")))
        parts.append(Part(slice(marks[start], marks[stop]), slice(views[start], views[stop]), slice(start, stop)))
        start = stop
    return parts


def fit(
    table: MarkTable,
    jury: Jury,
    report: Callable[[Outcome], None],
    *,
    model: BoxModel | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Fit:
    """Learn from all marks (or, with a `model`, only place them); `report` gets each part after the last round."""
    parts = parts_of(table)
    learning = model is None
    rounds, searches = (_ROUNDS, _SEARCH_ROUNDS) if learning else (_FIXED_ROUNDS, _FIXED_SEARCH_ROUNDS)
    if model is None:
        model = _first_model(table, parts, jury)
    start = model.population
    skills = model.skills_of(table.volunteer_code)
    # Else decoys that most people take for objects would have been learnt as objects before gold can tell.
    gold_rounds = _GOLD_ROUNDS if jury.gold is not None and bool(jury.gold.looked.any()) else 0
    pictures = Pictures(np.ones(table.n_subjects), np.ones(table.n_subjects))
    groups: list[IntArray | None] = [None] * len(parts)
    for turn in range(rounds - 1):
        state = _State(table, jury, model, skills, pictures, turn in searches, turn < gold_rounds)
        totals = _round(state, parts, groups, threads, _from(progress, turn, rounds, table.n_subjects))
        if totals.shared is None:
            break  # nobody has seen anything
        pictures, priors = learn_pictures(totals.pictures, model.priors)
        if learning:
            skills, priors = learn_skills(totals.skills, priors)
            population, priors = learn_population(totals.shared, model.population, priors, start)
            detector = Detector.learnt(totals.shared.answers)
            model = replace(model, population=population, priors=priors, detector=detector)
    state = _State(table, jury, model, skills, pictures, rounds - 1 in searches, False)
    totals = _round(state, parts, groups, threads, _from(progress, rounds - 1, rounds, table.n_subjects), report)
    if learning:
        order = np.argsort(table.volunteer_code)
        ordered = Skills(**{name: values[order] for name, values in vars(skills).items()})
        counts = totals.skills[order]
        model = replace(model, volunteer=table.volunteer_code[order], skills=ordered, counts=counts)
    log_likelihood = 0.0 if totals.shared is None else totals.shared.log_likelihood
    return Fit(model, pictures, totals.skills, log_likelihood)


@dataclass(frozen=True)
class _State:
    """Parameters of one round."""

    table: MarkTable
    jury: Jury
    model: BoxModel
    skills: Skills
    pictures: Pictures
    search: bool
    gold_teaches: bool


@dataclass(frozen=True)
class _Totals:
    """Counts of all parts: of volunteers (n_volunteers, 10), subjects (n_subjects, 4), and of what they share."""

    skills: FloatArray
    pictures: FloatArray
    shared: Shared | None


def _round(
    state: _State,
    parts: list[Part],
    groups: list[IntArray | None],
    threads: int,
    progress: Callable[[int], None],
    report: Callable[[Outcome], None] | None = None,
) -> _Totals:
    """One E-step over all parts, which leaves their partitions in `groups`."""
    skills = np.zeros((state.table.n_volunteers, N_COLUMNS))
    pictures = np.zeros((state.table.n_subjects, 4))
    shared: Shared | None = None
    for number, (outcome, counts) in enumerate(_each(state, parts, groups, threads)):
        groups[number] = outcome.group
        skills[counts.volunteer] += counts.skills
        pictures[outcome.part.subjects] = counts.pictures
        shared = counts.shared if shared is None else shared + counts.shared
        if report is not None:
            report(outcome)
        progress(outcome.part.subjects.stop)
    return _Totals(skills, pictures, shared)


def _from(progress: Progress | None, turn: int, rounds: int, n_subjects: int) -> Callable[[int], None]:
    """Progress within a round, in subjects done."""
    if progress is None:
        return lambda done: None
    return lambda done: progress(turn * n_subjects + done, rounds * n_subjects)


def _first_model(table: MarkTable, parts: list[Part], jury: Jury) -> BoxModel:
    priors = start_priors(table, parts)
    nobody = newcomers(priors, 0)
    detector = Detector.unknown(n_grades(jury.found))
    counts = np.empty((0, N_COLUMNS))
    return BoxModel(table.frame, start_population(table), priors, np.empty(0, np.int64), nobody, counts, detector)


def _each(
    state: _State, parts: list[Part], groups: list[IntArray | None], threads: int
) -> Iterator[tuple[Outcome, Counts]]:
    """Outcome of each part in order, computed by several threads: numpy lets go of the interpreter in its loops."""
    terms = _seen_terms(state.skills)
    if threads <= 1:
        yield from (_step(state, terms, part, group) for part, group in zip(parts, groups, strict=True))
        return
    with ThreadPoolExecutor(threads) as pool:
        # A few at a time: the outcome of a part is much larger than what is kept of it.
        for first in range(0, len(parts), 2 * threads):
            some = slice(first, first + 2 * threads)
            yield from pool.map(lambda job: _step(state, terms, *job), zip(parts[some], groups[some], strict=True))


def _seen_terms(skills: Skills) -> tuple[FloatArray, FloatArray]:
    """Log P(no mark) and log odds of a mark for each volunteer and detectability, (n_volunteers, n_bins) each."""
    chance = skills.attention[:, np.newaxis] * DETECTABILITY
    unseen = np.log1p(-chance)
    return unseen, np.log(chance) - unseen


def _step(
    state: _State, terms: tuple[FloatArray, FloatArray], part: Part, group: IntArray | None
) -> tuple[Outcome, Counts]:
    table, model = state.table, state.model
    first, n_subjects = part.subjects.start, part.subjects.stop - part.subjects.start
    viewers = Viewers(table.viewer_subject[part.viewers] - first, table.viewer_volunteer[part.viewers])
    pictures = Pictures(state.pictures.clutter[part.subjects], state.pictures.blur[part.subjects])
    scene = _scene(state, terms, part, viewers, pictures)
    if state.search or group is None:
        group = best_partition(scene, None if group is None else group.astype(np.int64))
    testimony, belief = None, None
    if state.jury.gold is not None or state.jury.found is not None:
        belief = believe(scene, group)
        boxes = boxes_of(belief.groups, model.population, table.frame)
        testimony = hear(belief.groups, boxes, first, n_subjects, state.jury.gold, state.jury.found, model.detector)
    belief = believe(scene, group, testimony)
    grades = model.detector.answers.shape[1] - 1
    counts = count_scene(scene, viewers, group, belief, state.skills, pictures, testimony, grades, state.gold_teaches)
    return Outcome(part, group.astype(np.int32), belief, scene), counts


def _scene(
    state: _State, terms: tuple[FloatArray, FloatArray], part: Part, viewers: Viewers, pictures: Pictures
) -> Scene:
    table, population = state.table, state.model.population
    subject = table.subject[part.marks] - part.subjects.start
    volunteer = table.volunteer[part.marks]
    size = table.size[part.marks]
    growth = np.exp(population.growth * size.sum(axis=1))  # the exponent of the mean of the log sides, squared
    sums = mark_sums(
        table.centre[part.marks],
        size,
        state.skills.variance[volunteer] * pictures.blur[subject] * growth,
        np.log(state.skills.false_rate[volunteer] * pictures.clutter[subject]),
        population,
    )
    unseen, odds = terms
    return Scene(
        subject=subject,
        volunteer=volunteer,
        sums=sums,
        seen=odds[volunteer],
        unseen=segment_sums(unseen[viewers.volunteer], viewers.subject, len(pictures.blur)),
        log_kinds=np.log(population.rate * population.real + population.decoy_rate * population.decoy),
        population=population,
    )
