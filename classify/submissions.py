"""What a client sends: the parsed body of one classification, and the checks that need no database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from classify.errors import SubmissionRefused

LARGEST_METADATA = 16_000
LARGEST_NUMBER = 1e300
DEEPEST = 20


@dataclass(frozen=True)
class Submission:
    """One classification as sent; `annotations` and `metadata` are JSON values not yet trusted."""

    client_id: UUID
    subject_id: int
    workflow_version: str
    annotations: Any
    started_at: datetime
    finished_at: datetime
    metadata: dict[str, Any] = field(default_factory=dict)


def check_submission(submission: Submission) -> None:
    """Raises SubmissionRefused, naming the field, for what no workflow could accept or no database store."""
    for name, moment in (("started_at", submission.started_at), ("finished_at", submission.finished_at)):
        if moment.tzinfo is None:
            raise SubmissionRefused(name, "needs a time zone, as in 2026-05-01T20:15:00Z")
    if submission.started_at > submission.finished_at:
        raise SubmissionRefused("finished_at", "is before started_at")
    check_json("annotations", submission.annotations)
    size = check_json("metadata", submission.metadata)
    if size > LARGEST_METADATA:
        raise SubmissionRefused("metadata", f"is larger than {LARGEST_METADATA // 1000} kB")


def check_json(place: str, value: Any, depth: int = 0) -> int:
    """About the number of bytes that the value takes as JSON.

    Raises SubmissionRefused for what JSON or PostgreSQL's jsonb cannot hold (infinities, NUL characters, halves of
    surrogate pairs), numbers without a float, and values nested too deeply.
    """
    if depth > DEEPEST:
        raise SubmissionRefused(place.split(".")[0].split("[")[0], f"is nested deeper than {DEEPEST}")
    if isinstance(value, str):
        return _check_text(place, value) + 2
    if isinstance(value, dict):
        for key in value:
            _check_text(place, key)
        return sum(len(key) + 4 + check_json(f"{place}.{key[:60]}", value[key], depth + 1) for key in value) + 2
    if isinstance(value, list):
        return sum(1 + check_json(f"{place}[{i}]", inner, depth + 1) for i, inner in enumerate(value)) + 2
    # The comparison also fails for a nan, and holds for an int that is too large for any float.
    if isinstance(value, int | float) and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise SubmissionRefused(place, "is not a finite number of ordinary size")
    return len(str(value))


def _check_text(place: str, text: str) -> int:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise SubmissionRefused(place, "has half of a surrogate pair") from None
    if "\x00" in text:
        raise SubmissionRefused(place, "has a NUL character")
    return size
