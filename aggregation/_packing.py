"""Results and messages as bytes: numpy's npz without pickle, with the structure around the arrays as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_STRUCTURE = "structure"


def pack(value: Any, classes: Iterable[type]) -> bytes:
    """Bytes of nested dataclasses (of `classes`), lists, tuples, dicts with text keys, arrays and plain values."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    structure = _taken_apart(value, arrays, {each.__name__ for each in classes})
    arrays[_STRUCTURE] = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def unpack(content: bytes | memoryview, classes: Iterable[type]) -> Any:
    """Inverse of `pack`. Raises ValueError for what is no such message."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            structure = json.loads(arrays[_STRUCTURE].tobytes())
            return _put_together(structure, arrays, {each.__name__: each for each in classes})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no message of a sharded fit: {type(error).__name__}: {error}") from None


def _taken_apart(value: Any, arrays: dict[str, npt.NDArray[Any]], known: set[str]) -> Any:
    """Plain values as they are; everything else as [what it is, its parts]."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        # What is held twice (a posterior that no gold has changed) is sent once.
        twins = (name for name, array in arrays.items() if array is value)
        name = next(twins, f"a{len(arrays)}")
        arrays[name] = value
        return ["array", name]
    if is_dataclass(value) and type(value).__name__ in known:
        parts = {each.name: _taken_apart(getattr(value, each.name), arrays, known) for each in fields(value)}
        return [type(value).__name__, parts]
    if isinstance(value, dict):
        return ["dict", {key: _taken_apart(each, arrays, known) for key, each in value.items()}]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_taken_apart(each, arrays, known) for each in value]]
    raise TypeError(f"{type(value).__name__} cannot be packed")


def _put_together(structure: Any, arrays: Any, known: dict[str, type]) -> Any:
    if not isinstance(structure, list):
        return structure
    kind, parts = structure
    if kind == "array":
        return arrays[parts]
    if kind in ("list", "tuple"):
        values = [_put_together(each, arrays, known) for each in parts]
        return values if kind == "list" else tuple(values)
    named = {key: _put_together(each, arrays, known) for key, each in parts.items()}
    return named if kind == "dict" else known[kind](**named)
