"""Votes on a question that takes any number of answers."""

from collections.abc import Sequence
from typing import Any

from aggregation.tallies import RunningTally
from classify.reducers.base import Reducer, State, Summary, plain, plain_number
from starsieve.projects.task_types import Frame, MultipleTask


class MultipleReducer(Reducer[MultipleTask]):
    """State: {"n": volunteers who answered, "counts": [volunteers who chose each answer]}."""

    def empty(self, task: MultipleTask) -> State:
        return {"n": 0, "counts": [0] * len(task.answers)}

    def add(self, task: MultipleTask, state: State, value: Any, volunteer_id: int) -> State:
        tally = RunningTally(tuple(state["counts"]), state["n"], multiple=True).add(value)
        return {"n": tally.n_voters, "counts": list(tally.counts)}

    def summarise(self, task: MultipleTask, state: State, frames: Sequence[Frame]) -> Summary:
        tally = RunningTally(tuple(state["counts"]), state["n"], multiple=True).tally()
        return {
            "n": state["n"],
            "counts": state["counts"],
            "fractions": plain(tally.fractions[0]),
            "agreement": plain_number(tally.agreement[0]),
            "entropy": plain_number(tally.entropy[0]),
        }
