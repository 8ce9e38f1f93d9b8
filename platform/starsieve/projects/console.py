"""What the importing commands share: finding the project, showing progress, keeping the rejected rows."""

import csv
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError, OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from starsieve.projects.background import interpreter_for_rows
from starsieve.projects.imports import ImportReport, ReadFrame, RefusedRow, Reject, SubjectRow, import_subjects
from starsieve.projects.models import Origin, Project, SubjectSet
from starsieve.projects.services import Refused, create_subject_set, link_subject_set
from starsieve.projects.task_types import is_storable


def add_import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--set", dest="set_name", help="the subject set's name (default: the file's name)")
    parser.add_argument("--origin", choices=Origin.values, default=Origin.REAL, help="whether the pixels are real")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    parser.add_argument("--rejects", type=Path, help="where rejected rows go (default: FILE.rejects.csv)")


def find_project(slug: str) -> Project:
    try:
        return Project.objects.get(slug=slug if is_storable(slug) else "")
    except Project.DoesNotExist:
        known = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise CommandError(f"There is no project {slug!r}; there are: {known}.") from None


def run_import(
    *,
    project: Project,
    file: Path,
    rows: Iterable[SubjectRow | RefusedRow],
    total: int,
    read_frame: ReadFrame,
    options: dict[str, Any],
    stdout: OutputWrapper,
) -> None:
    """Import with a progress bar; raises CommandError when a row was rejected."""
    rejects_file = options["rejects"] or file.with_name(f"{file.name}.rejects.csv")
    _check_writable(rejects_file, file)
    subject_set = _subject_set(project, file, options, stdout)
    with _RejectsFile(rejects_file) as rejects, _progress(total) as on_progress, interpreter_for_rows():
        report = import_subjects(
            project=project,
            subject_set=subject_set,
            rows=rows,
            read_frame=read_frame,
            source=file.name,
            dry_run=options["dry_run"],
            on_reject=rejects.write,
            on_progress=on_progress,
        )
    _say(report, subject_set, options["dry_run"], stdout)
    if report.rejected:
        raise CommandError(
            f"{report.rejected} of {report.rows} rows rejected; {rejects_file} says why. "
            "Mend them and run the same command again: what is stored stays as it is."
        )


def _check_writable(rejects_file: Path, file: Path) -> None:
    """Raises CommandError before anything is written, not when the first row is rejected."""
    if rejects_file.exists() and rejects_file.samefile(file):
        raise CommandError(f"--rejects {rejects_file}: is the file to be imported; name another.")
    target = rejects_file if rejects_file.exists() else rejects_file.parent
    if rejects_file.is_dir() or not os.access(target, os.W_OK) or not rejects_file.parent.is_dir():
        raise CommandError(f"{rejects_file}: rejected rows cannot be written there; name another file with --rejects.")


def _subject_set(project: Project, file: Path, options: dict[str, Any], stdout: OutputWrapper) -> SubjectSet:
    name = options["set_name"] or file.name.split(".")[0]
    if options["dry_run"]:
        known = SubjectSet.objects.filter(project=project, name=name).first()
        return known or SubjectSet(project=project, name=name, origin=options["origin"])
    try:
        subject_set, is_new = create_subject_set(project=project, name=name, origin=options["origin"])
    except Refused as error:
        raise CommandError(str(error)) from None
    workflows = list(project.workflows.all()[:2])
    if is_new and len(workflows) == 1:
        link_subject_set(workflow=workflows[0], subject_set=subject_set)
        stdout.write(f"New subject set “{name}”, linked to the workflow “{workflows[0].name}”.")
    elif is_new:
        stdout.write(f"New subject set “{name}”; link it to a workflow on the project's Subjects page.")
    return subject_set


def _say(report: ImportReport, subject_set: SubjectSet, dry_run: bool, stdout: OutputWrapper) -> None:
    verb = "would be created" if dry_run else "created"
    stdout.write(
        f"{subject_set.name}: {report.created} {verb}, {report.unchanged} unchanged, {report.rejected} rejected."
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, silence elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Importing", total=total)
        yield lambda n_rows: progress.advance(task, n_rows)


class _RejectsFile:
    """A CSV with row, name, column and message, made when the first row is rejected; an older one is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[str] | None = None

    def __enter__(self) -> "_RejectsFile":
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def write(self, reject: Reject) -> None:
        if self.file is None:
            try:
                self.file = self.path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise CommandError(
                    f"{self.path}: cannot be written ({error.strerror}); name another with --rejects."
                ) from None
            csv.writer(self.file).writerow(["row", "name", "column", "message"])
        csv.writer(self.file).writerow([reject.row, reject.name, reject.column, reject.message])
