"""The plots of a consensus run, each with the sentence and the table that say the same without a picture.

They are drawn by matplotlib, which is imported only when one is drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aggregation.box_plots import DrawnMarks, boxes_size, plot_boxes
from aggregation.metrics import Reliability
from aggregation.plots import confusion_size, figure_svg, plot_confusion, plot_reliability, reliability_size
from classify.versions import definition_of
from starsieve.catalogues.consensus.subjects import answer_labels
from starsieve.catalogues.models import ConsensusRun
from starsieve.catalogues.svg import Theme
from starsieve.projects.models import Subject
from starsieve.projects.task_types import Task
from starsieve.projects.task_types.boxes import SIDES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """`draw` paints it; `alt` and the table (`headers`, `rows`) say what it shows."""

    name: str
    title: str
    caption: str
    alt: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    size: tuple[int, int]
    draw: Callable[[Theme], "Figure"]

    def svg(self, theme: Theme) -> str:
        return figure_svg(self.draw(theme))


def pictures_of(run: ConsensusRun) -> Iterator[Picture]:
    """Every picture of a finished run."""
    tasks = definition_of(run.workflow_version).tasks
    for key, stored in run.tasks.items():
        yield from task_pictures(tasks[key], stored)


def task_pictures(task: Task, stored: dict[str, Any]) -> Iterator[Picture]:
    """Of one task: its reliability first, where gold judges it, then what is taken for what."""
    fit, judgement = stored["fit"], stored["judgement"]
    if judgement:
        yield _reliability(task.key, judgement)
    if judgement and "confusion" in judgement:
        yield _judged(task.key, judgement)
    if "crowd" in fit:
        yield _crowd(task.key, answer_labels(task), fit)


def marks_size(subject: Subject) -> tuple[int, int]:
    """Width and height of the subject's `marks_picture`."""
    frame = subject.frames[0] if subject.frames else {"width": 1, "height": 1}
    return boxes_size((frame["width"], frame["height"]))


def marks_picture(
    drawn: dict[str, Any], clumps: Sequence[dict[str, Any]], size: tuple[int, int], image: Image.Image | None
) -> Picture:
    """All marks on one subject over its stamp, what they came to, and who drew them."""
    title = "What volunteers drew"
    marks = DrawnMarks(
        boxes=np.array(drawn["boxes"], dtype=float).reshape(-1, 4),
        member=np.array(drawn["member"], dtype=np.int64),
        volunteer=np.array(drawn["volunteer"], dtype=np.int64),
        p_fp=np.array(drawn["p_fp"], dtype=float),
        p_fn=np.array(drawn["p_fn"], dtype=float),
    )
    n_stray = drawn["member"].count(-1)
    return Picture(
        name="marks",
        title=title,
        caption="Thin: every mark, the fainter the less its volunteer is to be believed, dashed where it belongs to no "
        "box. Thick: the consensus, with its probability. Each dot is a volunteer who looked.",
        alt=f"{len(drawn['boxes'])} marks of {len(drawn['p_fp'])} volunteers, {n_stray} of them stray, and "
        f"{len(clumps)} consensus boxes.",
        headers=(),
        rows=(),
        size=boxes_size(size),
        draw=lambda theme: plot_boxes(
            marks,
            [[clump[side] for side in SIDES] for clump in clumps],
            [clump["probability"] for clump in clumps],
            size=size,
            standard_errors=[[clump["x_error"], clump["y_error"]] for clump in clumps],
            image=None if image is None else np.asarray(image),
            title=title,
            theme=theme,
        ),
    )


def _reliability(key: str, judgement: dict[str, Any]) -> Picture:
    curve, title = judgement["reliability"], "Do the probabilities mean what they say?"
    things = "subjects" if "confusion" in judgement else "boxes"
    promise = "The most probable answer's probability" if things == "subjects" else "The probability of each box"
    told = (f"{bin['promised']:.0%} promised, {bin['delivered']:.0%} of {bin['n']:,} came true" for bin in curve)
    return Picture(
        name=f"{key}-reliability",
        title=title,
        caption=f"{promise} on {judgement['n_gold']:,} gold subjects, each as if its own gold standard were not known. "
        "On the diagonal, what is promised comes true.",
        alt=f"Reliability on {judgement['n_gold']:,} gold subjects: {'; '.join(told)}.",
        headers=("Probability", "Promised", "Came true", f"{judgement['level']:.0%} interval", things.capitalize()),
        rows=tuple(
            (f"{bin['from']:.0%}–{bin['to']:.0%}", f"{bin['promised']:.3f}", f"{bin['delivered']:.3f}",
             f"{bin['low']:.3f}–{bin['high']:.3f}", f"{bin['n']:,}")
            for bin in curve
        ),
        size=reliability_size(),
        draw=lambda theme: plot_reliability(_read_reliability(curve), things=things, title=title, theme=theme),
    )  # fmt: skip


def _read_reliability(curve: Sequence[dict[str, Any]]) -> Reliability:
    """The curve as it was drawn up; what lies between the bins that hold subjects is one empty bin."""
    edges = np.unique([0.0, 1.0, *(bin["from"] for bin in curve), *(bin["to"] for bin in curve)])
    at = np.searchsorted(edges, [bin["from"] for bin in curve])
    size = len(edges) - 1

    def column(name: str, empty: float) -> Any:
        values = np.full(size, float(empty))
        values[at] = [bin[name] for bin in curve]
        return values

    return Reliability(
        edges=edges,
        n=column("n", 0).astype(np.int64),
        confidence=column("promised", np.nan),
        accuracy=column("delivered", np.nan),
        low=column("low", 0),
        high=column("high", 1),
    )


def _judged(key: str, judgement: dict[str, Any]) -> Picture:
    classes, table, title = judgement["classes"], judgement["confusion"], "What gold is taken for"
    right = sum(row[i] for i, row in enumerate(table))
    return Picture(
        name=f"{key}-gold",
        title=title,
        caption="Gold subjects by their true answer (row) and the most probable one (column).",
        alt=f"The most probable answer is right on {right:,} of {judgement['n_gold']:,} gold subjects.",
        headers=("Truth", *classes),
        rows=tuple((name, *(f"{n:,}" for n in row)) for name, row in zip(classes, table, strict=True)),
        size=confusion_size(len(classes)),
        draw=lambda theme: plot_confusion(table, classes, title=title, theme=theme),
    )


def _crowd(key: str, labels: Sequence[str], fit: dict[str, Any]) -> Picture:
    crowd, title = fit["crowd"], "What volunteers take for what"
    told = (f"{label} {row[i]:.0%}" for i, (label, row) in enumerate(zip(labels, crowd, strict=True)))
    return Picture(
        name=f"{key}-crowd",
        title=title,
        caption="Row by row, how the average volunteer answers where that answer is the true one, by the model.",
        alt=f"Share of volunteers who give the true answer: {', '.join(told)}.",
        headers=("Truth", "How common", *labels),
        rows=tuple(
            (label, f"{prior:.1%}", *(f"{share:.1%}" for share in row))
            for label, prior, row in zip(labels, fit["prior"], crowd, strict=True)
        ),
        size=confusion_size(len(labels)),
        draw=lambda theme: plot_confusion(
            crowd, labels, names=("Truth, by the model", "Volunteer's answer"), title=title, theme=theme
        ),
    )
