"""Fixtures that every room's tests may use. People and projects are made through the product's own services."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup", "live_server"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks a database: `make test` runs that on PostgreSQL too, and the rest once."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("django_db") or DATABASE_FIXTURES.intersection(fixtures):
            item.add_marker(pytest.mark.database)


@pytest.fixture(autouse=True)
def own_folders(settings: Any, tmp_path: Path) -> None:
    """Each test writes its pictures, releases and models into its own folder."""
    settings.MEDIA_ROOT = str(tmp_path / "media")
    settings.RELEASE_ROOT = str(tmp_path / "releases")
    settings.SNAPSHOT_ROOT = str(tmp_path / "snapshots")
    settings.MODEL_ROOT = str(tmp_path / "models")


@pytest.fixture
def shared_data() -> Path:
    """The reference data beside the checkout; tests that use it are skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the reference data beside the checkout (../shared/data) is absent")
    return SHARED / "data"


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """make_user("ada") → a user with the password `Volunteer!23`."""
    from starsieve.accounts.models import User

    def make(username: str, **fields: Any) -> User:
        return User.objects.create_user(username, f"{username}@example.org", "Volunteer!23", **fields)

    return make
