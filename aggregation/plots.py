"""Diagnostics as pictures: matplotlib figures, and SVG text of them for a page.

matplotlib is imported by the functions, not by the module. Figures are made without pyplot; matplotlib's settings are
set to fixed values inside each call and put back after it, one thread at a time, so that neither a local
configuration nor another caller changes a picture. Backgrounds are transparent, colours those of a light or dark page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aggregation import metrics
from aggregation._plot_style import DPI, THEMES, Theme, arrange, colours_of, contrast, empty_figure, settings
from aggregation._svg import clean_svg
from aggregation._votes import FloatArray, ratio
from aggregation.diagnostics import DEFAULT_RATE, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_CELLS_WITH_TEXT = 12
_RELIABILITY_INCHES = (4.6, 5.2)
#: Subjects below which a bin of a reliability curve is drawn faint and not joined to the others.
_FEW = 5


def plot_reliability(
    reliability: metrics.Reliability, *, things: str = "subjects", title: str = "Reliability", theme: str = "light"
) -> Figure:
    r"""Draw a reliability curve: what came true against what was promised, and how many subjects promised it.

    Parameters
    ----------
    reliability
        Of `aggregation.reliability` or `diagnose`.
    things
        What the probabilities are promised of.
    title
        First words of the picture's alternative text; the page writes its own heading.
    theme
        ``"light"`` or ``"dark"``: the page that it lies on.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from aggregation import reliability
    >>> figure = plot_reliability(reliability([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    >>> figure.get_label()
    'Reliability\n2 subjects, calibration error 0.150. 80 % promised: 100 % of 1. 90 % promised: 100 % of 1.'
    """
    colours = colours_of(theme)
    used = reliability.n > 0
    n = int(reliability.n.sum())
    promised, delivered = reliability.confidence[used], reliability.accuracy[used]
    with settings(colours):
        figure = empty_figure(*_RELIABILITY_INCHES)
        axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1), gridspec_kw={"hspace": 0.08})
        axes.plot([0, 1], [0, 1], color=colours.muted, linewidth=1, dashes=(4, 3), zorder=1)
        _curve(axes, reliability, colours)
        _share_axis(axes.yaxis)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="Share that came true")
        axes.text(
            0.03, 0.95, _reliability_note(reliability, things), va="top", color=colours.text, transform=axes.transAxes
        )
        _bars(strip, reliability, colours)
        _share_axis(strip.xaxis)
        strip.set(xlabel="Promised probability", ylabel=things.capitalize())
        figure.align_ylabels()
        arrange(figure)
    bins = "".join(
        f" {p:.0%} promised: {a:.0%} of {k:,}.".replace("%", " %")
        for p, a, k in zip(promised, delivered, reliability.n[used], strict=True)
    )
    summary = f"{n:,} {things}, calibration error {_calibration_error(reliability):.3f}." if n else f"No {things}."
    figure.set_label(f"{title}\n{summary}{bins}")
    return figure


def plot_completeness(
    score: npt.ArrayLike,
    positive: npt.ArrayLike,
    *,
    rate: float = DEFAULT_RATE,
    interval: Estimate | None = None,
    title: str = "Completeness",
    theme: str = "light",
) -> Figure:
    r"""Draw completeness against the false-positive rate, on a logarithmic axis, and mark it at `rate`.

    Parameters
    ----------
    score, positive
        As for `auc`.
    rate
        False-positive rate that is marked.
    interval
        Of the completeness at `rate` (`diagnose`), drawn as a bar.
    title, theme
        As for `plot_reliability`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_completeness([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0])
    >>> figure.get_label()
    'Completeness\n100 % of 2 positives at a false-positive rate of 0.001 among 2 negatives; AUC 1.000.'
    """
    colours = colours_of(theme)
    curve = metrics.completeness_curve(score, positive)
    found = metrics.completeness_at_false_positive_rate(score, positive, rate)
    summary = (
        f"{found:.0%} of {curve.n_positive:,} positives at a false-positive rate of {rate:g} among "
        f"{curve.n_negative:,} negatives; AUC {metrics.auc(score, positive):.3f}."
    ).replace("%", " %")
    if np.isnan(found):
        summary = f"Undefined: {curve.n_positive:,} positives and {curve.n_negative:,} negatives."
    with settings(colours):
        figure = empty_figure(4.6, 4.0)
        axes = figure.subplots()
        lowest = min(rate, 1.0 / max(curve.n_negative, 1)) / 2.0 or 0.5 / max(curve.n_negative, 1)
        axes.set(xscale="log", xlim=(lowest, 1.0), ylim=(-0.02, 1.02))
        axes.xaxis.set_major_formatter(_power_of_ten)
        axes.xaxis.minorticks_off()
        _share_axis(axes.yaxis)
        axes.set(xlabel="False-positive rate", ylabel="Completeness")
        if not np.isnan(found):
            _draw_completeness(axes, curve, (rate, found), interval, colours, lowest)
        else:
            axes.text(0.5, 0.5, "needs positives and negatives", ha="center", transform=axes.transAxes)
        arrange(figure)
    figure.set_label(f"{title}\n{summary}")
    return figure


def plot_confusion(
    confusion: npt.ArrayLike,
    labels: Sequence[str],
    *,
    names: tuple[str, str] = ("Truth", "Consensus"),
    title: str = "Confusion",
    theme: str = "light",
) -> Figure:
    r"""Draw a confusion matrix: of each true answer (row), which share was given which answer (column).

    Parameters
    ----------
    confusion
        Counts or probabilities, float or int (n_answers, n_answers); each row is drawn as shares of its sum.
    labels
        Names of the answers.
    names
        Of the rows and of the columns: a crowd's matrix has volunteers' answers in its columns.
    title, theme
        As for `plot_reliability`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_confusion([[8, 2], [0, 5]], ["smooth", "features"])
    >>> figure.get_label()
    'Confusion\nsmooth: 80 % smooth, 20 % features. features: 0 % smooth, 100 % features.'
    """
    colours = colours_of(theme)
    table = np.asarray(confusion, dtype=float)
    n = len(labels)
    if table.shape != (n, n):
        raise ValueError(f"{n} labels need a confusion matrix of {n} by {n}, got {table.shape}")
    if not (table >= 0).all():
        raise ValueError("a confusion matrix holds counts or probabilities, this one has a negative number or nan")
    share = ratio(table, table.sum(axis=1, keepdims=True))
    with settings(colours):
        figure = empty_figure(*_confusion_inches(n))
        axes = figure.subplots()
        _draw_cells(axes, table, share, colours)
        short = [name if len(name) <= 22 else f"{name[:21]}…" for name in labels]
        axes.set_xticks(np.arange(n), short)
        if max(map(len, short), default=0) > 6:
            for label in axes.get_xticklabels():
                label.set(rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(n), short)
        end = max(n, 1) - 0.5
        axes.set(xlim=(-0.5, end), ylim=(end, -0.5), xlabel=names[1], ylabel=names[0], aspect="equal")
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.yaxis.labelpad = 8
        arrange(figure)
    rows = (
        f"{name}: " + (", ".join(_cell(share[k, y], labels[y]) for y in range(n)) if table[k].sum() else "none") + "."
        for k, name in enumerate(labels)
    )
    figure.set_label(f"{title}\n{' '.join(rows)}")
    return figure


def figure_svg(figure: Figure) -> str:
    """Write a figure as SVG text that a page can carry inline or as an image.

    The same figure gives the same text: no date, no random names. Nothing in it needs a style or script allowed by
    the page (every property is an attribute), its ids are unique to it, its letters are text in the page's font. The
    first line of the figure's label is its accessible title, the rest its description.

    Parameters
    ----------
    figure
        Of one of the functions here.

    Returns
    -------
    str
        One ``<svg>`` element.

    Examples
    --------
    >>> figure_svg(plot_confusion([[1, 0], [0, 1]], ["no", "yes"]))[:29]
    '<svg xmlns="http://www.w3.org'
    """
    from io import StringIO

    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written = StringIO()
    with settings(THEMES["light"]):
        FigureCanvasSVG(figure).print_figure(written, format="svg", facecolor="none")
    title, _, description = str(figure.get_label()).partition("\n")
    return clean_svg(written.getvalue(), title, description)


def reliability_size() -> tuple[int, int]:
    """Width and height of `plot_reliability`'s picture in pixels, known without drawing it."""
    return _pixels(*_RELIABILITY_INCHES)


def confusion_size(n_answers: int) -> tuple[int, int]:
    """Width and height of `plot_confusion`'s picture in pixels, known without drawing it."""
    return _pixels(*_confusion_inches(n_answers))


def _confusion_inches(n_answers: int) -> tuple[float, float]:
    side = min(max(2.6, 0.62 * n_answers + 1.6), 9.0)
    return side + 0.4, side


def _pixels(width: float, height: float) -> tuple[int, int]:
    return round(width * DPI), round(height * DPI)


def _share_axis(axis: Any) -> None:
    axis.set_major_locator(_ticks(0.2))
    axis.set_major_formatter(lambda value, _: f"{value:.0%}".replace("%", " %"))


def _ticks(step: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)


def _power_of_ten(value: float, _: object) -> str:
    exponent = int(np.rint(np.log10(value)))
    return "1" if exponent == 0 else "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _calibration_error(reliability: metrics.Reliability) -> float:
    used = reliability.n > 0
    gap = np.abs(reliability.confidence[used] - reliability.accuracy[used])
    return float((gap * reliability.n[used]).sum() / reliability.n.sum())


def _reliability_note(reliability: metrics.Reliability, things: str) -> str:
    n = int(reliability.n.sum())
    if not n:
        return f"no {things}"
    return f"{n:,} {things}\ncalibration error {_calibration_error(reliability):.3f}"


def _curve(axes: Axes, reliability: metrics.Reliability, colours: Theme) -> None:
    """Share that came true with its interval, joined where a bin holds enough subjects to mean something."""
    for enough in (False, True):
        here = (reliability.n > 0) & ((reliability.n >= _FEW) == enough)
        x, y = reliability.confidence[here], reliability.accuracy[here]
        spread = np.stack([y - reliability.low[here], reliability.high[here] - y]).clip(0)
        axes.errorbar(
            x, y, spread, color=colours.accent, alpha=1.0 if enough else 0.45, linestyle="-" if enough else "none",
            linewidth=1.6, elinewidth=1.2, capsize=2.5, marker="o", markersize=4.5, zorder=3,
        )  # fmt: skip


def _bars(strip: Axes, reliability: metrics.Reliability, colours: Theme) -> None:
    """Subjects per bin."""
    from matplotlib.ticker import MaxNLocator

    width = np.diff(reliability.edges)
    gap = np.minimum(0.004, width / 4.0)
    left = reliability.edges[:-1] + gap
    strip.bar(left, reliability.n, width - 2 * gap, align="edge", color=colours.second, alpha=0.75, lw=0, zorder=2)
    strip.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    strip.set_ylim(0, max(int(reliability.n.max(initial=0)), 1) * 1.08)
    strip.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _draw_completeness(
    axes: Axes,
    curve: metrics.CompletenessCurve,
    marked: tuple[float, float],
    interval: Estimate | None,
    colours: Theme,
    lowest: float,
) -> None:
    rate, found = marked
    x: FloatArray = np.concatenate([[lowest / 2], curve.false_positive_rate, [1.0]])
    y: FloatArray = np.concatenate([[0.0], curve.completeness, [1.0]])
    # What is found before the first false positive is drawn from the left edge on.
    axes.step(np.maximum(x, lowest / 2), y, where="post", color=colours.accent, linewidth=2, zorder=3)
    chance = np.geomspace(lowest, 1.0, 64)
    axes.plot(chance, chance, color=colours.muted, linewidth=1, dashes=(4, 3), zorder=1)
    if rate > 0:
        axes.axvline(rate, color=colours.second, linewidth=1, dashes=(1, 2), zorder=2)
    if interval is not None and not np.isnan(interval.low):
        axes.vlines(max(rate, lowest), interval.low, interval.high, color=colours.second, linewidth=2.5, zorder=4)
    axes.plot([max(rate, lowest)], [found], "o", color=colours.second, markersize=7, zorder=5)
    note = f"{found:.0%} at {rate:g}".replace("%", " %")
    up = found < 0.15  # else below the curve, which only rises to the right
    axes.annotate(
        note, (max(rate, lowest), found), (9, 6 if up else -6), textcoords="offset points", color=colours.text,
        va="bottom" if up else "top", zorder=6,
    )  # fmt: skip


def _draw_cells(axes: Axes, table: FloatArray, share: FloatArray, colours: Theme) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    page, accent = np.array(to_rgb(colours.page)), np.array(to_rgb(colours.accent))
    whole = bool((table == np.rint(table)).all() and table.max(initial=0) > 1)
    for (k, y), value in np.ndenumerate(np.nan_to_num(share)):
        axes.add_patch(
            Rectangle((y - 0.48, k - 0.48), 0.96, 0.96, facecolor=colours.accent, alpha=0.04 + 0.9 * value, lw=0)
        )
        if len(table) > _MAX_CELLS_WITH_TEXT:
            continue
        behind = page + (accent - page) * (0.04 + 0.9 * value)
        ink = max((colours.text, colours.page), key=lambda each: contrast(np.array(to_rgb(each)), behind))
        text = f"{value:.0%}".replace("%", " %") + (f"\n{table[k, y]:,.0f}" if whole else "")
        axes.text(y, k, text, ha="center", va="center", color=ink, fontsize=9, linespacing=1.25)


def _cell(share: float, name: str) -> str:
    return f"{share:.0%} {name}".replace("%", " %", 1)
