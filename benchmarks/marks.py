"""Boxes drawn by simulated volunteers, with the true clumps: made here, or read from the shared sets."""

import csv
from dataclasses import dataclass
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
    """Rows as `aggregation.consensus_boxes` takes them (four nan: saw it, marked nothing), and the true boxes."""

    subject: Ints
    volunteer: Ints
    boxes: Floats
    truth_subject: Ints
    truth: Floats


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
    """A simulated set in the format of the shared data: annotations.csv and truth.csv."""
    marks, truth = _read(folder / "annotations.csv"), _read(folder / "truth.csv")
    return MarkedSet(
        subject=np.array([int(row["subject_id"]) for row in marks]),
        volunteer=np.array([int(row["volunteer_id"]) for row in marks]),
        boxes=_boxes(marks),
        truth_subject=np.array([int(row["subject_id"]) for row in truth]),
        truth=_boxes(truth),
    )


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _boxes(rows: list[dict[str, str]]) -> Floats:
    """x1, x2, y1, y2 → x, y, width, height; empty fields become nan."""
    x1, x2, y1, y2 = (np.array([float(row[name] or "nan") for row in rows]) for name in ("x1", "x2", "y1", "y2"))
    return np.column_stack([x1, y1, x2 - x1, y2 - y1])
