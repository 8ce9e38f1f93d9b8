"""Fit a workflow's models of consensus to its classifications, here and now."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from classify.management.commands.rebuild_results import find_workflow
from classify.models import Classification
from starsieve.catalogues.consensus.runs import AlreadyRunning, NothingToFit, run_consensus
from starsieve.catalogues.models import ConsensusRun


class Command(BaseCommand):
    help = (
        "Fit the models of a workflow's tasks (their method of consensus) to all classifications, and keep what they "
        "say for the results pages. The schedule does the same by itself as answers come."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow", help="the workflow's id, or its project's slug if that has one workflow")

    def handle(self, *args: Any, **options: Any) -> None:
        workflow = find_workflow(options["workflow"])
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        total = Classification.objects.filter(workflow=workflow).count()
        try:
            with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
                task = bar.add_task("Classifications", total=total)
                run = run_consensus(workflow=workflow, on_progress=lambda done: bar.update(task, completed=done))
        except (NothingToFit, AlreadyRunning) as problem:
            raise CommandError(str(problem)) from problem
        self._report(run)

    def _report(self, run: ConsensusRun) -> None:
        self.stdout.write(f"{run.workflow}: {run.n_classifications} classifications, watermark {run.watermark}.")
        for key, task in run.tasks.items():
            fit, judgement = task["fit"], task["judgement"]
            end = "" if fit.get("converged", True) else ", not converged"
            line = f"{key}: {fit['method']}, {fit['n_votes']} votes on {fit['n_subjects']} subjects{end}"
            if judgement:
                accuracy, low, high = judgement["figures"]["accuracy"]
                line += f"; accuracy on {judgement['n_gold']} gold subjects {accuracy:.3f} ({low:.3f} to {high:.3f})"
            self.stdout.write(line)
