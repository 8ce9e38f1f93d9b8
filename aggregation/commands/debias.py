"""``debias``: vote fractions of one question as they would be nearby."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from aggregation._reading import Field, Parsed, Problems
from aggregation._votes import FloatArray, IntArray
from aggregation._writing import write_table
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
from aggregation.debias import (
    DEBIAS_STATUS,
    CumulativeDebiased,
    RatioDebiased,
    debias_cumulative,
    debias_ratio,
)

_METHODS: dict[str, Callable[..., CumulativeDebiased | RatioDebiased]] = {
    "cumulative": debias_cumulative,
    "ratio": debias_ratio,
}
_PHOTOMETRY = ("absolute_magnitude", "r50_kpc", "redshift")


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "debias",
        run,
        "Vote fractions as they would be nearby. One question, one row per galaxy. IN: subject_id, n_votes, "
        f"{', '.join(_PHOTOMETRY)} and the vote fraction p_<answer> of each answer; a galaxy without votes or "
        "photometry has empty cells. OUT: the debiased fractions, and whether the galaxy was corrected or why not.",
    )
    command.add_argument(
        "--answers", type=_answers, required=True, metavar="A,B...", help="the answers, as in the names of the columns"
    )
    command.add_argument(
        "--method",
        choices=list(_METHODS),
        default="cumulative",
        help="Hart et al. 2016 (cumulative) or Willett et al. 2013 (ratio) (default: %(default)s)",
    )
    command.add_argument(
        "--min-votes",
        type=float,
        default=20.0,
        metavar="N",
        help="votes on the question below which a galaxy is not learnt from (default: %(default)g)",
    )


def _answers(text: str) -> tuple[str, ...]:
    answers = tuple(text.split(","))
    if "" in answers or len(set(answers)) != len(answers) or len(answers) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} must name two or more different answers, separated by commas")
    return answers


def run(options: argparse.Namespace) -> str:
    """Debias every row; returns the line that says what was done."""
    names = [f"p_{answer}" for answer in options.answers]
    check_paths(options, [options.input], [])
    fields = (Field("subject_id"), *(Field(name, "number") for name in ("n_votes", *names, *_PHOTOMETRY)))
    table, rejects = read_input(options, fields, lambda parsed: _check(parsed, names))
    fractions = np.stack([table.numbers[name] for name in names], axis=1)
    photometry = [table.numbers[name] for name in _PHOTOMETRY]
    try:
        result = _METHODS[options.method](fractions, table.numbers["n_votes"], *photometry, min_votes=options.min_votes)
    except ValueError as error:
        raise CommandError(f"{table.path}: {error}", 2) from None
    subjects = table.ids["subject_id"]
    columns: OutputColumns = {
        "subject_id": subjects.column(subjects.codes),
        "n_votes": _whole(table.numbers["n_votes"]),
    }
    columns |= {name: result.fractions[:, place] for place, name in enumerate(names)}
    columns["status"] = [DEBIAS_STATUS[each] for each in result.status.tolist()]
    write_table(options.output, columns)
    counts = np.bincount(result.status, minlength=len(DEBIAS_STATUS)).tolist()
    found = ", ".join(f"{n} {status}" for n, status in zip(counts, DEBIAS_STATUS, strict=True) if n)
    return f"{finish(options, table, rejects, table.n_rows, table.n_rows)}; {found}"


def _check(parsed: Parsed, names: list[str]) -> Problems:
    """Rows whose votes or fractions cannot be."""
    votes = np.asarray(parsed["n_votes"], dtype=float)
    problems: Problems = {int(row): ("n_votes", "is no number of votes") for row in np.flatnonzero(~(votes >= 0))}
    fractions = np.stack([np.asarray(parsed[name], dtype=float) for name in names], axis=1)
    given = (votes > 0) & np.isfinite(fractions).all(axis=1)
    partly = np.isfinite(fractions).any(axis=1) & ~np.isfinite(fractions).all(axis=1)
    for row in np.flatnonzero(partly).tolist():
        problems.setdefault(
            row, (names[int(np.isnan(fractions[row]).argmax())], "is empty, other answers have a fraction")
        )
    wrong = given & ((fractions < 0).any(axis=1) | (np.abs(fractions.sum(axis=1) - 1.0) >= 0.01))
    for row in np.flatnonzero(wrong).tolist():
        reason = f"and the other fractions of the question sum to {fractions[row].sum():.3g}, not 1"
        problems.setdefault(row, (names[0], reason))
    return problems


def _whole(votes: FloatArray) -> FloatArray | IntArray:
    """Votes as integers, if they are."""
    return votes.astype(np.int64) if (votes == np.rint(votes)).all() else votes
