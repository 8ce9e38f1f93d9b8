import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from starsieve.projects.cutter import (
    Cut,
    Mosaic,
    PixelPosition,
    Recipe,
    SkyPosition,
    check_cut,
    cut_stamp,
    cut_stamp_from_arrays,
    default_recipes,
    render,
    sky_position,
)
from starsieve.projects.fits import read_fits_stamp, read_wcs
from starsieve.projects.mosaics import open_mosaic
from starsieve.projects.stamps import StampError

GREY = (Recipe(("r",), "none"),)


def tan_wcs(*, scale: float = 0.2, angle: float = 30, ra: float = 150.1, dec: float = 2.2, size: int = 200) -> WCS:
    """A tangent-plane projection: `scale` in arcseconds a pixel, turned by `angle` degrees."""
    turn = np.radians(angle)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [size / 2, size / 2]
    wcs.wcs.cd = scale / 3600 * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return wcs


def numbered(size: int = 200) -> Any:
    """Every pixel's value tells its place: x + y modulo 251."""
    y, x = np.mgrid[:size, :size]
    return ((x + 7 * y) % 251).astype(np.uint8)


def test_a_stamp_holds_exactly_the_pixels_around_its_position() -> None:
    pixels = numbered()
    for size, x, left in ((10, 50.0, 46), (11, 50.0, 45), (10, 49.5, 45), (11, 50.4, 45), (11, 50.6, 46)):
        stamp = cut_stamp_from_arrays({"r": pixels}, x=x, y=x, size=size, recipes=GREY, shown_size=None)
        assert np.array_equal(
            np.asarray(stamp.pictures[0].image), pixels[left : left + size, left : left + size]
        ), (size, x)  # fmt: skip


def test_a_colour_picture_is_cut_as_it_is() -> None:
    rgb = np.stack([numbered(), numbered() + 1, numbered() + 2], axis=-1)
    bands = {name: rgb[..., i] for i, name in enumerate("RGB")}
    stamp = cut_stamp_from_arrays(
        bands, x=100, y=60, size=21, recipes=[Recipe(("R", "G", "B"), "none")], shown_size=None
    )
    assert np.array_equal(np.asarray(stamp.pictures[0].image), rgb[50:71, 90:111])
    assert (stamp.pictures[0].band, stamp.pictures[0].stretch, stamp.wcs) == ("RGB", "", None)


def test_several_stretches_make_several_frames_of_the_shown_size() -> None:
    field = np.random.default_rng(3).normal(5, 1, (80, 80))
    recipes = [Recipe(("r",), stretch) for stretch in ("linear", "asinh", "log", "zscale")]
    stamp = cut_stamp_from_arrays({"r": field}, x=40, y=40, size=30, recipes=recipes, shown_size=90)
    assert [picture.stretch for picture in stamp.pictures] == ["linear", "asinh", "log", "zscale"]
    assert {picture.image.size for picture in stamp.pictures} == {(90, 90)}


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [(5, 50, "over the edge"), (50, 197, "over the edge"), (-400, 50, "lies off"), (50, 900, "lies off")],
)
def test_a_stamp_that_leaves_the_mosaic_is_refused(x: float, y: float, words: str) -> None:
    with pytest.raises(StampError, match=words):
        cut_stamp_from_arrays({"r": numbered()}, x=x, y=y, size=20, recipes=GREY, shown_size=None)


@pytest.mark.parametrize("rows_up", [True, False])
@pytest.mark.parametrize("shown_size", [None, 120])
def test_the_stamps_cards_put_every_pixel_where_the_mosaic_has_it(rows_up: bool, shown_size: int | None) -> None:
    wcs = tan_wcs()
    mosaic = Mosaic("r", numbered(), wcs, rows_up=rows_up)
    stamp = cut_stamp([mosaic], PixelPosition(80, 120), Cut(GREY, 40, shown_size=shown_size))
    assert stamp.wcs is not None
    scale = stamp.pictures[0].image.width / 40
    own = WCS(fits.Header(stamp.wcs))
    for column, row in ((0, 0), (39, 0), (12, 30)):
        y = 140 - row if rows_up else 101 + row
        shown_column, shown_row = ((value + 0.5) * scale - 0.5 for value in (column, row))
        there = wcs.pixel_to_world(61 + column, y)
        assert own.pixel_to_world(shown_column, shown_row).separation(there).arcsec < 1e-3


def test_a_sky_position_finds_its_pixel_and_a_size_in_arcseconds_its_side() -> None:
    wcs = tan_wcs(scale=0.5)
    pixels = np.zeros((200, 200))
    pixels[70, 130] = 100
    place = wcs.pixel_to_world(130, 70)
    stamp = cut_stamp(
        [Mosaic("r", pixels, wcs, rows_up=True)],
        SkyPosition(place.ra.deg, place.dec.deg),
        Cut((Recipe(("r",), "linear"),), 15.5, "arcsec"),
    )
    shown = np.asarray(stamp.pictures[0].image)
    assert shown.shape == (31, 31)
    assert np.argwhere(shown == 255).tolist() == [[15, 15]]


def test_a_band_on_another_grid_is_brought_onto_the_first_ones() -> None:
    first, other = tan_wcs(scale=0.2, angle=0, size=120), tan_wcs(scale=0.3, angle=75, size=160)

    def sky(wcs: WCS, size: int) -> Any:
        """The same source on each grid: a Gaussian of 2 arcseconds."""
        y, x = np.mgrid[:size, :size]
        offset = wcs.pixel_to_world(x, y).separation(SkyCoord(150.1003, 2.2002, unit="deg")).arcsec
        return 100 * np.exp(-0.5 * (offset / 2) ** 2)

    mosaics = [
        Mosaic("g", sky(first, 120), first, rows_up=True),
        Mosaic("r", sky(other, 160), other, rows_up=True),
    ]
    recipes = (Recipe(("g",), "linear"), Recipe(("r",), "linear"))
    stamp = cut_stamp(mosaics, SkyPosition(150.1003, 2.2002), Cut(recipes, 50))
    g, r = (np.asarray(picture.image, dtype=int) for picture in stamp.pictures)
    assert np.abs(g - r).max() <= 8
    assert np.unravel_index(g.argmax(), g.shape) == pytest.approx(np.unravel_index(r.argmax(), r.shape), abs=1)


def test_a_band_on_the_same_grid_elsewhere_is_only_shifted() -> None:
    field = numbered()
    wcs = tan_wcs()
    shifted = wcs.deepcopy()
    shifted.wcs.crpix = [wcs.wcs.crpix[0] - 30, wcs.wcs.crpix[1] - 20]
    mosaics = [Mosaic("g", field, wcs, True), Mosaic("r", field[20:, 30:], shifted, True)]
    stamp = cut_stamp(mosaics, PixelPosition(100, 100), Cut((Recipe(("g",), "none"), Recipe(("r",), "none")), 21))
    g, r = (np.asarray(picture.image) for picture in stamp.pictures)
    assert np.array_equal(g, r)


def test_bands_that_cannot_be_matched_are_refused() -> None:
    mosaics = [Mosaic("g", numbered()), Mosaic("r", numbered(150))]
    with pytest.raises(StampError, match="differ in size"):
        cut_stamp(mosaics, PixelPosition(50, 50), Cut((Recipe(("r",), "none"),), 20))
    with pytest.raises(StampError, match="no world coordinates"):
        cut_stamp(mosaics, SkyPosition(1, 1), Cut((Recipe(("g",), "none"),), 20))


def test_a_position_on_the_other_side_of_the_sky_is_off_the_mosaic() -> None:
    with pytest.raises(StampError, match="lies off"):
        cut_stamp([Mosaic("r", numbered(), tan_wcs())], SkyPosition(330.1, -2.2), Cut(GREY, 20))


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (Cut((), 20), "at least one frame"),
        (Cut((Recipe(("i",), "none"),), 20), "cannot be made"),
        (Cut((Recipe(("r", "r"), "none"),), 20), "cannot be made"),
        (Cut((Recipe(("r",), "gamma"),), 20), "unknown stretch"),
        (Cut(GREY, 3), "too small"),
        (Cut(GREY, 5000), "1 to 4096"),
        (Cut(GREY, 20, shown_size=9000), "1 to 4096"),
        (Cut(GREY, 20, "arcsec"), "no world coordinates"),
        (Cut(GREY, 20, "parsec"), "px or arcsec"),
    ],
)
def test_a_cut_that_no_position_could_satisfy_is_refused_at_once(cut: Cut, words: str) -> None:
    with pytest.raises(StampError, match=words):
        check_cut([Mosaic("r", numbered())], cut)


def test_two_mosaics_of_one_band_are_refused() -> None:
    with pytest.raises(StampError, match="one mosaic for each band"):
        check_cut([Mosaic("r", numbered()), Mosaic("r", numbered())], Cut(GREY, 20))


def test_three_bands_make_colour_and_two_make_grey() -> None:
    assert default_recipes("gr", ["asinh"], each_band=False) == (Recipe(("g",), "asinh"), Recipe(("r",), "asinh"))
    assert default_recipes("griz", ["asinh", "log"], each_band=False) == (
        Recipe(("z", "i", "g"), "asinh"),
        Recipe(("z", "i", "g"), "log"),
    )
    assert len(default_recipes("grz", ["asinh"], each_band=True)) == 4


def test_painted_bands_are_rendered_like_cut_ones() -> None:
    field = np.random.default_rng(5).normal(0, 1, (30, 30))
    cut = cut_stamp_from_arrays(
        {"r": field}, x=14.5, y=14.5, size=30, recipes=[Recipe(("r",), "asinh")], shown_size=None
    )
    painted = render({"r": field}, Recipe(("r",), "asinh"))
    assert np.array_equal(np.asarray(cut.pictures[0].image), np.asarray(painted.image))
    with pytest.raises(StampError, match="no finite pixel"):
        render({"r": np.full((5, 5), np.nan)}, Recipe(("r",), "asinh"))


def test_a_pixel_knows_its_place_on_the_sky() -> None:
    mosaic = Mosaic("r", numbered(), tan_wcs())
    place = sky_position(mosaic, PixelPosition(99, 99))
    assert place is not None
    assert (place.ra, place.dec) == pytest.approx((150.1, 2.2))
    assert sky_position(Mosaic("r", numbered()), PixelPosition(1, 1)) is None


def test_a_file_without_an_image_is_no_mosaic(tmp_path: Path) -> None:
    (tmp_path / "text.fits").write_text("hello")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    for name in ("text.fits", "empty.fits", "absent.fits"):
        with pytest.raises(StampError, match=name), open_mosaic("r", tmp_path / name):
            pass


def test_a_large_mosaic_is_read_only_where_it_is_cut(tmp_path: Path) -> None:
    fits.PrimaryHDU(numbered(500).astype(np.float32), tan_wcs(size=500).to_header()).writeto(tmp_path / "m.fits")
    with open_mosaic("r", tmp_path / "m.fits") as mosaic:
        stamp = cut_stamp([mosaic], PixelPosition(250, 250), Cut((Recipe(("r",), "linear"),), 20))
        assert stamp.pictures[0].image.size == (20, 20)
        assert mosaic.wcs is not None


DECAM = ("c4d_141029_043225_ooi_g_ls9.N26", "c4d_141029_043420_ooi_r_ls9.N26", "c4d_131122_030338_ooi_z_ls9.S21")


def test_real_exposures_on_three_grids_line_up(shared_data: Path) -> None:
    folder = shared_data / "fits_decam_single_exposures"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = [fits.open(folder / f"{name}.fits") for name in DECAM]
        mosaics = [
            Mosaic(band, file[1].data.astype(float), read_wcs(file[1].header), rows_up=True)
            for band, file in zip("grz", files, strict=True)
        ]
    for file in files:
        file.close()
    recipes = tuple(Recipe((band,), "linear") for band in "grz")
    stamp = cut_stamp(mosaics, PixelPosition(50, 50), Cut(recipes, 60))
    centres = []
    for picture in stamp.pictures:
        light = np.asarray(picture.image, dtype=float)
        light[light < 100] = 0
        y, x = np.mgrid[:60, :60]
        centres.append(((light * x).sum() / light.sum(), (light * y).sum() / light.sum()))
    assert np.ptp(centres, axis=0).max() < 1.0


def test_a_real_cube_becomes_colour_and_bands_with_its_place(shared_data: Path) -> None:
    data = (shared_data / "fits_decals_grz" / "example_c.fits").read_bytes()
    stamp = read_fits_stamp(data, stretch="asinh")
    assert [(picture.image.mode, picture.band) for picture in stamp.pictures] == [
        ("RGB", "zrg"), ("L", "g"), ("L", "r"), ("L", "z")
    ]  # fmt: skip
    assert stamp.wcs is not None
    own = WCS(fits.Header(stamp.wcs))
    with fits.open(shared_data / "fits_decals_grz" / "example_c.fits") as file:
        original = read_wcs(file[0].header)
    assert original is not None
    assert own.pixel_to_world(10, 423 - 300).separation(original.pixel_to_world(10, 300)).arcsec < 1e-3
