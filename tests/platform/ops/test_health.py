"""Probes: the process answers, what it needs is within reach, figures for Prometheus."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from starsieve.ops import health
from starsieve.ops.health import states

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_process_answers_without_a_database(client: Client) -> None:
    answer = client.get("/healthz")  # no db mark: a query would fail the test

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db(transaction=True)
def test_a_ready_site_says_so_part_by_part(client: Client) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert {name: part["is_ready"] for name, part in answer.json()["parts"].items()} == {
        "database": True,
        "broker": True,
        "storage": True,
    }


def broken() -> None:
    raise ConnectionError("postgres://user:secret@db/")


def test_one_part_down_is_503_and_tells_no_secret(client: Client, monkeypatch: Any) -> None:
    checks = {"database": broken, "storage": lambda: None}
    monkeypatch.setattr("starsieve.ops.views.states", lambda: states(checks))

    answer = client.get("/readyz")

    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert (parts["database"]["is_ready"], parts["storage"]["is_ready"]) == (False, True)
    assert parts["database"]["detail"] == "ConnectionError"
    assert b"secret" not in answer.content


def test_a_hanging_part_is_reported_within_the_limit_and_asked_by_one_thread_only() -> None:
    release = threading.Event()
    asked = []

    def hang() -> None:
        asked.append(1)
        release.wait(30)

    try:
        first = states({"hanging": hang}, limit=0.05)["hanging"]
        second = states({"hanging": hang}, limit=0.05)["hanging"]
        assert first.ms < 1000
        assert not first.is_ready
        assert not second.is_ready
        assert "no answer" in first.detail
        assert asked == [1]
    finally:
        release.set()


def test_a_media_folder_that_cannot_be_written_is_not_ready(settings: Any, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    settings.MEDIA_ROOT = str(in_the_way / "media")

    with pytest.raises(PermissionError):
        health.ask_storage()


def test_an_unreachable_broker_is_not_ready(monkeypatch: Any) -> None:
    import kombu

    closed = kombu.Connection("redis://127.0.0.1:1/0", connect_timeout=0.5)
    monkeypatch.setattr(health.app, "connection_for_write", lambda **_: closed)

    state = states({"broker": health.ask_broker}, limit=5)["broker"]

    assert not state.is_ready


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/metrics"])
def test_probes_only_read(client: Client, address: str) -> None:
    assert client.post(address).status_code == 405


def sample(text: str, name: str, **labels: str) -> float:
    for line in text.splitlines():
        is_named = line.startswith((f"{name}{{", f"{name} "))
        if is_named and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


@pytest.mark.django_db
def test_requests_are_counted_by_route_not_by_address(client: Client) -> None:
    def count() -> float:
        return sample(
            client.get("/metrics").content.decode(),
            "starsieve_http_requests_total",
            route="accounts/login/",
            method="GET",
            status="200",
        )

    before = count()
    client.get("/accounts/login/?next=/a")
    client.get("/accounts/login/?next=/b")
    client.get("/no-such-page-7")

    assert count() == before + 2
    text = client.get("/metrics").content.decode()
    assert "no-such-page" not in text
    assert sample(text, "starsieve_http_request_seconds_count", route="accounts/login/", method="GET") >= 2


@pytest.mark.django_db
def test_a_made_up_method_makes_no_new_series(client: Client) -> None:
    client.generic("HACK7", "/healthz")

    assert "HACK7" not in client.get("/metrics").content.decode()


@pytest.mark.django_db
def test_waiting_work_is_shown(client: Client) -> None:
    text = client.get("/metrics").content.decode()

    assert 'starsieve_prefilter_shards{state="pending"} 0.0' in text
    assert 'starsieve_broker_messages{queue="celery"}' in text


COUNT_IN_TWO_PROCESSES = """
import os, subprocess, sys
code = "from starsieve.ops.metrics import CLASSIFICATIONS; CLASSIFICATIONS.inc()"
start = "import django; django.setup(); "
for _ in range(2):
    subprocess.run([sys.executable, "-c", start + code], check=True)
import django
django.setup()
from starsieve.ops import metrics
metrics.QueueCollector.collect = lambda self: iter(())
print(metrics.exposition().decode())
"""


@pytest.mark.services
def test_several_workers_add_up_their_figures(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    environment = os.environ | {
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "starsieve.settings",
        "DEBUG": "1",
        "STARSIEVE_VAR": str(tmp_path),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'platform'}",
    }

    run = subprocess.run(
        [sys.executable, "-c", COUNT_IN_TWO_PROCESSES], env=environment, capture_output=True, text=True, check=True
    )

    assert sample(run.stdout, "starsieve_classifications_stored_total") == 2.0


def test_robots_are_kept_from_pages_that_begin_sessions(client: Client) -> None:
    text = client.get("/robots.txt").content.decode()
    assert "Disallow: /projects/*/classify/" in text
    assert not client.cookies
