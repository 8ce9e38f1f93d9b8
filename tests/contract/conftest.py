"""The world that the contract tests look at."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from tests.contract.world import World, make_world


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    """Rate limits and kept numbers start from nothing."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def world(db: None, own_folders: Any) -> World:
    return make_world()
