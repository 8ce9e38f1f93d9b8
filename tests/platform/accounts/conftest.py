"""People for the account pages; every test starts with an empty cache, so that rate limits count from nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

PASSWORD = "Volunteer!23"


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ada(make_user: Any) -> Any:
    return make_user("ada")


@pytest.fixture
def signed_in(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client
