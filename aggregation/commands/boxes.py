"""``boxes``: consensus boxes of each subject."""

from __future__ import annotations

import argparse
from typing import get_args

import numpy as np

from aggregation._reading import Field, Parsed, Problems
from aggregation._writing import write_table
from aggregation.boxes import Average, consensus_boxes
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


_BOXES = (
    Field("subject_id"),
    Field("volunteer_id"),
    *(Field(side, "number") for side in _SIDES),
    Field("label", required=False, blank=True),
)


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "boxes",
        run,
        "Consensus boxes of each subject by greedy IoU voting. "
        "IN: subject_id, volunteer_id, x, y, width, height[, label]; a classification without a box is one row "
        "with the four empty. The probability written is the fraction of those who saw the subject.",
    )
    command.add_argument(
        "--iou", type=float, default=0.35, help="smallest overlap of marks of one object (default: %(default)s)"
    )
    command.add_argument(
        "--min-fraction", type=float, default=0.25, help="smallest vote fraction written (default: %(default)s)"
    )
    command.add_argument(
        "--average", choices=get_args(Average), default="mean", help="of the marks of a box (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> str:
    """Consensus boxes per subject; returns the line that says what was done."""
    for name, low_is_good in (("iou", False), ("min_fraction", True)):
        value = getattr(options, name)
        if not (0.0 < value <= 1.0 or (low_is_good and value == 0.0)):
            raise CommandError(f"--{name.replace('_', '-')}: {value} is not between 0 and 1", 2)
    check_paths(options, [options.input], [])
    table, rejects = read_input(options, _BOXES, _check_marks)
    label = table.ids.get("label")
    result = consensus_boxes(
        table.ids["subject_id"].codes,
        table.ids["volunteer_id"].codes,
        np.stack([table.numbers[side] for side in _SIDES], axis=1),
        label=None if label is None else label.codes,
        iou_threshold=options.iou,
        min_fraction=options.min_fraction,
        average=options.average,
    )
    columns: OutputColumns = {"subject_id": table.ids["subject_id"].column(result.subject)}
    if label is not None:
        columns["label"] = label.column(result.label)
    columns |= {side: result.boxes[:, place] for place, side in enumerate(_SIDES)}
    columns |= {"n_marks": result.n_marks, "n_seen": result.n_seen, "probability": result.probability}
    write_table(options.output, columns)
    return finish(options, table, rejects, len(result.subject), table.n_rows)


def _check_marks(parsed: Parsed) -> Problems:
    sides = np.stack([np.asarray(parsed[side], dtype=float) for side in _SIDES], axis=1)
    missing = np.isnan(sides)
    problems: Problems = {}
    for row in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)).tolist():
        column = _SIDES[int(missing[row].argmax())]
        problems[row] = (
            column,
            "is empty: give all of x, y, width, height, or none for a classification without a box",
        )
    for column in ("width", "height"):
        for row in np.flatnonzero(np.asarray(parsed[column]) <= 0).tolist():
            problems.setdefault(row, (column, f"is {parsed[column][row]}, not above 0"))
    for row, label in enumerate(parsed.get("label", ())):
        if not label and not missing[row].all():
            problems.setdefault(row, ("label", "is empty, but the row has a box"))
    return problems
