"""FITS mosaics on disk as the stamp cutter sees them: opened once, read slice by slice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits

from starsieve.projects.cutter import Mosaic
from starsieve.projects.fits import quiet, read_wcs
from starsieve.projects.stamps import StampError


@contextmanager
def open_mosaic(band: str, path: Path) -> Iterator[Mosaic]:
    """The first two-dimensional image of a FITS file. Raises StampError naming the file if there is none."""
    try:
        with quiet():
            # Without memory mapping: `section` reads what is sliced either way, scaled integers (BZERO) only so.
            hdus = fits.open(path, memmap=False, lazy_load_hdus=True)
    except OSError as error:
        raise StampError(f"{path}: cannot be read as FITS: {error.strerror or error}") from None
    with hdus:
        hdu = _first_image(hdus, path)
        if hdu is None:
            raise StampError(f"{path}: holds no two-dimensional image")
        yield Mosaic(band, _Section(hdu, path), read_wcs(hdu.header), rows_up=True)


def _first_image(hdus: fits.HDUList, path: Path) -> fits.ImageHDU | None:
    try:
        with quiet():
            return next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 2), None)
    except Exception as error:  # headers that astropy cannot read raise all kinds of errors
        raise StampError(f"{path}: cannot be read as FITS: {type(error).__name__} in a header") from None


class _Section:
    """An image HDU's pixels, of which only the slice that is asked for is read."""

    def __init__(self, hdu: fits.ImageHDU, path: Path) -> None:
        self.shape: tuple[int, ...] = hdu.shape
        self._hdu = hdu
        self._path = path

    def __getitem__(self, key: object) -> object:
        try:
            return self._hdu.section[key]
        except Exception as error:  # a file that breaks off, or whose compressed tiles are damaged
            raise StampError(f"{self._path}: is broken here: {type(error).__name__} while reading pixels") from None
