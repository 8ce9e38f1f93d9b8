"""Simulated lenses for the demo, painted by the network room's lens simulator onto real galaxies."""

import numpy as np
from numpy.typing import NDArray

from ml_worker.nets.lens_simulator import draw_parameters, paint_lens

EINSTEIN_RADIUS = (5.5, 11.0)  # pixels of the picture
SOURCE_PEAK = (250.0, 800.0)  # 8-bit counts before blurring
PSF_FWHM = 1.8  # pixels, about that of the picture's stars


def paint_onto(bands: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A copy of the (3, size, size) 8-bit counts with a random lensed source around the middle."""
    lens = draw_parameters(rng, einstein_radius=EINSTEIN_RADIUS, source_peak=SOURCE_PEAK, psf_fwhm=PSF_FWHM)
    return paint_lens(bands, lens, rng)
