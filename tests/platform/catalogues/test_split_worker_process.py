"""A split consensus run by real Celery workers: one or two processes, and one that is killed in mid-run."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, new_site, wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
SEED = Path(__file__).with_name("seed_votes.py")
REQUEST = (
    "from starsieve.projects.models import Workflow; from starsieve.catalogues.consensus.runs import request_consensus;"
    "print(request_consensus(workflow=Workflow.objects.get(), user=None).pk)"
)
STORED = (
    "[[[s, t] for s, t in apps.get_model('catalogues.SubjectConsensus').objects.order_by('subject_id')"
    ".values_list('subject_id', 'tasks')], apps.get_model('catalogues.ConsensusRun').objects.get(pk={}).tasks]"
)
#: Two at a time; the beat would begin runs of its own, and is for the other test.
TWO_WORKERS = ["celery", "-A", "starsieve", "worker", "--concurrency", "2", "--loglevel", "WARNING"]


@dataclass
class Platform:
    site: Site
    workflow: int
    expected: list[Any]

    def value(self, sql: str) -> Any:
        """The first value of a query, straight from the site's database: a management command would come too late."""
        url = self.site.environment.get("DATABASE_URL", "")
        if not url:
            connection = sqlite3.connect(self.site.folder / "starsieve.sqlite3", timeout=20)
            try:
                row = connection.execute(sql).fetchone()
            finally:
                connection.close()
        else:
            import psycopg

            with psycopg.connect(url) as server:
                row = server.execute(sql).fetchone()
        return None if row is None else row[0]

    def request(self) -> int:
        return int(self.site.execute(REQUEST))

    def finished(self, run: int) -> Any:
        """What is stored as soon as the run has ended."""

        def ended() -> bool:
            return self.value(f"SELECT state FROM catalogues_consensusrun WHERE id = {run}") in ("done", "failed")

        wait_until(ended, seconds=200, what=f"run {run} to end")
        assert self.value(f"SELECT error FROM catalogues_consensusrun WHERE id = {run}") == ""
        return self.site.evaluate(STORED.format(run))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with new_site(tmp_path_factory.mktemp("split")) as site:
        site.environment |= {
            "SUBJECTS": "1500", "VOLUNTEERS": "80", "VOTES_EACH": "8",
            "CONSENSUS_SHARD_VOTES": "3000", "CONSENSUS_LEASE_SECONDS": "3", "CONSENSUS_SECONDS": "100000",
        }  # fmt: skip
        seeded = json.loads(site.execute(SEED.read_text()))
        site.manage("run_consensus", str(seeded["workflow"]))  # in this one process, whatever the number of votes
        run = site.evaluate("apps.get_model('catalogues.ConsensusRun').objects.get().pk")
        yield Platform(site, seeded["workflow"], site.evaluate(STORED.format(run)))


def assert_alike(found: Any, expected: Any) -> None:
    """Numbers may differ in the last digit that is stored."""
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            assert_alike(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1.1e-6, rel=1e-9)
    else:
        assert found == expected


def test_two_worker_processes_store_what_one_process_stores(platform: Platform) -> None:
    worker = platform.site.start(TWO_WORKERS)
    assert_alike(platform.finished(platform.request()), platform.expected)
    os.killpg(worker.pid, signal.SIGTERM)
    worker.wait(30)


def test_a_worker_killed_in_mid_run_leaves_it_to_the_next(platform: Platform) -> None:
    platform.site.environment["CONSENSUS_SHARDS_HELD"] = "1"  # each round reads again: there is time to be killed in
    run = platform.request()
    shards = f"catalogues_consensusshard WHERE split_id = {run}"
    worker = platform.site.start_worker()
    wait_until(
        lambda: (platform.value(f"SELECT round FROM catalogues_consensussplit WHERE run_id = {run}") or 0) >= 4
        and platform.value(f"SELECT count(*) FROM {shards} AND state = 'running'"),
        seconds=120, what="the run to be in its rounds",
    )  # fmt: skip
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)
    assert platform.value(f"SELECT state FROM catalogues_consensusrun WHERE id = {run}") == "running"
    assert platform.value(f"SELECT count(*) FROM {shards}") == 4

    platform.site.start_worker()
    assert_alike(platform.finished(run), platform.expected)
    tidied = lambda: platform.value(f"SELECT count(*) FROM {shards}") == 0  # noqa: E731
    wait_until(tidied, seconds=10, what="the worker to take away what only the run needed")
