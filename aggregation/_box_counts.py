"""Expected counts that a belief gives: all that the next parameters depend on, additive over subjects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from aggregation._box_belief import Belief
from aggregation._box_jurors import Testimony
from aggregation._box_model import (
    DETECTABILITY,
    PX,
    PY,
    RU,
    RV,
    Field,
    P,
    Pictures,
    R,
    Scene,
    Skills,
)
from aggregation._box_partition import segment_sums
from aggregation._votes import FloatArray, IntArray

# Columns of the volunteers' counts.
NOTICED, LAPSED, STRAYS, EXPOSURE, SQUARES, FREEDOM, SHOWN, MISSED, FALSE, MARKS = range(10)
N_COLUMNS = 10
# Columns of the subjects' counts.
STRAYS_HERE, STRAYS_EXPECTED, SQUARES_HERE, FREEDOM_HERE = range(4)


@dataclass(frozen=True)
class Viewers:
    """Who saw which subject of a scene, int (n_classifications,), sorted by subject, then volunteer."""

    subject: IntArray
    volunteer: IntArray


@dataclass(frozen=True)
class Shared:
    """Counts for `Population`; they add up over scenes.

    Attributes
    ----------
    real, decoy
        Objects and decoys over the detectability bins.
    decoys
        Decoys marked, subjects in which one would be marked, and decoys known as such; (3,).
    rates
        Subjects over `RATES`.
    scatter
        Of log sizes around their group's: sum of squares, degrees of freedom.
    growth
        For the exponent of the scatter's growth with size u, the log side: slope of the likelihood, and the degrees
        of freedom with their first two moments of u, (4,).
    sizes
        Of the groups that are objects or decoys: number, sums of log width and log height, sum of both squared.
    objects, strays
        Moments of places, (7,): number, number in the normal part, and in that Σx, Σy, Σxx, Σxy, Σyy.
    answers
        Answers of the detector for objects, decoys, strays, (3, 1 + n_grades).
    log_likelihood
        Of the marks.
    """

    real: FloatArray
    decoy: FloatArray
    decoys: FloatArray
    rates: FloatArray
    scatter: FloatArray
    growth: FloatArray
    sizes: FloatArray
    objects: FloatArray
    strays: FloatArray
    answers: FloatArray
    log_likelihood: float

    def __add__(self, other: Shared) -> Shared:
        return Shared(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Counts:
    """Counts of one scene: for its volunteers (n_present, 10), its subjects (n_subjects, 4), and for all."""

    volunteer: IntArray
    skills: FloatArray
    pictures: FloatArray
    shared: Shared


def count_scene(
    scene: Scene,
    viewers: Viewers,
    group: IntArray,
    belief: Belief,
    skills: Skills,
    pictures: Pictures,
    testimony: Testimony | None,
    n_grades: int,
    gold_teaches: bool = False,
) -> Counts:
    """Count what the belief implies; `pictures` are those of the scene's subjects.

    With `gold_teaches` only gold subjects tell what decoys are like and how the detector answers.
    """
    residuals = _residuals(scene, group, belief)
    present, by_volunteer = _by_volunteer(scene, viewers, group, belief, skills, pictures, residuals)
    n_subjects = len(scene.unseen)
    here = scene.subject[residuals.mark]
    squares = residuals.squares * scene.sums[residuals.mark, P] * pictures.blur[here]
    by_subject = [
        np.bincount(scene.subject, belief.stray[group], n_subjects),
        np.bincount(viewers.subject, skills.false_rate[viewers.volunteer], n_subjects),
        np.bincount(here, squares, n_subjects),
        np.bincount(here, 2.0 * residuals.freedom, n_subjects),
    ]
    shared = _shared(scene, group, belief, residuals, testimony, n_grades, gold_teaches)
    return Counts(present, by_volunteer, np.stack(by_subject, axis=1), shared)


class _Residuals(NamedTuple):
    """Marks in groups of several, weighted by the probability that the group is a thing.

    Their squared distances from the centre, their degrees of freedom per axis, and the same of their log sizes, made
    to go with the same degrees of freedom.
    """

    mark: IntArray
    squares: FloatArray
    freedom: FloatArray
    size_squares: FloatArray


def _by_volunteer(
    scene: Scene,
    viewers: Viewers,
    group: IntArray,
    belief: Belief,
    skills: Skills,
    pictures: Pictures,
    residuals: _Residuals,
) -> tuple[IntArray, FloatArray]:
    """The volunteers of the scene and their counts, (n_present, 10)."""
    present, local = np.unique(viewers.volunteer, return_inverse=True)
    n = len(present)
    mark_by = np.searchsorted(present, scene.volunteer)
    columns = np.zeros((N_COLUMNS, n))

    def add(column: int, who: IntArray, weight: FloatArray) -> None:
        columns[column] += np.bincount(who, weights=weight, minlength=n)

    # The classification that each mark is part of.
    view = np.searchsorted(viewers.subject * n + local, scene.subject * n + mark_by)
    real = belief.real[group]
    noticed, lapsed = _attention(scene, viewers, view, group, belief, skills)
    add(NOTICED, mark_by, real + belief.decoy[group])
    add(NOTICED, local, noticed)
    add(LAPSED, local, lapsed)
    add(STRAYS, mark_by, belief.stray[group])
    add(EXPOSURE, local, pictures.clutter[viewers.subject])
    there = np.bincount(belief.groups.subject, belief.real, len(scene.unseen)) + belief.missed_real.sum(axis=1)
    seen = np.bincount(view, real, len(local))
    add(SHOWN, local, there[viewers.subject])
    add(MISSED, local, np.maximum(there[viewers.subject] - seen, 0.0))
    add(FALSE, mark_by, 1.0 - real)
    add(MARKS, mark_by, np.ones(len(real)))
    # Relative to what blur and size make of the volunteer's own scatter.
    own = scene.sums[residuals.mark, P] * skills.variance[scene.volunteer[residuals.mark]]
    add(SQUARES, mark_by[residuals.mark], residuals.squares * own)
    add(FREEDOM, mark_by[residuals.mark], 2.0 * residuals.freedom)
    return present, columns.T


def _attention(
    scene: Scene, viewers: Viewers, view: IntArray, group: IntArray, belief: Belief, skills: Skills
) -> tuple[FloatArray, FloatArray]:
    """Of the things that each classification did not mark: how many the volunteer attended to, and how many not.

    Without a mark the thing escaped attention with probability (1 - a) / (1 - a d), else it was not detectable.
    """
    things = belief.real_bins + belief.decoy_bins
    there = segment_sums(things, belief.groups.subject, len(scene.unseen)) + belief.missed_real + belief.missed_decoys
    shape = (len(viewers.subject), len(view))
    drawn = sparse.csr_matrix((np.ones(len(view)), (view, np.arange(len(view)))), shape=shape)
    unmarked = np.maximum(there[viewers.subject] - drawn @ things[group], 0.0)
    attention = skills.attention[viewers.volunteer][:, np.newaxis]
    lapsed = (unmarked * ((1.0 - attention) / (1.0 - attention * DETECTABILITY))).sum(axis=1)
    return unmarked.sum(axis=1) - lapsed, lapsed


def _residuals(scene: Scene, group: IntArray, belief: Belief) -> _Residuals:
    groups = belief.groups
    rows = np.flatnonzero(groups.size[group] > 1)
    mine = group[rows]
    thing = belief.real[mine] + belief.decoy[mine]
    precision = scene.sums[rows, P]
    place = scene.sums[rows, PX : PY + 1] / precision[:, np.newaxis]
    centre = groups.sums[:, PX : PY + 1] / groups.sums[:, [P]]
    squares = thing * ((place - centre[mine]) ** 2).sum(axis=1)
    # The centre follows each mark by its share of the precision: that much of its scatter does not show.
    freedom = thing * (1.0 - precision / groups.sums[mine, P])
    size = scene.sums[rows, RU : RV + 1] / scene.sums[rows, R][:, np.newaxis]
    middle = groups.sums[:, RU : RV + 1] / groups.sums[:, [R]]
    # All marks weigh the same in a size; corrected so that one count of freedom serves place and size.
    share = 1.0 - 1.0 / groups.size[mine]
    size_squares = freedom * ((size - middle[mine]) ** 2).sum(axis=1) / share
    return _Residuals(rows, squares, freedom, size_squares)


def _shared(
    scene: Scene,
    group: IntArray,
    belief: Belief,
    residuals: _Residuals,
    testimony: Testimony | None,
    n_grades: int,
    gold_teaches: bool,
) -> Shared:
    groups, population = belief.groups, scene.population
    weight = belief.real + belief.decoy
    size = groups.sums[:, RU : RV + 1] / groups.sums[:, [R]] + population.size_mean
    place = scene.sums[:, PX : PY + 1] / scene.sums[:, [P]]
    centre = groups.sums[:, PX : PY + 1] / groups.sums[:, [P]]
    is_gold = np.zeros(len(scene.unseen)) if testimony is None else testimony.is_gold.astype(float)
    teaches = is_gold if gold_teaches else np.ones(len(is_gold))
    known_decoys = belief.decoy * is_gold[groups.subject]
    decoys = belief.decoy_bins * teaches[groups.subject, np.newaxis]
    chances = teaches * (1.0 - np.exp(scene.unseen) @ population.decoy)
    return Shared(
        real=belief.real_bins.sum(axis=0) + belief.missed_real.sum(axis=0),
        decoy=decoys.sum(axis=0) + teaches @ belief.missed_decoys,
        decoys=np.array([decoys.sum(), chances.sum(), known_decoys.sum()]),
        # Gold subjects are chosen, often for what is on them: they say nothing of how much there is to find.
        rates=((1.0 - is_gold)[:, np.newaxis] * belief.rates).sum(axis=0),
        scatter=np.array([residuals.size_squares.sum(), 2.0 * residuals.freedom.sum()]),
        growth=_growth(scene, residuals),
        sizes=np.array([weight.sum(), *(weight @ size), weight @ (size**2).sum(axis=1)]),
        objects=_moments(population.objects, centre, weight),
        strays=_moments(population.strays, place, belief.stray[group]),
        answers=_answers(belief, testimony, n_grades, teaches),
        log_likelihood=belief.log_likelihood,
    )


def _growth(scene: Scene, residuals: _Residuals) -> FloatArray:
    rows, free = residuals.mark, residuals.freedom
    log_side = (
        scene.population.size_mean.mean() + 0.5 * (scene.sums[rows, RU] + scene.sums[rows, RV]) / scene.sums[rows, R]
    )
    slope = log_side @ (residuals.squares * scene.sums[rows, P] - 2.0 * free)
    return np.array([slope, free.sum(), free @ log_side, free @ log_side**2])


def _moments(field: Field, place: FloatArray, weight: FloatArray) -> FloatArray:
    peaked, flat = field.parts(place)
    inside = weight * np.exp(peaked - np.logaddexp(peaked, flat))
    x, y = place.T
    sums = [inside.sum(), inside @ x, inside @ y, inside @ (x * x), inside @ (x * y), inside @ (y * y)]
    return np.array([weight.sum(), *sums])


def _answers(belief: Belief, testimony: Testimony | None, n_grades: int, teaches: FloatArray) -> FloatArray:
    counts = np.zeros((3, 1 + n_grades))
    if testimony is None:
        return counts
    heard = np.flatnonzero(testimony.grade >= 0)
    weight = teaches[belief.groups.subject[heard]]
    for row, probability in enumerate((belief.real, belief.decoy, belief.stray)):
        counts[row] = np.bincount(testimony.grade[heard], weight * probability[heard], 1 + n_grades)
    return counts
