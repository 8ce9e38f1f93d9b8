import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from PIL import Image

from starsieve.projects.stamps import StampError, frame_entry, open_picture, picture_from_array, store_frame


def stored_file(settings: Any, entry: dict[str, Any]) -> Path:
    return Path(settings.MEDIA_ROOT) / entry["path"]


def test_a_png_keeps_its_pixels_and_loses_everything_else(settings: Any, make_png: Callable[..., bytes]) -> None:
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("Comment", "<script>alert(1)</script>")
    data = make_png(pnginfo=notes, icc_profile=b"profile", exif=b"Exif\x00\x00") + b"<html>after the end</html>"
    entry = store_frame(open_picture(data), band="r", stretch="asinh")
    stored = stored_file(settings, entry).read_bytes()
    assert b"script" not in stored
    assert b"html" not in stored
    assert b"profile" not in stored
    with Image.open(io.BytesIO(stored)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(data))))
    assert entry["width"], entry["height"] == (24, 20)
    assert (entry["band"], entry["stretch"]) == ("r", "asinh")
    assert not list(stored_file(settings, entry).parent.glob(".*"))


def test_a_jpeg_is_stored_as_jpeg_without_its_metadata(settings: Any, make_jpeg: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where the telescope stands"
    data = make_jpeg(exif=exif, comment=b"secret") + b"trailing"
    entry = store_frame(open_picture(data))
    stored = stored_file(settings, entry).read_bytes()
    assert entry["path"].endswith(".jpg")
    assert not any(word in stored for word in (b"telescope", b"secret", b"trailing", b"Exif"))
    before, after = (np.asarray(Image.open(io.BytesIO(b)), dtype=int) for b in (data, stored))
    assert np.abs(before - after).max() <= 3


def test_a_rotated_photograph_is_turned_upright(make_jpeg: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = open_picture(make_jpeg(width=24, height=20, exif=exif))
    assert image.size == (20, 24)


@pytest.mark.parametrize(("mode", "stored_as"), [("1", "L"), ("L", "L"), ("P", "RGB"), ("RGBA", "RGB"), ("LA", "RGB")])
def test_every_mode_becomes_grey_or_rgb(make_png: Callable[..., bytes], mode: str, stored_as: str) -> None:
    assert open_picture(make_png(mode=mode)).mode == stored_as


def test_transparent_pixels_become_black() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (255, 255, 255, 0)).save(buffer, format="PNG")
    assert np.asarray(open_picture(buffer.getvalue())).max() == 0


def test_sixteen_bit_pixels_are_scaled_to_eight() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(buffer, format="PNG")
    image = open_picture(buffer.getvalue())
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 100, 255]]


def test_equal_pixels_are_stored_once_and_under_the_same_name(settings: Any, make_png: Callable[..., bytes]) -> None:
    first = store_frame(open_picture(make_png(compress_level=1)))
    written = stored_file(settings, first).stat().st_mtime_ns
    second = store_frame(open_picture(make_png(compress_level=9)))
    assert first == second == frame_entry(open_picture(make_png()))
    assert stored_file(settings, first).stat().st_mtime_ns == written
    assert default_storage.exists(first["path"])


def test_different_shapes_of_equal_bytes_have_different_names() -> None:
    tall, wide = (picture_from_array(np.zeros(shape, dtype=np.uint8)).image for shape in ((2, 8), (8, 2)))
    assert frame_entry(tall)["path"] != frame_entry(wide)["path"]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that promises width × height pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")


def test_pictures_that_unpack_to_too_much_are_refused_before_unpacking() -> None:
    for width, height in ((5000, 10), (10, 5000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(StampError, match=r"pixels|PNG or JPEG"):
            open_picture(bomb(width, height))


def saved_as(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"GIF89a" + b"\x00" * 40,
        saved_as("GIF"),
        saved_as("TIFF"),
        saved_as("WEBP"),
        saved_as("BMP"),
        saved_as("PDF"),
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_png_or_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(StampError, match=r"not a PNG or JPEG|broken"):
        open_picture(data)


def test_a_picture_that_breaks_off_is_refused(make_png: Callable[..., bytes], make_jpeg: Callable[..., bytes]) -> None:
    ramp = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    ramp.save(buffer, format="PNG")
    for data in (buffer.getvalue()[:-2000], make_jpeg(64, 64)[:-40], bomb(64, 64)):
        with pytest.raises(StampError, match="broken"):
            open_picture(data)


def test_a_changed_byte_never_gets_past_as_another_error(make_png: Callable[..., bytes]) -> None:
    data = make_png()
    for i in range(len(data)):
        try:
            open_picture(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        except StampError:
            continue


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, make_png: Callable[..., bytes]) -> None:
    monkeypatch.setattr("starsieve.projects.stamps.LARGEST_FILE", 10)
    with pytest.raises(StampError, match="larger than"):
        open_picture(make_png())


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_an_array_that_is_no_picture_is_refused(array: Any) -> None:
    with pytest.raises(StampError, match="must be uint8"):
        picture_from_array(array)
