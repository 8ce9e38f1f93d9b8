"""Boxes that several volunteers drew in the same place."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aggregation.boxes import cluster_boxes
from classify.reducers.base import Reducer, State, Summary
from starsieve.projects.task_types import BoxesTask, Frame


class BoxesReducer(Reducer[BoxesTask]):
    """State: {"n_seen": volunteers who looked, "marks": [[k, x, y, width, height, tool] …]}, k counting from 0 the
    classifications that looked. It stands for the volunteer, whose own number may change when a visitor signs in.
    """

    def empty(self, task: BoxesTask) -> State:
        return {"n_seen": 0, "marks": []}

    def add(self, task: BoxesTask, state: State, value: Any, volunteer_id: int) -> State:
        k = state["n_seen"]
        marks = [[k, box["x"], box["y"], box["width"], box["height"], box["tool"]] for box in value]
        return {"n_seen": k + 1, "marks": state["marks"] + marks}

    def summarise(self, task: BoxesTask, state: State, frames: Sequence[Frame]) -> Summary:
        marks = np.array(state["marks"], dtype=float).reshape(-1, 6)
        tools = marks[:, 5].astype(int)
        clusters = cluster_boxes(marks[:, 1:5], marks[:, 0].astype(int), state["n_seen"])
        clumps = []
        for number, box in enumerate(clusters.boxes.tolist()):
            labels = np.bincount(tools[clusters.member == number], minlength=len(task.tools))
            clumps.append(
                {
                    **dict(zip(("x", "y", "width", "height"), box, strict=True)),
                    "n_marks": int(clusters.n_marks[number]),
                    "fraction": float(clusters.fraction[number]),
                    "label_fractions": {
                        tool.key: float(count / labels.sum()) for tool, count in zip(task.tools, labels, strict=True)
                    },
                }
            )
        return {"n_seen": state["n_seen"], "n_marks": len(marks), "clumps": clumps}
