"""The pictures of simulated subjects: a few made-up galaxies, which all subjects of a simulation share."""

from typing import Any

import numpy as np

from starsieve.ops.simulation.crowd import SIDE
from starsieve.projects.stamps import picture_from_array, store_frame

N_STAMPS = 12


def store_stamps() -> list[dict[str, Any]]:
    """Entries for Subject.frames; the same ones each time, stored once by their content."""
    entries = []
    for number in range(N_STAMPS):
        picture = picture_from_array(_galaxy(number), band="simulated")
        entries.append(store_frame(picture.image, band=picture.band))
    return entries


def _galaxy(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An exponential disc of some size, flattening and direction."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    angle, flattening, length = number * np.pi / 7, 1 + (number % 4) * 0.6, 18 + 4 * (number % 3)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = 235 * np.exp(-np.hypot(along, flattening * across) / length)
    return np.asarray((12 + light).clip(0, 255).astype(np.uint8))
