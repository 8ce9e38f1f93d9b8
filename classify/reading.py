"""What a client sends, read without DRF's machinery where nothing is at fault: that is nearly always.

Each function takes less than the serializer of the same name and never anything else, and gives what it would give
(tests/classify/test_reading.py holds them against each other). None means: let the serializer look, which also finds
the words for what is wrong.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from classify.selection import MOST_EXCLUDED, MOST_SUBJECTS
from classify.submissions import Submission

LARGEST_ID = 2**63 - 1
CLIENT_ID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}", re.ASCII)
VERSION = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}", re.ASCII)
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
COUNT = re.compile(r"[1-9][0-9]?", re.ASCII)


def is_id(text: str) -> bool:
    return len(text) < 20 and text.isascii() and text.isdecimal() and int(text) <= LARGEST_ID


def plain_submission(body: Any) -> Submission | None:
    if not isinstance(body, dict):
        return None
    client_id, subject, version = body.get("id"), body.get("subject"), body.get("workflow_version")
    annotations, metadata = body.get("annotations"), body.get("metadata", {})
    if not (isinstance(annotations, list) and isinstance(metadata, dict)):
        return None
    if not (isinstance(client_id, str) and CLIENT_ID.fullmatch(client_id)):
        return None
    if not (isinstance(version, str) and VERSION.fullmatch(version)):
        return None
    if isinstance(subject, bool) or not isinstance(subject, int | str) or not is_id(str(subject)):
        return None
    started_at, finished_at = _moment(body.get("started_at")), _moment(body.get("finished_at"))
    if started_at is None or finished_at is None:
        return None
    return Submission(UUID(client_id), int(subject), version, annotations, started_at, finished_at, metadata)


def plain_next_query(parameters: Mapping[str, str]) -> tuple[int, list[int]] | None:
    """(count, exclude)."""
    count, exclude = parameters.get("count", "1"), parameters.get("exclude", "")
    if not COUNT.fullmatch(count) or int(count) > MOST_SUBJECTS:
        return None
    texts = [text for text in exclude.split(",") if text]
    if len(texts) > MOST_EXCLUDED or not all(is_id(text) for text in texts):
        return None
    return int(count), [int(text) for text in texts]


def _moment(text: Any) -> datetime | None:
    if not (isinstance(text, str) and MOMENT.fullmatch(text)):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
