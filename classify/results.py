"""Consensus on one subject, as pages, API and catalogues read it."""

from classify.models import SubjectProgress
from classify.reducers import REDUCERS, Summary
from classify.versions import counts_towards, definition_of
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import WorkflowVersion


def subject_summary(progress: SubjectProgress, definition: WorkflowDefinition) -> dict[str, Summary]:
    """Task key → summary of its answers, for every task of the definition in its order.

    The definition must ask what the row's `tallied_version` asked; `current_summary` sees to that. Reads
    `progress.subject`: select it along with the row.
    """
    frames = frame_sizes(progress.subject)
    return {
        key: REDUCERS[task.type].summarise(task, progress.tallies.get(key) or REDUCERS[task.type].empty(task), frames)
        for key, task in definition.tasks.items()
    }


def current_summary(progress: SubjectProgress, current: WorkflowVersion) -> dict[str, Summary]:
    """`subject_summary` for the workflow's current version. Tallies of earlier, different questions are left out: the
    row was not rebuilt since the questions changed. Reads `progress.tallied_version` too.
    """
    tallied = progress.tallied_version
    if tallied is not None and not counts_towards(tallied, current):
        progress = SubjectProgress(subject=progress.subject, workflow_id=progress.workflow_id)
    return subject_summary(progress, definition_of(current))
