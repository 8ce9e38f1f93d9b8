"""Small plots as SVG text: no plotting library in a web process, a picture in a millisecond.

Colours are presentation attributes, because a picture inside <img> sees no style sheet of the page; text stays text
in the system's font. The background is transparent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

Theme = Literal["dark", "light"]
WIDTH = 480
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Palette:
    text: str
    faint: str
    grid: str
    series: tuple[str, ...]


PALETTES: dict[Theme, Palette] = {
    "dark": Palette("#c9d2e3", "#8d99b3", "#263148", ("#f5b461", "#7db4ff", "#6ccf9c", "#e58fb4", "#b9a3ff")),
    "light": Palette("#3b4558", "#5d6779", "#dcd8cd", ("#a85600", "#1f5fae", "#1d7a4d", "#a83a6c", "#5d46b5")),
}


class Drawing:
    """Collects shapes; `svg()` gives the finished picture with its title for screen readers."""

    def __init__(self, height: float, title: str, palette: Palette) -> None:
        self.height = height
        self.title = title
        self.palette = palette
        self.shapes: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, *, opacity: float = 1) -> None:
        if width > 0 and height > 0:
            faded = f' fill-opacity="{_n(opacity)}"' if opacity < 1 else ""
            place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
            self.shapes.append(f'<rect {place} rx="1.5" fill="{fill}"{faded}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str) -> None:
        self.shapes.append(f'<path d="M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}" stroke="{stroke}" fill="none"/>')

    def path(self, points: Sequence[tuple[float, float]], stroke: str) -> None:
        steps = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self.shapes.append(
            f'<path d="M{steps}" stroke="{stroke}" stroke-width="2" stroke-linejoin="round" fill="none"/>'
        )

    def text(
        self, x: float, y: float, content: str, *, anchor: str = "start", size: float = 12, fill: str = "",
        weight: int = 400,
    ) -> None:  # fmt: skip
        heavy = f' font-weight="{weight}"' if weight != 400 else ""
        self.shapes.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}"{heavy} '
            f'fill="{fill or self.palette.text}">{escape(content)}</text>'
        )

    def svg(self) -> str:
        height = _n(self.height)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label={quoteattr(self.title)} font-family={quoteattr(FONT)}>'
            f"<title>{escape(self.title)}</title>{''.join(self.shapes)}</svg>\n"
        )


def _n(value: float) -> str:
    """A coordinate with at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 2, 3, 4, 6, 8, 10 × 10ⁿ that is at least `value`; 1 for nothing."""
    if value <= 1:
        return 1
    power = 10 ** (len(str(int(value))) - 1)
    return next(float(step * power) for step in (1, 2, 3, 4, 6, 8, 10) if step * power >= value)


def compact(value: float) -> str:
    """A count in few characters: 950, 1.2k, 34k, 5.6M."""
    for limit, divisor, suffix in ((1e6, 1e6, "M"), (1e3, 1e3, "k")):
        if value >= limit:
            return f"{value / divisor:.1f}".rstrip("0").rstrip(".") + suffix
    return f"{value:g}"
