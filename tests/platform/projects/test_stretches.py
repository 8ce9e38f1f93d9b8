import numpy as np
import pytest

from starsieve.projects.stretches import STRETCHES, compose_colour, estimate_sky, stretch_band

RNG = np.random.default_rng(7)
Y, X = np.mgrid[:80, :80]
GALAXY = 200 * np.exp(-np.hypot(X - 40, Y - 40) / 4)
FIELD = GALAXY + RNG.normal(10, 2, GALAXY.shape)


def test_the_sky_is_found_under_a_galaxy() -> None:
    sky = estimate_sky(FIELD)
    assert sky.level == pytest.approx(10, abs=1)
    assert sky.noise == pytest.approx(2, rel=0.3)


def test_pixels_that_are_not_finite_do_not_count() -> None:
    holes = FIELD.copy()
    holes[:30] = np.nan
    holes[0, 0] = np.inf
    assert estimate_sky(holes).level == pytest.approx(10, abs=1)
    for stretch in STRETCHES:
        assert stretch_band(holes, stretch)[5, 5] == 0


def test_an_image_without_a_finite_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite pixel"):
        stretch_band(np.full((5, 5), np.nan), "linear")


@pytest.mark.parametrize("stretch", STRETCHES)
def test_brighter_pixels_never_look_darker(stretch: str) -> None:
    shown = stretch_band(FIELD, stretch)
    order = np.argsort(FIELD, axis=None)
    assert np.all(np.diff(shown.ravel()[order].astype(int)) >= 0)
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_units_do_not_matter(stretch: str) -> None:
    difference = stretch_band(FIELD, stretch).astype(int) - stretch_band(FIELD * 1e-9 - 5e-9, stretch)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_constant_image_is_black(stretch: str) -> None:
    assert stretch_band(np.full((6, 6), 3.0), stretch).max() == 0
    assert compose_colour([np.full((6, 6), 3.0)] * 3, stretch).max() == 0


def test_faint_light_shows_more_in_asinh_and_most_in_log() -> None:
    shown = {stretch: int(stretch_band(FIELD, stretch)[40, 52]) for stretch in ("linear", "asinh", "log")}
    assert shown["linear"] < shown["asinh"] < shown["log"]


def test_colour_does_not_depend_on_brightness() -> None:
    bands = [3 * GALAXY, 2 * GALAXY, GALAXY]
    noise = [RNG.normal(0, 1, GALAXY.shape) for _ in range(3)]
    shown = compose_colour([band + n for band, n in zip(bands, noise, strict=True)], "asinh").astype(float)
    ratio = [shown[y, 40, 2] / shown[y, 40, 0] for y in (40, 43, 46)]
    assert np.ptp(ratio) < 0.15
    assert shown[40, 40, 0] > shown[40, 40, 1] > shown[40, 40, 2]


def test_a_bright_centre_keeps_its_shape() -> None:
    shown = compose_colour([GALAXY + RNG.normal(0, 1, GALAXY.shape) for _ in range(3)], "linear").max(axis=-1)
    assert shown[40, 40] == 255
    assert shown[40, 44] < 240


def test_a_finished_colour_picture_keeps_its_hue() -> None:
    picture = np.zeros((20, 20, 3), dtype=np.uint8)
    picture[8:12, 8:12] = (200, 100, 50)
    shown = compose_colour([picture[..., i] for i in range(3)], "linear")
    assert shown[10, 10, 1] / shown[10, 10, 0] == pytest.approx(0.5, abs=0.02)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown stretch"):
        stretch_band(FIELD, "gamma")
    with pytest.raises(ValueError, match="three bands"):
        compose_colour([FIELD, FIELD], "asinh")
    with pytest.raises(ValueError, match="differ in size"):
        compose_colour([FIELD, FIELD, FIELD[:10]], "asinh")


def test_the_input_stays_as_it_was() -> None:
    before = FIELD.copy()
    stretch_band(FIELD, "asinh")
    compose_colour([FIELD, FIELD, FIELD], "log")
    assert np.array_equal(FIELD, before)
