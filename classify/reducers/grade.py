"""The distribution of lens grades; I (interesting, no lens) has no place on the scale X < C < B < A."""

from collections.abc import Sequence
from typing import Any

from aggregation.grades import LENS_ESCAPE, LENS_LEVELS, grades_from_counts
from classify.reducers.base import Reducer, State, Summary, plain, plain_number
from starsieve.projects.task_types import GRADES, Frame, GradeTask

COLUMNS = (*LENS_LEVELS, LENS_ESCAPE)


class GradeReducer(Reducer[GradeTask]):
    """State: {"n": volunteers who graded, "counts": {grade: votes}}."""

    def empty(self, task: GradeTask) -> State:
        return {"n": 0, "counts": dict.fromkeys(GRADES, 0)}

    def add(self, task: GradeTask, state: State, value: Any, volunteer_id: int) -> State:
        counts = dict(state["counts"])
        counts[value] += 1
        return {"n": state["n"] + 1, "counts": counts}

    def summarise(self, task: GradeTask, state: State, frames: Sequence[Frame]) -> Summary:
        counts = state["counts"]
        distribution = grades_from_counts([[counts[grade] for grade in COLUMNS]])
        fractions = dict(zip(COLUMNS, plain(distribution.fractions[0]), strict=True))
        grade = int(distribution.grade[0])
        return {
            "n": state["n"],
            "counts": counts,
            "fractions": {name: fractions[name] for name in GRADES},
            "grade": COLUMNS[grade] if grade >= 0 else None,
            "expected_grade": plain_number(distribution.expected[0]),
            "n_on_scale": int(distribution.n_on_scale[0]),
            "agreement": plain_number(distribution.agreement[0]),
        }
