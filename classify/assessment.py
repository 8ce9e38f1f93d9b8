"""Looking at all subjects of a workflow again when what they are judged by has changed: a rule, or a live fit.

A rule that changed may retire subjects and let others go again; a new fit moves probabilities and with them the rules
that rest on them, and how urgent the next vote is. Both come down to `rebuild_results`, so a rebuild at any later time
finds the same.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from json import dumps
from typing import Any

import structlog
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from classify.live import Fit, Group, fit_in_force, fit_numbered
from classify.models import Assessment, LiveFit, SubjectEvidence, VolunteerSkill
from classify.rebuild import EVERY_ROW, MOVED_BY_A_FIT, rebuild_results
from classify.versions import counts_towards
from starsieve.projects.bulk import Always, Column, analyse, insert_columns
from starsieve.projects.models import Workflow, WorkflowVersion

logger = structlog.get_logger(__name__)

ROWS_AT_ONCE = 10_000
#: A pass that has not been heard of for this long is given up, and another may begin.
LOST_AFTER = timedelta(minutes=5)


def version_published(workflow: Workflow) -> None:
    """Take a fit of other questions out of force, and have all subjects looked at under the new rules.

    Runs inside the publisher's transaction, which holds the Workflow row; the pass itself is a worker's.
    """
    assert workflow.current is not None
    for fit in LiveFit.objects.filter(workflow=workflow, is_in_force=True).select_related("workflow_version"):
        if not counts_towards(fit.workflow_version, workflow.current):
            LiveFit.objects.filter(pk=fit.pk).update(is_in_force=False)
    transaction.on_commit(lambda: _enqueue(workflow.pk))


def put_in_force(
    *,
    version: WorkflowVersion,
    watermark: int,
    groups: Iterable[Group],
    skills: Iterable[tuple[int, dict[str, Any]]],
    evidence: Iterable[tuple[int, dict[str, Any]]],
) -> Fit | None:
    """Weigh votes from now on by what a sweep of the version's workflow has learnt; None if the questions have changed
    since it began.

    `skills` are (volunteer id, task key → confusion matrix), `evidence` (subject id, task key → evidence), as in
    VolunteerSkill and SubjectEvidence. One transaction: locks the Workflow row at its end, writes the new fit's rows,
    takes the fit before it out of force and deletes those before that.
    """
    with transaction.atomic():
        fit = LiveFit.objects.create(
            workflow_id=version.workflow_id,
            workflow_version=version,
            watermark=watermark,
            parameters={"groups": [group.to_dict() for group in groups]},
        )
        _insert(VolunteerSkill, fit, "volunteer_id", skills)
        _insert(SubjectEvidence, fit, "subject_id", evidence)
        current = Workflow.objects.select_for_update(of=("self",)).select_related("current").get(pk=version.workflow_id)
        if current.current is None or not counts_towards(version, current.current):
            transaction.set_rollback(True)
            return None
        _switch(fit)
    analyse(VolunteerSkill, SubjectEvidence)
    return fit_numbered(fit.pk)


def _insert(model: type[models.Model], fit: LiveFit, column: str, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
    for chunk in _chunks(rows):
        ids, tasks = zip(*chunk, strict=True)
        texts = [dumps(each) for each in tasks]
        columns: dict[str, Column] = {"fit_id": Always(fit.pk.hex), column: list(ids), "tasks": texts}
        insert_columns(model, columns, len(chunk))


def _switch(fit: LiveFit) -> None:
    earlier = LiveFit.objects.filter(workflow=fit.workflow_id).exclude(pk=fit.pk)
    before = list(earlier.filter(is_in_force=True).values_list("pk", flat=True))
    earlier.filter(pk__in=before).update(is_in_force=False)
    LiveFit.objects.filter(pk=fit.pk).update(is_in_force=True)
    old = list(earlier.exclude(pk__in=before).values_list("pk", flat=True))
    for model in (VolunteerSkill, SubjectEvidence):  # in one statement each, where a cascade would read every row
        rows = model._default_manager.filter(fit__in=old)
        rows._raw_delete(rows.db)
    LiveFit.objects.filter(pk__in=old).delete()


def _chunks(rows: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, ROWS_AT_ONCE)):
        yield chunk


def is_outdated(workflow: Workflow) -> bool:
    """Whether the rules or the fit have changed since the workflow's subjects were last looked at."""
    return _subjects_to_assess(workflow) is not None


def assess(*, workflow: Workflow) -> bool:
    """Look at the workflow's subjects again if that is due; whether this call did.

    Claims the workflow's Assessment by a conditional update, so that passes do not meet; goes on until nothing has
    changed meanwhile. Locks and writes SubjectProgress as `rebuild_results` does. A fault is noted in the Assessment.
    """
    Assessment.objects.get_or_create(workflow=workflow)
    done = False
    while _claim(workflow):
        try:
            if not _pass_over(workflow):
                return done
        finally:
            Assessment.objects.filter(workflow=workflow).update(started_at=None)
        done = True
    return done


def _claim(workflow: Workflow) -> bool:
    now = timezone.now()
    is_free = Q(started_at=None) | Q(heartbeat_at__lt=now - LOST_AFTER)
    rows = Assessment.objects.filter(is_free, workflow=workflow)
    return rows.update(started_at=now, heartbeat_at=now, error="") == 1


def _pass_over(workflow: Workflow) -> bool:
    """One pass over the subjects concerned; False if there is nothing to do."""
    workflow = Workflow.objects.select_related("current").get(pk=workflow.pk)
    rows = _subjects_to_assess(workflow)
    if rows is None:
        return False
    mine = Assessment.objects.filter(workflow=workflow)
    fit = fit_in_force(workflow.pk)

    def beat(done: int, total: int) -> None:
        mine.update(heartbeat_at=timezone.now())

    try:
        changed = rebuild_results(workflow=workflow, rows=rows, on_progress=beat)
    except Exception as error:
        mine.update(error=f"{type(error).__name__}: {error}")
        raise
    mine.update(
        version=workflow.current, fit=fit.id if fit is not None else None, finished_at=timezone.now(), n_changed=changed
    )
    return True


def _subjects_to_assess(workflow: Workflow) -> Q | None:
    """Which progress rows may have changed since the last pass; None: none."""
    if workflow.current_id is None:
        return None
    last = Assessment.objects.filter(workflow=workflow).first()
    fit = fit_in_force(workflow.pk)
    if last is None or last.version_id != workflow.current_id:
        is_first = last is None or last.version_id is None
        if is_first and workflow.versions.count() == 1 and fit is None:
            return None  # nothing was ever counted otherwise
        return EVERY_ROW
    return None if last.fit == (fit.id if fit is not None else None) else MOVED_BY_A_FIT


def _enqueue(workflow_id: int) -> None:
    """Tell a worker. If the broker is away, the schedule finds the workflow outdated within a minute."""
    from classify.tasks import assess_workflow  # tasks import this module

    try:
        assess_workflow.delay(workflow_id)
    except assess_workflow.OperationalError:
        logger.warning("assessment_not_enqueued", workflow=workflow_id)
