"""What a consensus is worth: its probabilities held against the gold standard."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation.boxes import box_iou
from aggregation.diagnostics import Estimate, diagnose
from aggregation.intervals import wilson_interval
from aggregation.metrics import Reliability, reliability
from starsieve.catalogues.consensus.boxes import BoxOutcome, TrueBoxes
from starsieve.catalogues.consensus.gold import KnownAnswers
from starsieve.catalogues.consensus.outcome import FloatArray, Outcome
from starsieve.catalogues.consensus.subjects import answer_labels
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types.boxes import SIDES

#: Gold subjects below which a reliability curve says nothing.
FEWEST_GOLD = 10
BINS = 10
RESAMPLES = 400
LEVEL = 0.95
#: Least intersection over union of a box that is right.
SAME_BOX = 0.5

#: Subject id → codes of all answers that gold takes for right.
Accepted = Mapping[int, frozenset[int]]


def fits_and_judgements(
    outcomes: Mapping[str, Outcome | BoxOutcome], definition: WorkflowDefinition, gold: KnownAnswers
) -> dict[str, dict[str, Any]]:
    """Task key → {"fit": how the fit went, "judgement": its worth by the gold standard, or None}."""
    return {
        key: {
            "fit": outcome.facts,
            "judgement": (
                judge_boxes(outcome, gold.boxes.get(key, {}))
                if isinstance(outcome, BoxOutcome)
                else judge(outcome, gold.accepted.get(key, {}), answer_labels(definition.tasks[key]))
            ),
        }
        for key, outcome in outcomes.items()
    }


def judge(outcome: Outcome, accepted: Accepted, labels: Sequence[str]) -> dict[str, Any] | None:
    """Figures and reliability of a task's consensus on its gold subjects, in plain numbers; None with too little gold.

    Where gold accepts several answers (any of A, B, C for a simulated lens) these are taken together as one, so that
    the probability judged is that of the set. Gold sets that overlap without being equal cannot be told apart and are
    left out.
    """
    classes = _classes(accepted)
    place = {subject: row for row, subject in enumerate(outcome.subject_ids.tolist())}
    rows = [(place[subject], classes.index(codes)) for subject, codes in accepted.items()
            if subject in place and codes in classes]  # fmt: skip
    if len(rows) < FEWEST_GOLD:
        return None
    row, truth = np.array(sorted(rows)).T
    posterior, names = _collapse(outcome.held_out[row], classes, labels)
    found = diagnose(posterior, truth, n=RESAMPLES, n_bins=BINS)
    return {
        "n_gold": len(rows),
        "classes": names,
        "n_true": found.n_true.tolist(),
        "rate": found.rate,
        "level": found.level,
        "figures": {name: _estimate(estimate) for name, estimate in found.figures(names).items()},
        "confusion": found.confusion.tolist(),
        "reliability": _curve(found.reliability),
    }


def judge_boxes(outcome: BoxOutcome, truth: TrueBoxes) -> dict[str, Any] | None:
    """Figures and reliability of consensus boxes on subjects whose true boxes are known; None with too little gold.

    A box is right if it overlaps a true one by `SAME_BOX` or more, matched one to one, the most probable first.
    """
    found = outcome.held_out
    codes = [code for code, subject in enumerate(outcome.subject_ids.tolist()) if subject in truth]
    n_true = sum(len(truth[int(outcome.subject_ids[code])]) for code in codes)
    if len(codes) < FEWEST_GOLD or not n_true:
        return None
    rows = np.flatnonzero(np.isin(found.subject, codes))
    right = np.concatenate([np.zeros(0, dtype=bool), *(_matches(outcome, code, truth) for code in codes)])
    probability = found.probability[rows]
    curve = reliability(np.stack([probability, 1.0 - probability], axis=1), np.where(right, 0, 1), BINS, answer=0)
    return {
        "n_gold": len(codes),
        "classes": ["true boxes"],
        "n_true": [n_true],
        "level": LEVEL,
        "figures": {
            "completeness": _share(int(right.sum()), n_true),
            "purity": _share(int(right.sum()), len(right)),
            "Brier": [_number(((probability - right) ** 2).mean()) if len(right) else None, None, None],
        },
        "reliability": _curve(curve),
    }


def _matches(outcome: BoxOutcome, code: int, truth: TrueBoxes) -> npt.NDArray[np.bool_]:
    """Which published boxes of one subject are true ones."""
    first, last = np.searchsorted(outcome.held_out.subject, [code, code + 1])
    true = [[box[side] for side in SIDES] for box in truth[int(outcome.subject_ids[code])]]
    matched = np.zeros(last - first, dtype=bool)
    if not true or first == last:
        return matched
    overlap = box_iou(outcome.held_out.boxes[first:last], np.array(true))
    for row in range(last - first):  # the most probable first
        best = int(overlap[row].argmax())
        if overlap[row, best] >= SAME_BOX:
            matched[row] = True
            overlap[:, best] = 0.0
    return matched


def _share(n: int, total: int) -> list[float | None]:
    if not total:
        return [None, None, None]
    low, high = wilson_interval(n, total, LEVEL)
    return [_number(n / total), _number(float(low)), _number(float(high))]


def _classes(accepted: Accepted) -> list[frozenset[int]]:
    """Distinct sets of accepted answers that no other set overlaps, in the order of their first answers."""
    distinct = sorted(set(accepted.values()), key=sorted)
    return [one for one in distinct if not any(one & other for other in distinct if other != one)]


def _collapse(
    posterior: FloatArray, classes: Sequence[frozenset[int]], labels: Sequence[str]
) -> tuple[FloatArray, list[str]]:
    """Posterior of each class, and of all other answers together where there are any."""
    columns = [posterior[:, sorted(codes)].sum(axis=1) for codes in classes]
    names = [" or ".join(labels[code] for code in sorted(codes)) for codes in classes]
    others = sorted(set(range(len(labels))) - frozenset().union(*classes))
    if others:
        columns.append(posterior[:, others].sum(axis=1))
        names.append("another answer" if len(others) > 1 else labels[others[0]])
    table = np.stack(columns, axis=1)
    return table / table.sum(axis=1, keepdims=True), names


def _estimate(estimate: Estimate) -> list[float | None]:
    return [_number(value) for value in (estimate.value, estimate.low, estimate.high)]


def _curve(curve: Reliability) -> list[dict[str, Any]]:
    """The bins that hold subjects."""
    return [
        {
            "n": int(curve.n[i]),
            "from": _number(curve.edges[i]),
            "to": _number(curve.edges[i + 1]),
            "promised": _number(curve.confidence[i]),
            "delivered": _number(curve.accuracy[i]),
            "low": _number(curve.low[i]),
            "high": _number(curve.high[i]),
        }
        for i in range(len(curve.n))
        if curve.n[i]
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
