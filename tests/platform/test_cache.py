"""Redis may stop, hang and come back: what is cached is lost meanwhile, and nothing else."""

import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from starsieve import cache as module
from starsieve.cache import RedisCache
from tests.support.services import Redis, free_port, redis_server


@pytest.fixture
def nobody() -> RedisCache:
    return RedisCache(f"redis://127.0.0.1:{free_port()}/0", {})


def test_while_redis_is_away_nothing_is_cached_and_nothing_fails(nobody: RedisCache) -> None:
    nobody.set("a", 1)
    nobody.set_many({"b": 2})
    assert nobody.get("a", "made anew") == "made anew"
    assert (nobody.get_many(["a", "b"]), nobody.has_key("a"), "a" in nobody) == ({}, False, False)
    assert (nobody.add("a", 1), nobody.touch("a"), nobody.delete("a"), nobody.incr("a", 3)) == (True, False, False, 3)
    assert nobody.get_or_set("a", lambda: "made anew") == "made anew"
    nobody.delete_many(["a"])
    nobody.clear()


def test_that_redis_is_away_is_told_once(nobody: RedisCache, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="starsieve.cache"):
        for _ in range(3):
            nobody.get("a")
    assert [record.message.split(" (")[0] for record in caplog.records] == ["Redis does not answer"]


def test_a_redis_that_hangs_is_waited_for_once_and_not_in_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waits = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        cache = RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", {"OPTIONS": {"socket_timeout": 0.05}})
        ask = cache._cache._ask
        cache._cache._ask = lambda method, *rest: ask(lambda *given: waits.append(1) or method(*given), *rest)
        for _ in range(3):
            assert cache.get("a") is None
        assert len(waits) == 1
        now[0] += module.PAUSE
        assert cache.get("a") is None
        assert len(waits) == 2


@pytest.mark.django_db
def test_the_api_answers_while_redis_is_away(client: Client, settings: Any) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "starsieve.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}/0"}
    }
    assert client.get("/api/v1/projects").status_code == 200


@pytest.fixture
def server() -> Iterator[Redis]:
    if not os.environ.get("TEST_REDIS_URL"):
        pytest.fail("run by `make test`, which starts Redis (or set TEST_REDIS_URL)")
    with redis_server() as server:
        yield server


@pytest.mark.services
def test_caching_goes_on_when_redis_is_back(
    server: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    cache = RedisCache(server.url, {})
    cache.set("a", [1.5])
    assert cache.get("a") == [1.5]
    server.stop()
    assert cache.get("a") is None
    server.start()
    cache.set("a", [2.5])
    assert cache.get("a") == [2.5]
    assert caplog.records[-1].message == "Redis answers again."
