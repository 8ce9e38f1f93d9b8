"""Background work of the classify room."""

from celery import shared_task

from classify import leases


@shared_task  # type: ignore[untyped-decorator]
def delete_expired_leases() -> None:
    """Nothing waits for it: an expired lease counts nowhere. Safe to run twice."""
    leases.delete_expired_leases()
