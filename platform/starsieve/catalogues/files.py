"""Where a release's files are, and who may have which."""

from pathlib import Path

from django.conf import settings

from starsieve.catalogues.models import Release
from starsieve.projects.permissions import Action

SUMS = "SHA256SUMS"
CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".fits": "application/fits",
    ".vot": "application/x-votable+xml",
    ".json": "application/json",
    "": "text/plain; charset=utf-8",
}
#: Files of all classifications, written anew each time they are asked for.
EXPORTS = ("classifications.csv", "classifications.parquet")
DESCRIPTIONS = {
    "subjects": "One row per subject",
    "clumps": "One row per consensus box",
    "classifications": "One row per answer, volunteers as pseudonyms; only for those who may make releases",
    "provenance": "Watermark, versions, settings, checksum of the inputs",
    SUMS: "Checksums of all files",
}


def release_folder(release: Release) -> Path:
    return Path(settings.RELEASE_ROOT) / str(release.pk)


def action_for(name: str) -> Action:
    """What a person must be allowed to do to download the file."""
    return Action.MAKE_RELEASE if name == "classifications.csv" else Action.SEE_RESULTS


def content_type_of(name: str) -> str:
    return CONTENT_TYPES[Path(name).suffix]
