"""Keeping what a run says of each subject, in place of what earlier runs said."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from ml_worker.models import JobState
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import IntArray
from starsieve.catalogues.models import ConsensusRun, SubjectConsensus
from starsieve.projects.bulk import Always, Column, insert_columns

RUNS_KEPT = 20
ROWS_AT_ONCE = 2000


class Piece(NamedTuple):
    """Some of a run's subjects, and what is said of them."""

    subject_ids: IntArray
    said: SubjectTable


def store(*, run: ConsensusRun, pieces: Iterable[Piece], facts: Callable[[], dict[str, Any]]) -> None:
    """Write the numbers of all subjects, take away those of earlier runs, and end the run, in one transaction.

    `facts` gives the run's fields (tasks, what was read) when the last piece has been taken.
    """
    with transaction.atomic():
        for piece in pieces:
            _store_subjects(run, piece)
        earlier = ConsensusRun.objects.filter(workflow_id=run.workflow_id, pk__lt=run.pk)
        SubjectConsensus.objects.filter(run__in=earlier).delete()
        kept = earlier.order_by("-pk").values_list("pk", flat=True)[: RUNS_KEPT - 1]
        earlier.exclude(pk__in=list(kept)).delete()
        end_run(run, JobState.DONE, **facts())


def _store_subjects(run: ConsensusRun, piece: Piece) -> None:
    ids = piece.subject_ids.tolist()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = ids[start : start + ROWS_AT_ONCE]
        columns: dict[str, Column] = {
            "run_id": Always(run.pk),
            "subject_id": some,
            "tasks": [json.dumps(piece.said.of(pk)) for pk in some],
            "marks": [json.dumps(piece.said.marks_on(pk)) for pk in some],
        }
        insert_columns(SubjectConsensus, columns, len(some))


def end_run(run: ConsensusRun, state: JobState, error: str = "", **values: Any) -> None:
    """Write how the run ended."""
    now = timezone.now()
    ConsensusRun.objects.filter(pk=run.pk).update(state=state, error=error, finished_at=now, heartbeat_at=now, **values)
    run.refresh_from_db()
