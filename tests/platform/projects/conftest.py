"""One project with a scientist's tools around it: pictures, manifests, archives, FITS mosaics, people in every role."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image


@pytest.fixture
def owner(make_user: Callable[..., Any]) -> Any:
    return make_user("owner")


@pytest.fixture
def project(owner: Any) -> Any:
    from starsieve.projects.services import create_project

    return create_project(
        title="Deep field", slug="deep-field", summary="Sort galaxies.", template="gz-rings", owner=owner, status="live"
    )


@pytest.fixture
def workflow(project: Any) -> Any:
    return project.workflows.get()


@pytest.fixture
def subject_set(project: Any) -> Any:
    from starsieve.projects.services import create_subject_set

    return create_subject_set(project=project, name="Field 1")[0]


@pytest.fixture
def sign_in(make_user: Callable[..., Any], project: Any) -> Callable[..., Client]:
    """sign_in("expert") → a client signed in as someone with that role in the project; None: no role."""
    from starsieve.projects.services import set_member

    def make(role: str | None) -> Client:
        user = make_user(f"a-{role}")
        if role is not None:
            set_member(project=project, user=user, role=role)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def owners_client(owner: Any) -> Client:
    client = Client()
    client.force_login(owner)
    return client


def png(width: int = 24, height: int = 20, *, level: int = 120, mode: str = "RGB", **save: Any) -> bytes:
    buffer = io.BytesIO()
    shade: Any = level if mode in ("L", "I;16", "1", "P") else (level, 30, 60, 255)[: len(mode)]
    Image.new(mode, (width, height), shade).save(buffer, format="PNG", **save)
    return buffer.getvalue()


def jpeg(width: int = 24, height: int = 20, **save: Any) -> bytes:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, format="JPEG", quality=80, **save)
    return buffer.getvalue()


def archive(members: dict[str, bytes | str], *, change: Callable[[zipfile.ZipInfo], None] | None = None) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            file.writestr(info, data)
    buffer.seek(0)
    buffer.name = "field.zip"
    return buffer


@pytest.fixture
def make_png() -> Callable[..., bytes]:
    return png


@pytest.fixture
def make_jpeg() -> Callable[..., bytes]:
    return jpeg


@pytest.fixture
def make_archive() -> Callable[..., io.BytesIO]:
    return archive


@pytest.fixture
def stamp_folder(tmp_path: Path) -> Path:
    """A folder with a.png, b.png, c.jpg and a broken.png."""
    folder = tmp_path / "stamps-in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(level=10))
    (folder / "b.png").write_bytes(png(level=20))
    (folder / "c.jpg").write_bytes(jpeg())
    (folder / "broken.png").write_bytes(png()[:-30])
    return folder
