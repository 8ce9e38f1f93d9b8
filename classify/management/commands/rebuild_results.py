"""Recompute a workflow's tallies, counts and retirement from its classifications."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from classify.models import SubjectProgress
from classify.rebuild import rebuild_results
from starsieve.projects.models import Workflow


class Command(BaseCommand):
    help = (
        "Recompute tallies, counts and retirement of every subject of a workflow from its classifications, while "
        "volunteers go on. Needed after new questions or another retirement limit were published; otherwise it changes "
        "nothing. Decisions by hand stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow", help="the workflow's id, or its project's slug if that has one workflow")

    def handle(self, *args: Any, **options: Any) -> None:
        workflow = find_workflow(options["workflow"])
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("Subjects", total=None)
            changed = rebuild_results(
                workflow=workflow, on_progress=lambda done, total: bar.update(task, completed=done, total=total)
            )
        total = SubjectProgress.objects.filter(workflow=workflow).count()
        self.stdout.write(f"{workflow}: {changed} of {total} subjects changed.")


def find_workflow(name: str) -> Workflow:
    by_id = name.isascii() and name.isdecimal() and len(name) < 19
    found = list(Workflow.objects.filter(pk=int(name)) if by_id else Workflow.objects.filter(project__slug=name)[:2])
    if len(found) == 1:
        return found[0]
    known = ", ".join(
        f"{workflow.pk} ({workflow.project.slug}: {workflow})"
        for workflow in Workflow.objects.select_related("project")[:20]
    )
    problem = "is not the id of a workflow" if not found else "has several workflows"
    raise CommandError(f"{name!r} {problem}; there are: {known or 'none yet'}.")
