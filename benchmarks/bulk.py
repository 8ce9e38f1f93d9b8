"""Many rows at once on PostgreSQL: `import_subjects`, `simulate`, `rebuild_results`, in CPU per row of both sides."""

import csv
import random
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.site import family_seconds, parent_of

PICTURES = 300
HEADING = ["name", "image", "ra", "dec", "mag", "z", "survey", "#truth", "//source"]
LEAST_IMPORTED = 20_000  # rows per second, on a machine that has nothing else to do
LONGEST_REBUILD = 180.0  # seconds for ten million classifications


def figures(folder: Path, *, tiny: bool) -> Iterator[Figure]:
    """In a process in which Django is set up on PostgreSQL."""
    yield from _import(folder, 2000 if tiny else 1_000_000)
    yield from _simulate_and_rebuild(2000 if tiny else 400_000)


def _import(folder: Path, n: int) -> Iterator[Figure]:
    from django.core.management import call_command

    from benchmarks.site import make_workflow

    make_workflow("import", 0)
    manifest = _write_manifest(folder, n)
    began = time.monotonic()
    app, server = _spent(lambda: call_command("import_subjects", "import", str(manifest), stdout=StringIO()))
    seconds = time.monotonic() - began
    yield Figure(f"import of {n:,} rows, the command", 1e6 * app / n, "CPU µs per row")
    yield Figure(f"import of {n:,} rows, the server", 1e6 * server / n, "CPU µs per row")
    yield Figure("import, rows per CPU second of both", n / (app + server), "1/s")
    yield Figure("import, rows on the clock", n / seconds, "1/s", at_least=LEAST_IMPORTED)


def _write_manifest(folder: Path, n: int) -> Path:
    """Rows that share a few hundred pictures, with a position, three columns of metadata and two hidden ones."""
    from PIL import Image

    rng = random.Random(1)
    for i in range(PICTURES):
        Image.frombytes("RGB", (64, 64), rng.randbytes(64 * 64 * 3)).save(folder / f"picture-{i}.png")
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADING)
        for i in range(n):
            place = [f"{360 * rng.random():.6f}", f"{180 * rng.random() - 90:.6f}"]
            shown = [f"{rng.uniform(15, 25):.3f}", f"{rng.random():.4f}", "HSC wide, DR3"]
            hidden = [rng.choice(("lens", "no lens")), f"sim {i % 7}"]
            writer.writerow([f"S{i:08d}", f"picture-{i % PICTURES}.png", *place, *shown, *hidden])
    return manifest


def _simulate_and_rebuild(n: int) -> Iterator[Figure]:
    from django.core.management import call_command

    from benchmarks.site import make_workflow
    from classify.models import SubjectProgress
    from classify.services import rebuild_results

    workflow = make_workflow("simulated", 0, template="gz-rings")
    numbers = {"subjects": max(1, n // 20), "volunteers": 1000, "classifications": n}
    app, server = _spent(lambda: call_command("simulate", str(workflow.pk), **numbers, stdout=StringIO()))
    yield Figure("simulate, per classification", 1e6 * (app + server) / n, "CPU µs")
    rows = SubjectProgress.objects.filter(workflow=workflow)
    rows.update(tallies={}, classification_count=0, retired_at=None, retirement_reason="")
    began = time.monotonic()
    app, server = _spent(lambda: rebuild_results(workflow=workflow))
    yield Figure("rebuild_results, per classification", 1e6 * (app + server) / n, "CPU µs")
    yield Figure("rebuild_results, per classification on the clock", 1e6 * (time.monotonic() - began) / n, "µs")
    ten_million = 1e7 * (app + server) / n
    yield Figure("rebuild_results, ten million at this rate", ten_million, "CPU s", at_most=LONGEST_REBUILD)


def _spent(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of this process, and of the PostgreSQL server, all its processes together."""
    from django.db import connection

    connection.ensure_connection()
    server = parent_of(connection.connection.info.backend_pid)
    app, database = time.process_time(), family_seconds(server)
    work()
    return time.process_time() - app, family_seconds(server) - database
