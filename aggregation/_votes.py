"""Input in coordinate (COO) form: one row per vote, every id an integer code counted from 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]

#: Largest code allowed per row when the number of codes is not given: ids that were never encoded
#: (a 64-bit primary key, say) would otherwise ask for terabytes.
_CODES_PER_ROW = 100
_CODES_FREE = 10_000


@dataclass(frozen=True)
class Votes:
    """Checked votes and the size of each axis."""

    subject: IntArray
    volunteer: IntArray
    answer: IntArray
    n_subjects: int
    n_volunteers: int
    n_answers: int

    @property
    def n_votes(self) -> IntArray:
        """Votes of each subject, shape (n_subjects,)."""
        return count(self.subject, self.n_subjects)


def count(codes: IntArray, n_codes: int) -> IntArray:
    """How often each code occurs, shape (n_codes,)."""
    return np.bincount(codes, minlength=n_codes).astype(np.int64, copy=False)


def check_codes(name: str, codes: npt.ArrayLike, n_codes: int | None = None) -> tuple[IntArray, int]:
    """Return `codes` as int64 and the number of codes; refuse what is not a list of codes from 0."""
    array = np.asarray(codes)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {array.ndim}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be integer codes from 0, not {array.dtype}; "
            "encode ids with numpy.unique(ids, return_inverse=True)"
        )
    array = array.astype(np.int64, copy=False)
    largest = int(array.max()) if array.size else -1
    if array.size and array.min() < 0:
        raise ValueError(f"{name}[{int(array.argmin())}] is {int(array.min())}: codes start at 0")
    if n_codes is None:
        return array, _size_from(name, largest, array.size)
    if n_codes < 0:
        raise ValueError(f"the number of {name} codes must not be negative, got {n_codes}")
    if largest >= n_codes:
        raise ValueError(f"{name}[{int(array.argmax())}] is {largest}, but there are only {n_codes} codes")
    return array, int(n_codes)


def _size_from(name: str, largest: int, n_rows: int) -> int:
    if largest >= _CODES_FREE + _CODES_PER_ROW * n_rows:
        raise ValueError(
            f"{name} has the code {largest} in {n_rows} rows: codes must be contiguous from 0; "
            "encode ids with numpy.unique(ids, return_inverse=True)"
        )
    return largest + 1


def check_same_length(**arrays: npt.NDArray[np.generic]) -> None:
    """Refuse arrays of different lengths, naming each."""
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"one row per vote is needed in every array, got lengths: {lengths}")


def check_votes(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    *,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
) -> Votes:
    """Check the three columns together and measure their axes."""
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    volunteers, n_volunteers = check_codes("volunteer", volunteer, n_volunteers)
    answers, n_answers = check_codes("answer", answer, n_answers)
    check_same_length(subject=subjects, volunteer=volunteers, answer=answers)
    return Votes(subjects, volunteers, answers, n_subjects, n_volunteers, n_answers)


def check_gold(gold: npt.ArrayLike | None, n_subjects: int, n_answers: int) -> IntArray:
    """Known answers, shape (n_subjects,), -1 where unknown; all unknown for None."""
    if gold is None:
        return np.full(n_subjects, -1, dtype=np.int64)
    array = np.asarray(gold)
    if array.shape != (n_subjects,) or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"gold must hold one integer per subject ({n_subjects}), -1 where unknown; "
            f"got shape {array.shape} of {array.dtype}"
        )
    array = array.astype(np.int64)
    if array.size and (array.min() < -1 or array.max() >= n_answers):
        worst = int(np.flatnonzero((array < -1) | (array >= n_answers))[0])
        raise ValueError(f"gold[{worst}] is {int(array[worst])}: an answer code below {n_answers} or -1")
    return array


def modal_answer(score: npt.NDArray[np.generic], known: BoolArray) -> IntArray:
    """Column of the largest score per row, the lowest code among equals, -1 where nothing is known."""
    if score.shape[1] == 0:
        return np.full(len(score), -1, dtype=np.int64)
    return np.where(known, score.argmax(axis=1), -1).astype(np.int64)


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike, empty: npt.ArrayLike = np.nan) -> FloatArray:
    """Quotient of the broadcast arrays, `empty` where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    out: FloatArray = np.full(top.shape, empty, dtype=np.float64)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def scramble(code: Bits) -> Bits:
    """Mix 64 bits (the finaliser of SplitMix; Steele, Lea & Flood 2014, OOPSLA)."""
    code = code + np.uint64(0x9E3779B97F4A7C15)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))
