"""``boxes``: consensus boxes of each subject, skills of the volunteers, what is left to find on the subjects."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aggregation._columns import Encoded
from aggregation._reading import Field, Parsed, Problems, read_table
from aggregation._votes import BoolArray, FloatArray, IntArray
from aggregation._writing import write_table
from aggregation.box_results import SETTLED, ConsensusBoxes, settled_subjects
from aggregation.boxes import FARTHEST, consensus_boxes
from aggregation.commands._progress import ProgressLine
from aggregation.commands._shared import (
    CommandError,
    Commands,
    OutputColumns,
    Parser,
    add_command,
    check_paths,
    finish,
    read_input,
)

_SIDES = ("x", "y", "width", "height")
_BOX = tuple(Field(side, "number") for side in _SIDES)
_BOXES = (Field("subject_id"), Field("volunteer_id"), *_BOX, Field("label", required=False, blank=True))
_GOLD = (Field("subject_id"), *_BOX)
_DETECTIONS = (Field("subject_id"), *_BOX, Field("score", "number", required=False))


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "boxes",
        run,
        "Consensus boxes of each subject. "
        "IN: subject_id, volunteer_id, x, y, width, height[, label]; a classification without a box is one row "
        "with the four empty. A box is written when it is more probably real than not; see --min-probability.",
    )
    command.add_argument("--volunteers", type=Path, metavar="FILE", help="write the skills of the volunteers")
    command.add_argument(
        "--subjects",
        type=Path,
        metavar="FILE",
        help="write the expected errors of each subject, and whether it is done",
    )
    command.add_argument(
        "--gold",
        type=Path,
        metavar="FILE",
        help="true boxes of some subjects (subject_id, x, y, width, height), the four empty for a subject without any",
    )
    command.add_argument(
        "--detections",
        type=Path,
        metavar="FILE",
        help="boxes found by a machine (subject_id, x, y, width, height[, score]), the four empty where it found none",
    )
    command.add_argument(
        "--min-probability",
        type=float,
        default=0.5,
        help="smallest probability written; 0 writes every lone mark (default: %(default)s)",
    )
    command.add_argument(
        "--threads", type=int, default=min(os.cpu_count() or 1, 4), help="threads to use (default here: %(default)s)"
    )


def run(options: argparse.Namespace) -> str:
    """Consensus boxes per subject; returns the line that says what was done."""
    if not 0.0 <= options.min_probability <= 1.0:
        raise CommandError(f"--min-probability: {options.min_probability} is not between 0 and 1", 2)
    if options.threads < 1:
        raise CommandError(f"--threads: {options.threads} is less than 1", 2)
    check_paths(options, [options.input, options.gold, options.detections], [options.volunteers, options.subjects])
    table, rejects = read_input(options, _BOXES, _check_marks)
    subject, volunteer, label = table.ids["subject_id"], table.ids["volunteer_id"], table.ids.get("label")
    gold = _read_boxes(options.gold, _GOLD, subject) if options.gold else None
    detections = _read_boxes(options.detections, _DETECTIONS, subject) if options.detections else None
    with ProgressLine("boxes") as progress:
        result = consensus_boxes(
            subject.codes,
            volunteer.codes,
            np.stack([table.numbers[side] for side in _SIDES], axis=1),
            label=None if label is None else label.codes,
            gold=None if gold is None else gold[:2],
            detections=detections,
            n_labels=None if label is None else len(label.values),
            min_probability=options.min_probability,
            threads=options.threads,
            progress=progress,
        )
    write_table(options.output, _box_columns(result, subject, label))
    if options.volunteers:
        write_table(options.volunteers, _volunteer_columns(result, volunteer))
    if options.subjects:
        write_table(options.subjects, _subject_columns(result, subject))
    return finish(options, table, rejects, len(result.subject), table.n_rows)


def _box_columns(result: ConsensusBoxes, subject: Encoded, label: Encoded | None) -> OutputColumns:
    columns: OutputColumns = {"subject_id": subject.column(result.subject)}
    columns |= {side: result.boxes[:, place] for place, side in enumerate(_SIDES)}
    columns |= {"n_marks": result.n_marks, "n_seen": result.n_seen, "probability": result.probability}
    columns |= {f"{side}_error": result.standard_errors[:, place] for place, side in enumerate(_SIDES)}
    columns["inaccuracy"] = result.inaccuracy
    if label is not None:
        columns["label"] = label.column(result.label)
        named = ((code, name) for code, name in enumerate(label.values) if name)  # blank classifications have none
        columns |= {f"p_{name}": result.label_fractions[:, code] for code, name in named}
    return columns


def _volunteer_columns(result: ConsensusBoxes, volunteer: Encoded) -> OutputColumns:
    skills = result.volunteers
    names = ("n_seen", "n_marks", "p_fp", "p_fn", "sigma", "false_rate", "attention")
    columns: OutputColumns = {"volunteer_id": volunteer.column(np.arange(len(volunteer.values)))}
    columns |= {name: getattr(skills, name) for name in names}
    columns["is_spammer"] = skills.is_spammer.astype(np.int64)
    return columns


def _subject_columns(result: ConsensusBoxes, subject: Encoded) -> OutputColumns:
    known = result.subjects
    names = ("n_boxes", "expected_missed", "expected_false", "expected_inaccurate", "risk", "n_seen", "clutter", "blur")
    columns: OutputColumns = {"subject_id": subject.column(np.arange(len(subject.values)))}
    columns |= {name: getattr(known, name) for name in names}
    columns["settled"] = [SETTLED[reason] for reason in settled_subjects(known).tolist()]
    return columns


def _read_boxes(path: Path, fields: tuple[Field, ...], subject: Encoded) -> tuple[npt.NDArray[np.generic], ...]:
    """Subject codes, boxes and scores, if there are any, of the subjects that have classifications."""
    table = read_table(path, fields, check=_check_marks, way_out="Correct it")
    codes = _codes_in(table.ids["subject_id"], subject)
    rows = np.flatnonzero(codes >= 0)
    boxes = np.stack([table.numbers[side] for side in _SIDES], axis=1)
    columns: tuple[npt.NDArray[np.generic], ...] = (codes[rows], boxes[rows])
    return (*columns, table.numbers["score"][rows]) if "score" in table.numbers else columns


def _codes_in(given: Encoded, known: Encoded) -> IntArray:
    """Codes of the given ids among the known ones, -1 for others."""
    number = {value: code for code, value in enumerate(known.values)}
    return np.array([number.get(value, -1) for value in given.values], dtype=np.int64)[given.codes]


def _check_marks(parsed: Parsed) -> Problems:
    sides: FloatArray = np.stack([np.asarray(parsed[side], dtype=float) for side in _SIDES], axis=1)
    missing: BoolArray = np.isnan(sides)
    blank = np.asarray(missing.all(axis=1))
    problems: Problems = {}
    for row in np.flatnonzero(missing.any(axis=1) & ~blank).tolist():
        column = _SIDES[int(missing[row].argmax())]
        reason = "is empty: give all of x, y, width, height, or none for a classification without a box"
        problems[row] = (column, reason)
    for column in ("width", "height"):
        for row in np.flatnonzero(np.asarray(parsed[column]) <= 0).tolist():
            problems.setdefault(row, (column, f"is {parsed[column][row]}, not above 0"))
    for row, place in np.argwhere(np.abs(sides) > FARTHEST).tolist():
        problems.setdefault(row, (_SIDES[place], f"is {sides[row, place]}, beyond {FARTHEST:g}"))
    for row, label in enumerate(parsed.get("label", ())):
        if not label and not blank[row]:
            problems.setdefault(row, ("label", "is empty, but the row has a box"))
    if "score" in parsed:
        for row in np.flatnonzero(np.isnan(np.asarray(parsed["score"], dtype=float)) & ~blank).tolist():
            problems.setdefault(row, ("score", "is empty, but the row has a box"))
    return problems
