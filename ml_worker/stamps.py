"""Reading a subject's stamp for a network. No torch here."""

from io import BytesIO

import numpy as np
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from numpy.typing import NDArray
from PIL import Image

from starsieve.projects.models import Subject

MOST_PIXELS = 4096 * 4096


class StampUnreadable(ValueError):
    """The stamp is missing or broken; the message says which file and why."""


def read_stamp(subject: Subject) -> NDArray[np.uint8]:
    """The subject's first frame as RGB, uint8 of shape (height, width, 3).

    Raises StampUnreadable for a missing or broken file; any other OSError is the storage's and may pass.
    """
    path = next((frame.get("path") for frame in subject.frames), None)
    if not path:
        raise StampUnreadable("the subject has no picture")
    try:
        with default_storage.open(path, "rb") as stream:
            content = stream.read()
    except (FileNotFoundError, IsADirectoryError):
        raise StampUnreadable(f"{path}: the file is missing") from None
    except SuspiciousFileOperation:
        raise StampUnreadable(f"{path}: lies outside the media storage") from None
    try:
        with Image.open(BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise StampUnreadable(f"{path}: {image.width} × {image.height} pixels are too many")
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if isinstance(error, StampUnreadable):
            raise
        raise StampUnreadable(f"{path}: no readable picture ({error or type(error).__name__})") from None
