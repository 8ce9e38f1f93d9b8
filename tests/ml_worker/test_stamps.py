"""A stamp is read as RGB bytes, or the reason why not is said."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from ml_worker.stamps import StampUnreadable, read_stamp
from starsieve.projects.models import Subject


def png(mode: str = "RGB", size: tuple[int, int] = (5, 3)) -> bytes:
    stream = BytesIO()
    Image.new(mode, size, 200).save(stream, "PNG")
    return stream.getvalue()


def stored(content: bytes) -> Subject:
    path = default_storage.save("stamps/a.png", ContentFile(content))
    return Subject(name="a", frames=[{"path": path, "width": 5, "height": 3}])


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_a_picture_of_any_mode_is_read_as_rgb(mode: str) -> None:
    stamp = read_stamp(stored(png(mode)))
    assert (stamp.shape, stamp.dtype) == ((3, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "no readable picture"), (b"text", "no readable picture"), (png()[:-20], "no read")]
)
def test_a_broken_picture_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(StampUnreadable, match=rf"stamps/a\.png: {reason}"):
        read_stamp(stored(content))


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(StampUnreadable, match="5000 × 4000 pixels are too many"):
        read_stamp(stored(png("1", (5000, 4000))))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "has no picture"),
        ([{"path": "stamps/gone.png"}], "is missing"),
        ([{"path": "stamps"}], "is missing"),
        ([{"path": "../../etc/passwd"}], "outside"),
    ],
)
def test_a_missing_or_foreign_file_is_named(frames: Any, reason: str) -> None:
    default_storage.save("stamps/other.png", ContentFile(png()))
    with pytest.raises(StampUnreadable, match=reason):
        read_stamp(Subject(name="a", frames=frames))


def test_a_fault_of_the_storage_is_no_fault_of_the_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError("connection reset")

    subject = stored(png())
    monkeypatch.setattr(default_storage, "open", fail)
    with pytest.raises(OSError, match="connection reset") as fault:
        read_stamp(subject)
    assert not isinstance(fault.value, StampUnreadable)
