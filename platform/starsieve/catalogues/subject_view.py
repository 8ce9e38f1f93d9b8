"""One subject's consensus, arranged for its page: questions in the order of the tree, bars, boxes over the stamp."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classify.models import SubjectProgress
from classify.results import current_summary
from classify.versions import definition_of
from starsieve.catalogues.consensus.pages import AnswerModel, BoxesModel
from starsieve.catalogues.consensus.words import percent
from starsieve.projects.frames import FrameUrl, frame_urls
from starsieve.projects.models import WorkflowVersion
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, Task

ERRORS = ("x_error", "y_error", "width_error", "height_error")


@dataclass(frozen=True)
class Bar:
    """An answer with its share of the votes and, where a model speaks, its probability."""

    label: str
    n: int
    fraction: float
    probability: float | None = None

    @property
    def percent(self) -> str:
        return f"{self.fraction:.0%}"

    @property
    def probability_percent(self) -> str:
        return "" if self.probability is None else percent(self.probability)


@dataclass(frozen=True)
class BoxOnStamp:
    """A consensus box in the frame's pixels; the number stands beside it, above where there is room.

    `fraction` of those who saw the subject drew it; where a model speaks, `probability` says whether it is real, and
    `errors` are the standard errors of its centre, width and height.
    """

    number: int
    x: float
    y: float
    width: float
    height: float
    fraction: float
    n_marks: int
    label: str
    text_y: float
    probability: float | None = None
    errors: tuple[float, ...] = ()

    @property
    def percent(self) -> str:
        return f"{self.fraction:.0%}"

    @property
    def probability_percent(self) -> str:
        return "" if self.probability is None else percent(self.probability)


@dataclass(frozen=True)
class TaskResult:
    task: Task
    n: int
    reached: float
    bars: tuple[Bar, ...]
    agreement: float | None
    grade: str
    expected_grade: float | None
    boxes: tuple[BoxOnStamp, ...]
    n_counted: int
    model: AnswerModel | None
    boxes_model: BoxesModel | None

    @property
    def reached_percent(self) -> str:
        return f"{self.reached:.0%}"


def task_results(
    progress: SubjectProgress, current: WorkflowVersion, models: Mapping[str, AnswerModel | BoxesModel]
) -> list[TaskResult]:
    """Every task somebody did on the subject, in the order of the workflow, with what its model says."""
    summaries = current_summary(progress, current)
    n_all = progress.classification_count
    results = []
    for key, task in definition_of(current).tasks.items():
        summary = summaries[key]
        n = summary["n_seen"] if "n_seen" in summary else summary["n"]
        if n:
            results.append(_result(task, summary, n, n / n_all if n_all else 0.0, progress, models.get(key)))
    return results


def _result(
    task: Task,
    summary: dict[str, Any],
    n: int,
    reached: float,
    progress: SubjectProgress,
    model: AnswerModel | BoxesModel | None,
) -> TaskResult:
    answers = model if isinstance(model, AnswerModel) else None
    boxes = model if isinstance(model, BoxesModel) else None
    return TaskResult(
        task=task,
        n=n,
        reached=min(reached, 1.0),
        bars=_bars(task, summary, answers),
        agreement=summary.get("agreement"),
        grade=summary.get("grade") or "",
        expected_grade=summary.get("expected_grade"),
        boxes=_boxes(task, boxes.clumps if boxes else summary["clumps"], progress)
        if isinstance(task, BoxesTask)
        else (),
        n_counted=len(summary.get("clumps", ())),
        model=answers,
        boxes_model=boxes,
    )


def _bars(task: Task, summary: dict[str, Any], model: AnswerModel | None) -> tuple[Bar, ...]:
    if "fractions" not in summary:
        return ()
    counts, fractions = summary["counts"], summary["fractions"]
    if isinstance(task, GradeTask):
        labels = [f"{grade} · {label}" for grade, label in zip(GRADES, task.labels, strict=True)]
        counts, fractions = [counts[grade] for grade in GRADES], [fractions[grade] for grade in GRADES]
    else:
        labels = [answer.label for answer in task.answers]  # type: ignore[attr-defined]
    probabilities = model.p if model else [None] * len(labels)
    return tuple(Bar(*values) for values in zip(labels, counts, fractions, probabilities, strict=True))


def _boxes(task: BoxesTask, clumps: Sequence[dict[str, Any]], progress: SubjectProgress) -> tuple[BoxOnStamp, ...]:
    frames = progress.subject.frames
    text_size = (frames[0]["height"] if frames else 100) / 20
    labels = {tool.key: tool.label for tool in task.tools}
    return tuple(
        BoxOnStamp(
            number=number,
            x=clump["x"], y=clump["y"], width=clump["width"], height=clump["height"],
            fraction=clump["fraction"] if "fraction" in clump else clump["n_marks"] / clump["n_seen"],
            n_marks=clump["n_marks"],
            label=labels[max(clump["label_fractions"], key=clump["label_fractions"].__getitem__)],
            text_y=clump["y"] - text_size / 4 if clump["y"] > text_size * 1.5 else clump["y"] + text_size * 1.1,
            probability=clump.get("probability"),
            errors=tuple(clump[name] for name in ERRORS if name in clump),
        )
        for number, clump in enumerate(clumps, start=1)
    )  # fmt: skip


@dataclass(frozen=True)
class FrameOnPage:
    """A frame with the size of the text drawn over it, in its own pixels."""

    frame: FrameUrl
    number: int
    text_size: float


def frames_on_page(progress: SubjectProgress) -> list[FrameOnPage]:
    frames = frame_urls(progress.subject)
    return [FrameOnPage(frame, i, round(frame["height"] / 20, 2)) for i, frame in enumerate(frames, start=1)]
