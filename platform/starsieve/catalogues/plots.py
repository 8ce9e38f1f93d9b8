"""The plots of a results page, each with the sentence and the table that say the same without a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starsieve.catalogues.statistics import BINS, MOST_CLUMPS, TaskStatistics, WorkflowStatistics
from starsieve.catalogues.svg import PALETTES, WIDTH, Drawing, Palette, Theme, compact, nice_ceiling, shorten
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, MultipleTask, SingleTask, Task

LEFT, RIGHT, TOP, BOTTOM = 44, 14, 22, 42
PLOT_HEIGHT = 218
ROW_HEIGHT = 40


@dataclass(frozen=True)
class Plot:
    """`draw` paints it; `alt` and the table (`headers`, `rows`) say what it shows."""

    name: str
    title: str
    caption: str
    alt: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    height: int
    draw: Callable[[Drawing, Palette], None]

    @property
    def width(self) -> int:
        return WIDTH

    def svg(self, theme: Theme) -> str:
        palette = PALETTES[theme]
        drawing = Drawing(self.height, f"{self.title}. {self.alt}", palette)
        self.draw(drawing, palette)
        return drawing.svg()


def plots_of(statistics: WorkflowStatistics, definition: WorkflowDefinition) -> list[Plot]:
    """Every plot that has something to show, progress first, then the tasks in order, then the network."""
    plots = [_per_day(statistics)] if statistics.per_day else []
    for key, task in definition.tasks.items():
        numbers = statistics.tasks.get(key)
        if numbers and numbers.n_subjects:
            plots += task_plots(task, numbers)
    if statistics.scores:
        plots.append(_scores(statistics))
    return plots


def task_plots(task: Task, numbers: TaskStatistics) -> list[Plot]:
    if isinstance(task, SingleTask | MultipleTask):
        labels = [answer.label for answer in task.answers]
        return [_fractions(task, numbers, labels)]
    if isinstance(task, GradeTask):
        return [_grades(task, numbers), _fractions(task, numbers, list(task.labels))]
    if isinstance(task, BoxesTask):
        return [_clumps(task, numbers), _clump_support(task, numbers)]
    return []


# --- Progress ---------------------------------------------------------------------------------------------------
def _per_day(statistics: WorkflowStatistics) -> Plot:
    days = statistics.per_day
    labels = [day[5:] for day, _ in days]
    counts = [n for _, n in days]
    busiest, most = max(days, key=lambda pair: pair[1])
    span = "last day" if len(days) == 1 else f"last {len(days)} days"
    return Plot(
        name="per-day",
        title="Classifications per day",
        caption=f"The {span}, in UTC.",
        alt=f"Over the {span} {sum(counts):,} classifications arrived; most, {most:,}, on {busiest}.",
        headers=("Day", "Classifications"),
        rows=tuple((day, f"{n:,}") for day, n in days),
        height=PLOT_HEIGHT,
        draw=lambda drawing, palette: _bar_chart(drawing, labels, [counts], [palette.series[1]], "day"),
    )


# --- Questions --------------------------------------------------------------------------------------------------
def _fractions(task: Task, numbers: TaskStatistics, labels: Sequence[str]) -> Plot:
    shares = [f"{label} {share:.0%}" for label, share in zip(labels, numbers.mean_fractions, strict=True)]
    half = sum(numbers.agreement[BINS // 2 :]) / sum(numbers.agreement)
    return Plot(
        name=f"{task.key}-fractions",
        title=task.question,
        caption=f"{numbers.n_subjects:,} subject{'s' if numbers.n_subjects != 1 else ''} with at least one answer.",
        alt=f"Mean vote fractions over {numbers.n_subjects:,} subjects: {', '.join(shares)}. "
        f"{half:.0%} have an agreement of at least one half.",
        headers=("Answer", "Mean", *(f"{low / 4:.2f}–{(low + 1) / 4:.2f}" for low in range(4))),
        rows=tuple(
            (row.label, f"{row.mean:.3f}" if row.mean is not None else "",
             *(f"{sum(row.bins[i * 5 : i * 5 + 5]):,}" for i in range(4)))
            for row in _fraction_rows(numbers, labels)
        ),
        height=ROW_HEIGHT * (len(labels) + 1) + 40,
        draw=lambda drawing, palette: _draw_fractions(drawing, palette, _fraction_rows(numbers, labels)),
    )  # fmt: skip


@dataclass(frozen=True)
class FractionRow:
    label: str
    bins: Sequence[int]
    mean: float | None


def _fraction_rows(numbers: TaskStatistics, labels: Sequence[str]) -> list[FractionRow]:
    answers = zip(labels, numbers.histograms, numbers.mean_fractions, strict=True)
    return [*(FractionRow(*answer) for answer in answers), FractionRow("Agreement", numbers.agreement, None)]


def _draw_fractions(drawing: Drawing, palette: Palette, rows: Sequence[FractionRow]) -> None:
    left, right, top = 152.0, WIDTH - 52.0, 6.0
    tallest = max(max(row.bins) for row in rows) ** 0.5 or 1
    gap = 8  # sets the agreement apart from the answers
    bottom = top + ROW_HEIGHT * len(rows) + gap
    for quarter in range(5):
        x = left + (right - left) * quarter / 4
        drawing.line(x, top, x, bottom, palette.grid)
        drawing.text(x, bottom + 18, f"{quarter / 4:g}", anchor="middle", size=11, fill=palette.faint)
    for i, row in enumerate(rows):
        is_answer = row.mean is not None
        base = top + ROW_HEIGHT * (i + 1) + (0 if is_answer else gap)
        colour = palette.series[i % len(palette.series)] if is_answer else palette.faint
        drawing.text(
            left - 10, base - 12, shorten(row.label, 21), anchor="end", fill="" if is_answer else palette.faint
        )
        _draw_bins(drawing, row.bins, left, right, base, (ROW_HEIGHT - 8) / tallest, colour)
        drawing.line(left, base, right, base, palette.grid)
        if row.mean is not None:
            x = left + (right - left) * row.mean
            drawing.line(x, base - ROW_HEIGHT + 6, x, base, palette.text)
            drawing.text(WIDTH - 8, base - 12, f"{row.mean:.0%}", anchor="end", weight=600)


def _draw_bins(
    drawing: Drawing, bins: Sequence[int], left: float, right: float, base: float, scale: float, colour: str
) -> None:
    step = (right - left) / BINS
    for j, n in enumerate(bins):
        height = scale * n**0.5
        drawing.rect(left + j * step + 0.75, base - height, step - 1.5, height, colour, opacity=0.85)


def _grades(task: GradeTask, numbers: TaskStatistics) -> Plot:
    counts = [numbers.grades.get(grade, 0) for grade in GRADES]
    told = ", ".join(f"{n:,} {grade}" for grade, n in zip(GRADES, counts, strict=True))
    return Plot(
        name=f"{task.key}-grades",
        title="Consensus grades",
        caption="Subjects by the grade with most votes: "
        + "; ".join(f"{grade} {label.lower()}" for grade, label in zip(GRADES, task.labels, strict=True))
        + ".",
        alt=f"Consensus grades of {numbers.n_subjects:,} subjects: {told}.",
        headers=("Grade", "Meaning", "Subjects"),
        rows=tuple((g, label, f"{n:,}") for g, label, n in zip(GRADES, task.labels, counts, strict=True)),
        height=PLOT_HEIGHT,
        draw=lambda drawing, palette: _bar_chart(
            drawing, list(GRADES), [counts], [palette.series[0]], "grade", show_values=True
        ),
    )


# --- Boxes ------------------------------------------------------------------------------------------------------
def _clumps(task: Task, numbers: TaskStatistics) -> Plot:
    most = max(n for n, subjects in enumerate(numbers.clumps_per_subject) if subjects)
    shown = numbers.clumps_per_subject[: max(most, 5) + 1]
    labels = [f"{n}+" if n == MOST_CLUMPS else str(n) for n in range(len(shown))]
    return Plot(
        name=f"{task.key}-clumps",
        title="Consensus boxes per subject",
        caption=task.question,
        alt=f"{numbers.n_clumps:,} consensus boxes on {numbers.n_subjects:,} subjects; "
        f"{numbers.clumps_per_subject[0]:,} subjects have none.",
        headers=("Boxes", "Subjects"),
        rows=tuple((label, f"{n:,}") for label, n in zip(labels, shown, strict=True)),
        height=PLOT_HEIGHT,
        draw=lambda drawing, palette: _bar_chart(drawing, labels, [shown], [palette.series[0]], "consensus boxes"),
    )


def _clump_support(task: Task, numbers: TaskStatistics) -> Plot:
    return Plot(
        name=f"{task.key}-support",
        title="Support of the boxes",
        caption="The share of those who saw the subject that drew each consensus box.",
        alt=f"{numbers.n_clumps:,} consensus boxes by the share of volunteers who drew them.",
        headers=("Share", "Boxes"),
        rows=_bin_rows(numbers.agreement),
        height=PLOT_HEIGHT,
        draw=lambda drawing, palette: _bar_chart(
            drawing, _bin_labels(), [numbers.agreement], [palette.series[2]], "share of volunteers"
        ),
    )


# --- The network ------------------------------------------------------------------------------------------------
ROUTES = (("shown", "Shown"), ("control", "Control sample"), ("held", "Held back"))


def _scores(statistics: WorkflowStatistics) -> Plot:
    present = [(key, label) for key, label in ROUTES if key in statistics.scores]
    series = [statistics.scores[key] for key, _ in present]
    told = ", ".join(f"{sum(bins):,} {label.lower()}" for (_, label), bins in zip(present, series, strict=True))
    return Plot(
        name="ml-scores",
        title="Network scores",
        caption=f"Scores of {statistics.score_model}; heights on a square-root scale.",
        alt=f"Subjects by the network's score: {told}.",
        headers=("Score", *(label for _, label in present)),
        rows=tuple((label, *(f"{bins[i]:,}" for bins in series)) for i, label in enumerate(_bin_labels(full=True))),
        height=PLOT_HEIGHT + 10,
        draw=lambda drawing, palette: _draw_scores(drawing, palette, present, series),
    )


def _draw_scores(
    drawing: Drawing, palette: Palette, present: Sequence[tuple[str, str]], series: Sequence[Sequence[int]]
) -> None:
    order = [key for key, _ in ROUTES]
    colours = [palette.series[(0, 1, 4)[order.index(key)]] for key, _ in present]
    roots = [[0.0] * BINS for _ in series]
    for i in range(BINS):
        below = 0
        for layer, bins in enumerate(series):  # stacked counts, then the root, so that the outline is the total's
            roots[layer][i] = (below + bins[i]) ** 0.5 - below**0.5
            below += bins[i]
    _bar_chart(drawing, _bin_labels(), roots, colours, "score", square_root=True)
    x = float(LEFT)
    for (_, label), colour in zip(present, colours, strict=True):
        drawing.rect(x, 2, 10, 10, colour)
        drawing.text(x + 15, 11, label, size=11)
        x += 34 + 5.8 * len(label)


# --- Shared -----------------------------------------------------------------------------------------------------
def _bin_labels(*, full: bool = False) -> list[str]:
    if full:
        return [f"{i / BINS:.2f}–{(i + 1) / BINS:.2f}" for i in range(BINS)]
    return [f"{i / BINS:g}" if i % 4 == 0 else "" for i in range(BINS)]


def _bin_rows(bins: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    return tuple((label, f"{n:,}") for label, n in zip(_bin_labels(full=True), bins, strict=True))


def _bar_chart(
    drawing: Drawing,
    labels: Sequence[str],
    series: Sequence[Sequence[float]],
    colours: Sequence[str],
    x_title: str,
    *,
    show_values: bool = False,
    square_root: bool = False,
) -> None:
    """Stacked bars over `labels` (an empty label is left out); `square_root` says that the values are roots."""
    palette = drawing.palette
    bottom, right = drawing.height - BOTTOM, WIDTH - RIGHT
    totals = [sum(values) for values in zip(*series, strict=True)]
    highest = max(totals)
    top = nice_ceiling(highest**2 if square_root else highest)
    scale = (bottom - TOP) / (top**0.5 if square_root else top)
    for share in (0, 0.05, 0.2, 0.5, 1) if square_root else (0, 0.25, 0.5, 0.75, 1):
        value = top * share
        y = bottom - (value**0.5 if square_root else value) * scale
        if value == int(value):
            drawing.line(LEFT, y, right, y, palette.grid)
            drawing.text(LEFT - 8, y + 4, compact(value), anchor="end", size=11, fill=palette.faint)
    step = (right - LEFT) / len(labels)
    gap = min(step * 0.25, 10)
    every = max(1, -(-len([label for label in labels if label]) // 8)) if labels[1:2] != [""] else 1
    for i, label in enumerate(labels):
        x, y = LEFT + i * step, bottom
        for values, colour in zip(series, colours, strict=True):
            y -= values[i] * scale
            drawing.rect(x + gap / 2, y, step - gap, values[i] * scale, colour, opacity=0.85)
        if label and (every == 1 or i % every == 0):
            # A bin's label is its lower edge; a category's stands below its bar.
            at = x if labels[1:2] == [""] else x + step / 2
            drawing.text(at, bottom + 17, label, anchor="middle", size=11, fill=palette.faint)
        if show_values:
            drawing.text(x + step / 2, y - 6, f"{totals[i]:,.0f}", anchor="middle", size=11)
    if labels[1:2] == [""]:
        drawing.text(right, bottom + 17, "1", anchor="middle", size=11, fill=palette.faint)
    drawing.text(right, drawing.height - 8, x_title, anchor="end", size=11, fill=palette.faint)
