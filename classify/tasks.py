"""Background work of the volunteers' side."""

import structlog
from celery import shared_task

from classify import assessment, leases
from starsieve.projects.models import Workflow

logger = structlog.get_logger(__name__)
#: Ten million classifications take minutes; a worker that hangs is noticed by the heartbeat.
PASS_SECONDS = 6 * 60 * 60


@shared_task(time_limit=PASS_SECONDS, soft_time_limit=PASS_SECONDS - 60)  # type: ignore[untyped-decorator]
def assess_workflow(workflow_id: int) -> None:
    """Look at a workflow's subjects again under its current rules and fit. Safe to run twice, or at once."""
    workflow = Workflow.objects.filter(pk=workflow_id).first()
    if workflow is not None:
        _assess(workflow)


@shared_task(time_limit=PASS_SECONDS, soft_time_limit=PASS_SECONDS - 60)  # type: ignore[untyped-decorator]
def assess_outdated() -> None:
    """Look at what nobody was told of: the broker was away, or a worker was lost."""
    for workflow in Workflow.objects.filter(current__isnull=False).select_related("current"):
        if assessment.is_outdated(workflow):
            _assess(workflow)


def _assess(workflow: Workflow) -> None:
    """A fault in one workflow does not keep the others waiting; its Assessment says what went wrong."""
    try:
        assessment.assess(workflow=workflow)
    except Exception:
        logger.exception("assessment_failed", workflow=workflow.pk)


@shared_task  # type: ignore[untyped-decorator]
def delete_expired_leases() -> None:
    """Nothing waits for it: an expired lease counts nowhere. Safe to run twice."""
    leases.delete_expired_leases()
