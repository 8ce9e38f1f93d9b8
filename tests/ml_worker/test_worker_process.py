"""A real Celery worker in a process of its own: killed, it loses nothing; cancelled, it stops; its scores rule."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, new_site, wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
SEED = Path(__file__).with_name("seed_site.py")
SETS = {"killed": 320, "child": 320, "cancelled": 320, "after": 10, "shown": 60}
PREDICTIONS = (
    "[[p.subject_id, p.score, str(p.created_at)] for p in apps.get_model('ml_worker.Prediction').objects"
    ".filter(subject__subject_set_id={}).order_by('subject_id')]"
)


@dataclass
class Platform:
    """The running site as its owner's scripts see it."""

    site: Site
    token: str
    model: int
    workflows: dict[str, int]  # by the name of the only set of each
    sets: dict[str, int]
    worker: subprocess.Popen[bytes] | None = None

    def call(self, path: str, data: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.site.url}/api/v1/{path}",
            data=None if data is None else json.dumps(data).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def launch(self, set_name: str, **policy: Any) -> int:
        ids = {"workflow": self.workflows[set_name], "subject_set": self.sets[set_name], "model": self.model}
        return int(self.call("prefilter-batches", ids | {"seed": 1} | policy)["id"])

    def batch(self, batch_id: int) -> Any:
        return self.call(f"prefilter-batches/{batch_id}")

    def in_mid_shard(self, batch_id: int) -> Any:
        """The batch as soon as some of its scores are stored; it must not be finished by then."""

        def some_scores() -> Any:
            batch = self.batch(batch_id)
            return batch if batch["progress"]["n_scored"] else None

        batch = wait_until(some_scores, seconds=60, what="the first scores")
        assert 0 < batch["progress"]["n_scored"] < batch["progress"]["n_subjects"], "too fast to be caught in mid-shard"
        return batch

    def finished(self, batch_id: int) -> Any:
        def done() -> Any:
            batch = self.batch(batch_id)
            return batch if batch["finished_at"] else None

        return wait_until(done, seconds=90, what=f"batch {batch_id} to finish")

    def predictions(self, set_name: str) -> list[tuple[int, float, str]]:
        return [tuple(row) for row in self.site.evaluate(PREDICTIONS.format(self.sets[set_name]))]

    def ensure_worker(self) -> subprocess.Popen[bytes]:
        if self.worker is None or self.worker.poll() is not None:
            self.worker = self.site.start_worker()
        return self.worker


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with new_site(tmp_path_factory.mktemp("prefilter")) as site:
        site.environment |= {"PREFILTER_LEASE_SECONDS": "3", "SEED_SETS": json.dumps(SETS)}
        seeded = json.loads(site.execute(SEED.read_text()))
        site.start_web()
        yield Platform(site, **seeded)


def busiest_child(parent: int) -> int:
    """The child process that has used most processor time: the pool's, not beat's."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,time="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listing.stdout.splitlines()]
    children = [(time_used, int(pid)) for pid, ppid, time_used in rows if int(ppid) == parent]
    return max(children)[1]


def test_a_killed_worker_loses_nothing_and_a_fresh_one_scores_every_subject_once(platform: Platform) -> None:
    worker = platform.ensure_worker()
    batch_id = platform.launch("killed", show_above=0.0, shard_size=160)
    platform.in_mid_shard(batch_id)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)
    before = platform.predictions("killed")
    assert 0 < len(before) < 320
    assert platform.batch(batch_id)["state"] == "running"

    platform.ensure_worker()
    batch = platform.finished(batch_id)
    assert batch["state"] == "done"
    assert batch["progress"] == {
        "n_subjects": 320, "n_scored": 320, "n_unreadable": 0, "n_shards": 2, "n_done": 2, "n_failed": 0,
    }  # fmt: skip
    assert sum(shard["attempts"] for shard in batch["shards"]) == 3
    after = platform.predictions("killed")
    assert len({subject for subject, *_ in after}) == len(after) == 320
    assert set(before) <= set(after), "what was scored before is kept as it was"


def test_a_killed_child_of_the_worker_loses_nothing_either(platform: Platform) -> None:
    worker = platform.ensure_worker()
    batch_id = platform.launch("child", show_above=0.0, shard_size=320)
    platform.in_mid_shard(batch_id)
    os.kill(busiest_child(worker.pid), signal.SIGKILL)
    batch = platform.finished(batch_id)
    assert (batch["state"], batch["progress"]["n_scored"]) == ("done", 320)
    assert batch["shards"][0]["attempts"] == 2
    assert worker.poll() is None


def test_cancelling_stops_the_worker_in_mid_shard(platform: Platform) -> None:
    platform.ensure_worker()
    batch_id = platform.launch("cancelled", show_above=0.0, shard_size=320)
    platform.in_mid_shard(batch_id)
    platform.call(f"prefilter-batches/{batch_id}/cancel", {})
    batch = platform.finished(batch_id)
    assert batch["state"] == "cancelled"
    assert 0 < batch["progress"]["n_scored"] < 320
    assert batch["routing"] == {}
    n_before = len(platform.predictions("cancelled"))
    # A task after it shows that the worker has let go of the cancelled shard.
    platform.finished(platform.launch("after", show_above=0.0))
    assert len(platform.predictions("cancelled")) == n_before


def test_the_next_subjects_follow_from_the_scores(platform: Platform) -> None:
    def next_ids() -> set[int]:
        path = f"workflows/{platform.workflows['shown']}/next?count=20"
        return {int(subject["id"]) for subject in platform.call(path)["subjects"]}

    platform.ensure_worker()
    before = next_ids()
    batch = platform.finished(platform.launch("shown", show_fraction=0.5, control_fraction=0))
    scores = {subject: score for subject, score, _ in platform.predictions("shown")}
    shown = {subject for subject, score in scores.items() if score >= batch["show_above"]}
    assert 30 <= len(shown) < 60
    assert batch["routing"] == {"shown": len(shown), "held": 60 - len(shown), "control": 0, "left_alone": 0}
    assert not before <= shown, "before the batch any of the sixty could come"
    after = next_ids()
    assert len(after) == 20
    assert after <= shown
