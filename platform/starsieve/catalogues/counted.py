"""Which of the stored classifications count in a release, and what they say."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from classify.versions import counts_towards, definition_of
from classify.vocabulary import Vocabulary
from starsieve.catalogues.by_subject import IntArray, Pile
from starsieve.catalogues.models import Release
from starsieve.projects.task_types import Task

#: So much text of annotations is kept in mind, because it will be said again.
MOST_CHARACTERS = 4_000_000
#: The one way to write a value, whatever a database made of it.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def canonical(value: object) -> str:
    """JSON, the same from every database."""
    return _CANONICAL.encode(value)


class Phrases(Vocabulary):
    """What was said, text by text also as canonical JSON, and the keys of the tasks that it answers in their order."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        super().__init__(tasks)
        self.canonical: list[str] = []
        self.answered: list[tuple[str, ...]] = []
        self._paths: dict[tuple[str, ...], tuple[str, ...]] = {}

    def learn(self, annotations: list[dict[str, Any]]) -> None:
        super().learn(annotations)
        self.canonical.append(canonical(annotations))
        path = tuple(annotation["task"] for annotation in annotations if annotation["value"] is not None)
        self.answered.append(self._paths.setdefault(path, path))


class Counted(NamedTuple):
    """The classifications that count of one chunk of subjects, by subject and id.

    `subject` is the place among the chunk's subjects, `said` the number of the text among the phrases, `version` the
    place among `versions`, which are the numbers of the workflow's versions.
    """

    subject: IntArray
    id: IntArray
    volunteer_id: IntArray
    version: IntArray
    created_at: npt.NDArray[np.datetime64]
    said: IntArray
    phrases: Phrases
    versions: Sequence[str]


class Reader:
    """Reads piles: knows the versions of the release's workflow, and remembers what was said."""

    def __init__(self, release: Release) -> None:
        versions = list(release.workflow.versions.order_by("pk"))
        self.ids = np.array([version.pk for version in versions], dtype=np.int64)
        self.versions = [version.number for version in versions]
        self.counts = np.array([counts_towards(version, release.workflow_version) for version in versions], dtype=bool)
        self._tasks = definition_of(release.workflow_version).tasks
        self._phrases = Phrases(self._tasks)

    def n_of_versions(self, pile: Pile) -> list[int]:
        """How many of the pile's classifications were made under each version."""
        found: list[int] = np.bincount(np.searchsorted(self.ids, pile.version_id), minlength=len(self.ids)).tolist()
        return found

    def counted(self, pile: Pile) -> Counted:
        """The classifications of the pile that count."""
        version = np.searchsorted(self.ids, pile.version_id)
        rows = np.flatnonzero(self.counts[version])
        if self._phrases.n_characters > MOST_CHARACTERS:
            self._phrases = Phrases(self._tasks)
        used, code = np.unique(pile.code[rows], return_inverse=True)
        numbers = self._phrases.numbers_of(pile.texts[each] for each in used.tolist())
        return Counted(
            subject=pile.subject[rows],
            id=pile.id[rows],
            volunteer_id=pile.volunteer_id[rows],
            version=version[rows],
            created_at=pile.created_at[rows],
            said=numbers[code],
            phrases=self._phrases,
            versions=self.versions,
        )
