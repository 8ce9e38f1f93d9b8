"""The numbers behind a results page, from the running tallies in one pass, at a bounded cost at any size.

Progress counts are exact and fresh. The distributions come from all subjects of a small workflow and from a random
sample of a large one (`pivot` is a uniform random number fixed at a subject's arrival, so the lowest pivots are a fair
sample); they are cached until the classifications have grown by half a percent.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from django.core.cache import cache
from django.db.models import Count, F, IntegerField, Max, Q, Sum
from django.db.models.functions import Cast, Floor, Least, TruncDate
from django.utils import timezone

from aggregation.grades import grades_from_counts
from aggregation.tallies import tally_from_counts
from classify.models import Classification, SubjectProgress
from classify.reducers import REDUCERS
from classify.reducers.grade import COLUMNS
from classify.versions import counts_towards, definition_of
from ml_worker.models import JobState, ModelVersion, PrefilterBatch
from starsieve.catalogues.freezing import in_catalogue, models_in_use
from starsieve.projects.models import Workflow, WorkflowVersion
from starsieve.projects.task_types import BoxesTask, GradeTask, MultipleTask, SingleTask, Task

BINS = 20
MOST_CLUMPS = 20
SAMPLE = 20_000
SAMPLE_WITH_BOXES = 2_000  # marks take more room and time than counts
DAYS = 30
REFRESHES = 200  # a cached distribution is renewed when 1/200 more classifications have come
CACHE_SECONDS = 24 * 60 * 60
VERSION = re.compile(r"[0-9-]{1,150}\Z")


@dataclass(frozen=True)
class Progress:
    """Exact counts of one workflow."""

    n_subjects: int
    n_retired: int
    n_held: int
    n_control: int
    n_touched: int
    n_classifications: int
    last_classification_id: int

    @property
    def percent_retired(self) -> int:
        return 100 * self.n_retired // self.n_subjects if self.n_subjects else 0


@dataclass(frozen=True)
class TaskStatistics:
    """Distributions over the `n_subjects` on which someone did the task; lists of bins run over [0, 1]."""

    n_subjects: int
    mean_fractions: list[float] = field(default_factory=list)
    histograms: list[list[int]] = field(default_factory=list)
    agreement: list[int] = field(default_factory=list)
    grades: dict[str, int] = field(default_factory=dict)
    n_clumps: int = 0
    clumps_per_subject: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class WorkflowStatistics:
    """`n_sampled` of `n_touched` subjects were read; `version` changes whenever the numbers do."""

    version: str
    n_sampled: int
    n_touched: int
    tasks: dict[str, TaskStatistics]
    per_day: list[tuple[str, int]]
    scores: dict[str, list[int]]
    score_model: str

    @property
    def is_sample(self) -> bool:
        return self.n_sampled < self.n_touched


def progress_of(workflow: Workflow) -> Progress:
    """One pass of the database over the progress rows, and one look at the newest classification."""
    rows = SubjectProgress.objects.filter(in_catalogue(), workflow=workflow)
    counts = rows.aggregate(
        n_subjects=Count("id"),
        n_retired=Count("id", filter=Q(retired_at__isnull=False)),
        n_held=Count("id", filter=Q(is_held=True)),
        n_control=Count("id", filter=Q(is_control=True)),
        n_touched=Count("id", filter=Q(classification_count__gt=0)),
        total=Sum("classification_count"),
    )
    newest = Classification.objects.filter(workflow=workflow).order_by("-id").values_list("id", flat=True).first()
    return Progress(n_classifications=counts.pop("total") or 0, last_classification_id=newest or 0, **counts)


def statistics_of(workflow: Workflow, current: WorkflowVersion, progress: Progress) -> WorkflowStatistics:
    """The workflow's distributions, from the cache where nothing (much) has changed."""
    step = max(1, progress.n_classifications // REFRESHES)
    model_ids = models_in_use(workflow)
    newest_batch = PrefilterBatch.objects.filter(workflow=workflow, state=JobState.DONE).aggregate(newest=Max("id"))
    version = "-".join(
        str(part)
        for part in (
            workflow.pk, current.pk, progress.last_classification_id // step, step, progress.n_touched,
            progress.n_held, progress.n_control, newest_batch["newest"] or 0,
        )
    )  # fmt: skip
    stored = stored_statistics(workflow, version)
    if stored is not None:
        return stored
    statistics = _compute(workflow, current, progress, version, model_ids)
    cache.set(f"statistics:{version}", asdict(statistics), CACHE_SECONDS)
    return statistics


def stored_statistics(workflow: Workflow, version: str) -> WorkflowStatistics | None:
    """What is in the cache under a version that a page was made from; no query. Other texts are under none."""
    if not VERSION.match(version) or not version.startswith(f"{workflow.pk}-"):
        return None
    stored = cache.get(f"statistics:{version}")
    return None if stored is None else from_plain(stored)


def from_plain(stored: dict[str, Any]) -> WorkflowStatistics:
    tasks = {key: TaskStatistics(**numbers) for key, numbers in stored["tasks"].items()}
    return WorkflowStatistics(**{**stored, "tasks": tasks})


def _compute(
    workflow: Workflow, current: WorkflowVersion, progress: Progress, version: str, model_ids: list[int]
) -> WorkflowStatistics:
    definition = definition_of(current)
    collected: dict[str, list[Any]] = {key: [] for key in definition.tasks}
    n_sampled = 0
    for tallies in _sampled_tallies(workflow, current, progress):
        n_sampled += 1
        for key, state in tallies.items():
            if key in collected:
                collected[key].append(state)
    return WorkflowStatistics(
        version=version,
        n_sampled=n_sampled,
        n_touched=progress.n_touched,
        tasks={key: task_statistics(definition.tasks[key], states) for key, states in collected.items()},
        per_day=classifications_per_day(workflow),
        scores=_score_histograms(workflow, model_ids[0]) if model_ids else {},
        score_model=str(ModelVersion.objects.get(pk=model_ids[0])) if model_ids else "",
    )


def _sampled_tallies(workflow: Workflow, current: WorkflowVersion, progress: Progress) -> Iterator[dict[str, Any]]:
    definition = definition_of(current)
    has_boxes = any(isinstance(task, BoxesTask) for task in definition.tasks.values())
    most = SAMPLE_WITH_BOXES if has_boxes else SAMPLE
    # Tallies of other questions than the current ones wait for a rebuild.
    comparable = [version for version in workflow.versions.all() if counts_towards(version, current)]
    rows = SubjectProgress.objects.filter(workflow=workflow, classification_count__gt=0, tallied_version__in=comparable)
    if progress.n_touched > most:
        rows = rows.filter(pivot__lt=most / progress.n_touched)
    yield from rows.order_by().values_list("tallies", flat=True).iterator(chunk_size=1000)


# --- Tasks ------------------------------------------------------------------------------------------------------
def task_statistics(task: Task, states: list[Any]) -> TaskStatistics:
    """Distributions of one task over the reducer states of many subjects.

    Counts go through `aggregation` as one array, which gives what `Reducer.summarise` gives subject by subject.
    """
    if isinstance(task, SingleTask | MultipleTask):
        return _question_statistics(task, [state for state in states if state["n"]])
    if isinstance(task, GradeTask):
        return _grade_statistics([state for state in states if state["n"]])
    if isinstance(task, BoxesTask):
        return _box_statistics(task, [state for state in states if state["n_seen"]])
    return TaskStatistics(n_subjects=sum(1 for state in states if state["n"]))


def _question_statistics(task: SingleTask | MultipleTask, states: list[Any]) -> TaskStatistics:
    if not states:
        return TaskStatistics(0)
    counts = np.array([state["counts"] for state in states])
    voters = np.array([state["n"] for state in states])
    tally = tally_from_counts(counts, voters if isinstance(task, MultipleTask) else None)
    return TaskStatistics(
        n_subjects=len(states),
        mean_fractions=tally.fractions.mean(axis=0).tolist(),
        histograms=[histogram(column) for column in tally.fractions.T],
        agreement=histogram(tally.agreement),
    )


def _grade_statistics(states: list[Any]) -> TaskStatistics:
    if not states:
        return TaskStatistics(0)
    counts = np.array([[state["counts"][grade] for grade in COLUMNS] for state in states])
    distribution = grades_from_counts(counts)
    shown = [COLUMNS.index(grade) for grade in ("A", "B", "C", "I", "X")]
    return TaskStatistics(
        n_subjects=len(states),
        mean_fractions=distribution.fractions.mean(axis=0)[shown].tolist(),
        histograms=[histogram(distribution.fractions[:, column]) for column in shown],
        agreement=histogram(distribution.agreement),
        grades={COLUMNS[code]: int((distribution.grade == code).sum()) for code in shown},
    )


def _box_statistics(task: BoxesTask, states: list[Any]) -> TaskStatistics:
    fractions: list[float] = []
    per_subject = [0] * (MOST_CLUMPS + 1)
    for state in states:
        clumps = REDUCERS[task.type].summarise(task, state, ())["clumps"]
        per_subject[min(len(clumps), MOST_CLUMPS)] += 1
        fractions += [clump["fraction"] for clump in clumps]
    return TaskStatistics(
        n_subjects=len(states),
        agreement=histogram(np.array(fractions)),
        n_clumps=len(fractions),
        clumps_per_subject=per_subject,
    )


def histogram(values: npt.NDArray[np.float64]) -> list[int]:
    """Counts in BINS equal bins over [0, 1]; a bin holds its lower edge, the last one 1 as well."""
    places = np.minimum((values[~np.isnan(values)] * BINS).astype(int), BINS - 1)
    return [int(n) for n in np.bincount(places, minlength=BINS)]


# --- Days and scores --------------------------------------------------------------------------------------------
def classifications_per_day(workflow: Workflow) -> list[tuple[str, int]]:
    """(day, count) of the last DAYS days in UTC, from the first day with any; only new rows are counted each time."""
    key = f"per-day:{workflow.pk}"
    stored = cache.get(key) or {"through_id": 0, "days": {}}
    today = timezone.now().date()
    first = today - timedelta(days=DAYS - 1)
    fresh = Classification.objects.filter(workflow=workflow, id__gt=stored["through_id"], created_at__date__gte=first)
    days = {day: n for day, n in stored["days"].items() if day >= first.isoformat()}
    through = stored["through_id"]
    for day, n, newest in (
        fresh.annotate(day=TruncDate("created_at")).values("day").annotate(n=Count("id"), newest=Max("id"))
        .order_by("day").values_list("day", "n", "newest")
    ):  # fmt: skip
        days[day.isoformat()] = days.get(day.isoformat(), 0) + n
        through = max(through, newest)
    cache.set(key, {"through_id": through, "days": days}, CACHE_SECONDS)
    return _without_gaps(days, today)


def _without_gaps(days: dict[str, int], today: date) -> list[tuple[str, int]]:
    if not days:
        return []
    first = date.fromisoformat(min(days))
    all_days = [(first + timedelta(days=i)).isoformat() for i in range((today - first).days + 1)]
    return [(day, days.get(day, 0)) for day in all_days]


def _score_histograms(workflow: Workflow, model_id: int) -> dict[str, list[int]]:
    """Score histograms by what the routing did: shown, control, held. Counted by the database."""
    place = Least(Cast(Floor(F("subject__predictions__score") * BINS), IntegerField()), BINS - 1)
    rows = (
        SubjectProgress.objects.filter(workflow=workflow, subject__predictions__model_id=model_id)
        .annotate(place=place)
        .values_list("place", "is_held", "is_control")
        .annotate(n=Count("id"))
        .order_by()
    )
    scores: dict[str, list[int]] = {}
    for index, is_held, is_control, n in rows:
        route = "control" if is_control else "held" if is_held else "shown"
        scores.setdefault(route, [0] * BINS)[index] += n
    return scores
