"""Load subjects from a manifest."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from starsieve.projects.console import add_import_arguments, find_project, run_import
from starsieve.projects.manifests import (
    ManifestError,
    count_rows,
    is_json_lines,
    open_manifest,
    read_manifest,
)
from starsieve.projects.sources import ImageFolder
from starsieve.projects.stretches import STRETCHES


class Command(BaseCommand):
    help = (
        "Load subjects from a manifest (CSV or JSON lines, plain or gzip). Columns: name; image, image_1 … or frames "
        "(paths below the folder of the images, separated by ;); ra, dec; every other column is metadata, hidden when "
        "its name begins with # or //. Running it again changes nothing. Exit 1 when a row was rejected."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument("manifest", type=Path)
        parser.add_argument("--images", type=Path, help="folder of the images (default: the manifest's own)")
        parser.add_argument("--stretch", choices=STRETCHES, default="asinh", help="how FITS pixels are shown")
        add_import_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        project = find_project(options["project"])
        manifest: Path = options["manifest"]
        images: Path = options["images"] or manifest.parent
        if not images.is_dir():
            raise CommandError(f"{images}: there is no such folder; --images names the folder of the images.")
        json_lines = is_json_lines(manifest.name)
        try:
            with open_manifest(manifest) as text:
                run_import(
                    project=project,
                    file=manifest,
                    rows=read_manifest(text, json_lines=json_lines),
                    total=count_rows(manifest, has_heading=not json_lines),
                    read_frame=ImageFolder(images, stretch=options["stretch"]),
                    options=options,
                    stdout=self.stdout,
                )
        except ManifestError as error:
            raise CommandError(f"{manifest}: {error}") from None
