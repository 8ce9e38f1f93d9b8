"""``python -m aggregation``: consensus of votes, grades and boxes from tables, without Django or a database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from aggregation._reading import TableError
from aggregation.commands import COMMANDS
from aggregation.commands._shared import PROGRAM, CommandError, Parser


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


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", required=True, dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
