"""Columns of text are what csv.writer and repr make of each value."""

import csv
import io

import pyarrow as pa
import pytest

from starsieve.catalogues.writers.csv import as_text
from starsieve.catalogues.writers.texts import as_texts, bytes_of, csv_field, joined, taken

AWKWARD = ["", "plain", "a,b", 'say "hi"', "two\nlines", "\r", " lead", "ω", "=1+1"]


@pytest.mark.parametrize("text", AWKWARD)
def test_a_field_is_quoted_as_csv_writer_quotes_it(text: str) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(["before", text, "after"])
    assert file.getvalue() == f"before,{csv_field(text)},after\n"


def test_equal_values_are_asked_about_once_and_zeros_keep_their_signs() -> None:
    asked = []

    def text_of(value: float | None) -> str:
        asked.append(value)
        return "" if value is None else repr(value)

    column = pa.array([0.0, -0.0, 0.5, None, 0.5, 0.1 + 0.2], pa.float64())
    assert as_texts(column, text_of).to_pylist() == ["0.0", "-0.0", "0.5", "", "0.5", "0.30000000000000004"]
    assert len(asked) == 5


def test_every_kind_of_column_has_its_text() -> None:
    assert as_texts(pa.array([True, False, True]), as_text).to_pylist() == ["true", "false", "true"]
    assert as_texts(pa.array([3, 3, -1], pa.int32()), as_text).to_pylist() == ["3", "3", "-1"]
    assert as_texts(pa.array(["a,b", None]), as_text).to_pylist() == ['"a,b"', ""]
    assert as_texts(pa.array([], pa.string()), as_text).to_pylist() == []


def test_lines_are_joined_row_by_row() -> None:
    lines = joined("<", taken(["a", "bé"], pa.array([1, 0]).to_numpy()), between="", end=">\n")
    assert bytes(bytes_of(lines)) == "<bé>\n<a>\n".encode()
    assert bytes(bytes_of(lines.slice(1))) == b"<a>\n"
