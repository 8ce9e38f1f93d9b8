"""From photons to a screen: float arrays become 8-bit pictures, grey or in colour.

Arrays have rows downwards as on screen (fits.py turns FITS images over). Pixels that are not finite come out black.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from astropy.visualization import ZScaleInterval
from numpy.typing import NDArray

Pixels = NDArray[np.floating[Any]]

WHITE_PERCENTILE = 99.7
LOG_RANGE = 1000.0


@dataclass(frozen=True)
class Sky:
    """Level and scatter of the background, in the image's own units."""

    level: float
    noise: float


def estimate_sky(pixels: Pixels) -> Sky:
    """Median and scatter of the background by clipping at 3 σ, five times; σ = 1.4826 × median absolute deviation.

    Parameters
    ----------
    pixels : array of any shape
        Values that are not finite are left out.

    Returns
    -------
    Sky
        Level and noise in the units of `pixels`. The noise of a constant image is 0.

    Raises
    ------
    ValueError
        If no pixel is finite.
    """
    values = np.asarray(pixels, dtype=float)
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("has no finite pixel")
    level = noise = 0.0
    for _ in range(5):
        level = float(np.median(values))
        noise = 1.4826 * float(np.median(np.abs(values - level)))
        kept = values[np.abs(values - level) <= 3 * noise] if noise > 0 else values
        if kept.size == values.size:
            break
        values = kept
    return Sky(level, noise)


def stretch_band(pixels: Pixels, stretch: str) -> NDArray[np.uint8]:
    """One band as a grey picture.

    Parameters
    ----------
    pixels : array (n_rows, n_columns)
        Surface brightness in any linear unit.
    stretch : {"linear", "asinh", "log", "zscale"}
        With t = (v - black) / (white - black) cut to [0, 1], black one σ below the sky, white the 99.7th percentile:
        linear t; asinh(a t) / asinh(a), a = (white - black) / 3 σ; log(1 + 1000 t) / log(1001). zscale is linear
        between the limits of the IRAF algorithm of that name.

    Returns
    -------
    array (n_rows, n_columns) of uint8
    """
    values = np.asarray(pixels, dtype=float)
    sky = estimate_sky(values)
    if stretch == "zscale":
        black, white = (float(limit) for limit in ZScaleInterval().get_limits(values[np.isfinite(values)]))
    else:
        black = sky.level - sky.noise
        white = max(_white(values), sky.level + 5 * sky.noise)
    if white <= black:  # a source smaller than the percentile on a sky without noise
        white = float(values[np.isfinite(values)].max())
    span = white - black
    scaled = np.clip((_filled(values, black) - black) / span, 0, 1) if span > 0 else np.zeros(values.shape)
    return _to_bytes(_curve(stretch, span / (3 * sky.noise) if sky.noise > 0 else 30.0)(scaled))


def compose_colour(bands: Sequence[Pixels], stretch: str) -> NDArray[np.uint8]:
    """Three bands as a colour picture whose hue does not depend on brightness, after Lupton et al. 2004, PASP 116, 133.

    The stretch f acts on the brightest of the three, L = max(r, g, b), and each channel is multiplied by f(L) / L: no
    channel exceeds white, so bright centres keep colour and shape. Each band is measured in units of √(σ W), σ its sky
    noise and W its 99.7th percentile above the sky: half-way between equal noise (which favours the sharpest band) and
    equal light (which makes everything grey). Channels of a finished 8-bit colour picture are taken as they are.

    Parameters
    ----------
    bands : three arrays (n_rows, n_columns)
        Red, green, blue.
    stretch : {"linear", "asinh", "log", "zscale"}
        As in `stretch_band`; zscale acts as linear here.

    Returns
    -------
    array (n_rows, n_columns, 3) of uint8
    """
    arrays = [np.asarray(band) for band in bands]
    if len(arrays) != 3:
        raise ValueError(f"a colour picture needs three bands, not {len(arrays)}")
    if len({array.shape for array in arrays}) > 1:
        raise ValueError("the three bands differ in size")
    skies = [estimate_sky(array) for array in arrays]
    are_finished = all(array.dtype == np.uint8 for array in arrays) or any(sky.noise == 0 for sky in skies)
    units = [
        1.0 if are_finished else sqrt(sky.noise * max(_white(array) - sky.level, sky.noise))
        for array, sky in zip(arrays, skies, strict=True)
    ]
    light = np.stack(
        [
            (_filled(array.astype(float), sky.level) - sky.level) / unit
            for array, sky, unit in zip(arrays, skies, units, strict=True)
        ],
        axis=-1,
    )
    brightest = light.max(axis=-1)
    noise = estimate_sky(light.mean(axis=-1)).noise
    white = max(_white(brightest), 5 * noise) or float(brightest.max())
    if white <= 0:
        return np.zeros(light.shape, dtype=np.uint8)
    curve = _curve(stretch, white / (3 * noise) if noise > 0 else 30.0)
    safe = np.where(brightest > 0, brightest, 1.0)
    gain = np.where(brightest > 0, curve(np.clip(brightest / white, 0, 1)) / safe, 0.0)
    return _to_bytes(np.clip(light, 0, None) * gain[..., np.newaxis])


def _white(values: Pixels) -> float:
    return float(np.percentile(values[np.isfinite(values)], WHITE_PERCENTILE))


def _filled(values: Pixels, black: float) -> Pixels:
    return np.where(np.isfinite(values), values, black)


def _to_bytes(scaled: Pixels) -> NDArray[np.uint8]:
    return np.rint(255 * scaled).astype(np.uint8)


def _curve(stretch: str, softness: float) -> Callable[[Pixels], Pixels]:
    """The function [0, 1] → [0, 1] of that name."""
    if stretch not in CURVES:
        raise ValueError(f"unknown stretch {stretch!r}; known: {', '.join(CURVES)}")
    bounded = float(np.clip(softness, 3.0, 300.0))
    return lambda t: CURVES[stretch](t, bounded)


CURVES: dict[str, Callable[[Pixels, float], Pixels]] = {
    "linear": lambda t, softness: t,
    "asinh": lambda t, softness: np.arcsinh(softness * t) / np.arcsinh(softness),
    "log": lambda t, softness: np.log1p(LOG_RANGE * t) / np.log1p(LOG_RANGE),
    "zscale": lambda t, softness: t,
}
STRETCHES = tuple(CURVES)
