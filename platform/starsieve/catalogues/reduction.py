"""A release's numbers: every subject's classifications up to the watermark, counted anew by the arithmetic of the
tallies (classify/tallying.py). Subjects come in chunks, so memory does not grow with their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from classify.tallying import Answers
from classify.versions import definition_of
from starsieve.catalogues.by_subject import BySubject, IntArray
from starsieve.catalogues.consensus.gold import known_answers
from starsieve.catalogues.consensus.judging import fits_and_judgements
from starsieve.catalogues.consensus.methods import outcomes_of
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import VoteTable
from starsieve.catalogues.counted import Counted, Reader
from starsieve.catalogues.frozen import FrozenColumns, frozen_columns, gold_of
from starsieve.catalogues.ledger import Ledger
from starsieve.catalogues.models import Release


@dataclass(frozen=True)
class Reduced:
    """Some neighbouring subjects: `answers` has the tasks that any of them has answers to."""

    frozen: FrozenColumns
    counted: Counted
    answers: dict[str, Answers]

    @property
    def n_subjects(self) -> int:
        return len(self.frozen.subject_id)

    @property
    def n_classifications(self) -> IntArray:
        return np.bincount(self.counted.subject, minlength=self.n_subjects)


@dataclass(frozen=True)
class FittedModels:
    """What the models of the release's tasks say: of each subject, and of themselves (for the provenance)."""

    subjects: SubjectTable
    tasks: dict[str, dict[str, Any]]


def fit_models(release: Release, stored: BySubject) -> FittedModels:
    """Fit the tasks' models to the release's classifications and frozen gold: a first pass over its subjects."""
    definition = definition_of(release.workflow_version)
    table = VoteTable(definition)
    reader = Reader(release)
    for pile in stored.piles():
        counted = reader.counted(pile)
        subject_ids = stored.subject_ids[pile.first : pile.last]
        used, said = np.unique(counted.said, return_inverse=True)
        texts = [counted.phrases.canonical[number] for number in used.tolist()]
        table.add_columns(subject_ids[counted.subject], counted.volunteer_id, texts, said)
    gold = ((subject, key, value) for subject, known in gold_of(release) for key, value in known.items())
    known = known_answers(definition, gold)
    outcomes = outcomes_of(definition, table, known)
    return FittedModels(SubjectTable(outcomes, definition), fits_and_judgements(outcomes, definition, known))


def reduced_subjects(release: Release, stored: BySubject, ledger: Ledger) -> Iterator[Reduced]:
    """The release's subjects in the order of their ids, some thousand at a time; `ledger` notes what goes by."""
    reader = Reader(release)
    for pile in stored.piles():
        frozen = frozen_columns(release, *stored.subject_ids[[pile.first, pile.last - 1]].tolist())
        counted = reader.counted(pile)
        ledger.note_versions(reader.versions, reader.n_of_versions(pile), reader.counts.tolist())
        ledger.note(frozen, counted)
        yield Reduced(frozen, counted, counted.phrases.answers(counted.subject, counted.said))
