"""One subject's marks, what they came to, and who drew them, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aggregation._geometry import check_boxes
from aggregation._plot_style import DPI, Theme, arrange, colours_of, empty_figure, settings
from aggregation._votes import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STAMP_INCHES = 4.4
_SKILL_INCHES = 2.6
#: Of a mark whose volunteer is never to be believed, and always.
_OPACITY = (0.25, 0.95)


@dataclass(frozen=True)
class DrawnMarks:
    """Marks of one subject.

    Attributes
    ----------
    boxes
        ``x, y, width, height`` in pixels, x, y the top-left corner, float (n, 4).
    member
        Number of the consensus box that each belongs to, -1 for none, int (n,).
    volunteer
        Number of who drew it among the subject's volunteers, int (n,).
    p_fp, p_fn
        Of each volunteer who saw the subject: part of the marks that mean nothing, part of the objects missed, float
        (n_volunteers,).
    """

    boxes: FloatArray
    member: IntArray
    volunteer: IntArray
    p_fp: FloatArray
    p_fn: FloatArray


def boxes_size(size: tuple[float, float]) -> tuple[int, int]:
    """Pixels, width and height, of the picture that `plot_boxes` makes of a stamp of that size.

    Examples
    --------
    >>> boxes_size((100, 100))
    (504, 316)
    """
    width, height = _inches(size)
    return int(DPI * (width + _SKILL_INCHES)), int(DPI * height)


def _inches(size: tuple[float, float]) -> tuple[float, float]:
    """Of the stamp alone; panoramas and towers are not drawn larger than twice as wide as high."""
    return _STAMP_INCHES * min(size[0] / size[1], 2.0), _STAMP_INCHES


def plot_boxes(
    marks: DrawnMarks,
    boxes: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    size: tuple[float, float],
    standard_errors: npt.ArrayLike | None = None,
    image: npt.ArrayLike | None = None,
    title: str = "Marks and consensus",
    theme: str = "light",
) -> Figure:
    r"""Draw all marks on one subject over its stamp, the consensus boxes with their errors, and the volunteers' skills.

    Marks are thin lines, the fainter the less their volunteer is to be believed, dashed where they belong to no
    consensus box. Consensus boxes are thick, with their probability and a cross of one standard error at the centre.
    Beside the stamp each volunteer is a dot: the part of marks that mean nothing against the part of objects missed.

    Parameters
    ----------
    marks
        What was drawn, and by whom.
    boxes, probability
        Consensus boxes, float (n_boxes, 4), and that each is real, float (n_boxes,).
    size
        Width and height of the stamp in pixels.
    standard_errors
        Of centre x and y (and further columns, which are not drawn), float (n_boxes, 2 or more).
    image
        Pixels of the stamp, (height, width) or (height, width, 3); an empty frame without.
    title, theme
        As for `plot_reliability`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> drawn = DrawnMarks(np.array([[1.0, 1, 4, 4], [1, 2, 4, 4]]), np.array([0, 0]), np.array([0, 1]),
    ...                    np.array([0.1, 0.2]), np.array([0.3, 0.2]))
    >>> figure = plot_boxes(drawn, [[1, 1.5, 4, 4]], [0.97], size=(20, 20))
    >>> figure.get_label()
    'Marks and consensus\n2 marks of 2 volunteers; 1 consensus box: 97 % at (3, 4).'
    """
    colours = colours_of(theme)
    found, sure = _check(marks, boxes, probability)
    over_stamp = colours if image is None else colours_of("dark")  # the sky is dark on a light page too
    with settings(colours):
        across, down = _inches(size)
        figure = empty_figure(across + _SKILL_INCHES, down)
        stamp, skills = figure.subplots(1, 2, width_ratios=(across, _SKILL_INCHES))
        _draw_stamp(stamp, size, image)
        _draw_marks(stamp, marks, over_stamp)
        _draw_consensus(stamp, found, sure, standard_errors, over_stamp)
        _draw_skills(skills, marks, colours)
        arrange(figure)
    figure.set_label(f"{title}\n{_summary(marks, found, sure)}")
    return figure


def _check(marks: DrawnMarks, boxes: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    found = np.asarray(boxes, dtype=float).reshape(-1, 4)
    sure = np.asarray(probability, dtype=float)
    if sure.shape != (len(found),):
        raise ValueError(f"{len(found)} boxes need as many probabilities, got {sure.shape}")
    check_boxes(marks.boxes)
    if not len(marks.boxes) == len(marks.member) == len(marks.volunteer):
        raise ValueError("boxes, member and volunteer of the marks must be equally long")
    if len(marks.p_fp) != len(marks.p_fn):
        raise ValueError("p_fp and p_fn must hold a number for each volunteer")
    if len(marks.volunteer) and int(marks.volunteer.max()) >= len(marks.p_fp):
        raise ValueError(f"volunteer {int(marks.volunteer.max())} has no skills: there are {len(marks.p_fp)}")
    return found, sure


def _draw_stamp(axes: Axes, size: tuple[float, float], image: npt.ArrayLike | None) -> None:
    width, height = size
    if image is not None:
        axes.imshow(np.asarray(image), extent=(0, width, height, 0), cmap="gray", interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(True)


def _draw_marks(axes: Axes, marks: DrawnMarks, colours: Theme) -> None:
    least, most = _OPACITY
    for box, member, volunteer in zip(marks.boxes, marks.member, marks.volunteer, strict=True):
        opacity = least + (most - least) * (1.0 - float(marks.p_fp[volunteer]))
        _rectangle(axes, box, colours.second, 1.0, opacity, "-" if member >= 0 else (0, (2, 2)))


def _draw_consensus(
    axes: Axes, boxes: FloatArray, probability: FloatArray, errors: npt.ArrayLike | None, colours: Theme
) -> None:
    for number, (box, sure) in enumerate(zip(boxes, probability, strict=True)):
        _rectangle(axes, box, colours.page, 4.0, 0.8, "-")
        _rectangle(axes, box, colours.accent, 2.0, 1.0, "-")
        words: dict[str, Any] = {"color": colours.page, "fontsize": 9, "va": "bottom", "clip_on": True}
        frame = {"facecolor": colours.accent, "edgecolor": "none", "pad": 1.5}
        axes.text(box[0], box[1], f"{number + 1}: {sure:.0%}".replace("%", " %"), bbox=frame, **words)
        if errors is not None:
            x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
            across, down = np.asarray(errors, dtype=float)[number, :2]
            axes.errorbar(x, y, xerr=across, yerr=down, color=colours.accent, capsize=2, linewidth=1.2)


def _rectangle(axes: Axes, box: FloatArray, colour: str, width: float, opacity: float, dashes: Any) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((box[0], box[1]), box[2], box[3], fill=False, edgecolor=colour, linewidth=width, alpha=opacity,
                  linestyle=dashes)
    )  # fmt: skip


def _draw_skills(axes: Axes, marks: DrawnMarks, colours: Theme) -> None:
    axes.scatter(marks.p_fn, marks.p_fp, s=28, color=colours.second, alpha=0.8, linewidths=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="Objects missed", ylabel="Marks that mean nothing")
    axes.set_box_aspect(1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0, 0.5, 1], ["0", "50 %", "100 %"])


def _summary(marks: DrawnMarks, boxes: FloatArray, probability: FloatArray) -> str:
    places: Sequence[str] = [
        f"{sure:.0%} at ({box[0] + box[2] / 2:.0f}, {box[1] + box[3] / 2:.0f})".replace("%", " %")
        for box, sure in zip(boxes, probability, strict=True)
    ]
    kind = "box" if len(boxes) == 1 else "boxes"
    listed = f": {', '.join(places)}" if places else ""
    return f"{len(marks.boxes):,} marks of {len(marks.p_fp):,} volunteers; {len(boxes):,} consensus {kind}{listed}."
