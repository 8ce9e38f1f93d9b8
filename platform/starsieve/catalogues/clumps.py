"""A chunk of the clump table: the consensus boxes of some subjects, and where they are on the sky."""

import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from classify.reducers import REDUCERS
from classify.tallying import states_of
from starsieve.catalogues.by_subject import IntArray
from starsieve.catalogues.columns import CLUMP_MODEL, Layout, TaskColumns
from starsieve.catalogues.consensus.boxes import BoxOutcome
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.reduction import Reduced
from starsieve.catalogues.writers.base import Values
from starsieve.projects.task_types.boxes import SIDES

FloatArray = npt.NDArray[np.float64]


class TaskClumps(NamedTuple):
    """The consensus boxes of one task, by the place of their subject in the chunk.

    `n_seen` has a number for each subject of the chunk, the others one for each box; `numbers` are its sides and what
    a model knows of it, by name, `label_fractions` has a column per tool.
    """

    n_seen: IntArray
    place: IntArray
    n_marks: IntArray
    numbers: Mapping[str, FloatArray]
    label_fractions: FloatArray


def clumps_of(columns: TaskColumns, reduced: Reduced, models: SubjectTable | None) -> TaskClumps:
    """The model's boxes where the task has a model, else those of the running vote."""
    answers = reduced.answers.get(columns.task.key)
    subject = np.zeros(0, dtype=np.int64) if answers is None else answers.subject
    n_seen = np.bincount(subject, minlength=reduced.n_subjects)
    if columns.errors:
        assert models is not None
        return _modelled(columns, reduced, models, n_seen)
    return _voted(columns, reduced, n_seen)


def _modelled(columns: TaskColumns, reduced: Reduced, models: SubjectTable, n_seen: IntArray) -> TaskClumps:
    outcome, row = models.rows_of(columns.task.key, np.array(reduced.frozen.subject_id))
    place = np.flatnonzero(row >= 0)
    if not isinstance(outcome, BoxOutcome) or not place.size:
        return _from_lists(columns, n_seen, [], [])
    first, last = int(row[place[0]]), int(row[place[-1]]) + 1
    found = outcome.clumps_of(first, last)
    return TaskClumps(n_seen, place[found.subject - first], found.n_marks, found.numbers, found.label_fractions)


def _voted(columns: TaskColumns, reduced: Reduced, n_seen: IntArray) -> TaskClumps:
    answers = reduced.answers.get(columns.task.key)
    if answers is None:
        return _from_lists(columns, n_seen, [], [])
    states = states_of(columns.task, answers.subject, answers.code, answers.values, reduced.n_subjects)
    reducer = REDUCERS[columns.task.type]
    clumps = [[] if state is None else reducer.summarise(columns.task, state, ())["clumps"] for state in states]
    places = np.repeat(np.arange(len(clumps)), [len(each) for each in clumps]).tolist()
    return _from_lists(columns, n_seen, places, list(chain.from_iterable(clumps)))


def _from_lists(columns: TaskColumns, n_seen: IntArray, places: list[int], clumps: list[dict[str, Any]]) -> TaskClumps:
    shares = [list(clump["label_fractions"].values()) for clump in clumps]
    return TaskClumps(
        n_seen,
        np.array(places, dtype=np.int64),
        np.array([clump["n_marks"] for clump in clumps], dtype=np.int64),
        {side: np.array([clump[side] for clump in clumps], dtype=np.float64) for side in SIDES},
        np.array(shares, dtype=np.float64).reshape(len(clumps), len(columns.labels)),
    )


def clump_columns(layout: Layout, reduced: Reduced, clumps: Mapping[str, TaskClumps]) -> dict[str, Values]:
    """Column name → values, one per consensus box; columns of other tasks' tools stay empty."""
    parts = [(columns, clumps[columns.task.key]) for columns in layout.tasks if columns.n_clumps]
    place = np.concatenate([each.place for _, each in parts])
    order = np.argsort(place, kind="stable")  # by subject; one subject's boxes task by task
    values = [_task_columns(columns, each, reduced) for columns, each in parts]
    merged: dict[str, Values] = {}
    for column in layout.clumps:
        if column.name not in ("subject_id", "name", "task"):
            empty = [np.full(len(each.place), np.nan) for _, each in parts]
            of_tasks = [known.get(column.name, nan) for known, nan in zip(values, empty, strict=True)]
            merged[column.name] = np.concatenate(of_tasks)[order]
    names = np.repeat([columns.task.name for columns, _ in parts], [len(each.place) for _, each in parts])
    merged["task"] = names[order].tolist()
    merged["subject_id"] = np.array(reduced.frozen.subject_id, dtype=np.int64)[place[order]]
    merged["name"] = [reduced.frozen.name[each] for each in place[order].tolist()]
    return merged


def _task_columns(columns: TaskColumns, clumps: TaskClumps, reduced: Reduced) -> dict[str, npt.NDArray[Any]]:
    place, numbers = clumps.place, clumps.numbers
    is_first = np.diff(place, prepend=-1) != 0
    row = np.arange(len(place))
    n_seen = clumps.n_seen[place]
    middle = (numbers["x"] + numbers["width"] / 2, numbers["y"] + numbers["height"] / 2)
    ra, dec = _sky_positions(reduced, place, *middle)
    known = (*SIDES, *(column.name for column in CLUMP_MODEL))
    return {
        "clump": row - np.maximum.accumulate(np.where(is_first, row, 0)) + 1,
        "n_seen": n_seen,
        "n_marks": clumps.n_marks,
        "fraction": clumps.n_marks / n_seen,
        "ra": ra,
        "dec": dec,
        **{name: numbers[name] for name in known if name in numbers},
        **dict(zip(columns.labels, clumps.label_fractions.T, strict=True)),
    }


def _sky_positions(reduced: Reduced, place: IntArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ICRS positions in degrees of points of the subjects' stamps, nan on stamps without coordinates.

    x, y count from the upper left corner of the frame, so the middle of the first pixel is (0.5, 0.5), which FITS
    calls (1, 1).
    """
    ra, dec = np.full(len(place), np.nan), np.full(len(place), np.nan)
    edges = np.flatnonzero(np.diff(place, prepend=-1, append=len(reduced.frozen.wcs)))
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        text = reduced.frozen.wcs[int(place[first])]
        if text is not None and (cards := json.loads(text)):
            here, sky = slice(first, last), _coordinates(tuple(sorted(cards.items())))
            ra[here], dec[here] = sky.all_pix2world(x[here] + 0.5, y[here] + 0.5, 1)
    return ra, dec


@lru_cache(maxsize=16)
def _coordinates(cards: tuple[tuple[str, Any], ...]) -> Any:
    from astropy.io.fits import Header  # astropy stays out of web processes
    from astropy.wcs import WCS

    header = Header()
    for name, value in cards:
        header[name] = value
    return WCS(header)
