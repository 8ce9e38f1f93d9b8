"""Making releases, keeping them going, and keeping the order of the subject table."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Max, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from classify.models import Classification, SubjectProgress
from classify.results import current_summary
from ml_worker.models import JobState
from starsieve.accounts.models import User
from starsieve.catalogues.columns import layout_of
from starsieve.catalogues.freezing import freeze_gold, freeze_subjects, read_watermark
from starsieve.catalogues.models import Release, SubjectDisagreement
from starsieve.catalogues.release_settings import MOST_FITS_COLUMNS, ReleaseSettings, SettingsProblem
from starsieve.projects.models import Workflow, WorkflowVersion

logger = structlog.get_logger(__name__)
MOST_ATTEMPTS = 3
HEARTBEAT_SECONDS = 15
ROWS_AT_ONCE = 500


class ReleaseBusy(Exception):
    """Another process writes the release's files now."""


# --- Releases ---------------------------------------------------------------------------------------------------
def make_release(
    *, workflow: Workflow, user: User | None, settings: ReleaseSettings, build_in_background: bool = True
) -> Release:
    """Freeze what the catalogue is made of and, unless told otherwise, have a worker build its files.

    Two transactions. The first reads the watermark (freezing.read_watermark: on PostgreSQL it holds a SHARE lock on
    the classifications while it looks). The second locks the Workflow row, so that numbers follow one another, and
    writes the Release and one FrozenSubject per subject, with its gold standard. Must not run inside a transaction of
    the caller's.
    Raises SettingsProblem.
    """
    version = workflow.current
    if version is None:
        raise SettingsProblem("workflow", "has no version yet; save its tasks first")
    _check_width(version, settings)
    watermark = read_watermark(workflow)
    with transaction.atomic():
        Workflow.objects.select_for_update(no_key=True).get(pk=workflow.pk)
        newest = Release.objects.filter(workflow=workflow).aggregate(number=Max("number"))["number"] or 0
        release = Release.objects.create(
            workflow=workflow,
            workflow_version=version,
            number=newest + 1,
            watermark=watermark.classification_id,
            frozen_at=watermark.frozen_at,
            second_looks=_second_looks(workflow, watermark.classification_id),
            salt=salted_hmac("starsieve.release", f"{workflow.pk}:{watermark.classification_id}").hexdigest(),
            settings=settings.as_json(),
            provenance={"project": _project_facts(workflow), "workflow": {"name": workflow.name}},
            created_by=user,
        )
        freeze_subjects(release)
        freeze_gold(release)
        if build_in_background:
            transaction.on_commit(lambda: _enqueue(release.pk))
    return release


def _check_width(version: WorkflowVersion, settings: ReleaseSettings) -> None:
    layout = layout_of(version.parsed, with_models=settings.method == "consensus")
    widest = max(len(layout.subjects), len(layout.clumps))
    if "fits" in settings.formats and widest > MOST_FITS_COLUMNS:
        raise SettingsProblem(
            "formats", f"the catalogue has {widest} columns and FITS takes {MOST_FITS_COLUMNS}; leave out fits"
        )


def _second_looks(workflow: Workflow, watermark: int) -> list[int]:
    uncounted = Classification.objects.filter(
        workflow=workflow, id__lte=watermark, volunteer__merged_into__isnull=False
    )
    return list(uncounted.order_by("id").values_list("id", flat=True))


def _project_facts(workflow: Workflow) -> dict[str, str]:
    project = workflow.project
    return {"slug": project.slug, "title": project.title, "data_note": project.data_note}


def _enqueue(release_id: int) -> None:
    """Tell a worker. If the broker is away the release waits until requeue_lost_releases finds it."""
    from starsieve.catalogues.tasks import build_release  # tasks import this module

    try:
        build_release.delay(release_id)
    except build_release.OperationalError:
        logger.warning("release_not_enqueued", release=release_id)


def build(*, release: Release, on_progress: Callable[[int], None] | None = None) -> bool:
    """Build the files of a release that waits, here and now; whether this call did it.

    Claims the row by a conditional update (waiting → running), so that of two workers one goes on. Writes progress
    and heartbeat while it works, then files, provenance and state. A fault is written to the row and raised.
    `on_progress` is told the number of subjects done.
    """
    from starsieve.catalogues.building import build_files  # pyarrow and astropy stay out of web processes

    claimed = Release.objects.filter(pk=release.pk, state=JobState.PENDING).update(
        state=JobState.RUNNING, heartbeat_at=timezone.now(), attempts=F("attempts") + 1, n_written=0, error=""
    )
    if not claimed:
        return False
    release.refresh_from_db()
    try:
        built = build_files(release, on_progress=_Heartbeat(release, on_progress))
    except Exception as error:
        _end(release, state=JobState.FAILED, error=f"{type(error).__name__}: {error}")
        raise
    _end(release, state=JobState.DONE, files=built.files, provenance=built.provenance)
    release.refresh_from_db()
    return True


class _Heartbeat:
    """Says now and then that the release is being worked on, and how far it is."""

    def __init__(self, release: Release, on_progress: Callable[[int], None] | None) -> None:
        self.release = release
        self.on_progress = on_progress
        self.last = 0.0

    def __call__(self, n_written: int) -> None:
        if self.on_progress is not None:
            self.on_progress(n_written)
        if time.monotonic() - self.last >= HEARTBEAT_SECONDS:
            Release.objects.filter(pk=self.release.pk).update(heartbeat_at=timezone.now(), n_written=n_written)
            self.last = time.monotonic()


def _end(release: Release, **values: Any) -> None:
    now = timezone.now()
    written = {"n_written": release.subjects.count()} if values["state"] == JobState.DONE else {}
    Release.objects.filter(pk=release.pk).update(finished_at=now, heartbeat_at=now, **written, **values)


def rebuild(*, release: Release, on_progress: Callable[[int], None] | None = None) -> None:
    """Write the files of a finished or failed release again, here and now; published files come out as they were.

    Raises ReleaseChanged if they would not; the files and the release stay as they are then. Raises ReleaseBusy while
    somebody else writes them.
    """
    state, files, provenance = release.state, release.files, release.provenance
    Release.objects.filter(pk=release.pk, state__in=[JobState.DONE, JobState.FAILED]).update(
        state=JobState.PENDING, heartbeat_at=timezone.now()
    )
    try:
        if not build(release=release, on_progress=on_progress):
            raise ReleaseBusy(f"{release} is being written now.")
    except ReleaseBusy:
        raise
    except Exception:
        if state == JobState.DONE:
            Release.objects.filter(pk=release.pk).update(state=state, files=files, provenance=provenance, error="")
        raise


def retry_release(*, release: Release) -> None:
    """Give a failed release to a worker again, with its frozen inputs. Writes the Release row."""
    with transaction.atomic():
        retried = Release.objects.filter(pk=release.pk, state=JobState.FAILED).update(
            state=JobState.PENDING, attempts=0, error="", heartbeat_at=timezone.now(), finished_at=None
        )
        if retried:
            transaction.on_commit(lambda: _enqueue(release.pk))


def requeue_lost_releases() -> int:
    """Give releases whose worker was killed, or whose message was lost, to a worker again; how many.

    Each row goes back to waiting by a conditional update; one that was lost MOST_ATTEMPTS times has failed.
    """
    requeued = 0
    for release in Release.objects.lost():
        same = Release.objects.filter(pk=release.pk, state=release.state, heartbeat_at=release.heartbeat_at)
        if release.attempts >= MOST_ATTEMPTS:
            same.update(
                state=JobState.FAILED,
                error=f"The worker was lost {release.attempts} times; is there enough memory and disk?",
                finished_at=timezone.now(),
            )
        elif same.update(state=JobState.PENDING, heartbeat_at=timezone.now()):
            _enqueue(release.pk)
            requeued += 1
    return requeued


# --- The order of the subject table -----------------------------------------------------------------------------
def refresh_disagreement(*, workflow: Workflow, at_most: int = 3_000) -> int:
    """Bring SubjectDisagreement up to date for subjects that were classified since; how many rows were written.

    No locks: a row that is overtaken meanwhile is due again next time.
    """
    if workflow.current is None:
        return 0
    due = (
        SubjectProgress.objects.filter(workflow=workflow, classification_count__gt=0)
        .filter(Q(disagreement=None) | ~Q(disagreement__n_classifications=F("classification_count")))
        .select_related("subject", "tallied_version")
        .order_by("pk")
    )
    SubjectDisagreement.objects.filter(workflow=workflow, progress__classification_count=0).delete()
    written = last = 0
    while written < at_most and (chunk := list(due.filter(pk__gt=last)[:ROWS_AT_ONCE])):
        rows = [
            SubjectDisagreement(
                progress=progress,
                workflow_id=progress.workflow_id,
                subject_id=progress.subject_id,
                n_classifications=progress.classification_count,
                value=disagreement(current_summary(progress, workflow.current)),
            )
            for progress in chunk
        ]
        SubjectDisagreement.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["progress"], update_fields=["n_classifications", "value"]
        )
        written += len(rows)
        last = chunk[-1].pk
    return written


def disagreement(summaries: dict[str, dict[str, Any]]) -> float:
    r"""How little volunteers agree about one subject, from 0 (all alike) towards 1.

    ``sum_t n_t (1 - a_t) / sum_t n_t`` over the tasks, n_t who did the task and a_t the largest vote fraction; of a
    boxes task the mean support of its consensus boxes, or 1 where there is none.
    """
    weights = total = 0.0
    for summary in summaries.values():
        if "clumps" in summary:
            n = summary["n_seen"]
            support = [clump["fraction"] for clump in summary["clumps"]]
            agreement = sum(support) / len(support) if support else 1.0
        elif summary.get("agreement") is not None:
            n, agreement = summary["n"], summary["agreement"]
        else:
            continue
        weights += n
        total += n * (1 - agreement)
    return total / weights if weights else 0.0
