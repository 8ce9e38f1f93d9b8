"""The rows that say what a snapshot is made of. No pyarrow here: other rooms and web processes use it too."""

from collections.abc import Iterable

from django.db import connection, transaction
from django.db.models import Exists, F, Min, OuterRef, Q, Sum
from django.utils import timezone

from classify.models import Classification
from starsieve.catalogues.models import Snapshot, SnapshotPart
from starsieve.projects.models import Workflow


class Overtaken(Exception):
    """Meanwhile another process has appended to the snapshot, or what was read no longer holds."""


def discard_snapshots(workflow_ids: Iterable[int]) -> None:
    """Have these workflows' snapshots made anew, because classifications were deleted.

    For the transaction that deletes them: writes the Snapshot rows, so that whoever appends what it has read before
    finds the epoch changed. The files go with the next refresh.
    """
    ids = list(workflow_ids)
    with transaction.atomic():
        Snapshot.objects.filter(pk__in=ids).update(epoch=F("epoch") + 1, watermark=0)
        SnapshotPart.objects.filter(snapshot__in=ids).delete()


def snapshot_for(workflow: Workflow, layout: str) -> Snapshot:
    """The workflow's snapshot, begun if there is none, and begun anew if it has other columns than `layout` says."""
    snapshot, _ = Snapshot.objects.get_or_create(workflow=workflow, defaults={"layout": layout})
    if snapshot.layout != layout:
        with transaction.atomic():
            discard_snapshots([workflow.pk])
            Snapshot.objects.filter(pk=workflow.pk).update(layout=layout)
        snapshot.refresh_from_db()
    return snapshot


def append_part(snapshot: Snapshot, part: SnapshotPart | None, watermark: int) -> None:
    """Name a new part (None: nothing was there) and move the watermark on, in one transaction under the snapshot's
    lock. Raises Overtaken unless the snapshot is still the one that was read.
    """
    with transaction.atomic():
        same = Snapshot.objects.filter(pk=snapshot.pk, epoch=snapshot.epoch, watermark=snapshot.watermark)
        if not same.update(watermark=watermark, refreshed_at=timezone.now()):
            raise Overtaken
        if part is not None:
            part.save(force_insert=True)
    snapshot.watermark = watermark


def replace_parts(snapshot: Snapshot, old: list[SnapshotPart], new: SnapshotPart) -> None:
    """Name one part in place of others that it covers, as `append_part` does."""
    with transaction.atomic():
        if not Snapshot.objects.filter(pk=snapshot.pk, epoch=snapshot.epoch).update(refreshed_at=timezone.now()):
            raise Overtaken
        gone, _ = SnapshotPart.objects.filter(pk__in=[part.pk for part in old]).delete()
        if gone != len(old):
            raise Overtaken
        new.save(force_insert=True)


def is_complete(snapshot: Snapshot) -> bool | None:
    """Whether the parts hold as many rows as the database has up to the watermark; None: `snapshot` is out of date.

    No id up to it can be added and rows are only ever deleted, so equal numbers are equal rows. One statement, so that
    nothing moves meanwhile.
    """
    quote = connection.ops.quote_name
    parts = quote(SnapshotPart._meta.db_table)
    listed = f"SELECT coalesce(sum(n_rows), 0) FROM {parts} WHERE snapshot_id = %(workflow)s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_count_up_to()}, ({listed}) FROM {quote(Snapshot._meta.db_table)} "
            "WHERE workflow_id = %(workflow)s AND epoch = %(epoch)s AND watermark = %(watermark)s",
            {"workflow": snapshot.pk, "epoch": snapshot.epoch, "watermark": snapshot.watermark},
        )
        counts = cursor.fetchone()
    return None if counts is None else bool(counts[0] == counts[1])


def count_up_to(workflow: Workflow, watermark: int) -> int:
    """How many classifications of the workflow have an id ≤ `watermark`, counted or not."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_count_up_to()}", {"workflow": workflow.pk, "watermark": watermark})
        return int(cursor.fetchone()[0])


def count_until(workflow: Workflow, enough: int) -> int:
    """How many classifications the workflow has, or `enough` if that is less: those of the snapshot are not counted
    again, and of what it lacks no more than is needed.
    """
    snapshots = Snapshot.objects.filter(pk=workflow.pk).annotate(held=Sum("parts__n_rows"))
    watermark, held = snapshots.values_list("watermark", "held").first() or (0, 0)
    newer = Classification.objects.filter(workflow=workflow, id__gt=watermark).order_by()
    return min(enough, (held or 0) + newer[: max(0, enough - (held or 0))].count())


def _count_up_to() -> str:
    """SQL that counts in the index of a workflow's rows, and takes off the few that are newer."""
    table = connection.ops.quote_name(Classification._meta.db_table)
    mine = f"SELECT count(*) FROM {table} WHERE workflow_id = %(workflow)s"
    return f"({mine}) - ({mine} AND id > %(watermark)s)"


def workflows_behind(newest: int) -> list[Workflow]:
    """Workflows whose snapshots may lack classifications up to id `newest`, which must be settled.

    Looks through what came since the last call, over all workflows, and moves the watermarks of the others on to
    `newest`, so that the next call has less to look through.
    """
    begun = Snapshot.objects.filter(watermark__gt=0)
    since = begun.aggregate(least=Min("watermark"))["least"] or 0
    arrived = Classification.objects.filter(id__gt=since, id__lte=newest).order_by()
    active = set(arrived.values_list("workflow_id", flat=True).distinct()) if since else set()
    begun.filter(watermark__gte=since, watermark__lt=newest).exclude(pk__in=active).update(watermark=newest)
    has_any = Exists(Classification.objects.filter(workflow=OuterRef("pk")))
    to_begin = Q(snapshot=None) | Q(snapshot__watermark=0)
    return list(Workflow.objects.filter(Q(pk__in=active) | to_begin & has_any).order_by("pk"))
