"""Snapshots under processes that are killed, and under several at once: on real files and real connections."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection

from starsieve.catalogues.models import Snapshot, SnapshotPart
from starsieve.catalogues.snapshots import refresh
from starsieve.catalogues.snapshots.folders import folder_of
from starsieve.catalogues.snapshots.refresh import refresh_snapshot
from tests.conftest import REPOSITORY
from tests.platform.catalogues.conftest import GRADE, Survey
from tests.platform.catalogues.test_snapshots import parts_of, rows_of, stored
from tests.support.databases import shared_database

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
NAMES = tuple(f"s{number}" for number in range(40))

#: Refreshes a workflow's snapshot, and stops for ever where a function of a module is called, after saying so.
REFRESHING = """
import django, signal, sys
django.setup()
from importlib import import_module
from starsieve.projects.models import Workflow
from starsieve.catalogues.snapshots import refresh

def stop(*arguments):
    print("there", flush=True)
    signal.pause()

module, name, workflow, to_merge = sys.argv[1:]
setattr(import_module(module), name, stop)
refresh.PARTS_TO_MERGE = int(to_merge)
refresh.refresh_snapshot(workflow=Workflow.objects.get(pk=workflow))
"""


@pytest.fixture
def database(transactional_db: None, tmp_path: Path) -> Iterator[str]:
    with shared_database(tmp_path) as address:
        yield address


@pytest.fixture
def survey(database: str, make_user: Any) -> Survey:
    return Survey(make_user("owner"))


@pytest.fixture
def workflow(survey: Survey) -> Any:
    """Two parts, and a classification that is in neither."""
    workflow = survey.workflow(GRADE, names=NAMES, limit=1000)
    for name in NAMES[:2]:
        survey.answer(workflow, name, "A")
        refresh_snapshot(workflow=workflow)
    survey.answer(workflow, NAMES[2], "B")
    return workflow


def kill_at(database: str, workflow: Any, place: str, *, to_merge: int = 8) -> None:
    """Have another process refresh the snapshot, and kill it where it calls the function named `place`."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'platform'}",
        "DJANGO_SETTINGS_MODULE": "starsieve.settings",
        "DEBUG": "1",
        "DATABASE_URL": database,
        "SNAPSHOT_ROOT": django_settings.SNAPSHOT_ROOT,
        "STARSIEVE_VAR": str(Path(django_settings.SNAPSHOT_ROOT).parent),
    }
    module, _, name = place.rpartition(".")
    arguments = [f"starsieve.catalogues.snapshots.{module}", name, str(workflow.pk), str(to_merge)]
    connection.close()  # SQLite's file is the other process's now
    command = [sys.executable, "-c", REFRESHING, *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert said == "there\n"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("place", ["parts._sha256_of", "parts._to_disk", "refresh.append_part"])
def test_a_process_that_is_killed_while_it_appends_leaves_nothing_half_done(
    database: str, workflow: Any, place: str
) -> None:
    before = [(part.name, part.sha256) for part in parts_of(workflow)]
    kill_at(database, workflow, place)
    assert [(part.name, part.sha256) for part in parts_of(workflow)] == before
    left = {path.name for path in folder_of(workflow.pk).iterdir()} - {"lock"} - {name for name, _ in before}
    assert len(left) == 1
    assert rows_of(workflow) == stored(workflow)
    assert [part.n_rows for part in parts_of(workflow)] == [1, 1, 1]


def test_a_process_that_is_killed_between_merging_and_tidying_leaves_what_is_swept_later(
    database: str, workflow: Any
) -> None:
    replaced = {part.name for part in parts_of(workflow)}
    kill_at(database, workflow, "refresh.path_of", to_merge=2)
    (merged,) = parts_of(workflow)
    assert merged.n_rows == 3
    assert rows_of(workflow) == stored(workflow)
    left = {path.name for path in folder_of(workflow.pk).glob("*.parquet")} - {merged.name}
    assert replaced < left
    for name in left:
        os.utime(folder_of(workflow.pk) / name, (0, 0))
    refresh_snapshot(workflow=workflow)
    assert [path.name for path in folder_of(workflow.pk).glob("*.parquet")] == [merged.name]


def at_once(*jobs: Callable[[], Any]) -> None:
    """All jobs together, each on a connection of its own; raises what they raise."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        try:
            barrier.wait(30)
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(run, jobs))


@pytest.mark.parametrize("locking", [True, False], ids=["one machine", "machines without a common lock"])
def test_several_refresh_and_read_while_people_classify_and_sign_in(
    survey: Survey, make_user: Any, monkeypatch: pytest.MonkeyPatch, locking: bool
) -> None:
    from classify.models import Volunteer
    from classify.volunteers import merge_visitor

    if not locking:
        monkeypatch.setattr(refresh, "writing", lambda workflow_id, wait: nullcontext())
    monkeypatch.setattr(refresh, "PARTS_TO_MERGE", 3)
    workflow = survey.workflow(GRADE, names=NAMES, limit=1000)
    visitors = [survey.volunteer() for _ in range(4)]
    users = [make_user(f"u{number}") for number in range(2)]
    for user in users:
        Volunteer.objects.create(user=user)

    def classify(seed: int) -> None:
        order = random.Random(seed).sample(NAMES, 12)
        for name in order:
            survey.answer(workflow, name, "A", volunteer=visitors[seed])

    def sign_in() -> None:
        # These two have stopped classifying; the others' work arrives meanwhile.
        for visitor, user in zip(visitors[2:], users, strict=True):
            merge_visitor(user=user, visitor=visitor.visitor)

    def read() -> None:
        for _ in range(6):
            refresh_snapshot(workflow=workflow)
            numbers = [row["id"] for row in rows_of(workflow)]
            assert numbers == sorted(set(numbers))

    classify(2), classify(3)
    at_once(lambda: classify(0), lambda: classify(1), sign_in, read, read)
    for only_counted in (True, False):
        assert rows_of(workflow, only_counted=only_counted) == stored(workflow, only_counted=only_counted)
    assert sum(part.n_rows for part in parts_of(workflow)) == 48
    assert Snapshot.objects.get(workflow=workflow).epoch == 0


def test_a_second_refresh_waits_and_finds_the_work_done(
    survey: Survey, workflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = refresh.write_part, []
    monkeypatch.setattr(refresh, "write_part", lambda *arguments: calls.append(1) or write(*arguments))
    at_once(*[lambda: refresh_snapshot(workflow=workflow)] * 3)
    assert len(calls) == 1
    assert SnapshotPart.objects.count() == 3
    assert rows_of(workflow) == stored(workflow)
