"""Fixing what a release is made of: the last classification that counts, and what can change about its subjects."""

import json
from dataclasses import dataclass
from datetime import datetime

from django.db import OperationalError, connection, transaction
from django.db.models import Case, F, FloatField, IntegerField, OuterRef, Q, Subquery, Value, When
from django.db.models.expressions import Combinable
from django.utils import timezone

from classify.models import Classification, GoldStandard, SubjectProgress
from ml_worker.models import JobState, Prediction, PrefilterBatch
from starsieve.catalogues.consensus.gold import gold_by_subject
from starsieve.catalogues.models import FrozenSubject, Release
from starsieve.projects.bulk import update_columns
from starsieve.projects.models import Workflow

ROWS_AT_ONCE = 5000
#: What PostgreSQL calls a lock that was not to be had in time.
LOCK_NOT_AVAILABLE = "55P03"


def in_catalogue(prefix: str = "") -> Q:
    """Progress rows that results and releases are about: of linked sets, and of unlinked ones what has votes."""
    return Q(**{f"{prefix}is_withdrawn": False}) | Q(**{f"{prefix}classification_count__gt": 0})


@dataclass(frozen=True)
class Watermark:
    classification_id: int
    frozen_at: datetime


def read_watermark(workflow: Workflow) -> Watermark:
    """The workflow's last classification such that no smaller id can still be committed (0: there is none)."""
    newest = newest_settled()
    # Over all workflows first, because that reads one index entry; which one is this workflow's own can wait.
    own = Classification.objects.filter(workflow=workflow, id__lte=newest.classification_id).order_by("-id")
    return Watermark(own.values_list("id", flat=True).first() or 0, newest.frozen_at)


class WritersAtWork(Exception):
    """Writers of classifications have not made room within the patience that was given."""


def newest_settled(*, patience_ms: int | None = None) -> Watermark:
    """The last classification of all such that no smaller id can still be committed (0: there is none).

    Ids are drawn before their rows are committed, so a plain max(id) may skip over one that is still under way. On
    PostgreSQL a SHARE lock waits for every writer and keeps new ones out while the id is read, in a transaction of
    its own; SQLite's IMMEDIATE transaction is alone by itself. While the lock waits for a long writer, or for a vacuum,
    new classifications wait behind it: with `patience_ms` it gives up after so long and raises WritersAtWork.
    """
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            _hold_writers(patience_ms)
        newest = Classification.objects.order_by("-id").values_list("id", flat=True).first() or 0
        return Watermark(newest, timezone.now())


def _hold_writers(patience_ms: int | None) -> None:
    table = connection.ops.quote_name(Classification._meta.db_table)
    with connection.cursor() as cursor:
        if patience_ms is not None:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(patience_ms)])
        try:
            cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") != LOCK_NOT_AVAILABLE:
                raise
            raise WritersAtWork("classifications are being written, or their table is vacuumed") from error


def models_in_use(workflow: Workflow) -> list[int]:
    """Ids of the models of the workflow's finished prefilter batches, that of the newest batch first."""
    batches = PrefilterBatch.objects.filter(workflow=workflow, state=JobState.DONE).order_by("-id")
    return list(dict.fromkeys(batches.values_list("model_id", flat=True)))


def freeze_subjects(release: Release) -> int:
    """Copy what can change about each subject of the workflow, as of `release.frozen_at`: one INSERT … SELECT."""
    progress = SubjectProgress.objects.filter(in_catalogue(), workflow_id=release.workflow_id).annotate(
        as_of_release=Value(release.pk, output_field=IntegerField()),
        reason=Case(When(retired_at__lte=release.frozen_at, then=F("retirement_reason")), default=Value("")),
        **score_annotations(models_in_use(release.workflow)),
    )
    fields = ["release_id", "subject_id", "retirement_reason", "is_control", "ml_score", "ml_model_id"]
    rows = progress.order_by().values_list(
        "as_of_release", "subject_id", "reason", "is_control", "score", "score_model"
    )
    select, parameters = rows.query.sql_with_params()
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, fields))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {quote(FrozenSubject._meta.db_table)} ({columns}) {select}", parameters)
        return int(cursor.rowcount)


def freeze_gold(release: Release) -> None:
    """Copy the gold standard to the frozen subjects that have one: it teaches and judges the release's models."""
    rows = GoldStandard.objects.filter(workflow_id=release.workflow_id).order_by("subject_id", "task")
    gold = gold_by_subject(rows.values_list("subject_id", "task", "value"))
    ids = sorted(gold)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        frozen = release.subjects.filter(subject_id__in=ids[start : start + ROWS_AT_ONCE])
        found = dict(frozen.values_list("pk", "subject_id"))
        update_columns(FrozenSubject, list(found), {"gold": [json.dumps(gold[subject]) for subject in found.values()]})


def score_annotations(model_ids: list[int]) -> dict[str, Combinable | Subquery]:
    """`score` and `score_model` of a progress row: what the first of these models that knows the subject said."""
    if not model_ids:
        return {
            "score": Value(None, output_field=FloatField()),
            "score_model": Value(None, output_field=IntegerField()),
        }
    rank = Case(*(When(model=model_id, then=Value(place)) for place, model_id in enumerate(model_ids)))
    best = Prediction.objects.filter(subject=OuterRef("subject_id"), model__in=model_ids).order_by(rank)
    return {"score": Subquery(best.values("score")[:1]), "score_model": Subquery(best.values("model_id")[:1])}
