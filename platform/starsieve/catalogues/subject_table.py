"""The subject table of the results: sorted, filtered, and turned page by page at the same cost at any depth.

A page is found by where the last one ended (value and subject), never by counting rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet
from django.http import Http404

from classify.models import SubjectProgress
from classify.results import current_summary
from ml_worker.models import Prediction
from starsieve.catalogues.consensus.pages import Headline, headlines_of
from starsieve.catalogues.freezing import in_catalogue, models_in_use
from starsieve.catalogues.models import SubjectDisagreement
from starsieve.projects.frames import frame_urls
from starsieve.projects.models import Workflow
from starsieve.projects.task_types import Task

PAGE_SIZE = 24
LARGEST_ID = 2**63 - 1
SORTS = {
    "count": "Most classifications",
    "disagreement": "Most disputed",
    "score": "Highest network score",
    "subject": "Order of arrival",
}
STATES = {"": "All", "open": "Still open", "retired": "Retired"}


@dataclass(frozen=True)
class Wanted:
    """What the reader asked for. `after` is (value, subject id) of the last row already seen."""

    sort: str
    state: str
    after: tuple[float, int] | None

    @classmethod
    def from_query(cls, query: Any) -> "Wanted":
        """Read ?sort=&state=&after=; anything else than this table offers does not exist (Http404)."""
        sort, state = query.get("sort") or "count", query.get("state") or ""
        if sort not in SORTS or state not in STATES:
            raise Http404("There is no such order or filter.")
        return cls(sort, state, _read_cursor(query.get("after") or ""))

    def cursor(self, value: float, subject_id: int) -> str:
        return f"{value!r}~{subject_id}"


def _read_cursor(text: str) -> tuple[float, int] | None:
    if not text:
        return None
    value_text, _, id_text = text.partition("~")
    try:
        value, subject_id = float(value_text), int(id_text)
    except ValueError:
        raise Http404("There is no such page.") from None
    if not math.isfinite(value) or abs(value) > LARGEST_ID or not 0 < subject_id <= LARGEST_ID:
        raise Http404("There is no such page.")
    return value, subject_id


@dataclass(frozen=True)
class SubjectRow:
    progress: SubjectProgress
    stamp_url: str
    answer: str
    share: float | None
    disagreement: float | None
    score: float | None
    consensus: Headline | None


@dataclass(frozen=True)
class SubjectPage:
    """`modelled` is the task whose consensus the rows give; None where none of them has any."""

    rows: Sequence[SubjectRow]
    next_cursor: str
    modelled: Task | None


def subject_page(workflow: Workflow, wanted: Wanted) -> SubjectPage:
    """One page of the table: at most six queries, whatever the size of the workflow."""
    model_ids = models_in_use(workflow)
    found = list(_keys(workflow, wanted, model_ids)[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    ids = [subject_id for subject_id, _ in shown]
    progress = {
        row.subject_id: row
        for row in SubjectProgress.objects.filter(workflow=workflow, subject_id__in=ids).select_related(
            "subject", "tallied_version", "disagreement"
        )
    }
    scores = scores_of(ids, model_ids)
    modelled, headlines = headlines_of(workflow, ids)
    rows = [
        _row(workflow, progress[subject_id], scores.get(subject_id), headlines.get(subject_id)) for subject_id in ids
    ]
    next_cursor = wanted.cursor(float(shown[-1][1]), shown[-1][0]) if len(found) > PAGE_SIZE else ""
    return SubjectPage(rows, next_cursor, modelled if headlines else None)


def _keys(workflow: Workflow, wanted: Wanted, model_ids: list[int]) -> QuerySet[Any, tuple[int, float]]:
    """(subject id, value sorted by) in order, from behind `after` on."""
    rows: QuerySet[Any]
    if wanted.sort == "disagreement":
        rows, value, progress = SubjectDisagreement.objects.filter(workflow=workflow), "value", "progress__"
    elif wanted.sort == "score":
        scored = Q(
            in_catalogue("subject__progress__"), subject__progress__workflow=workflow, model_id__in=model_ids[:1]
        )
        rows, value, progress = Prediction.objects.filter(scored), "score", "subject__progress__"
    else:
        rows, progress = SubjectProgress.objects.filter(in_catalogue(), workflow=workflow), ""
        value = "classification_count" if wanted.sort == "count" else "subject_id"
    if wanted.state:
        state = Q(**{f"{progress}retired_at__isnull": wanted.state == "open"})
        # The same join as above: a second .filter() over a many-valued relation would make one of its own.
        rows = rows.filter(state & scored) if wanted.sort == "score" else rows.filter(state)
    if value == "subject_id":
        rows = rows.filter(subject_id__gt=wanted.after[1]) if wanted.after else rows
        return rows.order_by("subject_id").values_list("subject_id", "subject_id")
    if wanted.after:
        last, subject_id = wanted.after
        rows = rows.filter(Q(**{f"{value}__lt": last}) | Q(**{value: last}, subject_id__gt=subject_id))
    return rows.order_by(F(value).desc(), "subject_id").values_list("subject_id", value)


def scores_of(subject_ids: Sequence[int], model_ids: list[int]) -> dict[int, float]:
    """Each subject's score by the first of the models that knows it."""
    scores: dict[int, tuple[int, float]] = {}
    rows = Prediction.objects.filter(subject_id__in=subject_ids, model_id__in=model_ids)
    for subject_id, model_id, score in rows.values_list("subject_id", "model_id", "score"):
        rank = model_ids.index(model_id)
        if subject_id not in scores or rank < scores[subject_id][0]:
            scores[subject_id] = (rank, score)
    return {subject_id: score for subject_id, (_, score) in scores.items()}


def _row(workflow: Workflow, progress: SubjectProgress, score: float | None, consensus: Headline | None) -> SubjectRow:
    assert workflow.current is not None  # the page is not shown otherwise
    summaries = current_summary(progress, workflow.current)
    key, summary = next(iter(summaries.items()))
    answer, share = headline(workflow.current.parsed.tasks[key], summary)
    frames = frame_urls(progress.subject)
    sorted_by = getattr(progress, "disagreement", None)
    return SubjectRow(
        progress=progress,
        stamp_url=frames[0]["url"] if frames else "",
        answer=answer,
        share=share,
        disagreement=sorted_by.value if sorted_by else None,
        score=score,
        consensus=consensus,
    )


def headline(task: Task, summary: dict[str, Any]) -> tuple[str, float | None]:
    """The first task's result in a few words, and the share of votes behind it."""
    if "clumps" in summary:
        n = len(summary["clumps"])
        return (f"{n} box{'' if n == 1 else 'es'}" if summary["n_seen"] else "", None)
    if not summary["n"] or "fractions" not in summary:
        return "", None
    if summary.get("grade"):
        return summary["grade"], summary["fractions"][summary["grade"]]
    fractions = summary["fractions"]
    best = max(range(len(fractions)), key=fractions.__getitem__)
    return task.answers[best].label, fractions[best]  # type: ignore[attr-defined]
