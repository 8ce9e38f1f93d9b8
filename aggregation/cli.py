"""``python -m aggregation``: consensus of votes, grades and boxes from tables, without Django or a database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from aggregation._commands import CommandError, run_boxes, run_grades, run_votes
from aggregation._reading import TableError
from aggregation.boxes import Average
from aggregation.grades import LENS_ESCAPE, LENS_LEVELS
from aggregation.tasks import DEFAULT_METHOD, METHODS

_PROGRAM = "python -m aggregation"
_FILES = "Files are .csv, .csv.gz or .parquet, by their suffix."
_REPEATS = "Of repeated votes by one volunteer on one subject (and task) the last counts: by created_at, else by row."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 when all went well, else one line on standard error, 2 for bad input."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], str] = options.run
    try:
        summary = command(options)
    except TableError as error:
        print(f"{options.program}: {error}", file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"{options.program}: {error}", file=sys.stderr)
        return error.status
    print(summary)
    return 0


class _Parser(argparse.ArgumentParser):
    """Errors in one line, as for bad files."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", required=True, dest="command", metavar="COMMAND")
    _add_votes(commands)
    _add_grades(commands)
    _add_boxes(commands)
    return parser


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_command(
    commands: _Commands[_Parser], name: str, run: Callable[[argparse.Namespace], str], description: str
) -> _Parser:
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
    command.set_defaults(run=run, program=f"{_PROGRAM} {name}")
    return command


def _add_votes(commands: _Commands[_Parser]) -> None:
    command = _add_command(
        commands,
        "votes",
        run_votes,
        "Consensus answer and posterior of each subject and task. "
        f"IN: subject_id, volunteer_id, answer[, task][, created_at]. {_REPEATS}",
    )
    command.add_argument(
        "--method", choices=METHODS, default=DEFAULT_METHOD, help="how to combine votes (default: %(default)s)"
    )
    command.add_argument(
        "--gold",
        type=Path,
        metavar="GOLD",
        help="known answers (subject_id, answer[, task]) that dawid-skene and one-coin learn from",
    )
    command.add_argument(
        "--confusion",
        type=Path,
        metavar="FILE",
        help="write P(volunteer says p_… | truth), for dawid-skene and one-coin",
    )


def _add_grades(commands: _Commands[_Parser]) -> None:
    command = _add_command(
        commands,
        "grades",
        run_grades,
        "Distribution of ordinal grades of each subject. "
        f"IN: subject_id, volunteer_id, answer[, task][, created_at], the answers being grades. {_REPEATS}",
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


def _add_boxes(commands: _Commands[_Parser]) -> None:
    command = _add_command(
        commands,
        "boxes",
        run_boxes,
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


def _levels(text: str) -> tuple[str, ...]:
    levels = tuple(text.split(","))
    if "" in levels or len(set(levels)) != len(levels):
        raise argparse.ArgumentTypeError(f"{text!r} must name different grades, separated by commas")
    return levels
