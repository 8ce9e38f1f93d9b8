"""Freeze a release of a workflow's catalogue, write its files here and now, and copy them into a folder."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from starsieve.accounts.models import User
from starsieve.catalogues import services
from starsieve.catalogues.building import ReleaseChanged
from starsieve.catalogues.files import release_folder
from starsieve.catalogues.models import Release
from starsieve.catalogues.release_settings import DEFAULT_METHOD, FORMATS, METHODS, ReleaseSettings, SettingsProblem
from starsieve.projects.models import Workflow

METHOD_LIST = "; ".join(f"{name}: {text}" for name, text in METHODS.items())


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workflow", type=int, help="the workflow's number, as in its address")
        parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the files; made if missing")
        parser.add_argument(
            "--method", default=DEFAULT_METHOD, help=f"how votes become consensus ({METHOD_LIST}; default: %(default)s)"
        )
        parser.add_argument("--formats", nargs="+", default=list(FORMATS), help=f"of {', '.join(FORMATS)}")
        parser.add_argument(
            "--include-classifications", action="store_true",
            help="also write classifications.csv, one row per answer, volunteers as pseudonyms",
        )  # fmt: skip
        parser.add_argument("--release", type=int, metavar="NUMBER", help="write this earlier release again instead")
        parser.add_argument("--user", help="username of the person who makes the release")

    def handle(self, *args: Any, **options: Any) -> None:
        workflow = Workflow.objects.select_related("project", "current").filter(pk=options["workflow"]).first()
        if workflow is None:
            known = ", ".join(f"{pk} ({name})" for pk, name in Workflow.objects.values_list("pk", "name")[:20])
            raise CommandError(
                f"There is no workflow {options['workflow']}; there are: {known or 'none'}.", returncode=2
            )
        release = self._release(workflow, options)
        self._copy(release, options["output"])
        for entry in release.files:
            self.stdout.write(f"{entry['sha256']}  {entry['bytes']:>12,}  {options['output'] / entry['name']}")
        self.stdout.write(f"{workflow.project} · {release}, watermark {release.watermark}")

    def _release(self, workflow: Workflow, options: dict[str, Any]) -> Release:
        if options["release"] is not None:
            return self._again(workflow, options["release"], options["output"])
        try:
            settings = ReleaseSettings.of(
                method=options["method"],
                formats=options["formats"],
                include_classifications=options["include_classifications"],
            )
            user = self._user(options["user"])
            self._check_output(options["output"])
            release = services.make_release(workflow=workflow, user=user, settings=settings, build_in_background=False)
        except SettingsProblem as problem:
            raise CommandError(str(problem), returncode=2) from problem
        with self._progress(release) as on_progress:
            services.build(release=release, on_progress=on_progress)
        return release

    def _again(self, workflow: Workflow, number: int, output: Path) -> Release:
        release = workflow.releases.filter(number=number).first()
        if release is None:
            raise CommandError(f"{workflow} has no release {number}.", returncode=2)
        self._check_output(output)
        try:
            with self._progress(release) as on_progress:
                services.rebuild(release=release, on_progress=on_progress)
        except (ReleaseChanged, services.ReleaseBusy) as problem:
            raise CommandError(str(problem)) from problem
        release.refresh_from_db()
        return release

    @contextmanager
    def _progress(self, release: Release) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal; nothing in a log file."""
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:
            bar = bars.add_task("Subjects", total=release.subjects.count())
            yield lambda done: bars.update(bar, completed=done)

    def _user(self, username: str | None) -> User | None:
        if username is None:
            return None
        user = User.objects.filter(username__iexact=username).first()
        if user is None:
            raise CommandError(f"--user: there is no user {username!r}.", returncode=2)
        return user

    @staticmethod
    def _check_output(output: Path) -> None:
        """Make the folder and try it before a release is frozen for nothing."""
        try:
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=output):
                pass
        except OSError as problem:
            raise CommandError(
                f"-o {output}: cannot be used as a folder ({problem.strerror}); name another.", returncode=2
            ) from None

    def _copy(self, release: Release, output: Path) -> None:
        for entry in release.files:
            try:
                shutil.copyfile(release_folder(release) / entry["name"], output / entry["name"])
            except OSError as problem:
                raise CommandError(
                    f"{output / entry['name']}: cannot be written ({problem.strerror}). {release} is kept: "
                    f"make_release {release.workflow_id} --release {release.number} -o FOLDER writes it again."
                ) from None
