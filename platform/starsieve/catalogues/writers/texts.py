"""Columns of text, put together without a Python object per row."""

import csv
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TEXT = pa.large_string()


class _Line:
    """Where csv.writer puts a row."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


_LINE = _Line()
_WRITER = csv.writer(_LINE, lineterminator="\n")


def csv_field(text: str) -> str:
    """A text as a field of RFC 4180, quoted where it must be."""
    _WRITER.writerow((text, ""))
    return _LINE.text[:-2]


def as_texts(column: pa.Array, text_of: Callable[[Any], str]) -> pa.LargeStringArray:
    """`text_of` each value, None for null; it is asked once about equal values."""
    # Floats by their bits: 0.0 and -0.0 are two texts.
    kind = column.type
    encoded = (column.view(pa.int64()) if pa.types.is_floating(kind) else column).dictionary_encode()
    distinct = encoded.dictionary.view(kind) if pa.types.is_floating(kind) else encoded.dictionary
    texts = pa.array([text_of(value) for value in distinct.to_pylist()], TEXT)
    return pc.fill_null(texts.take(encoded.indices), text_of(None))


def taken(texts: Sequence[str], places: npt.NDArray[np.int64]) -> pa.LargeStringArray:
    """`texts[place]` of each place."""
    return pa.array(texts, TEXT).take(pa.array(places))


def joined(*parts: pa.LargeStringArray | str, between: str = "", end: str = "") -> pa.LargeStringArray:
    """The parts of each row one after the other; a plain text is the same in every row."""
    whole = _join([_text(part) for part in parts], between)
    return _join([whole, _text(end)], "") if end else whole


def _join(parts: Sequence[pa.Array | pa.Scalar], between: str) -> pa.LargeStringArray:
    return pc.binary_join_element_wise(*parts, _text(between))


def _text(part: pa.LargeStringArray | str) -> pa.LargeStringArray | pa.Scalar:
    return pa.scalar(part, TEXT) if isinstance(part, str) else part


def bytes_of(texts: pa.LargeStringArray) -> memoryview:
    """All texts one after the other."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(texts.buffers()[2])[int(offsets[0]) : int(offsets[-1])]
