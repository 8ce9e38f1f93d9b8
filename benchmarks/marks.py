"""Boxes drawn by simulated volunteers, with the true clumps: made here, or read from the shared sets."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_SETS = {name: SHARED / name for name in ("sim_boxes_clumpscout", "sim_boxes_hard_seed7")}
IMAGE, SIDE = 400.0, 28.0  # pixels
PER_SUBJECT = 20


@dataclass(frozen=True)
class MarkedSet:
    """Rows as `aggregation.consensus_boxes` takes them (four nan: saw it, marked nothing), and the truth.

    `truth_subject` ascends. `skills` holds the columns of `BoxVolunteers` that are known, by volunteer, or nan.
    """

    subject: Ints
    volunteer: Ints
    boxes: Floats
    truth_subject: Ints
    truth: Floats
    skills: dict[str, Floats] = field(default_factory=dict)


def simulate_marks(n_subjects: int, seed: int) -> MarkedSet:
    """Square marks on galaxies with up to eight clumps, twenty volunteers each; the same for the same seed.

    Volunteers miss a clump with a probability of their own around 0.25, and faint ones more often (detectability
    ~ Beta(3, 1.3)); they place a mark with a scatter of 2 to 5.5 pixels, add a false one to every third subject, and
    one in four is taken in by a decoy such as a foreground star, of which every third subject has one.
    """
    rng = np.random.default_rng(seed)
    n_volunteers = max(3 * n_subjects // 4, PER_SUBJECT)
    misses, false = rng.beta(2.2, 6.0, n_volunteers), rng.gamma(1.0, 0.35, n_volunteers)
    scatter = rng.uniform(2.0, 5.5, n_volunteers)
    rows: list[tuple[int, int, Floats]] = []
    truth: list[tuple[int, Floats]] = []
    for code in range(n_subjects):
        n_clumps, n_decoys = int(min(rng.geometric(1 / 2.9) - 1, 8)), int(rng.random() < 1 / 3)
        places = _places(n_clumps + n_decoys, rng)
        noticed = np.append(rng.beta(3.0, 1.3, n_clumps), np.full(n_decoys, 0.33))
        truth += [(code, centre) for centre in places[:n_clumps]]
        for volunteer in rng.choice(n_volunteers, PER_SUBJECT, replace=False):
            seen = places[rng.random(len(places)) < (1 - misses[volunteer]) * noticed]
            extra = rng.normal(IMAGE / 2, 70.0, (rng.poisson(false[volunteer]), 2))
            marks = np.concatenate([seen + rng.normal(0, scatter[volunteer], seen.shape), extra])
            rows += [(code, int(volunteer), centre) for centre in marks]
            rows += [] if len(marks) else [(code, int(volunteer), np.full(2, np.nan))]
    subject, volunteer, centres = (np.array(column) for column in zip(*rows, strict=True))
    truth_subject, true_centres = (np.array(column) for column in zip(*truth, strict=True))
    return MarkedSet(subject, volunteer, _squares(centres), truth_subject, _squares(true_centres))


def _places(n: int, rng: np.random.Generator) -> Floats:
    """Centres (n, 2) in the galaxy's disc, at least one side apart."""
    chosen: list[Floats] = []
    while len(chosen) < n:
        place = rng.normal(IMAGE / 2, 55.0, 2)
        is_inside = (place > SIDE).all() and (place < IMAGE - SIDE).all()
        if is_inside and all(np.hypot(*(place - other)) >= SIDE for other in chosen):
            chosen.append(place)
    return np.array(chosen).reshape(-1, 2)


def _squares(centres: Floats) -> Floats:
    return np.column_stack([centres - SIDE / 2, np.where(np.isnan(centres), np.nan, SIDE)])


def read_marked_set(folder: Path) -> MarkedSet:
    """A simulated set in the format of the shared data: annotations.csv, truth.csv and volunteers.csv."""
    marks, truth, people = (_read(folder / f"{name}.csv") for name in ("annotations", "truth", "volunteers"))
    known = {"p_fp": "emp_p_fp", "p_fn": "emp_p_fn", "sigma": "sigma_px"}
    return MarkedSet(
        subject=np.array([int(row["subject_id"]) for row in marks]),
        volunteer=np.array([int(row["volunteer_id"]) for row in marks]),
        boxes=_boxes(marks),
        truth_subject=np.array([int(row["subject_id"]) for row in truth]),
        truth=_boxes(truth),
        skills={name: np.array([float(row[column] or "nan") for row in people]) for name, column in known.items()},
    )


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _boxes(rows: list[dict[str, str]]) -> Floats:
    """x1, x2, y1, y2 → x, y, width, height; empty fields become nan."""
    x1, x2, y1, y2 = (np.array([float(row[name] or "nan") for row in rows]) for name in ("x1", "x2", "y1", "y2"))
    return np.column_stack([x1, y1, x2 - x1, y2 - y1])


def simulate_survey(n_subjects: int, n_volunteers: int, seed: int) -> MarkedSet:
    """A survey of the make of Galaxy Zoo: Clump Scout: about 20 classifications per subject and 2 marks in each.

    As `simulate_marks`, but drawn all at once, and volunteers differ a thousandfold in how much they do. With the
    85 286 subjects and 20 999 volunteers of Dickinson et al. 2022 (MNRAS 517, 5882) it has their 1.74 million
    classifications and 3.56 million marks, to two per cent.
    """
    rng = np.random.default_rng(seed)
    activity = 1.0 / np.arange(5, n_volunteers + 5)
    seen = rng.choice(n_volunteers, (n_subjects, 21), p=activity / activity.sum())
    seen.sort(axis=1)
    is_new = np.diff(seen, axis=1, prepend=-1) > 0  # drawn with replacement: one who is drawn twice saw it once
    subject, volunteer = np.nonzero(is_new)[0], seen[is_new]
    misses, false = rng.beta(2.2, 6.0, n_volunteers), rng.gamma(1.0, 0.58, n_volunteers)
    scatter = rng.uniform(2.0, 5.5, n_volunteers)
    n_clumps = np.minimum(rng.geometric(1 / 4, n_subjects) - 1, 8)
    n_things = n_clumps + (rng.random(n_subjects) < 1 / 3)
    places = _all_places(n_things, rng)
    slot = np.arange(places.shape[1])
    noticed = np.where(slot < n_clumps[:, None], rng.beta(3.0, 1.3, places.shape[:2]), 0.33)
    noticed = np.where(slot < n_things[:, None], noticed, 0.0)
    who, thing = np.nonzero(rng.random((len(subject), len(slot))) < (1 - misses[volunteer])[:, None] * noticed[subject])
    marks = places[subject[who], thing] + rng.normal(0, 1, (len(who), 2)) * scatter[volunteer[who]][:, None]
    stray = np.repeat(np.arange(len(subject)), rng.poisson(false[volunteer]))
    blank = np.setdiff1d(np.arange(len(subject)), np.concatenate([who, stray]))
    rows = np.concatenate([who, stray, blank])
    centres = np.concatenate([marks, rng.normal(IMAGE / 2, 70.0, (len(stray), 2)), np.full((len(blank), 2), np.nan)])
    truth_subject, number = np.nonzero(slot < n_clumps[:, None])
    return MarkedSet(
        subject[rows], volunteer[rows], _squares(centres), truth_subject, _squares(places[truth_subject, number])
    )


def _all_places(n_things: Ints, rng: np.random.Generator) -> Floats:
    """Centres (n_subjects, most, 2), nearly all at least one side apart: those too near an earlier one move on."""
    places = rng.normal(IMAGE / 2, 55.0, (len(n_things), int(n_things.max()), 2))
    for _ in range(10):
        apart = np.hypot(*np.moveaxis(places[:, :, None] - places[:, None], 3, 0))
        crowded = (np.tril(apart < SIDE, -1)).any(axis=2)
        places[crowded] = rng.normal(IMAGE / 2, 55.0, (int(crowded.sum()), 2))
    return places
