"""How often volunteers are shown training subjects: a workflow definition's `training`."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from starsieve.projects.task_types import Problems

MOST_STEPS = 20
LARGEST_THRESHOLD = 10_000


@dataclass(frozen=True)
class Training:
    """`rates`: (n, share) by rising n from 0: from n classifications on, this share of what is shown is training."""

    rates: tuple[tuple[int, float], ...]

    @property
    def last_threshold(self) -> int:
        """More classifications than these change nothing."""
        return self.rates[-1][0]

    @property
    def highest_rate(self) -> float:
        return self.rates[0][1]

    def rate(self, n_classifications: int) -> float:
        """The share for someone with that many classifications in the workflow."""
        return self.rates[bisect_right(self.rates, n_classifications, key=lambda step: step[0]) - 1][1]


def read_training(data: Any, problems: Problems) -> Training | None:
    """The definition's `training`, None where there is none or where `problems` were added."""
    if data is None:
        return None
    if not isinstance(data, dict):
        problems.add("training", "must be an object with rates")
        return None
    problems.unknown_fields(data, ("rates",), "training")
    rates = data.get("rates")
    if not isinstance(rates, list) or not 1 <= len(rates) <= MOST_STEPS:
        problems.add("training.rates", f"must be a list of 1 to {MOST_STEPS} pairs [classifications, share]")
        return None
    steps = [_read_step(step, f"training.rates[{i}]", problems) for i, step in enumerate(rates)]
    read = [step for step in steps if step is not None]
    if len(read) < len(steps):
        return None
    _check_order(read, problems)
    return Training(tuple(read))


def _read_step(step: Any, place: str, problems: Problems) -> tuple[int, float] | None:
    if not isinstance(step, list) or len(step) != 2:
        problems.add(place, "must be a pair [classifications, share], for example [20, 0.2]")
        return None
    threshold, rate = step
    if isinstance(threshold, bool) or not isinstance(threshold, int) or not 0 <= threshold <= LARGEST_THRESHOLD:
        problems.add(f"{place}[0]", f"must be a whole number of classifications between 0 and {LARGEST_THRESHOLD}")
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        problems.add(f"{place}[1]", "must be a share between 0 and 1")
        return None
    return threshold, float(rate)


def _check_order(rates: list[tuple[int, float]], problems: Problems) -> None:
    if rates[0][0] != 0:
        problems.add("training.rates[0][0]", "must be 0: what is shown to someone who has just begun")
    for i, ((threshold, rate), (above, lower)) in enumerate(pairwise(rates), start=1):
        if above <= threshold:
            problems.add(f"training.rates[{i}][0]", f"must be above {threshold}, the one before")
        if lower > rate:
            problems.add(f"training.rates[{i}][1]", f"must not be above {rate:g}, the one before: rates never rise")
