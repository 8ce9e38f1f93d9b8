"""Marks to clumps: the consensus boxes against simulated truth and greedy voting, the skills, and what it all costs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

import aggregation
from aggregation import ConsensusBoxes
from benchmarks.figures import CpuClock, Figure, cpu_seconds, own_process, peak_megabytes
from benchmarks.marks import SHARED_SETS, MarkedSet, read_marked_set, simulate_marks, simulate_survey

SUBJECTS = 200
SEED = 20261122
SAME_BOX = 0.5  # IoU at which a consensus box hits a true one
F1_BARS = {"simulated here": 0.9, "sim_boxes_clumpscout": 0.99, "sim_boxes_hard_seed7": 0.90}
SKILL_BARS = {"sim_boxes_clumpscout": 0.9}
LEAST_CLASSIFICATIONS = 10  # of a volunteer whose skills are compared

# Galaxy Zoo: Clump Scout (Dickinson et al. 2022); four minutes of two cores.
SURVEY_SUBJECTS, SURVEY_VOLUNTEERS = 85_286, 20_999
SURVEY_CPU_SECONDS, SURVEY_MEGABYTES = 480.0, 3000.0


def measure(*, tiny: bool = False) -> Iterator[Figure]:
    n_subjects = 20 if tiny else SUBJECTS
    own = simulate_marks(n_subjects, SEED)
    yield from _score("simulated here", own)
    for name, folder in SHARED_SETS.items():
        if folder.is_dir():
            yield from _score(name, read_marked_set(folder))
        else:
            print(f"boxes     {name} is not beside the checkout: left out", flush=True)
    yield from _cost(own, n_subjects, tiny)
    yield from _survey(200 if tiny else SURVEY_SUBJECTS, 50 if tiny else SURVEY_VOLUNTEERS)


def _consensus(marks: MarkedSet, min_probability: float = 0.5, threads: int = 1) -> ConsensusBoxes:
    return aggregation.consensus_boxes(
        marks.subject, marks.volunteer, marks.boxes, min_probability=min_probability, threads=threads
    )


def _score(name: str, marks: MarkedSet) -> Iterator[Figure]:
    everything = _consensus(marks, min_probability=0.0)
    hit = _hits(everything.subject, everything.boxes, marks)
    published = everything.probability >= 0.5
    n_hits, n_boxes, n_true = int((hit & published).sum()), int(published.sum()), len(marks.truth)
    f1 = 2 * n_hits / (n_boxes + n_true)
    yield Figure(f"{name}: precision", n_hits / max(n_boxes, 1), "of the boxes")
    yield Figure(f"{name}: recall", n_hits / n_true, "of the clumps")
    yield Figure(f"{name}: F1", f1, "", at_least=F1_BARS[name])
    yield Figure(f"{name}: F1 beyond greedy voting", f1 - _f1_of_votes(marks), "", at_least=0.0)
    squared = (everything.probability - hit) ** 2
    yield Figure(f"{name}: Brier score of all groups of marks", float(squared.mean()), "", at_most=0.05)
    yield Figure(f"{name}: Brier score of the published boxes", float(squared[published].mean()), "")
    yield Figure(f"{name}: boxes with two marks of one volunteer", _repeats(everything, marks), "", at_most=0)
    for skill, true in marks.skills.items():
        known = (everything.volunteers.n_seen >= LEAST_CLASSIFICATIONS) & np.isfinite(true)
        rank = float(spearmanr(getattr(everything.volunteers, skill)[known], true[known]).statistic)
        yield Figure(f"{name}: rank correlation of {skill}", rank, "", at_least=SKILL_BARS.get(name))


def _hits(subject: NDArray[np.int64], boxes: NDArray[np.float64], marks: MarkedSet) -> NDArray[np.bool_]:
    """Whether each box has a true one of its own, in a one-to-one matching with IoU of at least SAME_BOX."""
    hit = np.zeros(len(subject), dtype=bool)
    order = np.argsort(subject, kind="stable")
    for code in np.unique(marks.truth_subject):
        rows = order[slice(*np.searchsorted(subject[order], [code, code + 1]))]
        true = marks.truth[slice(*np.searchsorted(marks.truth_subject, [code, code + 1]))]
        iou = aggregation.box_iou(boxes[rows], true)
        iou = np.where(iou >= SAME_BOX, iou, 0.0)
        found, of = linear_sum_assignment(iou, maximize=True)
        hit[rows[found]] = iou[found, of] > 0
    return hit


def _f1_of_votes(marks: MarkedSet) -> float:
    """F1 of greedy voting at its default of a quarter of the viewers."""
    subject, boxes = [], []
    for code in np.unique(marks.subject):
        mine = marks.subject == code
        drawn = mine & ~np.isnan(marks.boxes[:, 0])
        n_seen = len(np.unique(marks.volunteer[mine]))
        clusters = aggregation.cluster_boxes(marks.boxes[drawn], marks.volunteer[drawn], n_seen)
        boxes.append(clusters.boxes)
        subject.append(np.full(len(clusters.boxes), code))
    hit = _hits(np.concatenate(subject), np.concatenate(boxes), marks)
    return float(2 * hit.sum() / (len(hit) + len(marks.truth)))


def _repeats(result: ConsensusBoxes, marks: MarkedSet) -> int:
    member = result.member >= 0
    pairs = np.stack([result.member[member], marks.volunteer[member]])
    return pairs.shape[1] - np.unique(pairs, axis=1).shape[1]


def _cost(own: MarkedSet, n_subjects: int, tiny: bool) -> Iterator[Figure]:
    larger = simulate_marks(4 * n_subjects, SEED)
    spent, longer = cpu_seconds(lambda: _consensus(own), lambda: _consensus(larger), repeats=1 if tiny else 5)
    yield Figure(f"{n_subjects} subjects × 20 volunteers, {len(own.subject):,} rows", spent, "CPU s", at_most=1.0)
    per_row = (longer / len(larger.subject)) / (spent / len(own.subject))
    yield Figure("CPU per row at four times the subjects", per_row, "×", at_most=1.4)
    grown = []
    for copies in (4, 16) if tiny else (10, 40):
        with own_process() as run:
            grown.append(run(_memory, own, copies))
    yield Figure("memory at four times the marks", grown[1] / grown[0], "×", at_most=4.4)


def _memory(marks: MarkedSet, copies: int) -> float:
    """Megabytes that the fit adds to a process that holds so many copies of the set, as subjects of their own."""
    first = np.repeat(np.arange(copies) * (marks.subject.max() + 1), len(marks.subject))
    subject, volunteer = np.tile(marks.subject, copies) + first, np.tile(marks.volunteer, copies)
    boxes = np.tile(marks.boxes, (copies, 1))
    before = peak_megabytes()
    aggregation.consensus_boxes(subject, volunteer, boxes)
    return peak_megabytes() - before


def _survey(n_subjects: int, n_volunteers: int) -> Iterator[Figure]:
    with own_process() as run:
        spent, peak, n_marks, f1 = run(_solve_survey, n_subjects, n_volunteers)
    name = f"a survey of {n_subjects:,} subjects, {n_marks:,} marks"
    yield Figure(f"{name}, by two threads", spent, "CPU s", at_most=SURVEY_CPU_SECONDS)
    yield Figure(f"{name}: peak memory", peak, "MB", at_most=SURVEY_MEGABYTES)
    yield Figure(f"{name}: F1", f1, "")


def _solve_survey(n_subjects: int, n_volunteers: int) -> tuple[float, float, int, float]:
    marks = simulate_survey(n_subjects, n_volunteers, SEED)
    with CpuClock() as clock:
        result = _consensus(marks, threads=2)
    peak = peak_megabytes()
    hit = _hits(result.subject, result.boxes, marks)
    f1 = 2 * hit.sum() / (len(hit) + len(marks.truth))
    return clock.seconds, peak, int((~np.isnan(marks.boxes[:, 0])).sum()), float(f1)
