"""Consensus on one subject, as pages, API and catalogues read it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from classify.live import Beliefs, Fit, fit_in_force
from classify.models import SubjectProgress
from classify.recounting import PLACE_COLUMNS, Derived, Place, recount_many
from classify.reducers import REDUCERS, Summary
from classify.retirement import counts_of
from classify.versions import counts_towards, definition_of
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import Workflow, WorkflowVersion


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


class Believed(NamedTuple):
    """What is believed of one subject and task after the latest vote: `p` per answer, `reach` that the task applies."""

    n: int
    p: Sequence[float]
    reach: float


def believed_of(
    workflow: Workflow, subject_ids: Sequence[int], *, known: Mapping[int, Mapping[str, int]] | None = None
) -> dict[int, dict[str, Believed]]:
    """Subject id → task key → what the votes say now by the live fit in force; {} where there is none.

    Left out are subjects on which nobody has voted since `known`: subject id → task key → votes. Two small queries
    where the rows are up to date with the fit; those that are not are counted anew, in memory.
    """
    fit = fit_in_force(workflow.pk)
    if fit is None or workflow.current is None:
        return {}
    definition = definition_of(workflow.current)
    rows = SubjectProgress.objects.filter(workflow=workflow, subject_id__in=subject_ids, classification_count__gt=0)
    every = [Place.of(row) for row in rows.values_list(*PLACE_COLUMNS)]
    places = [place for place in every if _votes(place.stored, definition, fit) != (known or {}).get(place.subject_id)]
    stale = [place for place in places if not _is_up_to_date(place.stored, fit, workflow.current)]
    derived = {place.subject_id: place.stored for place in places}
    if stale:
        anew = recount_many(stale, workflow.current)
        derived |= dict(zip((place.subject_id for place in stale), anew, strict=True))
    return {subject_id: _believed(each, definition, fit) for subject_id, each in derived.items()}


def _votes(derived: Derived, definition: WorkflowDefinition, fit: Fit) -> dict[str, int]:
    """Votes on each task of the fit that somebody has answered."""
    keys = (key for key in fit.crowd if key in derived.tallies and key in definition.tasks)
    return {key: sum(counts_of(definition.tasks[key], derived.tallies[key])) for key in keys}


def _is_up_to_date(stored: Derived, fit: Fit, current: WorkflowVersion) -> bool:
    return fit.weighed(stored.evidence) and stored.tallied_version_id == current.pk


def _believed(derived: Derived, definition: WorkflowDefinition, fit: Fit) -> dict[str, Believed]:
    """Tasks that somebody has answered."""
    counts = {key: counts_of(definition.tasks[key], derived.tallies.get(key)) for key in fit.crowd}
    beliefs = Beliefs(fit, derived.evidence, counts.__getitem__)
    found = {}
    for key, votes in counts.items():
        p = beliefs.of(key)
        if p is not None and any(votes):
            found[key] = Believed(sum(votes), p, beliefs.reach(key))
    return found
