"""What can be chosen for a release, checked when it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

#: The default first.
METHODS = {
    "consensus": "vote counts and fractions, and the probabilities of the model that each task names",
    "fractions": "vote counts and fractions, grade distributions, greedy IoU boxes: every vote weighs the same",
}
DEFAULT_METHOD = next(iter(METHODS))
FORMATS = ("csv", "parquet", "fits", "votable")
MOST_FITS_COLUMNS = 999  # the FITS standard's limit on TFIELDS


class SettingsProblem(ValueError):
    """A setting is refused; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True)
class ReleaseSettings:
    """`formats` keeps the order of FORMATS. `include_classifications` adds classifications.csv, which only those who
    may make releases can download.
    """

    method: str = DEFAULT_METHOD
    formats: tuple[str, ...] = FORMATS
    include_classifications: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsProblem("method", f"unknown method {self.method!r}; known: {', '.join(METHODS)}")
        unknown = sorted(set(self.formats) - set(FORMATS))
        if unknown:
            raise SettingsProblem("formats", f"unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")
        if not self.formats:
            raise SettingsProblem("formats", f"choose at least one of {', '.join(FORMATS)}")

    @classmethod
    def of(cls, *, method: str, formats: Sequence[str], include_classifications: bool) -> Self:
        unknown = [name for name in formats if name not in FORMATS]
        ordered = [name for name in FORMATS if name in formats]
        return cls(method, (*ordered, *unknown), include_classifications)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["method"], tuple(data["formats"]), data["include_classifications"])

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "formats": list(self.formats)}
