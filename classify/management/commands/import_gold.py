"""Set the gold standard of a workflow's subjects from a CSV table."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from rich.console import Console
from rich.progress import track

from classify.errors import GoldStandardRefused
from classify.gold_files import GoldFileProblem, GoldRow, read_gold
from classify.management.commands.rebuild_results import find_workflow
from classify.models import GoldStandard
from classify.services import set_gold_standard
from classify.versions import definition_of
from starsieve.projects.models import Subject, Workflow

NAMES_AT_ONCE = 500


class Command(BaseCommand):
    help = (
        "Set the gold standard of a workflow's subjects from a CSV table: subject (name), answer (key, several "
        "accepted ones joined by |; a grade; boxes as JSON) and, in a workflow of several tasks, task. What was known "
        "of the same subject and task is replaced. Nothing is written unless every row is right."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow", help="the workflow's id, or its project's slug if that has one workflow")
        parser.add_argument("file", type=Path)
        parser.add_argument("--source", choices=GoldStandard.Source.values, default="expert", help="who says so")
        parser.add_argument(
            "--no-feedback", action="store_true", help="volunteers are not told whether they were right"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workflow = find_workflow(options["workflow"])
        if workflow.current is None:
            raise CommandError(f"{workflow} has no version yet; save its tasks first.", returncode=2)
        file: Path = options["file"]
        try:
            with file.open(encoding="utf-8-sig", newline="") as text:
                rows = list(read_gold(text, definition_of(workflow.current)))
            self._set(workflow, rows, options)
        except OSError as error:
            raise CommandError(f"{file}: cannot be read ({error.strerror}).", returncode=2) from None
        except UnicodeDecodeError:
            raise CommandError(f"{file}: is not text in UTF-8.", returncode=2) from None
        except GoldFileProblem as problem:
            raise CommandError(f"{file}: {problem}. Nothing was written.", returncode=2) from None
        self.stdout.write(f"{workflow}: gold standard of {len(rows)} answers set.")

    def _set(self, workflow: Workflow, rows: list[GoldRow], options: dict[str, Any]) -> None:
        subjects: dict[str, Subject] = {}
        names = sorted({row.subject for row in rows})
        for start in range(0, len(names), NAMES_AT_ONCE):
            found = workflow.project.subjects.filter(name__in=names[start : start + NAMES_AT_ONCE])
            subjects |= {subject.name: subject for subject in found}
        with transaction.atomic():
            for row in track(rows, "Answers", console=Console(stderr=True), disable=not sys.stderr.isatty()):
                if row.subject not in subjects:
                    raise GoldFileProblem(f"row {row.number}, column subject: there is no subject {row.subject!r}")
                try:
                    set_gold_standard(
                        workflow=workflow,
                        subject=subjects[row.subject],
                        task=row.task,
                        value=row.value,
                        source=options["source"],
                        give_feedback=not options["no_feedback"],
                    )
                except GoldStandardRefused as refused:
                    raise GoldFileProblem(f"row {row.number}, column answer: {refused}") from None
