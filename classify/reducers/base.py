"""What every reducer offers: a running state that fits in a JSON column, and a summary of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from starsieve.projects.task_types import Frame, Task

State = dict[str, Any]
Summary = dict[str, Any]
AnyTask = TypeVar("AnyTask", bound=Task)


class Reducer(ABC, Generic[AnyTask]):
    """Consensus on one task of one subject. All methods are pure; states and summaries hold JSON values only.

    `add` gets values as `Task.check_value` returns them, in the order of the classifications' ids, and never None
    (a skipped task is no vote). Adding values one by one and adding them anew from the database must give equal states.
    """

    @abstractmethod
    def empty(self, task: AnyTask) -> State:
        """The state before the first answer."""

    @abstractmethod
    def add(self, task: AnyTask, state: State, value: Any, volunteer_id: int) -> State:
        """The state with one more answer."""

    @abstractmethod
    def summarise(self, task: AnyTask, state: State, frames: Sequence[Frame]) -> Summary:
        """What pages, API and catalogues show. Numbers that nobody's answer defines yet are None."""


def plain(values: npt.NDArray[Any]) -> list[Any]:
    """An array as JSON values: nan becomes None."""
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]


def plain_number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
