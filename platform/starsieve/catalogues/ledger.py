"""What went into a release: a checksum over all of it, and the counts for the provenance."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import pyarrow as pa

from starsieve.catalogues.by_subject import IntArray
from starsieve.catalogues.counted import Counted, canonical
from starsieve.catalogues.frozen import FrozenColumns
from starsieve.catalogues.writers.texts import TEXT, bytes_of, joined, taken

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Ledger:
    """Notes what goes by, subjects in the order of their ids; how they are portioned makes no difference.

    The checksum is over lines of JSON: for each subject one with what is known of it, one with its gold standard if it
    has any, and one per classification that counts, with id, version and annotations. It has not the volunteer's
    number: a visitor who signs in later becomes another one, and nothing else changes.
    """

    versions: Counter[str] = field(default_factory=Counter)
    not_counted: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    model_ids: set[int] = field(default_factory=set)
    volunteers: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_classifications: int = 0
    n_subjects: int = 0
    last_classification_at: datetime | None = None
    _sum: Any = field(default_factory=hashlib.sha256)

    def note(self, frozen: FrozenColumns, counted: Counted) -> None:
        """The next subjects and their classifications that count."""
        self.n_subjects += len(frozen.subject_id)
        self.origins.update(frozen.origin)
        self.model_ids.update(pk for pk in frozen.ml_model_id if pk is not None)
        self.n_classifications += len(counted.id)
        if len(counted.id):
            self.volunteers = np.union1d(self.volunteers, counted.volunteer_id)
            self._note_time(counted.created_at.max())
        self._add(frozen, counted)

    def note_versions(self, numbers: Sequence[str], n: Sequence[int], counts: Sequence[bool]) -> None:
        """So many classifications of each version, and whether these count."""
        for number, each, is_counted in zip(numbers, n, counts, strict=True):
            if each:
                (self.versions if is_counted else self.not_counted)[number] += each

    def _note_time(self, latest: np.datetime64) -> None:
        at = EPOCH + timedelta(microseconds=int(latest.astype("datetime64[us]").astype(np.int64)))
        self.last_classification_at = max(self.last_classification_at or at, at)

    def _add(self, frozen: FrozenColumns, counted: Counted) -> None:
        lines = pa.concat_arrays([_subject_lines(frozen), _classification_lines(counted)])
        subject = np.concatenate([np.arange(len(frozen.subject_id)), counted.subject])
        self._sum.update(bytes_of(lines.take(pa.array(np.argsort(subject, kind="stable")))))

    @property
    def sha256(self) -> str:
        return str(self._sum.hexdigest())


def _classification_lines(counted: Counted) -> pa.LargeStringArray:
    ids = pa.array(counted.id).cast(TEXT)
    versions = taken([canonical(number) for number in counted.versions], counted.version)
    annotations = taken(counted.phrases.canonical, counted.said)
    return joined("[", ids, ", ", versions, ", ", annotations, end="]\n")


def _subject_lines(frozen: FrozenColumns) -> pa.LargeStringArray:
    wcs = {text: "null" if text is None else canonical(json.loads(text)) for text in set(frozen.wcs)}
    columns: list[Iterable[str]] = [
        _encoded(frozen.subject_id),
        map(encode_basestring, frozen.name),
        *(_each_once(encode_basestring, texts) for texts in (frozen.subject_set, frozen.origin)),
        _encoded(frozen.ra),
        _encoded(frozen.dec),
        map(wcs.__getitem__, frozen.wcs),
        _each_once(encode_basestring, frozen.retirement_reason),
        _encoded(frozen.is_control),
        _encoded(frozen.ml_score),
        _encoded(frozen.ml_model_id),
    ]
    lines = map(", ".join, zip(*columns, strict=True))
    gold = ("" if text is None else f"[{canonical(json.loads(text))}]\n" for text in frozen.gold)
    return pa.array([f"[{line}]\n{known}" for line, known in zip(lines, gold, strict=True)], TEXT)


def _each_once(encode: Callable[[str], str], texts: Sequence[str]) -> Iterable[str]:
    return map({text: encode(text) for text in set(texts)}.__getitem__, texts)


def _encoded(plain: Sequence[Any]) -> list[str]:
    """JSON of numbers, truth values and nulls, all at once."""
    return canonical(plain)[1:-1].split(", ")
