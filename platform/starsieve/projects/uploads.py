"""Subjects from an archive that came through the browser."""

import io
from typing import IO

from starsieve.accounts.models import User
from starsieve.projects.imports import ImportReport, import_subjects
from starsieve.projects.manifests import ManifestError, read_manifest
from starsieve.projects.models import Project
from starsieve.projects.services import create_subject_set
from starsieve.projects.sources import open_archive

# More would outlast a web request; the command import_subjects has no such limit.
MOST_ROWS = 5000


def import_archive(
    *, project: Project, user: User, archive: IO[bytes], subject_set: str, origin: str, stretch: str
) -> ImportReport:
    """Import the archive's manifest and pictures into the project's set of that name, which is made if need be.

    Raises ManifestError for an archive that cannot be used, before anything is written, and Refused as
    create_subject_set does. What is written and locked: see import_subjects.
    """
    with open_archive(archive, stretch=stretch) as images:
        text, json_lines = images.read_manifest()
        if text.count("\n") > MOST_ROWS + 1:
            raise ManifestError(
                f"the manifest has more than {MOST_ROWS} rows; split it, or use the command import_subjects"
            )
        rows = read_manifest(io.StringIO(text, newline=""), json_lines=json_lines)
        chosen, _ = create_subject_set(project=project, name=subject_set, origin=origin)
        return import_subjects(
            project=project,
            subject_set=chosen,
            rows=rows,
            read_frame=images,
            source=getattr(archive, "name", "") or "archive.zip",
            user=user,
        )
