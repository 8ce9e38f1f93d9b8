"""The world that the contract tests look at: made once a module, as it was again for each test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import override_settings

from tests.contract.world import World, make_world


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    """Rate limits and kept numbers start from nothing."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(scope="module")
def made_world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, dict[str, str]]]:
    """The world inside a transaction that is never committed, and the folders that its files are in."""
    root = tmp_path_factory.mktemp("world")
    folders = {"MEDIA_ROOT": str(root / "media"), "RELEASE_ROOT": str(root / "releases")}
    with django_db_blocker.unblock(), override_settings(**folders):
        around = transaction.atomic()
        around._from_testcase = True  # as Django's TestCase marks its own, so that durable blocks may open inside
        with around:
            yield make_world(), folders
            transaction.set_rollback(True)


@pytest.fixture
def world(made_world: tuple[World, dict[str, str]], db: None, own_folders: Any, settings: Any) -> World:
    """The `db` fixture's own transaction, inside the other, takes back what a test changes."""
    world, folders = made_world
    for name, folder in folders.items():
        setattr(settings, name, folder)
    return world
