"""Frozen dataclasses of numbers and arrays to plain JSON values and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np


def to_plain(value: Any) -> Any:
    """Dataclasses become dictionaries, arrays and tuples lists; floats keep every digit."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def from_plain(kind: Any, plain: Any) -> Any:
    """The dataclass of the given type that `to_plain` wrote."""
    values = {}
    for name, hint in get_type_hints(kind).items():
        if name not in plain:
            raise ValueError(f"{kind.__name__} needs {name}; this was not written by as_json")
        given = plain[name]
        if is_dataclass(hint):
            values[name] = from_plain(hint, given)
        elif isinstance(given, list):
            is_pair = getattr(hint, "__origin__", None) is tuple
            values[name] = tuple(given) if is_pair else _array(hint, given)
        else:
            values[name] = given
    return kind(**values)


def _array(hint: Any, given: list[Any]) -> Any:
    """An array of the type that the hint names, also where it is empty."""
    (kind,) = hint.__args__[1].__args__
    return np.array(given, dtype=kind)
