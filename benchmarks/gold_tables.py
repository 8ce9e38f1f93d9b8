"""Real crowds with known answers (../shared/data/crowd, where it is): one default setting of ours, no gold given,
beside every method of crowd-kit on the same tables.
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aggregation
from benchmarks import peers
from benchmarks.figures import Figure

TABLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "crowd"
#: GLAD and MACE run on these alone.
SMALL = 20_000
TINY = ("bluebird", "rte")


@dataclass(frozen=True)
class Table:
    """Votes as codes, truth -1 where unknown."""

    name: str
    subject: NDArray[np.int64]
    volunteer: NDArray[np.int64]
    answer: NDArray[np.int64]
    n_answers: int
    truth: NDArray[np.int64]


def measure_gold_tables(tiny: bool) -> Iterator[Figure]:
    """Nothing where the tables are absent."""
    tables = [read_table(folder) for folder in gold_folders() if not tiny or folder.name in TINY]
    if not tables:
        return
    ours = _means(tables, lambda table: aggregation.pooled_dawid_skene(*_votes(table)).posterior)
    theirs = {} if tiny else {name: _peer_means(tables, fit) for name, fit in peers.PEERS.items()}
    yield from _compare(f"{len(tables)} gold tables", ours, theirs)
    if tiny:
        return
    small = [table for table in tables if len(table.subject) <= SMALL]
    every = {name: _peer_means(small, fit) for name, fit in (peers.PEERS | peers.SLOW_PEERS).items()}
    ours = _means(small, lambda table: aggregation.pooled_dawid_skene(*_votes(table)).posterior)
    yield from _compare(f"{len(small)} small gold tables", ours, every)


def gold_folders() -> list[Path]:
    return sorted(file.parent for file in TABLES.glob("*/truth.csv")) if TABLES.exists() else []


def read_table(folder: Path) -> Table:
    """One table of `../shared/data/crowd`; its README says what it is."""
    meta = json.loads((folder / "meta.json").read_text())
    file = next(path for path in (folder / "votes.csv", folder / "votes.csv.gz") if path.exists())
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as rows:
        votes = np.array([(int(r["task"]), int(r["worker"]), int(r["label"])) for r in csv.DictReader(rows)])
    with (folder / "truth.csv").open() as rows:
        known = {int(r["task"]): int(r["truth"]) for r in csv.DictReader(rows)}
    tasks = np.unique(np.concatenate([votes[:, 0], list(known)]))
    truth = np.full(len(tasks), -1)
    truth[np.searchsorted(tasks, list(known))] = list(known.values())
    volunteer = np.unique(votes[:, 1], return_inverse=True)[1]
    n_answers = max(meta["classes"], int(truth.max()) + 1)
    return Table(folder.name, np.searchsorted(tasks, votes[:, 0]), volunteer, votes[:, 2], n_answers, truth)


def _votes(table: Table) -> tuple[Any, ...]:
    return table.subject, table.volunteer, table.answer, table.n_answers


def _peer_means(tables: list[Table], fit: Callable[[Any, int, int], peers.Posterior]) -> dict[str, float]:
    return _means(
        tables,
        lambda table: fit(
            peers.frame_of(table.subject, table.volunteer, table.answer), table.n_answers, len(table.truth)
        ),
    )


def _means(tables: list[Table], posterior_of: Callable[[Table], peers.Posterior]) -> dict[str, float]:
    """Mean over the tables of each score, all from the same posterior."""
    scores = []
    for table in tables:
        posterior, known = posterior_of(table), table.truth[: len(table.truth)]
        posterior = _with_all_rows(posterior, len(known))
        scores.append(
            (
                aggregation.accuracy(posterior, known),
                aggregation.log_loss(posterior, known),
                aggregation.brier(posterior, known),
                aggregation.expected_calibration_error(posterior, known),
            )
        )
    mean = np.mean(scores, axis=0).tolist()
    return dict(zip(("accuracy", "log loss", "Brier", "calibration error"), mean, strict=True))


def _with_all_rows(posterior: peers.Posterior, n: int) -> peers.Posterior:
    """A row for each subject: those after the last with a vote are unknown."""
    missing = np.full((n - len(posterior), posterior.shape[1]), 1.0 / posterior.shape[1])
    return np.concatenate([posterior, missing])


def _compare(where: str, ours: dict[str, float], theirs: dict[str, dict[str, float]]) -> Iterator[Figure]:
    for score, value in ours.items():
        others = [each[score] for each in theirs.values()]
        if score == "accuracy":
            yield Figure(f"pooled, {where}, {score}", value, "mean", at_least=max(others, default=None))
        else:
            factor = 0.60 if score == "log loss" else 1.0
            bar = factor * min(others) if others and score != "Brier" else None
            yield Figure(f"pooled, {where}, {score}", value, "mean", at_most=bar)
    for name, scores in theirs.items():
        for score, value in scores.items():
            yield Figure(f"crowd-kit {name}, {where}, {score}", value, "mean")
