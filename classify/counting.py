"""What one classification changes in its subject's progress. Running work and a rebuild both go through here.

Counted is one classification per person and subject (`ClassificationQuerySet.counted`) whose version asks what the
current version asks (`versions.counts_towards`), in the order of their ids, those after retirement included.
A subject is retired by the first counted classification after which one of the current version's rules holds
(retirement.py), or by the sweep whose fit makes a rule on probabilities hold. Retirement by hand stands until someone
reopens the subject.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from classify.live import Beliefs, Evidence, Fit, Skills
from classify.models import Classification, SubjectProgress
from classify.reducers import REDUCERS
from classify.retirement import BY_POSTERIOR, BY_RULE, Standing, counts_of, reason_by_posterior, reason_to_retire
from classify.urgency import urgency_of
from classify.versions import counts_towards, definition_of
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import WorkflowVersion

#: The columns of SubjectProgress that are derived from classifications.
DERIVED = (
    "classification_count", "tallies", "tallied_version", "evidence", "urgency", "retired_at", "retirement_reason",
)  # fmt: skip


class Counted(NamedTuple):
    """As much of a stored classification as counting needs."""

    id: int
    version: WorkflowVersion
    annotations: list[dict[str, Any]]
    volunteer_id: int
    created_at: datetime
    by_expert: bool

    @classmethod
    def of(cls, stored: Classification) -> Self:
        return cls(
            stored.pk, stored.workflow_version, stored.annotations, stored.volunteer_id, stored.created_at,
            stored.by_expert,
        )  # fmt: skip


@dataclass(frozen=True)
class Weighing:
    """How votes are weighed: the fit in force (None: they are only counted), the skills of those who voted, and what
    the fit's sweep knew of the subject.
    """

    fit: Fit | None = None
    skills: Mapping[int, Skills] = field(default_factory=dict)
    known: Evidence | None = None


def start_over(progress: SubjectProgress) -> None:
    """Forget everything that was counted; a retirement that no rule decides stays."""
    progress.classification_count = 0
    progress.tallies = {}
    progress.tallied_version = None
    progress.evidence = {}
    progress.urgency = 0
    if progress.retirement_reason in BY_RULE:
        progress.retired_at = None
        progress.retirement_reason = ""


def count(
    progress: SubjectProgress, current: WorkflowVersion, classification: Counted, weighing: Weighing = Weighing()
) -> None:
    """Add one classification to the tallies, the evidence and the count, and retire the subject if that is enough."""
    if not counts_towards(classification.version, current):
        return
    definition = definition_of(current)
    _add(progress, current, classification, weighing)
    believed = beliefs_of(progress, definition, weighing.fit)
    if progress.retired_at is None:
        progress.retirement_reason = reason_to_retire(
            definition.retirement, _standing(progress, definition, believed, classification.by_expert)
        )
        progress.retired_at = classification.created_at if progress.retirement_reason else None
    _set_urgency(progress, definition, believed)


def recount(
    progress: SubjectProgress,
    current: WorkflowVersion,
    classifications: Iterable[Counted],
    weighing: Weighing = Weighing(),
) -> None:
    """Count all classifications of the subject anew: those that the fit has seen, what the fit says, those since."""
    before = (progress.retired_at, progress.retirement_reason)
    start_over(progress)
    fit = weighing.fit
    to_be_believed = fit is not None
    for classification in classifications:
        if fit is not None and to_be_believed and classification.id > fit.watermark:
            _believe_sweep(progress, current, weighing, before)
            to_be_believed = False
        count(progress, current, classification, weighing if not to_be_believed else Weighing())
    if to_be_believed:
        _believe_sweep(progress, current, weighing, before)
    if not progress.classification_count:
        progress.evidence = {}


def _believe_sweep(
    progress: SubjectProgress, current: WorkflowVersion, weighing: Weighing, before: tuple[datetime | None, str]
) -> None:
    """Take over what the fit's sweep knew; a rule on probabilities that holds now retires as of the sweep, unless the
    subject had been retired like that before.
    """
    assert weighing.fit is not None
    definition, fit = definition_of(current), weighing.fit
    progress.evidence = dict(weighing.known or fit.nothing_yet())
    believed = beliefs_of(progress, definition, fit)
    if progress.retired_at is None:
        standing = _standing(progress, definition, believed, by_expert=False)
        progress.retirement_reason = reason_by_posterior(definition.retirement, standing)
        if progress.retirement_reason:
            progress.retired_at = before[0] if before[1] in BY_POSTERIOR else fit.created_at
    _set_urgency(progress, definition, believed)


def beliefs_of(progress: SubjectProgress, definition: WorkflowDefinition, fit: Fit | None) -> Beliefs:
    """What the row's evidence, which is the fit's, and its tallies say."""
    return Beliefs(fit, progress.evidence, lambda key: counts_of(definition.tasks[key], progress.tallies.get(key)))


def _add(
    progress: SubjectProgress, current: WorkflowVersion, classification: Counted, weighing: Weighing
) -> None:
    definition = definition_of(current)
    progress.tallies = _tallies_with(definition, progress.tallies, classification)
    progress.tallied_version = current
    progress.classification_count += 1
    if weighing.fit is not None:
        skills = weighing.skills.get(classification.volunteer_id)
        progress.evidence = weighing.fit.with_vote(progress.evidence, definition, classification.annotations, skills)
    else:
        progress.evidence = {}


def _standing(
    progress: SubjectProgress, definition: WorkflowDefinition, believed: Beliefs, by_expert: bool
) -> Standing:
    return Standing(
        progress.classification_count, progress.count_at_reopening, by_expert, believed.counts, believed.of
    )  # fmt: skip


def _set_urgency(progress: SubjectProgress, definition: WorkflowDefinition, believed: Beliefs) -> None:
    limit, since = definition.retirement.classification_count, progress.classification_count
    progress.urgency = urgency_of(since - progress.count_at_reopening, limit, believed.information)


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
