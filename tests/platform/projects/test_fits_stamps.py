import gzip
import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from starsieve.projects.fits import read_fits_stamp
from starsieve.projects.stamps import StampError

RNG = np.random.default_rng(11)


def fits_bytes(*hdus: Any) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def image(shape: tuple[int, ...], dtype: str = "float32", **cards: Any) -> Any:
    hdu = fits.PrimaryHDU(RNG.normal(50, 5, shape).astype(dtype))
    hdu.header.update(cards)
    return hdu


def test_the_first_row_of_the_file_is_the_last_of_the_picture() -> None:
    pixels = RNG.normal(0, 1, (20, 30))
    pixels[0] += 100
    (picture,) = read_fits_stamp(fits_bytes(fits.PrimaryHDU(pixels)), stretch="linear").pictures
    shown = np.asarray(picture.image)
    assert shown.shape == (20, 30)
    assert shown[-1].min() > 150 > shown[:-1].max()


def test_an_image_in_an_extension_is_found() -> None:
    data = fits_bytes(fits.PrimaryHDU(), fits.ImageHDU(RNG.normal(0, 1, (9, 9))))
    assert read_fits_stamp(data, stretch="asinh").pictures[0].image.size == (9, 9)


@pytest.mark.parametrize(
    ("shape", "cards", "frames"),
    [
        ((12, 14), {}, [("L", "")]),
        ((2, 12, 14), {}, [("L", "1"), ("L", "2")]),
        ((2, 12, 14), {"BANDS": "gr"}, [("L", "g"), ("L", "r")]),
        ((3, 12, 14), {}, [("RGB", "")]),
        ((3, 12, 14), {"BANDS": "grz"}, [("RGB", "zrg"), ("L", "g"), ("L", "r"), ("L", "z")]),
        ((3, 12, 14), {"BANDS": "zrg"}, [("RGB", "zrg"), ("L", "z"), ("L", "r"), ("L", "g")]),
        ((4, 12, 14), {}, [("RGB", "431"), ("L", "1"), ("L", "2"), ("L", "3"), ("L", "4")]),
    ],
)
def test_planes_become_frames(shape: tuple[int, ...], cards: dict[str, str], frames: list[tuple[str, str]]) -> None:
    stamp = read_fits_stamp(fits_bytes(image(shape, **cards)), stretch="asinh")
    assert [(picture.image.mode, picture.band) for picture in stamp.pictures] == frames
    assert stamp.wcs is None


def test_a_finished_rgb_cube_is_taken_as_it_is() -> None:
    cube = RNG.integers(0, 255, (3, 5, 6), dtype=np.uint8)
    (picture,) = read_fits_stamp(fits_bytes(fits.PrimaryHDU(cube)), stretch="log").pictures
    assert np.array_equal(np.asarray(picture.image), np.moveaxis(cube[:, ::-1], 0, -1))
    assert picture.stretch == ""


def promise(**cards: Any) -> bytes:
    """A header that promises pixels which are not there."""
    header = fits.PrimaryHDU(np.zeros((4, 4), np.float32)).header
    header.update(cards)
    return header.tostring().encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a FITS file"),
        (b"PK\x03\x04", "not a FITS file"),
        (gzip.compress(fits_bytes(image((5, 5))), mtime=0), "must be unpacked first"),
        (fits_bytes(fits.PrimaryHDU()), "holds no image"),
        (fits_bytes(image((7,))), "holds no image"),
        (fits_bytes(image((2, 2, 4, 4))), "has an image of shape"),
        (fits_bytes(image((20, 4, 4))), "at most 19 planes"),
        (fits_bytes(image((1, 5000))), "1 to 4096"),
        (fits_bytes(fits.PrimaryHDU(np.full((4, 4), np.nan))), "no finite pixel"),
        (promise(NAXIS1=100_000, NAXIS2=100_000), "1 to 4096"),
        (promise(NAXIS1=4000, NAXIS2=4000), "is broken"),
        (fits_bytes(image((60, 60)))[:6000], "is broken"),
        (b"SIMPLE  = nonsense" + b" " * 3000, "broken|holds no image"),
    ],
)
def test_a_hostile_file_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(StampError, match=words):
        read_fits_stamp(data, stretch="asinh")


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starsieve.projects.fits.LARGEST_FILE", 100)
    with pytest.raises(StampError, match="larger than"):
        read_fits_stamp(fits_bytes(image((5, 5))), stretch="asinh")


def test_world_coordinates_that_make_no_sense_cost_only_themselves() -> None:
    data = fits_bytes(image((8, 8), CTYPE1="RA---XXX", CTYPE2="DEC--XXX", CRVAL1=1.0, CRVAL2=2.0))
    stamp = read_fits_stamp(data, stretch="asinh")
    assert stamp.wcs is None
    assert len(stamp.pictures) == 1


@pytest.mark.parametrize(
    "kinds",
    [
        ("HPLN-TAN", "HPLT-TAN"),  # the Sun's disc
        ("MALN-SIN", "MALT-SIN"),  # the surface of Mars
        ("AZ---TAN", "EL---TAN"),  # above a horizon
        ("XLON-TAN", "XLAT-TAN"),  # nobody knows where
    ],
)
def test_a_place_that_is_not_on_the_sky_costs_only_itself(kinds: tuple[str, str]) -> None:
    cards = {"CRPIX1": 1, "CRPIX2": 1, "CRVAL1": 10.0, "CRVAL2": 10.0, "CDELT1": 1e-4, "CDELT2": 1e-4}
    data = fits_bytes(image((8, 8), CTYPE1=kinds[0], CTYPE2=kinds[1], **cards))
    stamp = read_fits_stamp(data, stretch="asinh")
    assert stamp.wcs is None
    assert len(stamp.pictures) == 1


def test_a_damaged_card_of_bands_is_a_broken_file() -> None:
    data = fits_bytes(image((8, 8), BANDS="r")).replace(b"BANDS   = 'r       '", b"BANDS   = 'r        ")
    with pytest.raises(StampError, match="is broken"):
        read_fits_stamp(data, stretch="asinh")


def test_a_stamp_outside_its_own_projection_lies_nowhere() -> None:
    cards = {"CRPIX1": -900, "CRPIX2": 1, "CRVAL1": 10.0, "CRVAL2": 10.0, "CDELT1": 1.0, "CDELT2": 1.0}
    data = fits_bytes(image((8, 8), CTYPE1="RA---SIN", CTYPE2="DEC--SIN", **cards))
    assert read_fits_stamp(data, stretch="asinh").wcs is None
