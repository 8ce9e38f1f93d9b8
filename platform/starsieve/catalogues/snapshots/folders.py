"""Where a workflow's snapshot lies, and who may write there now."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings


class SnapshotBusy(Exception):
    """Another process writes the snapshot now."""


def folder_of(workflow_id: int) -> Path:
    return Path(settings.SNAPSHOT_ROOT) / str(workflow_id)


@contextmanager
def writing(workflow_id: int, *, wait: bool) -> Iterator[None]:
    """Inside, no other process that sees the same folder writes the workflow's snapshot.

    Waits for its turn, or raises SnapshotBusy if `wait` is false. The system takes the lock from a process that dies.
    It spares double work; what keeps the snapshot right is the check in the transaction that names a new part.
    """
    folder = folder_of(workflow_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SnapshotBusy(f"the snapshot of workflow {workflow_id} is being written") from None
        yield
