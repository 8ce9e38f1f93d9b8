"""classifications.csv: one row per answer, in the shape that `python -m aggregation` reads.

Volunteers are pseudonyms that hold within this release only: nobody can follow a person from one release to the next.
The file is for those who may make releases, because texts and habits can still give a person away.
"""

import csv
import hashlib
import hmac
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from starsieve.catalogues.models import Release
from starsieve.catalogues.reduction import ReducedSubject
from starsieve.projects.task_types import GradeTask, MultipleTask, SingleTask, Task

HEADER = ("subject_id", "subject", "volunteer_id", "workflow_version", "task", "answer", "created_at")


class TidyClassifications:
    def __init__(self, path: Path, release: Release) -> None:
        self.path = path
        self.salt = release.salt.encode()
        self.tasks = release.workflow_version.parsed.tasks

    def __enter__(self) -> Self:
        self._file = self.path.open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, reduced: ReducedSubject) -> None:
        subject = reduced.frozen.subject
        for row in reduced.classifications:
            pseudonym = self.pseudonym(row.volunteer_id)
            at = row.created_at.isoformat(timespec="seconds")
            for annotation in row.annotations:
                if annotation["value"] is not None:
                    task = self.tasks[annotation["task"]]
                    answer = answer_text(task, annotation["value"])
                    self._rows.writerow(
                        (subject.pk, subject.name, pseudonym, row.version.number, task.name, answer, at)
                    )

    def pseudonym(self, volunteer_id: int) -> str:
        return hmac.new(self.salt, str(volunteer_id).encode(), hashlib.sha256).hexdigest()[:16]


def answer_text(task: Task, value: Any) -> str:
    """The answer's key, keys joined by |, the grade; text and boxes as JSON.

    Text comes from strangers: without its quotes, a spreadsheet would run one that begins with “=”.
    """
    if isinstance(task, SingleTask):
        return str(task.answers[value].key)
    if isinstance(task, MultipleTask):
        return "|".join(task.answers[index].key for index in value)
    return value if isinstance(task, GradeTask) else json.dumps(value, sort_keys=True, ensure_ascii=False)
