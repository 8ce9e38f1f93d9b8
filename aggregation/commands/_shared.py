"""What every command of ``python -m aggregation`` shares: options, the votes table, checks and the last line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from aggregation._reading import Field, Parsed, Problems, Rejects, Table, read_table
from aggregation._votes import FloatArray, IntArray
from aggregation._writing import check_output, write_rejects
from aggregation.tallies import last_votes

PROGRAM = "python -m aggregation"
REPEATS = "Of repeated votes by one volunteer on one subject (and task) the last counts: by created_at, else by row."
_FILES = "Files are .csv, .csv.gz or .parquet, by their suffix."

VOTES = (
    Field("subject_id"),
    Field("volunteer_id"),
    Field("answer"),
    Field("task", required=False),
    Field("created_at", "time", required=False),
)


OutputColumns = dict[str, "Sequence[str] | IntArray | FloatArray"]


class CommandError(Exception):
    """What went wrong apart from the input, in one line, and the exit status that it deserves."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class CountedVotes:
    """Votes that count, by the codes of the table; task 0 everywhere if the table has no tasks."""

    subject: IntArray
    volunteer: IntArray
    task: IntArray
    answer: IntArray


def counted_votes(table: Table) -> CountedVotes:
    subject, volunteer = table.ids["subject_id"].codes, table.ids["volunteer_id"].codes
    task = table.ids["task"].codes if "task" in table.ids else np.zeros_like(subject)
    last = last_votes(subject, volunteer, task, table.numbers.get("created_at"))
    return CountedVotes(subject[last], volunteer[last], task[last], table.ids["answer"].codes[last])


def check_paths(
    options: argparse.Namespace, inputs: Sequence[Path | None], further_outputs: Sequence[Path | None]
) -> None:
    """Refuse paths that cannot work before any time is spent."""
    given = [path for path in inputs if path is not None]
    outputs = [path for path in (options.output, *further_outputs) if path is not None]
    for path in outputs:
        check_output(path, given)
    if options.skip_bad is not None:
        check_output(options.skip_bad, given, csv_only=True)
        outputs.append(options.skip_bad)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise CommandError("two outputs have the same name; give each its own", 2)


def read_input(
    options: argparse.Namespace, fields: Sequence[Field], check: Callable[[Parsed], Problems] | None = None
) -> tuple[Table, Rejects | None]:
    rejects = Rejects() if options.skip_bad else None
    return read_table(options.input, fields, check=check, rejects=rejects), rejects


def subject_columns(table: Table, subject: IntArray, task: IntArray) -> OutputColumns:
    columns: OutputColumns = {"subject_id": table.ids["subject_id"].column(subject)}
    if "task" in table.ids:
        columns["task"] = table.ids["task"].column(task)
    return columns


def finish(options: argparse.Namespace, table: Table, rejects: Rejects | None, n_out: int, n_counted: int) -> str:
    """Write the rejected rows and say what was done."""
    summary = f"{options.output}: {n_out} rows from {n_counted} rows of {table.path}"
    if n_counted < table.n_rows:
        summary += f"; {table.n_rows - n_counted} repeated votes replaced by later ones"
    if rejects is not None:
        write_rejects(options.skip_bad, rejects)
        summary += f"; {len(rejects.rows)} bad rows set aside in {options.skip_bad}"
    return summary


class Parser(argparse.ArgumentParser):
    """Errors in one line, as for bad files."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


Commands = argparse._SubParsersAction  # argparse has no public name for it


def add_command(
    commands: Commands[Parser], name: str, run: Callable[[argparse.Namespace], str], description: str
) -> Parser:
    command = commands.add_parser(
        name,
        help=description.split(". ")[0].lower(),
        description=description,
        epilog=_FILES,
        allow_abbrev=False,
    )
    command.add_argument("input", type=Path, metavar="IN", help="table to read")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="table to write")
    command.add_argument(
        "--skip-bad",
        type=Path,
        metavar="FILE",
        help="write bad rows of IN to this CSV file, with the reason, and go on without them",
    )
    command.set_defaults(run=run, program=f"{PROGRAM} {name}")
    return command
