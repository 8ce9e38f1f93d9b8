"""What one classification changes in its subject's progress. Running work and a rebuild both go through here.

Counted is one classification per person and subject (`ClassificationQuerySet.counted`) whose version asks what the
current version asks (`versions.counts_towards`), in the order of their ids, those after retirement included.
A subject is retired by the counted classification that makes the number since its last reopening reach the current
version's limit. Retirement by hand stands until someone reopens the subject.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple, Self

from classify.models import Classification, SubjectProgress
from classify.reducers import REDUCERS
from classify.versions import counts_towards, definition_of
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import WorkflowVersion

Reason = SubjectProgress.RetirementReason

#: The columns of SubjectProgress that are derived from classifications.
DERIVED = ("classification_count", "tallies", "tallied_version", "retired_at", "retirement_reason")


class Counted(NamedTuple):
    """As much of a stored classification as counting needs."""

    version: WorkflowVersion
    annotations: list[dict[str, Any]]
    volunteer_id: int
    created_at: datetime

    @classmethod
    def of(cls, stored: Classification) -> Self:
        return cls(stored.workflow_version, stored.annotations, stored.volunteer_id, stored.created_at)


def start_over(progress: SubjectProgress) -> None:
    """Forget everything that was counted; a retirement by hand stays."""
    progress.classification_count = 0
    progress.tallies = {}
    progress.tallied_version = None
    if progress.retirement_reason == Reason.CLASSIFICATION_COUNT:
        progress.retired_at = None
        progress.retirement_reason = ""


def count(progress: SubjectProgress, current: WorkflowVersion, classification: Counted) -> None:
    """Add one classification to the tallies and the count, and retire the subject if that completes it."""
    if not counts_towards(classification.version, current):
        return
    definition = definition_of(current)
    progress.tallies = _tallies_with(definition, progress.tallies, classification)
    progress.tallied_version = current
    progress.classification_count += 1
    since_reopening = progress.classification_count - progress.count_at_reopening
    if progress.retired_at is None and since_reopening >= definition.retirement.classification_count:
        progress.retired_at = classification.created_at
        progress.retirement_reason = Reason.CLASSIFICATION_COUNT


def recount(progress: SubjectProgress, current: WorkflowVersion, classifications: Iterable[Counted]) -> None:
    """Count all classifications of the subject anew."""
    start_over(progress)
    for classification in classifications:
        count(progress, current, classification)


def _tallies_with(definition: WorkflowDefinition, tallies: dict[str, Any], classification: Counted) -> dict[str, Any]:
    changed = dict(tallies)
    for annotation in classification.annotations:
        if annotation["value"] is None:
            continue
        key = annotation["task"]
        task = definition.tasks[key]
        reducer = REDUCERS[task.type]
        state = changed.get(key) or reducer.empty(task)
        changed[key] = reducer.add(task, state, annotation["value"], classification.volunteer_id)
    return changed
