"""Which of the stored classifications count in a release, and what they say."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from classify.tallying import Said, pairs_of
from classify.versions import counts_towards
from starsieve.catalogues.by_subject import IntArray, Pile
from starsieve.catalogues.models import Release

#: Annotations that are short are said again and again: what they were read as is kept, for so many.
SHORT = 500  # characters
TEXTS_KEPT = 16_384
#: The one way to write a value, whatever a database made of it.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


class Counted(NamedTuple):
    """The classifications that count of one chunk of subjects, by subject and id.

    `subject` is the place among the chunk's subjects; `said[code[i]]` is what number i says, `version[i]` its place
    among `versions`, which are the numbers of the workflow's versions.
    """

    subject: IntArray
    id: IntArray
    volunteer_id: IntArray
    version: IntArray
    created_at: npt.NDArray[np.datetime64]
    code: IntArray
    said: list[Said]
    canonical: list[str]
    versions: Sequence[str]


class Versions:
    """The versions of the release's workflow, and which of them count."""

    def __init__(self, release: Release) -> None:
        versions = list(release.workflow.versions.order_by("pk"))
        self.ids = np.array([version.pk for version in versions], dtype=np.int64)
        self.numbers = [version.number for version in versions]
        self.count = np.array([counts_towards(version, release.workflow_version) for version in versions], dtype=bool)

    def tally(self, pile: Pile) -> list[int]:
        """How many of the pile's classifications were made under each version."""
        counts: list[int] = np.bincount(np.searchsorted(self.ids, pile.version_id), minlength=len(self.ids)).tolist()
        return counts

    def counted(self, pile: Pile) -> Counted:
        """The classifications of the pile that count."""
        version = np.searchsorted(self.ids, pile.version_id)
        rows = np.flatnonzero(self.count[version])
        used, code = np.unique(pile.code[rows], return_inverse=True)
        read = [_read(pile.texts[each]) for each in used.tolist()]
        return Counted(
            *(column[rows] for column in (pile.subject, pile.id, pile.volunteer_id, version, pile.created_at)),
            code,
            [said for said, _ in read],
            [text for _, text in read],
            self.numbers,
        )


def canonical(value: object) -> str:
    """JSON, the same whatever a database made of the value."""
    return _CANONICAL.encode(value)


def _read(text: str) -> tuple[Said, str]:
    """Annotations of a classification, and their canonical JSON."""
    return _read_short(text) if len(text) <= SHORT else _parse(text)


def _parse(text: str) -> tuple[Said, str]:
    annotations = json.loads(text)
    return pairs_of(annotations), canonical(annotations)


_read_short = lru_cache(TEXTS_KEPT)(_parse)
