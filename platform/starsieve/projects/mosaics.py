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
            hdus = fits.open(path, memmap=True, lazy_load_hdus=True)
    except OSError as error:
        raise StampError(f"{path}: cannot be read as FITS: {error}") from None
    with hdus:
        hdu = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 2), None)
        if hdu is None:
            raise StampError(f"{path}: holds no two-dimensional image")
        yield Mosaic(band, _Section(hdu), read_wcs(hdu.header), rows_up=True)


class _Section:
    """An image HDU's pixels, of which only the slice that is asked for is read."""

    def __init__(self, hdu: fits.ImageHDU) -> None:
        self.shape: tuple[int, ...] = hdu.shape
        self._hdu = hdu

    def __getitem__(self, key: object) -> object:
        return self._hdu.section[key]
