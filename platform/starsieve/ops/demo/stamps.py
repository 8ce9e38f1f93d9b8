"""The demo's stamps, ready for the import service: cut by the platform's own cutter, some with a lens painted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from starsieve.ops.demo.sky import Galaxy
from starsieve.projects.cutter import Recipe, cut_stamp_from_arrays, render
from starsieve.projects.stamps import Picture, Stamp

SHOWN = 320  # pixels on a side
COLOUR = Recipe(("red", "green", "blue"), "none")
CHANNELS = ("red", "green", "blue")
DEEP_GAIN = 3.0  # how much fainter light the deep frame shows
SATURATED = 235  # 8-bit counts
LENS_STAMP = 64  # pixels of the picture: an arc and some sky around the deflecting galaxy


def colour_stamp(rgb: NDArray[np.uint8], galaxy: Galaxy, size: int | None = None) -> Stamp:
    """One colour frame around the galaxy, the picture's own 8-bit values enlarged."""
    bands = {name: rgb[:, :, i] for i, name in enumerate(CHANNELS)}
    return cut_stamp_from_arrays(
        bands, x=galaxy.x, y=galaxy.y, size=size or galaxy.stamp_size, recipes=[COLOUR], shown_size=SHOWN
    )


def cutout(rgb: NDArray[np.uint8], galaxy: Galaxy, size: int = LENS_STAMP) -> NDArray[np.float64]:
    """The picture's own pixels around the galaxy, (3, size, size), for painting on."""
    left, top = round(galaxy.x) - size // 2, round(galaxy.y) - size // 2
    return np.moveaxis(rgb[top : top + size, left : left + size], 2, 0).astype(float)


def has_room(rgb: NDArray[np.uint8], galaxy: Galaxy, size: int = LENS_STAMP) -> bool:
    """Whether a cutout of this size around the galaxy lies inside the picture."""
    half, (height, width) = size / 2 + 1, rgb.shape[:2]
    return bool(half <= galaxy.x <= width - half and half <= galaxy.y <= height - half)


def is_star_like(rgb: NDArray[np.uint8], galaxy: Galaxy) -> bool:
    """Bright and saturated in the middle: a star with spikes, or an elliptical without clumps."""
    row, column = round(galaxy.y), round(galaxy.x)
    middle = rgb[row - 1 : row + 2, column - 1 : column + 2]
    return bool(middle.mean() > SATURATED)


def is_deflector_like(rgb: NDArray[np.uint8], galaxy: Galaxy) -> bool:
    """Round, of middling size and redder than the sky's other galaxies: what deflectors mostly look like."""
    if not (galaxy.ellipticity < 0.5 and 25 <= galaxy.area < 900 and has_room(rgb, galaxy)):
        return False
    red, _, blue = cutout(rgb, galaxy, 8).sum((1, 2))
    return bool(red > 0.85 * blue)


def lens_stamp(bands: NDArray[np.float64]) -> Stamp:
    """Three frames of one field from (3, size, size) bands in 8-bit counts: colour, deep, and blue without the red.

    The deep frame raises faint light by an asinh; the last one takes off the deflector's light as the red band shows
    it, scaled to the same sum: what is left is bluer than the deflector, as lensed sources are.
    """
    colour = np.clip(bands, 0, 255)
    deep = 255 * np.arcsinh(DEEP_GAIN * colour / 40) / np.arcsinh(DEEP_GAIN * 255 / 40)
    red, blue = gaussian_filter(colour[0], 0.7), gaussian_filter(colour[2], 0.7)
    deflector = _middle(red) & (red > 0.2 * red[_middle(red)].max())
    scale = blue[deflector].sum() / max(red[deflector].sum(), 1.0)
    residual = np.clip(90 + 2.0 * (blue - scale * red), 0, 255)
    return Stamp(
        (_picture(colour, "colour", ""), _picture(deep, "colour", "deep"), _picture(residual[None], "blue − red", ""))
    )


def _middle(band: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The pixels within a quarter of the stamp's side of its centre."""
    size = len(band)
    rows, columns = np.indices(band.shape)
    return np.asarray(np.hypot(rows - size / 2, columns - size / 2) < size / 4)


def _picture(bands: NDArray[np.float64], band: str, stretch: str) -> Picture:
    from PIL import Image

    pixels = np.clip(np.rint(bands), 0, 255).astype(np.uint8)
    if len(pixels) == 3:
        image = render(dict(zip(CHANNELS, pixels, strict=True)), COLOUR).image
    else:
        image = render({"grey": pixels[0]}, Recipe(("grey",), "none")).image
    return Picture(image.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS), band, stretch)


@dataclass(frozen=True)
class Peak:
    """A local maximum of the light, in pixels of the shown stamp."""

    x: float
    y: float


def clump_peaks(image: NDArray[np.uint8]) -> list[Peak]:
    """Bright knots of a shown stamp's galaxy away from its middle, brightest first: the simulated volunteers' truth.

    A difference of Gaussians picks knots of 6 to 20 pixels; knots outside the galaxy's glow do not count.
    """
    light = image.astype(float).mean(axis=2)
    knots = gaussian_filter(light, 5) - gaussian_filter(light, 14)
    glow = gaussian_filter(light, 12)
    is_peak = (knots == maximum_filter(knots, size=25)) & (knots > 8) & (glow > 36)
    rows, columns = np.nonzero(is_peak)
    middle = SHOWN / 2
    order = np.argsort(-knots[rows, columns], kind="stable")
    return [
        Peak(float(columns[i]), float(rows[i]))
        for i in order
        if 26 < np.hypot(columns[i] - middle, rows[i] - middle) < 120
    ][:8]
