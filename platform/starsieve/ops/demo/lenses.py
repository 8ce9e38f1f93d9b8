"""Simulated lenses for the demo, painted by the network room's lens simulator onto real galaxies."""

import numpy as np
from numpy.typing import NDArray


def paint_onto(bands: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A copy of the (3, size, size) 8-bit counts with a random lensed source around the middle."""
    raise RuntimeError
