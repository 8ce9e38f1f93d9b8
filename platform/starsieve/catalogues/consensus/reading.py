"""The votes of a run, read from the workflow's snapshot."""

from collections.abc import Callable

import numpy as np

from aggregation import shard_of
from classify.versions import counts_towards
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.models import ConsensusRun
from starsieve.projects.models import WorkflowVersion

VOTE_COLUMNS = ("subject_id", "volunteer_id", "workflow_version_id", "annotations")

OnProgress = Callable[[int], None]


def read_votes(
    run: ConsensusRun,
    table: VoteTable,
    *,
    home: tuple[int, int] | None = None,
    on_progress: OnProgress | None = None,
) -> int:
    """Fill the table with the classifications that count up to the run's watermark; how many there were.

    With `home` (place, n_shards) only those of the shard's subjects. Reads without locks (snapshots/reading.py).
    """
    from starsieve.catalogues.snapshots.reading import read_snapshot  # pyarrow stays out of web processes

    counting, n = counting_versions(run.workflow_version), 0
    for batch in read_snapshot(workflow=run.workflow, up_to=run.watermark, columns=VOTE_COLUMNS, only_counted=True):
        subjects, volunteers, versions = (column.to_numpy() for column in batch.columns[:3])
        counts = np.isin(versions, counting)
        if home is not None:
            place, n_shards = home
            counts &= shard_of(subjects, n_shards) == place
        texts, said = batch.column(3).dictionary.to_pylist(), batch.column(3).indices.to_numpy()
        table.add_columns(subjects[counts], volunteers[counts], texts, said[counts])
        n += int(counts.sum())
        if on_progress is not None:
            on_progress(n)
    return n


def counting_versions(current: WorkflowVersion) -> list[int]:
    """Ids of the workflow's versions whose answers count in the results of `current`."""
    versions = WorkflowVersion.objects.filter(workflow_id=current.workflow_id)
    return [version.pk for version in versions if counts_towards(version, current)]
