"""How every picture looks: the colours of the page, and matplotlib's settings while it draws."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aggregation._votes import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ONE_AT_A_TIME = threading.RLock()
#: Drawing units per inch: with 72, one SVG unit is one point of matplotlib.
DPI = 72


class Theme(NamedTuple):
    """Colours of a page (the tokens of its style sheet)."""

    page: str
    text: str
    muted: str
    line: str
    accent: str
    second: str


THEMES = {
    "light": Theme("#ffffff", "#141b2b", "#525d72", "#dedacf", "#9c4f00", "#1b55a0"),
    "dark": Theme("#0f1522", "#e9edf5", "#a0acc3", "#232d42", "#f5b461", "#93beff"),
}


def colours_of(theme: str) -> Theme:
    if theme not in THEMES:
        raise ValueError(f'theme must be "light" or "dark", got {theme!r}')
    return THEMES[theme]


@contextmanager
def settings(colours: Theme) -> Iterator[None]:
    """Fixed settings for the block."""
    import matplotlib as mpl

    ours: dict[Any, Any] = {
        "font.family": "DejaVu Sans",  # always there: it measures the text; clean_svg names the page's font
        "font.size": 11,
        "text.color": colours.text,
        "text.parse_math": False,  # an answer may hold a dollar sign
        "axes.edgecolor": colours.muted,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.labelcolor": colours.text,
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "none",
        "grid.color": colours.line,
        "grid.linewidth": 0.8,
        "svg.fonttype": "none",
        "svg.hashsalt": "starsieve",
        "xtick.color": colours.muted,
        "xtick.labelsize": 10,
        "ytick.color": colours.muted,
        "ytick.labelsize": 10,
    }
    with _ONE_AT_A_TIME, mpl.rc_context(), warnings.catch_warnings():
        # The page's fonts have the letters that matplotlib's own lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(ours)
        yield


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def arrange(figure: Figure) -> None:
    """Make room for the labels once and for all: laid out anew at each writing, a figure could change a little."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def contrast(ink: FloatArray, behind: FloatArray) -> float:
    """Contrast of two sRGB colours (WCAG 2.2)."""
    light = [
        float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])
        for c in (ink, behind)
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)
