"""A release of many subjects: CPU and peak memory of freezing and building it, and of each row of classifications.csv.

Part of the live bench. The workflow has the Galaxy Zoo DECaLS tree (ten questions, 34 answers) and is filled by
`simulate`; its snapshot is up to date, as the schedule keeps it. Everything runs on one database of the bench's own.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import CpuClock, Figure, own_process, peak_megabytes

SUBJECTS, CLASSIFICATIONS = 1_000_000, 5_000_000
TINY = (300, 1_000)
VOLUNTEERS = 20_000
SLUG = "release"
# Of a million subjects, by the clock of a machine that does nothing else; here CPU of all processes.
MOST_SECONDS = 60.0
MOST_MEGABYTES = 500.0
MOST_MS_PER_ROW = 0.1


def measure_release(url: str, n_subjects: int = SUBJECTS, n_classifications: int = CLASSIFICATIONS) -> Iterator[Figure]:
    """Figures of one release to Parquet on the empty database `url` ("": SQLite). Bars only for a million subjects."""
    with tempfile.TemporaryDirectory() as folder:
        with own_process() as run:
            run(_fill, folder, url, n_subjects, n_classifications)
        with own_process() as run:
            plain = run(_release, folder, url, False)
        with own_process() as run:
            told = run(_release, folder, url, True)
    is_large = n_subjects >= SUBJECTS
    what = f"release of {n_subjects:,} subjects, {n_classifications:,} classifications"
    both = plain.freezing + plain.building + plain.database
    yield Figure(f"{what}, freezing", plain.freezing, "CPU s")
    yield Figure(f"{what}, building", plain.building, "CPU s")
    yield Figure(f"{what}, its server process", plain.database, "CPU s")
    yield Figure(f"{what}, all processes", both, "CPU s", at_most=MOST_SECONDS if is_large else None)
    yield Figure(f"{what}, by the clock", plain.clock, "s")
    yield Figure(f"{what}, peak memory", plain.megabytes, "MB", at_most=MOST_MEGABYTES if is_large else None)
    rows = max(told.rows, 1)
    per_row = 1000 * (told.building - plain.building) / rows
    yield Figure(
        f"classifications.csv, {rows:,} rows, one row", per_row, "CPU ms", at_most=MOST_MS_PER_ROW if is_large else None
    )


@dataclass
class Spent:
    """CPU seconds of our process while it froze and built, and of the database's; seconds by the clock; rows of
    classifications.csv.
    """

    freezing: float
    building: float
    database: float
    clock: float
    megabytes: float
    rows: int


def _fill(folder: str, url: str, n_subjects: int, n_classifications: int) -> None:
    from benchmarks import site

    site.start_django(Path(folder), url)
    from django.core.management import call_command
    from django.utils import timezone

    from starsieve.accounts.models import User
    from starsieve.catalogues.snapshots.refresh import refresh_snapshot
    from starsieve.ops.simulation.plan import Plan
    from starsieve.ops.simulation.services import simulate
    from starsieve.projects.services import create_project

    call_command("migrate", verbosity=0)
    owner, _ = User.objects.get_or_create(username="owner")
    project = create_project(title=SLUG, slug=SLUG, summary="For measuring", template="gz-decals", owner=owner)
    volunteers = min(VOLUNTEERS, n_classifications)
    simulate(
        workflow=project.workflows.get(), plan=Plan(n_subjects, volunteers, n_classifications), until=timezone.now()
    )
    refresh_snapshot(workflow=project.workflows.get())


def _release(folder: str, url: str, include_classifications: bool) -> Spent:
    from benchmarks import site

    site.start_django(Path(folder), url)
    from starsieve.catalogues import services
    from starsieve.catalogues.files import release_folder
    from starsieve.catalogues.release_settings import ReleaseSettings
    from starsieve.projects.models import Workflow

    workflow = Workflow.objects.get(project__slug=SLUG)
    chosen = ReleaseSettings(method="fractions", formats=("parquet",), include_classifications=include_classifications)
    freezing, building = CpuClock(), CpuClock()
    began, before = time.monotonic(), _database_seconds()
    with freezing:
        release = services.make_release(workflow=workflow, user=None, settings=chosen, build_in_background=False)
    with building:
        services.build(release=release)
    clock, database = time.monotonic() - began, _database_seconds() - before
    rows = 0
    if include_classifications:
        with (release_folder(release) / "classifications.csv").open("rb") as file:
            rows = sum(1 for _ in file) - 1
    return Spent(freezing.seconds, building.seconds, database, clock, peak_megabytes(), rows)


def _database_seconds() -> float:
    """CPU seconds so far of the PostgreSQL process behind the connection; 0 for SQLite, or off Linux."""
    from django.db import connection

    from benchmarks.site import process_seconds

    if connection.vendor != "postgresql" or not Path("/proc/self/stat").exists():
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return process_seconds(cursor.fetchone()[0])
