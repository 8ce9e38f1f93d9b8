"""Cut stamps out of FITS mosaics around the objects of a catalogue."""

from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from starsieve.projects.console import add_import_arguments, find_project, run_import
from starsieve.projects.cutter import Cut, Mosaic, check_cut, cut_stamp, default_recipes, sky_position
from starsieve.projects.imports import RefusedRow, SubjectRow
from starsieve.projects.manifests import ManifestError, count_rows, open_manifest, read_catalogue
from starsieve.projects.mosaics import open_mosaic
from starsieve.projects.stamps import StampError
from starsieve.projects.stretches import STRETCHES


class Command(BaseCommand):
    help = (
        "Cut a stamp around every object of a catalogue (CSV: ra and dec in degrees, or pixels x and y of the first "
        "mosaic counted from 0; name; further columns are metadata) out of FITS mosaics, one for each band, given from "
        "blue to red. Three bands or more make a colour frame. Objects off the mosaics are rejected; exit 1 then."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument("catalogue", type=Path)
        parser.add_argument("--mosaic", action="append", required=True, metavar="BAND=FILE", help="once for each band")
        parser.add_argument("--size", type=float, metavar="ARCSEC", help="side of a stamp (default: 20)")
        parser.add_argument("--size-px", type=int, metavar="PIXELS", help="side in pixels of the first mosaic instead")
        parser.add_argument(
            "--shown-size", type=int, metavar="PIXELS", help="enlarge or shrink the frames to this side"
        )
        parser.add_argument(
            "--stretch", action="append", choices=STRETCHES, help="once for each wanted (default: asinh)"
        )
        parser.add_argument("--each-band", action="store_true", help="a grey frame of every band besides the colour")
        add_import_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        project = find_project(options["project"])
        catalogue: Path = options["catalogue"]
        if options["size"] is not None and options["size_px"] is not None:
            raise CommandError("Give --size or --size-px, not both.")
        try:
            with ExitStack() as files, open_manifest(catalogue) as text:
                mosaics = [files.enter_context(open_mosaic(*_band_and_file(name))) for name in options["mosaic"]]
                cut = _cut([mosaic.band for mosaic in mosaics], options)
                check_cut(mosaics, cut)
                run_import(
                    project=project,
                    file=catalogue,
                    rows=(_placed(row, mosaics[0]) for row in read_catalogue(text)),
                    total=count_rows(catalogue, has_heading=True),
                    read_frame=lambda position: cut_stamp(mosaics, position, cut),
                    options=options,
                    stdout=self.stdout,
                )
        except (ManifestError, StampError) as error:
            raise CommandError(f"{catalogue}: {error}" if isinstance(error, ManifestError) else str(error)) from None


def _placed(row: SubjectRow | RefusedRow, mosaic: Mosaic) -> SubjectRow | RefusedRow:
    """A row that is given in pixels, with the sky position that the mosaic knows for them."""
    if isinstance(row, RefusedRow) or row.ra is not None:
        return row
    place = sky_position(mosaic, row.frames[0][1])
    return row if place is None else replace(row, ra=place.ra, dec=place.dec)


def _band_and_file(argument: str) -> tuple[str, Path]:
    band, separator, file = argument.partition("=")
    if not (band and separator and file):
        raise CommandError(f"--mosaic {argument}: expected BAND=FILE, for example r=field-r.fits.")
    return band, Path(file)


def _cut(bands: list[str], options: dict[str, Any]) -> Cut:
    recipes = default_recipes(bands, options["stretch"] or ["asinh"], each_band=options["each_band"])
    if options["size_px"] is not None:
        return Cut(recipes, options["size_px"], "px", options["shown_size"])
    return Cut(recipes, 20.0 if options["size"] is None else options["size"], "arcsec", options["shown_size"])
