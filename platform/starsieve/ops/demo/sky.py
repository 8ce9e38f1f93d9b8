"""The demo's sky: the Hubble Deep Field picture inside the scikit-image package, and the galaxies found on it.

The picture is the press release of 1996 (NASA/ESA, WFPC2): 872 × 1000 pixels, 8 bits in red, green and blue. It has no
world coordinates and its flux is already stretched, so the demo's subjects carry pixel positions instead of RA and Dec.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PICTURE_NAME = "Hubble Deep Field (NASA/ESA 1996), as shipped with scikit-image"
THRESHOLD = 12.0  # 8-bit counts above the local background, about three times its scatter
SMALLEST_AREA = 20  # pixels
WIDEST_STAMP = 100  # pixels


@dataclass(frozen=True)
class Galaxy:
    """One detected source. Position in pixels from the picture's top-left corner; sizes in pixels."""

    name: str
    x: float
    y: float
    area: float
    semimajor: float
    ellipticity: float
    flux: float

    @property
    def stamp_size(self) -> int:
        """Side of a stamp that shows the galaxy with some sky around it, pixels."""
        return int(np.clip(9 * self.semimajor, 40, WIDEST_STAMP))


def picture() -> NDArray[np.uint8]:
    """The Hubble Deep Field, (872, 1000, 3) uint8."""
    from skimage.data import hubble_deep_field

    return np.asarray(hubble_deep_field(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def detect_galaxies(rgb: NDArray[np.uint8]) -> list[Galaxy]:
    """Sources of the picture, largest first; those whose stamp would leave the picture are left out.

    Background by median in 64-pixel boxes, smoothing with a Gaussian of 1 pixel, threshold, deblending: photutils.
    """
    from astropy.convolution import Gaussian2DKernel, convolve
    from photutils.background import Background2D, MedianBackground
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources

    light = rgb.astype(float).mean(axis=2)
    above = light - Background2D(light, (64, 64), filter_size=(3, 3), bkg_estimator=MedianBackground()).background
    smooth = convolve(above, Gaussian2DKernel(1.0))
    segments = detect_sources(smooth, THRESHOLD, n_pixels=SMALLEST_AREA)
    segments = deblend_sources(smooth, segments, n_pixels=SMALLEST_AREA, n_levels=16, contrast=0.02, progress_bar=False)
    sources = SourceCatalog(above, segments)
    found = [
        Galaxy("", float(x), float(y), float(area), float(semimajor), float(ellipticity), float(flux))
        for x, y, area, semimajor, ellipticity, flux in zip(
            sources.x_centroid,
            sources.y_centroid,
            sources.area.value,
            sources.semimajor_axis.value,
            sources.ellipticity.value,
            sources.segment_flux,
            strict=True,
        )
    ]
    inside = sorted((g for g in found if _fits(g, rgb.shape)), key=lambda g: (-g.area, g.x, g.y))
    return [
        Galaxy(f"HDF-{i:04d}", g.x, g.y, g.area, g.semimajor, g.ellipticity, g.flux)
        for i, g in enumerate(inside, start=1)
    ]


def _fits(galaxy: Galaxy, shape: tuple[int, ...]) -> bool:
    half = galaxy.stamp_size / 2 + 1
    return half <= galaxy.x <= shape[1] - half and half <= galaxy.y <= shape[0] - half
