"""What a consensus is worth: its probabilities held against the gold standard."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aggregation.diagnostics import Estimate, diagnose
from aggregation.metrics import Reliability
from starsieve.catalogues.consensus.gold import KnownAnswers
from starsieve.catalogues.consensus.methods import FloatArray, Outcome
from starsieve.catalogues.consensus.subjects import answer_labels
from starsieve.projects.definitions import WorkflowDefinition

#: Gold subjects below which a reliability curve says nothing.
FEWEST_GOLD = 10
BINS = 10
RESAMPLES = 400

#: Subject id → codes of all answers that gold takes for right.
Accepted = Mapping[int, frozenset[int]]


def fits_and_judgements(
    outcomes: Mapping[str, Outcome], definition: WorkflowDefinition, gold: KnownAnswers
) -> dict[str, dict[str, Any]]:
    """Task key → {"fit": how the fit went, "judgement": its worth by the gold standard, or None}."""
    return {
        key: {
            "fit": outcome.facts,
            "judgement": judge(outcome, gold.accepted.get(key, {}), answer_labels(definition.tasks[key])),
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
