"""Votes for one answer out of several."""

from collections.abc import Sequence
from typing import Any

from aggregation.tallies import RunningTally
from classify.reducers.base import Reducer, State, Summary, plain, plain_number
from starsieve.projects.task_types import Frame, SingleTask


class SingleReducer(Reducer[SingleTask]):
    """State: {"n": volunteers who answered, "counts": [votes for each answer]}."""

    def empty(self, task: SingleTask) -> State:
        return {"n": 0, "counts": [0] * len(task.answers)}

    def add(self, task: SingleTask, state: State, value: Any, volunteer_id: int) -> State:
        tally = RunningTally(tuple(state["counts"]), state["n"]).add(value)
        return {"n": tally.n_voters, "counts": list(tally.counts)}

    def summarise(self, task: SingleTask, state: State, frames: Sequence[Frame]) -> Summary:
        tally = RunningTally(tuple(state["counts"]), state["n"]).tally()
        answer = int(tally.answer[0])
        return {
            "n": state["n"],
            "counts": state["counts"],
            "fractions": plain(tally.fractions[0]),
            "answer": answer if answer >= 0 else None,
            "agreement": plain_number(tally.agreement[0]),
            "entropy": plain_number(tally.entropy[0]),
        }
