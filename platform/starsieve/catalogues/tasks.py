"""Background work of the catalogues."""

from typing import Any

import structlog
from celery import shared_task, signals

from starsieve.catalogues import services
from starsieve.catalogues.consensus import runs, shards, split
from starsieve.catalogues.models import ConsensusRun, Release
from starsieve.projects.models import Workflow

logger = structlog.get_logger(__name__)
# Millions of subjects take hours; a worker that hangs is noticed by the heartbeat.
BUILD_SECONDS = 24 * 60 * 60


@shared_task(time_limit=BUILD_SECONDS, soft_time_limit=BUILD_SECONDS - 60)  # type: ignore[untyped-decorator]
def build_release(release_id: int) -> None:
    """Write the files of one release. Safe to run twice: only a waiting release is taken."""
    release = Release.objects.get(pk=release_id)
    try:
        services.build(release=release)
    except Exception:
        # The row says what went wrong; running again would not help, and the log has the traceback.
        logger.exception("release_failed", release=release_id)


@shared_task  # type: ignore[untyped-decorator]
def requeue_lost_releases() -> None:
    services.requeue_lost_releases()


@shared_task  # type: ignore[untyped-decorator]
def refresh_disagreements() -> None:
    for workflow in Workflow.objects.filter(current__isnull=False).select_related("current"):
        services.refresh_disagreement(workflow=workflow)


@shared_task(time_limit=BUILD_SECONDS, soft_time_limit=BUILD_SECONDS - 60)  # type: ignore[untyped-decorator]
def carry_out_consensus_run(run_id: int) -> None:
    """Fit a workflow's models. Safe to run twice: only a waiting run is taken."""
    run = ConsensusRun.objects.select_related("workflow", "workflow_version").get(pk=run_id)
    try:
        runs.carry_out(run=run, may_split=True)
    except Exception:
        # The row says what went wrong; the next run begins anew, and the log has the traceback.
        logger.exception("consensus_run_failed", run=run_id)


@shared_task(time_limit=BUILD_SECONDS, soft_time_limit=BUILD_SECONDS - 60)  # type: ignore[untyped-decorator]
def refresh_consensus() -> None:
    """Renew what is due, one workflow after the other; a fault in one does not keep the others waiting."""
    runs.give_up_lost_runs()
    for workflow in Workflow.objects.filter(current__isnull=False).select_related("current"):
        try:
            runs.refresh_consensus(workflow=workflow, may_split=True)
        except Exception:
            logger.exception("consensus_refresh_failed", workflow=workflow.pk)


@shared_task(time_limit=BUILD_SECONDS, soft_time_limit=BUILD_SECONDS - 60)  # type: ignore[untyped-decorator]
def work_on_consensus(run_id: int) -> None:
    """Work on a waiting shard of a run that is split over the workers; nothing if none waits."""
    split.work_on(run_id=run_id)


@shared_task  # type: ignore[untyped-decorator]
def requeue_lost_consensus_shards() -> None:
    """By beat, twice per lease."""
    split.forget_ended_runs()
    shards.requeue_lost_shards()


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def look_for_lost_consensus_shards(**arguments: Any) -> None:
    """A worker that starts after a crash need not wait for the next beat."""
    requeue_lost_consensus_shards.delay()


@shared_task  # type: ignore[untyped-decorator]
def refresh_snapshots() -> None:
    """Append what has come to the workflows' snapshots. Safe to run twice, and at once: the second leaves it to the
    first.
    """
    from starsieve.catalogues.snapshots.refresh import refresh_outdated  # pyarrow stays out of web processes

    refresh_outdated()
