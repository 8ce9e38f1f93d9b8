"""A release's numbers: every subject's classifications up to the watermark, counted anew by the code that counts
them as they arrive. Subjects come in chunks, so memory does not grow with their number.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from classify.counting import Counted, recount
from classify.models import Classification, SubjectProgress
from classify.reducers import REDUCERS
from classify.versions import counts_towards, definition_of
from starsieve.catalogues.consensus.gold import known_answers
from starsieve.catalogues.consensus.judging import fits_and_judgements
from starsieve.catalogues.consensus.methods import outcomes_of
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.models import FrozenSubject, Release
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import WorkflowVersion

SUBJECTS_AT_ONCE = 200


@dataclass(frozen=True)
class StoredClassification:
    """One row as the release reads it."""

    id: int
    subject_id: int
    volunteer_id: int
    version: WorkflowVersion
    annotations: list[dict[str, Any]]
    created_at: datetime


@dataclass(frozen=True)
class ReducedSubject:
    """`summaries` has one entry per task of the release's version; `classifications` are those that count."""

    frozen: FrozenSubject
    n_classifications: int
    summaries: dict[str, dict[str, Any]]
    classifications: Sequence[StoredClassification]


@dataclass
class Ledger:
    """What went into a release, noted as it goes by: a checksum over all of it and the counts for the provenance."""

    versions: Counter[str] = field(default_factory=Counter)
    not_counted: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    model_ids: set[int] = field(default_factory=set)
    volunteers: set[int] = field(default_factory=set)
    n_classifications: int = 0
    n_subjects: int = 0
    last_classification_at: datetime | None = None
    _sum: Any = field(default_factory=hashlib.sha256)

    def note_subject(self, frozen: FrozenSubject) -> None:
        subject = frozen.subject
        self.n_subjects += 1
        self.origins[subject.origin] += 1
        if frozen.ml_model_id:
            self.model_ids.add(frozen.ml_model_id)
        self._add(
            subject.pk, subject.name, subject.subject_set.name, subject.origin, subject.ra, subject.dec, subject.wcs,
            frozen.retirement_reason, frozen.is_control, frozen.ml_score, frozen.ml_model_id,
        )  # fmt: skip
        if frozen.gold is not None:
            self._add(frozen.gold)

    def note_classification(self, classification: StoredClassification, *, counts: bool) -> None:
        (self.versions if counts else self.not_counted)[classification.version.number] += 1
        if not counts:
            return
        self.n_classifications += 1
        self.volunteers.add(classification.volunteer_id)
        at = classification.created_at
        self.last_classification_at = max(self.last_classification_at or at, at)
        # Not the volunteer's number: a visitor who signs in later becomes another one, and nothing else changes.
        self._add(classification.id, classification.version.number, classification.annotations)

    def _add(self, *values: Any) -> None:
        self._sum.update(json.dumps(values, sort_keys=True, ensure_ascii=False).encode() + b"\n")

    @property
    def sha256(self) -> str:
        return str(self._sum.hexdigest())


@dataclass(frozen=True)
class FittedModels:
    """What the models of the release's tasks say: of each subject, and of themselves (for the provenance)."""

    subjects: SubjectTable
    tasks: dict[str, dict[str, Any]]


def fit_models(release: Release) -> FittedModels:
    """Fit the tasks' models to the release's classifications and frozen gold: a first pass over its subjects."""
    current = release.workflow_version
    definition = definition_of(current)
    table = VoteTable(definition)
    gold: list[tuple[int, str, Any]] = []
    for chunk, stored in _chunks(release):
        for frozen in chunk:
            gold += [(frozen.subject_id, key, value) for key, value in (frozen.gold or {}).items()]
            for row in stored.get(frozen.subject_id, []):
                if counts_towards(row.version, current):
                    table.add(row.subject_id, row.volunteer_id, row.annotations)
    known = known_answers(definition, gold)
    outcomes = outcomes_of(definition, table, known)
    return FittedModels(SubjectTable(outcomes, definition), fits_and_judgements(outcomes, definition, known))


def reduced_subjects(
    release: Release, ledger: Ledger, models: FittedModels | None = None
) -> Iterator[list[ReducedSubject]]:
    """The release's subjects in the order of their ids, some hundred at a time; `ledger` notes what goes by."""
    current = release.workflow_version
    for chunk, stored in _chunks(release):
        yield [_reduce(frozen, stored.get(frozen.subject_id, []), current, ledger, models) for frozen in chunk]


def _chunks(release: Release) -> Iterator[tuple[list[FrozenSubject], dict[int, list[StoredClassification]]]]:
    versions = {version.pk: version for version in release.workflow.versions.all()}
    last_id = 0
    while chunk := list(
        FrozenSubject.objects.filter(release=release, subject_id__gt=last_id)
        .select_related("subject__subject_set", "ml_model")
        .order_by("subject_id")[:SUBJECTS_AT_ONCE]
    ):
        yield chunk, _classifications(release, versions, chunk[0].subject_id, chunk[-1].subject_id)
        last_id = chunk[-1].subject_id


def _classifications(
    release: Release, versions: dict[int, WorkflowVersion], first: int, last: int
) -> dict[int, list[StoredClassification]]:
    rows = (
        Classification.objects.filter(
            workflow_id=release.workflow_id, subject_id__gte=first, subject_id__lte=last, id__lte=release.watermark
        )
        .order_by("subject_id", "id")
        .values_list("id", "subject_id", "volunteer_id", "workflow_version_id", "annotations", "created_at")
    )
    second_looks = set(release.second_looks)
    stored: dict[int, list[StoredClassification]] = {}
    for row_id, subject_id, volunteer_id, version_id, annotations, created_at in rows:
        if row_id not in second_looks:
            stored.setdefault(subject_id, []).append(
                StoredClassification(row_id, subject_id, volunteer_id, versions[version_id], annotations, created_at)
            )
    return stored


def _reduce(
    frozen: FrozenSubject,
    stored: list[StoredClassification],
    current: WorkflowVersion,
    ledger: Ledger,
    models: FittedModels | None,
) -> ReducedSubject:
    ledger.note_subject(frozen)
    counting: list[StoredClassification] = []
    for classification in stored:
        counts = counts_towards(classification.version, current)
        ledger.note_classification(classification, counts=counts)
        if counts:
            counting.append(classification)
    progress = SubjectProgress(subject=frozen.subject)
    recount(
        progress,
        current,
        [Counted(row.id, row.version, row.annotations, row.volunteer_id, row.created_at, False) for row in counting],
    )
    frames = frame_sizes(frozen.subject)
    summaries = {}
    for key, task in definition_of(current).tasks.items():
        reducer = REDUCERS[task.type]
        summaries[key] = reducer.summarise(task, progress.tallies.get(key) or reducer.empty(task), frames)
    for key, said in models.subjects.of(frozen.subject_id).items() if models else ():
        summaries[key]["consensus"] = said
    return ReducedSubject(frozen, progress.classification_count, summaries, counting)
