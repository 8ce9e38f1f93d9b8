"""Write a workflow's snapshot anew from its classifications."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from classify.management.commands.rebuild_results import find_workflow
from classify.models import Classification


class Command(BaseCommand):
    help = (
        "Throw away a workflow's snapshot (its classifications in Parquet files below SNAPSHOT_ROOT) and write it anew "
        "from the database, while volunteers go on. The schedule keeps snapshots up to date and mends what it finds "
        "damaged by itself; this is for when the folder was lost or is no longer trusted. Nothing else changes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow", help="the workflow's id, or its project's slug if that has one workflow")

    def handle(self, *args: Any, **options: Any) -> None:
        from starsieve.catalogues.snapshots.refresh import rebuild_snapshot  # pyarrow is slow to import

        workflow = find_workflow(options["workflow"])
        total = Classification.objects.filter(workflow=workflow).count()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("Classifications", total=total)
            snapshot = rebuild_snapshot(workflow=workflow, on_progress=lambda done: bar.update(task, completed=done))
        parts = list(snapshot.parts.values_list("n_rows", "n_bytes"))
        rows, size = (sum(column) for column in zip((0, 0), *parts, strict=True))
        self.stdout.write(
            f"{workflow}: {rows:,} classifications up to id {snapshot.watermark} in {len(parts)} files, "
            f"{size / 1e6:,.1f} MB."
        )
