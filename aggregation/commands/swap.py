"""``swap``: probability of the rare answer for each subject, from votes in time order."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np

from aggregation._reading import Field, Parsed, Problems, Rejects, Table, TableError, read_table
from aggregation._swap_stream import LearnFrom, SwapSettings
from aggregation._votes import IntArray
from aggregation._writing import write_table
from aggregation.commands._shared import (
    VOTES,
    CommandError,
    Commands,
    OutputColumns,
    Parser,
    add_command,
    check_paths,
    finish,
    read_input,
)
from aggregation.swap import Swap, swap
from aggregation.tallies import last_votes

_DEFAULTS = SwapSettings()
_GOLD = (Field("subject_id"), Field("answer"))


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "swap",
        run,
        "Probability of a rare answer for each subject, from votes in time order. "
        "IN: subject_id, volunteer_id, answer[, created_at]; any answer but the positive one is a negative vote. Votes "
        "are in order of created_at, else of rows; of repeated votes by one volunteer on one subject the last counts. "
        "p is the probability of the positive answer; status is detected (p > 0.95), rejected (p < 1e-7) or undecided; "
        "crossed_at is the row of IN, counted from 1, that first took p over one of the two.",
    )
    command.add_argument(
        "--gold",
        type=Path,
        required=True,
        metavar="GOLD",
        help="known answers (subject_id, answer) of the training subjects",
    )
    command.add_argument("--positive", default="LENS", help="the answer that is looked for (default: %(default)s)")
    command.add_argument(
        "--prior", type=float, default=_DEFAULTS.prior, help="p of a subject without votes (default: %(default)s)"
    )
    command.add_argument(
        "--learn-from",
        choices=get_args(LearnFrom),
        default=_DEFAULTS.learn_from,
        help="whose votes teach a volunteer's skill: those on training subjects (gold; the published method) or on "
        "all (default: %(default)s)",
    )
    command.add_argument(
        "--volunteers",
        type=Path,
        metavar="FILE",
        help="write each volunteer's skill: pl, P(positive | positive); pd, P(negative | negative); skill and "
        "contribution in bits",
    )


def run(options: argparse.Namespace) -> str:
    """Posterior per subject; returns the line that says what was done."""
    if not _DEFAULTS.rejection < options.prior < _DEFAULTS.detection:
        raise CommandError(
            f"--prior: {options.prior} is not between the thresholds {_DEFAULTS.rejection} and {_DEFAULTS.detection}", 2
        )
    check_paths(options, [options.input, options.gold], [options.volunteers])
    table, rejects = read_input(options, VOTES)
    if "task" in table.ids and len(table.ids["task"].values) > 1:
        found = ", ".join(table.ids["task"].values[:5])
        raise TableError(f"{table.path}: column task: swap follows one task, not {found}; give each its own file")
    gold = _read_gold(options.gold, table, options.positive)
    subject, volunteer = table.ids["subject_id"].codes, table.ids["volunteer_id"].codes
    created_at = table.numbers.get("created_at")
    last = last_votes(subject, volunteer, created_at=created_at)
    result = swap(
        subject[last],
        volunteer[last],
        _is_positive(table, options.positive)[last],
        gold,
        created_at=None if created_at is None else created_at[last],
        n_volunteers=len(table.ids["volunteer_id"].values),
        prior=options.prior,
        learn_from=options.learn_from,
    )
    write_table(options.output, _subject_columns(table, result, _row_numbers(table, rejects)[last]))
    if options.volunteers:
        write_table(options.volunteers, _volunteer_columns(table, result))
    return finish(options, table, rejects, len(result.n_votes), len(last))


def _is_positive(table: Table, positive: str) -> IntArray:
    """1 for the rows that give the positive answer, 0 for all others."""
    answers = table.ids["answer"]
    return np.array([answer == positive for answer in answers.values], dtype=np.int64)[answers.codes]


def _read_gold(path: Path, votes: Table, positive: str) -> IntArray:
    """1 or 0 for the training subjects among those that have votes, -1 for the others, int (n_subjects,)."""
    known: dict[str, str] = {}

    def check(parsed: Parsed) -> Problems:
        problems: Problems = {}
        for row, (subject, answer) in enumerate(zip(parsed["subject_id"], parsed["answer"], strict=True)):
            if known.setdefault(subject, answer) != answer:
                problems[row] = ("answer", f"is {answer!r}, an earlier row says {known[subject]!r}")
        return problems

    read_table(path, _GOLD, check=check, way_out="Correct it")
    answers = {*known.values(), *votes.ids["answer"].values}
    if positive not in answers:
        found = ", ".join(sorted(answers)[:5])
        raise CommandError(f"--positive: {positive!r} is no answer in {votes.path} or {path}; they have {found}", 2)
    subjects = votes.ids["subject_id"].values
    return np.array([int(known[name] == positive) if name in known else -1 for name in subjects], dtype=np.int64)


def _subject_columns(table: Table, result: Swap, row: IntArray) -> OutputColumns:
    """One row per subject; `row` is the number in the file of each vote that counts."""
    subjects = table.ids["subject_id"]
    never = result.crossed_at < 0
    return {
        "subject_id": subjects.column(np.arange(len(subjects.values))),
        "n_votes": result.n_votes,
        "p": result.posterior[:, 1],
        "status": result.status.tolist(),
        "crossed_at": np.ma.masked_array(row[np.where(never, 0, result.crossed_at)], never),
    }


def _row_numbers(table: Table, rejects: Rejects | None) -> IntArray:
    """Numbers in the file, from 1, of the good rows."""
    bad = np.array([int(row[0]) for row in rejects.rows] if rejects else [], dtype=np.int64)
    return np.setdiff1d(np.arange(1, table.n_rows + len(bad) + 1), bad)


def _volunteer_columns(table: Table, result: Swap) -> OutputColumns:
    volunteers = table.ids["volunteer_id"]
    return {
        "volunteer_id": volunteers.column(np.arange(len(volunteers.values))),
        "n_votes": result.n_given,
        "n_gold": result.n_trained,
        "pl": result.confusion[:, 1, 1],
        "pd": result.confusion[:, 0, 0],
        "skill": result.skill,
        "contribution": result.contribution,
    }
