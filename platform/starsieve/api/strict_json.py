"""JSON from strangers: what Python's reader takes in silence, or fails on with more than a ValueError, is refused."""

import json
import re
from math import isfinite
from typing import Any

DEEPEST = 64
SURROGATE = re.compile("[\ud800-\udfff]")


class JsonProblem(ValueError):
    """The text is refused. `place` says where: a line and column, or the path of the object at fault."""

    def __init__(self, place: str, message: str) -> None:
        self.place = place
        self.message = message
        super().__init__(f"{place}: {message}")


class _Object(dict[str, Any]):
    """An object that remembers the keys it was given more than once."""

    repeated: tuple[str, ...] = ()


def _collect(pairs: list[tuple[str, Any]]) -> _Object:
    collected = _Object(pairs)
    if len(collected) < len(pairs):
        seen: set[str] = set()
        collected.repeated = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return collected


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number


def loads(text: str | bytes) -> Any:
    """The value that the text holds.

    Raises JsonProblem for text that is not JSON (NaN included), a key given twice in one object (the last one would win
    in silence), nesting deeper than 64, and text that a database cannot store: NUL characters and lone surrogates.
    """
    try:
        value = json.loads(text, object_pairs_hook=_collect, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise JsonProblem(f"line {error.lineno}, column {error.colno}", f"is not JSON: {error.msg}") from None
    except RecursionError:
        raise JsonProblem("body", f"is nested deeper than {DEEPEST}") from None
    except ValueError as error:  # NaN, a number of thousands of digits, bytes that are not UTF-8
        raise JsonProblem("body", f"is not JSON: {error}") from None
    _check(value)
    return value


def _check(value: Any) -> None:
    stack = [("", 0, value)]
    while stack:
        place, depth, inner = stack.pop()
        if depth > DEEPEST:
            raise JsonProblem("body", f"is nested deeper than {DEEPEST}")
        if isinstance(inner, str):
            _check_text(place, inner)
        elif isinstance(inner, _Object):
            if inner.repeated:
                raise JsonProblem(place or "body", f"gives the key {inner.repeated[0][:60]!a} twice")
            for key, child in inner.items():
                _check_text(place, key)
                stack.append((f"{place}.{key[:60]}" if place else key[:60], depth + 1, child))
        elif isinstance(inner, list):
            stack += [(f"{place}[{i}]", depth + 1, child) for i, child in enumerate(inner)]


def _check_text(place: str, text: str) -> None:
    if "\x00" in text or (not text.isascii() and SURROGATE.search(text)):
        raise JsonProblem(place or "body", "has a NUL character or half of a surrogate pair")
