"""The stamp cutter: one position in, one stamp out, from arrays or FITS mosaics in one or more bands.

A mosaic's rows count the way its array does: FITS mosaics upwards (`rows_up=True`), pictures downwards. Stamps always
come out with their top row first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

from starsieve.projects.fits import Wcs, tangent_cards
from starsieve.projects.stamps import Picture, Stamp, StampError, check_size, picture_from_array
from starsieve.projects.stretches import STRETCHES, compose_colour, stretch_band

AS_IT_IS = "none"
SMALLEST_SIDE = 4  # pixels
UNBOUNDED = 1e9  # pixels or seconds of arc; no stamp comes near
SAME_GRID = 0.01  # pixels


class Image2D(Protocol):
    """An array, or the `section` of a FITS image that reads only what is sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True)
class Mosaic:
    """One band of a field. `pixels` may be wider than memory: only the slices that are cut are read."""

    band: str
    pixels: Image2D
    wcs: WCS | None = None
    rows_up: bool = False


@dataclass(frozen=True)
class PixelPosition:
    """Pixels of the first mosaic, centre of its first pixel (0, 0), y along the array's rows."""

    x: float
    y: float


@dataclass(frozen=True)
class SkyPosition:
    """ICRS, degrees."""

    ra: float
    dec: float


@dataclass(frozen=True)
class Recipe:
    """One frame of a stamp: one band for grey or three (red, green, blue) for colour; stretch "none" keeps 8-bit
    pixels as they are.
    """

    bands: tuple[str, ...]
    stretch: str


@dataclass(frozen=True)
class Cut:
    """How stamps are cut.

    `size` is the side in arcseconds (`size_unit="arcsec"`) or pixels of the first mosaic ("px"). A stamp is shown at
    `shown_size` pixels, resampled with a Lanczos filter; None keeps the mosaic's own pixels.
    """

    recipes: tuple[Recipe, ...]
    size: float
    size_unit: str = "px"
    shown_size: int | None = None


def default_recipes(bands: Sequence[str], stretches: Sequence[str], *, each_band: bool) -> tuple[Recipe, ...]:
    """Frames for bands given from blue to red.

    Three bands or more make a colour frame in each stretch, and with `each_band` a grey frame of every band besides;
    fewer make grey frames only.
    """
    grey = [Recipe((band,), stretch) for band in bands for stretch in stretches]
    if len(bands) < 3:
        return tuple(grey)
    channels = (bands[-1], bands[len(bands) // 2], bands[0])
    colour = [Recipe(channels, stretch) for stretch in stretches]
    return (*colour, *(grey if each_band else []))


def check_cut(mosaics: Sequence[Mosaic], cut: Cut) -> None:
    """Raises StampError for a cut that no position could satisfy: unknown bands or stretches, sizes out of range."""
    bands = [mosaic.band for mosaic in mosaics]
    if not mosaics or len(set(bands)) < len(bands):
        raise StampError("needs one mosaic for each band, and at least one")
    for recipe in cut.recipes:
        unknown = [band for band in recipe.bands if band not in bands]
        if unknown or len(recipe.bands) not in (1, 3):
            raise StampError(
                f"a frame of {' '.join(recipe.bands)} cannot be made: take one band or three of {', '.join(bands)}"
            )
        if recipe.stretch not in (*STRETCHES, AS_IT_IS):
            raise StampError(f"unknown stretch {recipe.stretch!r}; known: {', '.join((*STRETCHES, AS_IT_IS))}")
    if not cut.recipes:
        raise StampError("needs at least one frame")
    if cut.size_unit not in ("px", "arcsec"):
        raise StampError(f"the size's unit is px or arcsec, not {cut.size_unit!r}")
    if cut.size_unit == "arcsec" and mosaics[0].wcs is None:
        raise StampError(f"the mosaic of {bands[0]} has no world coordinates: give the size in pixels")
    if not 0 < cut.size < UNBOUNDED:  # false for NaN too
        raise StampError(f"a stamp's size must be a positive number, not {cut.size:g}")
    side = _side(mosaics[0], cut)
    if side < SMALLEST_SIDE:
        raise StampError(f"a stamp of {side} pixels is too small; the least is {SMALLEST_SIDE}")
    check_size(side, side)
    if cut.shown_size is not None:
        check_size(cut.shown_size, cut.shown_size)


def cut_stamp(mosaics: Sequence[Mosaic], position: PixelPosition | SkyPosition, cut: Cut) -> Stamp:
    """The stamp at a position.

    The first mosaic sets the pixel grid; a band on another grid is resampled to it by bilinear interpolation through
    both world coordinate systems. Raises StampError when the stamp would reach over an edge.
    """
    first = mosaics[0]
    x, y = _pixel_of(first, position)
    side = _side(first, cut)
    left, low = _corner(x, side), _corner(y, side)
    needed = {band for recipe in cut.recipes for band in recipe.bands}
    planes = {
        mosaic.band: _plane(first, mosaic, left, low, side)[:: -1 if first.rows_up else 1]
        for mosaic in mosaics
        if mosaic.band in needed
    }
    pictures = tuple(_shown(render(planes, recipe), cut.shown_size) for recipe in cut.recipes)
    return Stamp(pictures, _cards(first, left, low, side, pictures[0].image.width / side))


def cut_stamp_from_arrays(
    bands: dict[str, NDArray[Any]], *, x: float, y: float, size: int, recipes: Sequence[Recipe], shown_size: int | None
) -> Stamp:
    """A stamp from arrays without world coordinates, top row first, around pixel (x, y)."""
    mosaics = [Mosaic(band, pixels) for band, pixels in bands.items()]
    cut = Cut(tuple(recipes), size, shown_size=shown_size)
    check_cut(mosaics, cut)
    return cut_stamp(mosaics, PixelPosition(x, y), cut)


def render(planes: dict[str, NDArray[Any]], recipe: Recipe) -> Picture:
    """One frame from band images of one size, top row first: for stamps that were made rather than cut."""
    chosen = [planes[band] for band in recipe.bands]
    label = "".join(recipe.bands) if all(len(band) == 1 for band in recipe.bands) else "-".join(recipe.bands)
    try:
        if recipe.stretch == AS_IT_IS:
            pixels = chosen[0] if len(chosen) == 1 else np.stack(chosen, axis=-1)
            return picture_from_array(pixels, band=label)
        pixels = stretch_band(chosen[0], recipe.stretch) if len(chosen) == 1 else compose_colour(chosen, recipe.stretch)
    except StampError:
        raise
    except ValueError as error:
        raise StampError(f"band {label}: {error}") from None
    return picture_from_array(pixels, band=label, stretch=recipe.stretch)


def sky_position(mosaic: Mosaic, position: PixelPosition | SkyPosition) -> SkyPosition | None:
    """Where on the sky a position of the mosaic lies, if its world coordinates say so."""
    if isinstance(position, SkyPosition):
        return position
    if mosaic.wcs is None:
        return None
    point: SkyCoord = mosaic.wcs.pixel_to_world(position.x, position.y).icrs
    ra, dec = float(point.ra.deg), float(point.dec.deg)
    return SkyPosition(ra, dec) if np.isfinite(ra) and np.isfinite(dec) else None


def _side(first: Mosaic, cut: Cut) -> int:
    """The stamp's side in pixels of the first mosaic."""
    if cut.size_unit == "px" or first.wcs is None:
        return round(cut.size)
    arcsec_per_pixel = 3600 * float(np.mean(proj_plane_pixel_scales(first.wcs)))
    return max(1, round(min(cut.size / arcsec_per_pixel, UNBOUNDED)))


def _pixel_of(mosaic: Mosaic, position: PixelPosition | SkyPosition) -> tuple[float, float]:
    if isinstance(position, PixelPosition):
        return position.x, position.y
    if mosaic.wcs is None:
        raise StampError(f"the mosaic of {mosaic.band} has no world coordinates: give positions in pixels (x, y)")
    try:
        x, y = mosaic.wcs.world_to_pixel(SkyCoord(position.ra, position.dec, unit="deg", frame="icrs"))
    except Exception:  # wcslib could not invert a distortion so far away from the mosaic
        x = y = np.nan
    if not (np.isfinite(x) and np.isfinite(y)):
        raise StampError(f"lies off the mosaic of {mosaic.band}")
    return float(x), float(y)


def _corner(centre: float, side: int) -> int:
    return int(np.floor(centre - (side - 1) / 2 + 0.5))


def _plane(first: Mosaic, mosaic: Mosaic, left: int, low: int, side: int) -> NDArray[Any]:
    """The mosaic's pixels on the first mosaic's grid, from (left, low), in the first mosaic's row order."""
    if mosaic is first:
        return _slice(mosaic, left, low, side, side)
    if mosaic.wcs is None or first.wcs is None:
        if mosaic.pixels.shape != first.pixels.shape:
            raise StampError(
                f"the mosaics of {first.band} and {mosaic.band} differ in size and lack world coordinates to match them"
            )
        return _slice(mosaic, left, low, side, side)
    return _resampled(first, mosaic, left, low, side)


def _slice(mosaic: Mosaic, left: int, low: int, width: int, height: int) -> NDArray[Any]:
    n_rows, n_columns = mosaic.pixels.shape
    if left < 0 or low < 0 or left + width > n_columns or low + height > n_rows:
        inside = left + width > 0 and low + height > 0 and left < n_columns and low < n_rows
        raise StampError(f"{'reaches over the edge of' if inside else 'lies off'} the mosaic of {mosaic.band}")
    return np.asarray(mosaic.pixels[low : low + height, left : left + width])


def _resampled(first: Mosaic, mosaic: Mosaic, left: int, low: int, side: int) -> NDArray[Any]:
    rows, columns = np.mgrid[low : low + side, left : left + side]
    try:
        x, y = mosaic.wcs.world_to_pixel(first.wcs.pixel_to_world(columns, rows))  # type: ignore[union-attr]
    except Exception:  # as in _pixel_of
        raise StampError(f"lies off the mosaic of {mosaic.band}") from None
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise StampError(f"lies off the mosaic of {mosaic.band}")
    shift_x, shift_y = round(float(x[0, 0])) - left, round(float(y[0, 0])) - low
    if max(np.abs(x - columns - shift_x).max(), np.abs(y - rows - shift_y).max()) < SAME_GRID:
        return _slice(mosaic, left + shift_x, low + shift_y, side, side)
    x0, y0 = int(np.floor(x.min())), int(np.floor(y.min()))
    width, height = int(np.ceil(x.max())) - x0 + 1, int(np.ceil(y.max())) - y0 + 1
    check_size(width, height)
    source = _slice(mosaic, x0, y0, width, height).astype(float)
    return np.asarray(map_coordinates(source, [y - y0, x - x0], order=1, mode="nearest", prefilter=False))


def _shown(picture: Picture, shown_size: int | None) -> Picture:
    if shown_size is None or picture.image.width == shown_size:
        return picture
    return replace(picture, image=picture.image.resize((shown_size, shown_size), Image.Resampling.LANCZOS))


def _cards(first: Mosaic, left: int, low: int, side: int, scale: float) -> Wcs | None:
    if first.wcs is None:
        return None
    shown = round(side * scale)
    x, y = left + (side - 1) / 2, low + (side - 1) / 2
    return tangent_cards(first.wcs, x, y, width=shown, height=shown, scale=scale, rows_up=first.rows_up)
