"""Free texts are not reduced: how many there are. The texts themselves stay in the classifications."""

from collections.abc import Sequence
from typing import Any

from classify.reducers.base import Reducer, State, Summary
from starsieve.projects.task_types import Frame, TextTask


class TextReducer(Reducer[TextTask]):
    """State: {"n": volunteers who wrote something}."""

    def empty(self, task: TextTask) -> State:
        return {"n": 0}

    def add(self, task: TextTask, state: State, value: Any, volunteer_id: int) -> State:
        return {"n": state["n"] + (1 if value else 0)}

    def summarise(self, task: TextTask, state: State, frames: Sequence[Frame]) -> Summary:
        return {"n": state["n"]}
