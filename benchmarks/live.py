"""The live engine: what next and submit cost as queue and crowd grow, what survives a storm, and bulk work.

Each part runs in a process and on databases of its own, which end with it.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import bulk, calls, crowd_size, storm, waiting
from benchmarks.deployment import deployment
from benchmarks.figures import Figure, own_process
from benchmarks.release import CLASSIFICATIONS, SUBJECTS, TINY, measure_release
from tests.support.services import postgresql

FEW, MANY_ON_SQLITE, MANY_ON_POSTGRESQL = 5_000, 100_000, 1_000_000
ROUNDS = 400  # per workflow; each one next and one submit
WAITS = 2_000
SEEN = 20_000


def measure(*, tiny: bool = False) -> Iterator[Figure]:
    yield from _apart(_on_sqlite, tiny)
    try:
        with postgresql():
            pass
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as problem:
        print(f"live      no PostgreSQL can be started here, its figures are left out: {problem}", flush=True)
        return
    for part in (_on_postgresql, _over_http, _in_bulk):
        yield from _apart(part, tiny)
    with postgresql() as url:
        yield from measure_release(url, *TINY if tiny else (SUBJECTS, CLASSIFICATIONS))


def _apart(part: Callable[[Path, bool], list[Figure]], tiny: bool) -> Iterator[Figure]:
    """A part in a fresh interpreter, in which Django can be set up once."""
    with tempfile.TemporaryDirectory() as folder, own_process() as run:
        yield from run(part, Path(folder), tiny)


def _on_sqlite(folder: Path, tiny: bool) -> list[Figure]:
    _set_up(folder)
    return _calls("SQLite", "", (50, 100) if tiny else (FEW, MANY_ON_SQLITE), tiny)[0]


def _on_postgresql(folder: Path, tiny: bool) -> list[Figure]:
    with postgresql() as url:
        _set_up(folder, url)
        figures, long_queue = _calls("PostgreSQL", url, (50, 400) if tiny else (FEW, MANY_ON_POSTGRESQL), tiny)
        size = f"{400 if tiny else MANY_ON_POSTGRESQL:,} subjects"
        n, seen = (50, 100) if tiny else (WAITS, SEEN)
        newcomers = waiting.of_newcomers(long_queue, n, "pg")
        figures += waiting.figures("PostgreSQL", f"{size}, newcomers", newcomers)
        busiest = waiting.of_the_busiest(long_queue, n, seen, "pg")
        figures += waiting.figures("PostgreSQL", f"{size}, {seen:,} of them seen", busiest)
        _close()
        return figures


def _calls(name: str, url: str, sizes: tuple[int, int], tiny: bool) -> tuple[list[Figure], Any]:
    """The figures, and the workflow with the longer queue."""
    from benchmarks.site import make_workflow

    workflows = [make_workflow(f"queue-of-{n}", n) for n in sizes]
    small, large, bare = calls.measure_on(workflows, url, calls.BLOCK if tiny else ROUNDS)
    return list(calls.figures(name, small, large, bare)), workflows[1]


def _over_http(folder: Path, tiny: bool) -> list[Figure]:
    with deployment() as made:
        _set_up(folder, made.postgresql.url, made.redis.url)
        from benchmarks.site import make_workflow, sign_in

        sessions = [sign_in(f"volunteer-{i}") for i in range(storm.VOLUNTEERS)]
        crowded = make_workflow("crowded", 500 if tiny else FEW)
        _close()  # the storm ends every connection; the next query opens one
        made.start_web(folder, 3)
        figures = list(crowd_size.growth(made, crowded, sessions, tiny=tiny))
        figures += crowd_size.freshness(made, crowded, sessions, tiny=tiny)
        per_second = next(figure.value for figure in figures if figure.name == crowd_size.LARGEST_PER_SECOND)
        n_subjects = storm.subjects_for(per_second, tiny=tiny)
        stormy = make_workflow("stormy", n_subjects, template="gz-rings", limit=storm.LIMIT)
        _close()
        figures += storm.storm(made, stormy, sessions, tiny=tiny)
        _close()
        return figures


def _in_bulk(folder: Path, tiny: bool) -> list[Figure]:
    with postgresql() as url:
        _set_up(folder, url)
        figures = list(bulk.figures(folder, tiny=tiny))
        _close()
        return figures


def _set_up(folder: Path, database_url: str = "", redis_url: str = "") -> None:
    from benchmarks.site import start_django

    start_django(folder, database_url, redis_url)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _close() -> None:
    from django.db import connection

    connection.close()
