"""Paints simulated strong lenses onto real galaxies: SIE deflector with shear, Sérsic source, PSF, noise.

All lengths are pixels of the stamp, all angles radians counter-clockwise from the x axis, light in the stamp's counts.
The deflector's own light is the real galaxy in the stamp; only the lensed source is added.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SUPERSAMPLING = 4
ROUNDEST = 0.9999  # above this axis ratio the isothermal sphere's formula is used
FWHM_PER_SIGMA = 2.3548200450309493

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LensParameters:
    """One lens. `einstein_radius` is that of the circle with the critical curve's area."""

    einstein_radius: float
    axis_ratio: float
    angle: float
    shear: float
    shear_angle: float
    source_x: float
    source_y: float
    source_radius: float
    sersic_index: float
    source_axis_ratio: float
    source_angle: float
    source_peak: float
    source_colour: tuple[float, ...]
    psf_fwhm: float


def draw_parameters(
    rng: np.random.Generator,
    *,
    einstein_radius: tuple[float, float],
    source_peak: tuple[float, float],
    psf_fwhm: float,
    n_bands: int = 3,
) -> LensParameters:
    """Random parameters of a galaxy-scale lens that makes arcs or a ring.

    `einstein_radius` (pixels) and `source_peak` (counts) are ranges drawn from uniformly; the source lies within a
    third of the Einstein radius behind the centre, where it is imaged more than once. Sources are blue: the last band
    gets the full peak, the first about half of it.
    """
    radius = float(rng.uniform(*einstein_radius))
    offset, direction = 0.34 * radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    blueness = float(rng.uniform(0.35, 0.65))
    return LensParameters(
        einstein_radius=radius,
        axis_ratio=float(rng.uniform(0.6, 0.95)),
        angle=float(rng.uniform(0, np.pi)),
        shear=float(rng.uniform(0, 0.08)),
        shear_angle=float(rng.uniform(0, np.pi)),
        source_x=float(offset * np.cos(direction)),
        source_y=float(offset * np.sin(direction)),
        source_radius=float(rng.uniform(0.12, 0.3) * radius),
        sersic_index=float(rng.uniform(0.8, 2.0)),
        source_axis_ratio=float(rng.uniform(0.5, 1.0)),
        source_angle=float(rng.uniform(0, np.pi)),
        source_peak=float(rng.uniform(*source_peak)),
        source_colour=tuple(float(c) for c in np.linspace(blueness, 1.0, n_bands)),
        psf_fwhm=psf_fwhm,
    )


def paint_lens(
    stamp: Floats, lens: LensParameters, rng: np.random.Generator, *, photons_per_count: float = 4.0
) -> Floats:
    """A copy of the stamp (bands, height, width) with the lensed source added around its centre.

    The source's light is ray-shot on a grid four times finer, blurred by a Gaussian PSF, binned, and given the shot
    noise of `photons_per_count`. The stamp's own noise is already there. Nothing is clipped.
    Raises ValueError when the source's colour has not one entry for each band.
    """
    if stamp.ndim != 3 or len(lens.source_colour) != len(stamp):
        raise ValueError(f"{len(lens.source_colour)} colours for a stamp of shape {stamp.shape}: one for each band")
    light = lensed_light(lens, stamp.shape[1], stamp.shape[2])
    added = np.asarray(lens.source_colour)[:, None, None] * light
    photons = rng.poisson(np.maximum(added, 0) * photons_per_count)
    return np.asarray(stamp + photons / photons_per_count, dtype=np.float64)


def lensed_light(lens: LensParameters, height: int, width: int) -> Floats:
    """Counts of the lensed source in each pixel of a (height, width) stamp, blurred by the PSF, without noise."""
    fine = SUPERSAMPLING
    y, x = np.indices((height * fine, width * fine), dtype=np.float64)
    x, y = (x + 0.5) / fine - width / 2, (y + 0.5) / fine - height / 2
    source_x, source_y = ray_shoot(x, y, lens)
    image = sersic(source_x - lens.source_x, source_y - lens.source_y, lens)
    image = gaussian_filter(image, lens.psf_fwhm / FWHM_PER_SIGMA * fine)
    return np.asarray(image.reshape(height, fine, width, fine).mean((1, 3)))


def ray_shoot(x: Floats, y: Floats, lens: LensParameters) -> tuple[Floats, Floats]:
    """Source-plane positions of image-plane positions: β = θ − α(θ), both from the deflector's centre."""
    alpha_x, alpha_y = sie_deflection(x, y, lens.einstein_radius, lens.axis_ratio, lens.angle)
    gamma_1, gamma_2 = lens.shear * np.cos(2 * lens.shear_angle), lens.shear * np.sin(2 * lens.shear_angle)
    return x - alpha_x - gamma_1 * x - gamma_2 * y, y - alpha_y - gamma_2 * x + gamma_1 * y


def sie_deflection(
    x: Floats, y: Floats, einstein_radius: float, axis_ratio: float, angle: float
) -> tuple[Floats, Floats]:
    """Deflection of a singular isothermal ellipsoid (Kormann, Schneider & Bartelmann 1994, eq. 27a).

    In the frame of the major axis, with q the axis ratio and ψ² = q²x² + y²:
    α = θ_E √q / √(1 − q²) · (arctan(√(1 − q²) x/ψ), artanh(√(1 − q²) y/ψ)). For q → 1 it is θ_E times the unit vector.
    At the centre, where the direction is undefined, it is 0.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    along, across = cos * x + sin * y, -sin * x + cos * y
    if axis_ratio > ROUNDEST:
        radius = np.hypot(along, across)
        scale = np.divide(einstein_radius, radius, out=np.zeros_like(radius), where=radius > 0)
        a, b = scale * along, scale * across
    else:
        flatness = np.sqrt(1 - axis_ratio**2)
        psi = np.sqrt(axis_ratio**2 * along**2 + across**2)
        inverse = np.divide(flatness, psi, out=np.zeros_like(psi), where=psi > 0)
        factor = einstein_radius * np.sqrt(axis_ratio) / flatness
        a, b = factor * np.arctan(inverse * along), factor * np.arctanh(inverse * across)
    return cos * a - sin * b, sin * a + cos * b


def sersic(x: Floats, y: Floats, lens: LensParameters) -> Floats:
    """Elliptical Sérsic profile with `source_peak` at its centre (Sérsic 1963; b_n after Ciotti & Bertin 1999)."""
    n, q = lens.sersic_index, lens.source_axis_ratio
    cos, sin = np.cos(lens.source_angle), np.sin(lens.source_angle)
    along, across = cos * x + sin * y, -sin * x + cos * y
    radius = np.sqrt(q * along**2 + across**2 / q) / lens.source_radius
    b_n = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)
    return np.asarray(lens.source_peak * np.exp(-b_n * radius ** (1 / n)))
