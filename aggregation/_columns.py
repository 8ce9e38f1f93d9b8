"""Cells to codes and numbers: ids, finite numbers, times."""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from aggregation._votes import FloatArray, IntArray


@dataclass(frozen=True)
class Encoded:
    """A column of ids: distinct values in order, and each row's position among them."""

    values: tuple[str, ...]
    codes: IntArray
    integer: bool = False

    def column(self, codes: IntArray) -> list[str] | IntArray:
        """Ids of the given codes, as integers if the file held integers."""
        values = [self.values[code] for code in codes.tolist()]
        return np.array([int(value) for value in values], dtype=np.int64) if self.integer else values


class IdColumn:
    """Collects a column of ids as codes in order of appearance."""

    def __init__(self, blank: bool) -> None:
        self.blank = blank
        self.index: dict[str, int] = {}
        self.parts: list[IntArray] = []
        self.integer = False

    def encode(self, values: Sequence[str]) -> tuple[IntArray, dict[int, str]]:
        """Codes of the rows, and what is wrong with the rows (of code -1) that have none."""
        codes = np.fromiter(map(self.index.get, values, repeat(-1)), np.int64, len(values))
        problems = {}
        # Most values have been met before, so few rows come here.
        for row in np.flatnonzero(codes < 0).tolist():
            value = values[row]
            if value in self.index or not (reason := _id_problem(value, self.blank)):
                codes[row] = self.index.setdefault(value, len(self.index))
            else:
                problems[row] = reason
        return codes, problems

    def append(self, codes: IntArray) -> None:
        """Add rows by the codes of `encode`."""
        self.parts.append(codes)

    def finish(self) -> Encoded:
        """Codes in the order of `sorted_ids`, of the values that were appended."""
        codes = np.concatenate(self.parts)
        used = np.bincount(codes, minlength=len(self.index)) > 0  # not those of rows refused for another reason
        values = sorted_ids([value for value, is_used in zip(self.index, used, strict=True) if is_used])
        rank = np.zeros(len(self.index), dtype=np.int64)
        rank[[self.index[value] for value in values]] = np.arange(len(values))
        return Encoded(tuple(values), rank[codes], self.integer)


def sorted_ids(values: Collection[str]) -> list[str]:
    """Ids by number if all are integers written plainly, else by text: never by their order in the file."""
    if all(_is_plain_integer(value) for value in values if value):
        return sorted(values, key=lambda value: int(value) if value else -math.inf)
    return sorted(values)


def _is_plain_integer(value: str) -> bool:
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0") and value != "-0"


def _id_problem(value: str, blank: bool) -> str:
    if not value or value.isspace():
        return "" if blank and not value else "is empty"
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # bytes that were no UTF-8 arrive as lone surrogates
            return "is not UTF-8 text: save the file as UTF-8"
    return ""


def parse_numbers(values: Sequence[str] | FloatArray) -> tuple[FloatArray, dict[int, str]]:
    if isinstance(values, np.ndarray):
        numbers = values
    else:
        try:
            numbers = np.array([value or "nan" for value in values], dtype=np.float64)
        except ValueError:
            return _parse_numbers_one_by_one(values)
    infinite = np.flatnonzero(np.isinf(numbers))
    return numbers, {int(row): "is not a finite number" for row in infinite}


def _parse_numbers_one_by_one(values: Sequence[str]) -> tuple[FloatArray, dict[int, str]]:
    numbers = np.full(len(values), np.nan)
    problems = {}
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value) if value.strip() else np.nan
        except ValueError:
            problems[row] = f"is {shown(value)}, not a number"
    problems |= {int(row): "is not a finite number" for row in np.flatnonzero(np.isinf(numbers))}
    return numbers, problems


def parse_times(values: Sequence[str] | FloatArray) -> tuple[FloatArray, dict[int, str]]:
    if isinstance(values, np.ndarray):
        times = values
    else:
        try:
            times = np.array(values, dtype=np.float64)
        except ValueError:
            return _parse_iso_times(values)
    missing = np.flatnonzero(~np.isfinite(times))
    return times, {int(row): "is not a finite time" for row in missing}


def _parse_iso_times(values: Sequence[str]) -> tuple[FloatArray, dict[int, str]]:
    times = np.zeros(len(values))
    problems = {}
    for row, value in enumerate(values):
        try:
            # "2019-12-04 20:48:11 UTC" is how Zooniverse exports write it.
            time = datetime.datetime.fromisoformat(value.strip().replace(" UTC", "+00:00"))
        except ValueError:
            problems[row] = (
                f"is {shown(value)}, not a time such as 2026-11-22T01:30:00Z"
                if value.strip()
                else "is empty: give every vote a time or leave the column out"
            )
            continue
        times[row] = (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()
    return times, problems


def shown(value: str) -> str:
    """The value for a one-line message: quoted, control characters escaped, cut."""
    return repr(value) if len(value) <= 40 else repr(value[:37] + "...")
