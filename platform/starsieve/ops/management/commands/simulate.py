"""Fill a workflow with synthetic subjects and classifications of known truth, or take them away again."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from classify.management.commands.rebuild_results import find_workflow
from starsieve.ops.simulation.plan import Plan, SimulationRefused
from starsieve.ops.simulation.removal import remove_simulations
from starsieve.ops.simulation.services import simulate
from starsieve.projects.models import Workflow


class Command(BaseCommand):
    help = (
        "Fill a workflow with made-up subjects that simulated volunteers of known skill have classified, for load and "
        "for teaching; the truth stands in the subjects' hidden metadata and, for some, as gold standard. The same "
        "numbers and seed give the same data, counted back from now. Refuses a project in which people have "
        "classified, and a live one with real subjects, unless told to mix them with --force. --remove takes the "
        "simulations of a workflow away again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow", help="the workflow's id, or its project's slug if that has one workflow")
        parser.add_argument("--subjects", type=int, metavar="N")
        parser.add_argument("--volunteers", type=int, metavar="M")
        parser.add_argument("--classifications", type=int, metavar="K", help="at most N × M: nobody classifies twice")
        parser.add_argument("--seed", type=int, help="another seed, another simulation beside the first (default 0)")
        parser.add_argument(
            "--gold", type=float, default=0.05, help="share of the subjects with a gold standard (default 0.05)"
        )
        parser.add_argument("--skills", type=Path, metavar="FILE", help="write the volunteers' true skills as CSV")
        parser.add_argument(
            "--remove", action="store_true", help="take away the workflow's simulations, with --seed only that one"
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="simulate in a project that people use; with --remove: what people said of made-up subjects goes too",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workflow = find_workflow(options["workflow"])
        try:
            (self._remove if options["remove"] else self._fill)(workflow, options)
        except SimulationRefused as refusal:
            raise CommandError(f"{refusal}.", returncode=2) from None

    def _fill(self, workflow: Workflow, options: dict[str, Any]) -> None:
        for name in ("subjects", "volunteers", "classifications"):
            if options[name] is None:
                raise SimulationRefused(f"--{name} is missing; say how many are to be made")
        numbers = (options["subjects"], options["volunteers"], options["classifications"])
        plan = Plan(*numbers, seed=options["seed"] or 0, gold=options["gold"])
        begin = monotonic()
        with _bar("Simulating") as on_progress, _writable(options["skills"]):
            made = simulate(
                workflow=workflow,
                plan=plan,
                until=timezone.now(),
                force=options["force"],
                skills_file=options["skills"],
                on_progress=on_progress,
            )
        seconds = monotonic() - begin
        self.stdout.write(
            f"{workflow}: {made.subjects:,} subjects, {made.volunteers:,} volunteers, {made.classifications:,} "
            f"classifications and {made.gold_standards:,} gold standards in {seconds:.1f} s."
        )

    def _remove(self, workflow: Workflow, options: dict[str, Any]) -> None:
        with _bar("Removing") as on_progress:
            removed = remove_simulations(
                workflow=workflow, seed=options["seed"], force=options["force"], on_progress=on_progress
            )
        self.stdout.write(
            f"{workflow}: removed {removed.subjects:,} subjects, {removed.volunteers:,} volunteers and "
            f"{removed.classifications:,} classifications of {removed.simulations} simulations."
        )


@contextmanager
def _writable(file: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if file is None or error.filename != str(file):
            raise
        raise CommandError(f"{file}: cannot be written ({error.strerror}); name another with --skills.") from None


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, silence elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
