"""Where a subject's pictures are, as pages and API tell it."""

from typing import Any, TypedDict

from django.core.files.storage import default_storage
from PIL import Image

from starsieve.projects.models import Subject
from starsieve.projects.task_types import Frame


class FrameUrl(TypedDict):
    url: str
    width: int
    height: int
    band: str
    stretch: str


def frame_urls(subject: Subject) -> list[FrameUrl]:
    return [
        FrameUrl(
            url=default_storage.url(frame["path"]),
            width=frame["width"],
            height=frame["height"],
            band=frame.get("band", ""),
            stretch=frame.get("stretch", ""),
        )
        for frame in _frames(subject)
    ]


def open_frame(subject: Subject, longest: int = 480) -> Image.Image | None:
    """The first picture, made smaller where a side is longer than `longest` pixels; None where the file is gone."""
    try:
        with default_storage.open(_frames(subject)[0]["path"]) as file:
            picture = Image.open(file).convert("RGB")
    except FileNotFoundError:
        return None
    picture.thumbnail((longest, longest))
    return picture


def frame_sizes(subject: Subject) -> list[Frame]:
    """What checking an annotation needs to know of the subject's pictures."""
    return [Frame(frame["width"], frame["height"]) for frame in _frames(subject)]


def _frames(subject: Subject) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = subject.frames
    return frames
