"""Consensus on one task, however it came about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation.calibration import CalibrationMap
from starsieve.catalogues.consensus.live import LiveTasks
from starsieve.catalogues.consensus.votes import IntArray

FloatArray = npt.NDArray[np.float64]

#: What is stored and published has this many decimals: it must not hang on the last bits of a sum.
DECIMALS = 6


@dataclass(frozen=True)
class Outcome:
    """Consensus on one task; row i is `subject_ids[i]`, columns are answers or GRADES.

    `held_out` is the posterior of gold subjects without their own gold answer. `reach` is the probability that the
    question applies, where the tree knows. `columns` and `held_out_columns` hold further numbers by name. `facts` is
    what a page or a provenance says about the fit. `live` goes on vote by vote, for this task or, at the first question
    of a tree, for all of its questions.
    """

    subject_ids: IntArray
    n_votes: IntArray
    posterior: FloatArray
    held_out: FloatArray
    facts: dict[str, Any]
    reach: FloatArray | None = None
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    held_out_columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    live: LiveTasks | None = None

    @property
    def answer(self) -> IntArray:
        """The most probable answer's code."""
        best: IntArray = self.posterior.argmax(axis=1)
        return best

    def without_gold(self) -> "Outcome":
        """The same, saying of gold subjects what votes alone say: pages must not give the gold standard away."""
        return replace(self, posterior=self.held_out, columns=self.held_out_columns)

    def said_of(self, row: int) -> dict[str, Any]:
        """What is said of one subject, in plain numbers; "answer" is still a code."""
        return {name: column[row].tolist() for name, column in self.rounded.items()}

    @cached_property
    def rounded(self) -> dict[str, npt.NDArray[Any]]:
        """What is said of all subjects, by the same names."""
        columns: dict[str, npt.NDArray[Any]] = {"n": self.n_votes, "p": self.posterior, "answer": self.answer}
        if self.reach is not None:
            columns["reach"] = self.reach
        columns |= self.columns
        return {
            name: np.round(column, DECIMALS) if column.dtype.kind == "f" else column for name, column in columns.items()
        }


def live_of(outcomes: Iterable[object]) -> list[LiveTasks]:
    """What of the outcomes goes on vote by vote."""
    return [outcome.live for outcome in outcomes if isinstance(outcome, Outcome) and outcome.live is not None]


def calibration_facts(fitted: CalibrationMap | None) -> dict[str, Any]:
    """What a page says of the map that gold taught."""
    if fitted is None:
        return {}
    return {"calibration": {"kind": fitted.kind, "n_gold": fitted.n_gold, "reason": fitted.reason}}


def plain(numbers: FloatArray) -> list[Any]:
    """Nested lists of rounded numbers."""
    rounded: list[Any] = np.round(numbers, DECIMALS).tolist()
    return rounded
