"""Consensus per task type. To add one, copy the nearest file here and list its class in REDUCERS."""

from typing import Any

from classify.reducers.base import Reducer, State, Summary
from classify.reducers.boxes import BoxesReducer
from classify.reducers.grade import GradeReducer
from classify.reducers.multiple import MultipleReducer
from classify.reducers.single import SingleReducer
from classify.reducers.text import TextReducer

REDUCERS: dict[str, Reducer[Any]] = {
    "single": SingleReducer(),
    "multiple": MultipleReducer(),
    "grade": GradeReducer(),
    "boxes": BoxesReducer(),
    "text": TextReducer(),
}

__all__ = ["REDUCERS", "Reducer", "State", "Summary"]
