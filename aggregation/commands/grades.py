"""``grades``: distribution of ordinal grades of each subject."""

from __future__ import annotations

import argparse

import numpy as np

from aggregation._reading import Parsed, Problems
from aggregation._writing import write_table
from aggregation.commands._shared import (
    REPEATS,
    VOTES,
    CommandError,
    Commands,
    Parser,
    add_command,
    check_paths,
    counted_votes,
    finish,
    read_input,
    subject_columns,
)
from aggregation.grades import LENS_ESCAPE, LENS_LEVELS, grade_distribution


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "grades",
        run,
        "Distribution of ordinal grades of each subject. "
        f"IN: subject_id, volunteer_id, answer[, task][, created_at], the answers being grades. {REPEATS}",
    )
    command.add_argument(
        "--levels",
        type=_levels,
        default=",".join(LENS_LEVELS),
        help="grades from worst to best, separated by commas (default: %(default)s)",
    )
    command.add_argument(
        "--escape", default=LENS_ESCAPE, help="grade outside the scale, '' for none (default: %(default)s)"
    )


def _levels(text: str) -> tuple[str, ...]:
    levels = tuple(text.split(","))
    if "" in levels or len(set(levels)) != len(levels):
        raise argparse.ArgumentTypeError(f"{text!r} must name different grades, separated by commas")
    return levels


def run(options: argparse.Namespace) -> str:
    """Grade distribution per subject; returns the line that says what was done."""
    if options.escape in options.levels:
        raise CommandError(f"--escape: {options.escape!r} is one of the levels; name another grade, or ''", 2)
    grades = (*options.levels, options.escape) if options.escape else options.levels
    check_paths(options, [options.input], [])

    def check(parsed: Parsed) -> Problems:
        unknown = set(parsed["answer"]) - set(grades)
        if not unknown:
            return {}
        reason = f"is not one of the grades {', '.join(grades)}; see --levels and --escape"
        rows = (row for row, value in enumerate(parsed["answer"]) if value in unknown)
        return dict.fromkeys(rows, ("answer", reason))

    table, rejects = read_input(options, VOTES, check)
    votes = counted_votes(table)
    code = np.array([grades.index(value) for value in table.ids["answer"].values])
    n_tasks = int(votes.task.max()) + 1
    pairs, pair = np.unique(votes.subject * n_tasks + votes.task, return_inverse=True)
    result = grade_distribution(pair, code[votes.answer], len(options.levels), escape=bool(options.escape))
    columns = subject_columns(table, pairs // n_tasks, pairs % n_tasks) | {"n_votes": result.n_votes}
    columns["grade"] = [grades[best] for best in result.grade.tolist()]
    columns |= {f"p_{name}": result.fractions[:, place] for place, name in enumerate(grades)}
    columns |= {"expected_grade": result.expected, "agreement": result.agreement}
    write_table(options.output, columns)
    return finish(options, table, rejects, len(pairs), len(votes.subject))
