"""FITS images: reading stamps from hostile files, turning them the way screens count, and their place on the sky."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from numpy.typing import NDArray

from starsieve.projects.stamps import (
    LARGEST_FILE,
    LARGEST_SIDE,
    MOST_FRAMES,
    Picture,
    Stamp,
    StampError,
    check_size,
    picture_from_array,
)
from starsieve.projects.stretches import compose_colour, stretch_band

# Blue to red; a header's BANDS names planes by these letters.
BAND_ORDER = "ugrizy"
Wcs = dict[str, float | str]


@contextmanager
def quiet() -> Iterator[None]:
    """Without astropy's warnings: what it mends in a header is of no use to whoever reads the server's log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def read_fits_stamp(data: bytes, *, stretch: str) -> Stamp:
    """The first image of a FITS file as a stamp.

    Two dimensions: one grey frame. Three planes without a BANDS card: red, green, blue, one colour frame. More planes,
    or planes that BANDS names: a colour frame of three of them (if there are three) and one grey frame for each.
    Raises StampError for anything else, and before pixels are unpacked for an image that is too large.
    """
    if len(data) > LARGEST_FILE:
        raise StampError(f"is larger than {LARGEST_FILE // 2**20} MiB")
    if not data.startswith(b"SIMPLE  ="):  # astropy would unpack gzip, bzip2 and others, however large they grow
        raise StampError("is not a FITS file; a compressed one must be unpacked first")
    try:
        pixels, header = _first_image(data)
        bands = str(header.get("BANDS", ""))
    except StampError:
        raise
    except Exception as error:  # as with pictures: hostile bytes raise all kinds of errors
        raise StampError(f"is broken: {type(error).__name__} while reading its image") from None
    try:
        pictures = _pictures(pixels, bands, stretch)
    except ValueError as error:
        raise StampError(str(error)) from None
    return Stamp(pictures, sky_cards(read_wcs(header), pixels.shape[-1], pixels.shape[-2]))


def _first_image(data: bytes) -> tuple[NDArray[Any], fits.Header]:
    with quiet(), fits.open(BytesIO(data), memmap=False, lazy_load_hdus=True) as hdus:
        for hdu in hdus:
            shape = getattr(hdu, "shape", ())
            if hdu.is_image and len(shape) >= 2:
                _check_shape(shape)
                return np.asarray(hdu.data), hdu.header.copy()
    raise StampError("holds no image")


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > 3 or (len(shape) == 3 and not 1 <= shape[0] <= MOST_FRAMES - 1):
        raise StampError(
            f"has an image of shape {' × '.join(map(str, shape))}; taken are rows × columns, and at most "
            f"{MOST_FRAMES - 1} planes of that"
        )
    check_size(shape[-1], shape[-2])
    if np.prod(shape) > LARGEST_SIDE**2:
        raise StampError("has too many pixels in all its planes")


def _pictures(pixels: NDArray[Any], bands: str, stretch: str) -> tuple[Picture, ...]:
    planes = np.flip(pixels if pixels.ndim == 3 else pixels[np.newaxis], axis=1)  # FITS counts rows upwards
    names = list(bands) if len(bands) == len(planes) else [""] * len(planes)
    if len(planes) == 3 and not any(names):
        finished = planes.dtype == np.uint8
        colour = np.moveaxis(planes, 0, -1) if finished else compose_colour(list(planes), stretch)
        return (picture_from_array(colour, stretch="" if finished else stretch),)
    if not any(names) and len(planes) > 1:
        names = [str(i + 1) for i in range(len(planes))]
    grey = tuple(
        picture_from_array(stretch_band(plane, stretch), band=name, stretch=stretch)
        for plane, name in zip(planes, names, strict=True)
    )
    if len(planes) < 3:
        return grey
    red, green, blue = _reddest_first(names)
    colour = compose_colour([planes[red], planes[green], planes[blue]], stretch)
    label = "".join(names[i] for i in (red, green, blue))
    return (picture_from_array(colour, band=label, stretch=stretch), *grey)


def _reddest_first(names: list[str]) -> tuple[int, int, int]:
    """Planes for red, green and blue: the longest wavelength, the middle one, the shortest."""
    known = all(name in BAND_ORDER for name in names)
    order = sorted(range(len(names)), key=lambda i: BAND_ORDER.index(names[i]) if known else i)
    return order[-1], order[len(order) // 2], order[0]


def read_wcs(header: fits.Header) -> WCS | None:
    """The celestial part of the header's world coordinates, if it has any that astropy can turn into ICRS."""
    with quiet():
        try:
            wcs = WCS(header).celestial
            # The conversion fails for the Sun's disc, a planet, azimuth and elevation.
            return wcs if wcs.has_celestial and wcs.pixel_to_world(0, 0).icrs is not None else None
        except Exception:  # wcslib's errors are many; a stamp without a place on the sky is still a stamp
            return None


def sky_cards(wcs: WCS | None, width: int, height: int) -> Wcs | None:
    """Cards for an image of that size that is turned over to count rows from the top; None if it lies nowhere."""
    if wcs is None:
        return None
    x, y = (width - 1) / 2, (height - 1) / 2
    try:
        return tangent_cards(wcs, x, y, width=width, height=height, scale=1.0, rows_up=True)
    except StampError:  # outside its own projection; a stamp without a place on the sky is still a stamp
        return None


def tangent_cards(wcs: WCS, x: float, y: float, *, width: int, height: int, scale: float, rows_up: bool) -> Wcs:
    """A tangent-plane world coordinate system for a stamp centred on one point of an image.

    Any projection and distortion is linear over a stamp: ξ = CD (p - CRPIX) with CD by central differences at the
    centre, where ξ are gnomonic coordinates about the centre (Calabretta & Greisen 2002, A&A 395, 1077).

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Of the image.
    x, y : float
        The stamp's centre in the image, pixels from 0.
    width, height : int
        Size of the stamp's picture, whose rows count downwards, in pixels.
    scale : float
        Pixels of the picture per pixel of the image.
    rows_up : bool
        Whether the image's rows count upwards, as in FITS, so that the picture shows it turned over.

    Returns
    -------
    dict
        CTYPE, CUNIT, CRPIX (the top-left pixel is 1, 1), CRVAL (ICRS, degrees) and CD (degrees per pixel).
    """
    points: SkyCoord = wcs.pixel_to_world([x, x + 1, x - 1, x, x], [y, y, y, y + 1, y - 1]).icrs
    lon, lat = np.radians(points.ra.deg), np.radians(points.dec.deg)
    xi, eta = _gnomonic(lon, lat, lon[0], lat[0])
    if not np.all(np.isfinite([lon, lat, xi, eta])):
        raise StampError("lies outside its image's projection")
    along_y = -1.0 if rows_up else 1.0
    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "RADESYS": "ICRS",
        "CRPIX1": (width + 1) / 2,
        "CRPIX2": (height + 1) / 2,
        "CRVAL1": float(points.ra.deg[0]),
        "CRVAL2": float(points.dec.deg[0]),
        "CD1_1": float(xi[1] - xi[2]) / 2 / scale,
        "CD1_2": along_y * float(xi[3] - xi[4]) / 2 / scale,
        "CD2_1": float(eta[1] - eta[2]) / 2 / scale,
        "CD2_2": along_y * float(eta[3] - eta[4]) / 2 / scale,
    }


def _gnomonic(
    lon: NDArray[Any], lat: NDArray[Any], lon0: float, lat0: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard coordinates in degrees about (lon0, lat0); all angles in radians."""
    cosine = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon - lon0)
    xi = np.cos(lat) * np.sin(lon - lon0) / cosine
    eta = (np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon - lon0)) / cosine
    return np.degrees(xi), np.degrees(eta)
