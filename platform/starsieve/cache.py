"""The cache that processes share, named in the settings: Redis, and work that goes on while Redis is away.

Nothing in the cache is truth. While Redis does not answer, everything counts as not cached: rate limits see no earlier
calls, figures and plots are made anew. A warning says so, and that it is back.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends import redis as django_redis
from redis.exceptions import RedisError

PATIENCE = 0.25  # seconds for one answer: what is cached costs less than waiting longer
PAUSE = 1.0  # seconds in which Redis is not asked again, so that requests do not each wait for the same silence

logger = logging.getLogger(__name__)


class _Client(django_redis.RedisCacheClient):
    def __init__(self, servers: Any, **options: Any) -> None:
        super().__init__(servers, **{"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, **options})
        self._silent_until = 0.0
        self._is_away = False
        self._clients: dict[bool, Any] = {}

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        """One client for reading and one for writing, which threads may share: making one costs as much as asking."""
        if write not in self._clients:
            self._clients[write] = super().get_client(key, write=write)
        return self._clients[write]

    def _ask(self, method: Callable[..., Any], otherwise: Any, *arguments: Any) -> Any:
        """What Redis answers, or `otherwise`."""
        if time.monotonic() < self._silent_until:
            return otherwise
        try:
            answer = method(*arguments)
        except RedisError as error:
            self._silent_until = time.monotonic() + PAUSE
            if not self._is_away:
                logger.warning("Redis does not answer (%s): nothing is cached, rate limits do not count.", error)
            self._is_away = True
            return otherwise
        if self._is_away:
            logger.warning("Redis answers again.")
            self._is_away = False
        return answer

    def add(self, key: Any, value: Any, timeout: Any) -> Any:
        return self._ask(super().add, True, key, value, timeout)  # as if it had not been there

    def get(self, key: Any, default: Any) -> Any:
        return self._ask(super().get, default, key, default)

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        self._ask(super().set, None, key, value, timeout)

    def touch(self, key: Any, timeout: Any) -> Any:
        return self._ask(super().touch, False, key, timeout)

    def delete(self, key: Any) -> Any:
        return self._ask(super().delete, False, key)

    def get_many(self, keys: Any) -> Any:
        return self._ask(super().get_many, {}, keys)

    def has_key(self, key: Any) -> Any:
        return self._ask(super().has_key, False, key)

    def incr(self, key: Any, delta: Any) -> Any:
        return self._ask(super().incr, delta, key, delta)

    def set_many(self, data: Any, timeout: Any) -> None:
        self._ask(super().set_many, None, data, timeout)

    def delete_many(self, keys: Any) -> None:
        self._ask(super().delete_many, None, keys)

    def clear(self) -> Any:
        return self._ask(super().clear, False)


class RedisCache(django_redis.RedisCache):
    def __init__(self, server: Any, params: Any) -> None:
        super().__init__(server, params)
        self._class = _Client
