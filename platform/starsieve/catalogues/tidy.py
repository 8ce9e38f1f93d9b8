"""classifications.csv: one row per answer, in the shape that `python -m aggregation` reads.

Volunteers are pseudonyms that hold within this release only: nobody can follow a person from one release to the next.
The file is for those who may make releases, because texts and habits can still give a person away.
"""

import hashlib
import hmac
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from starsieve.catalogues.by_subject import IntArray
from starsieve.catalogues.counted import Phrases
from starsieve.catalogues.models import Release
from starsieve.catalogues.reduction import Reduced
from starsieve.catalogues.writers.texts import bytes_of, csv_field, joined, taken
from starsieve.projects.task_types import GradeTask, MultipleTask, SingleTask, Task

HEADER = ("subject_id", "subject", "volunteer_id", "workflow_version", "task", "answer", "created_at")


class TidyClassifications:
    def __init__(self, path: Path, release: Release) -> None:
        self.path = path
        self.salt = release.salt.encode()
        self.tasks = release.workflow_version.parsed.tasks

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        self._file.write(",".join(HEADER).encode() + b"\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, reduced: Reduced) -> None:
        """Puts together once what is equal: a subject's and a volunteer's fields, all answers of one text."""
        counted, frozen = reduced.counted, reduced.frozen
        used, said = np.unique(counted.said, return_inverse=True)
        told = self._answers(counted.phrases, used)
        n_told = np.array([len(each) for each in told], dtype=np.int64)
        rows = np.repeat(np.arange(len(said)), n_told[said])
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        volunteers, volunteer = np.unique(counted.volunteer_id, return_inverse=True)
        names = [f"{pk},{csv_field(name)}," for pk, name in zip(frozen.subject_id, frozen.name, strict=True)]
        lines = joined(
            taken(names, counted.subject[rows]),
            taken([self.pseudonym(pk) for pk in volunteers.tolist()], volunteer[rows]),
            taken([f",{number}," for number in counted.versions], counted.version[rows]),
            taken([text for each in told for text in each], (np.cumsum(n_told) - n_told)[said[rows]] + place),
            taken(_moments(counted.created_at), rows),
        )
        self._file.write(bytes_of(lines))

    def _answers(self, phrases: Phrases, used: IntArray) -> list[list[str]]:
        """The fields of task and answer of these texts, one for each answer given."""
        fields: dict[str, list[str]] = {}
        for key, answers in phrases.answers(np.arange(len(used)), used).items():
            fields[key] = [""] * len(used)
            name = csv_field(self.tasks[key].name)
            texts: dict[int, str] = {}
            for place, code in zip(answers.subject.tolist(), answers.code.tolist(), strict=True):
                if code not in texts:
                    texts[code] = f"{name},{csv_field(answer_text(self.tasks[key], answers.values[code]))},"
                fields[key][place] = texts[code]
        numbers = enumerate(used.tolist())
        return [[fields[key][place] for key in phrases.answered[number]] for place, number in numbers]

    def pseudonym(self, volunteer_id: int) -> str:
        return hmac.new(self.salt, str(volunteer_id).encode(), hashlib.sha256).hexdigest()[:16]


def _moments(times: npt.NDArray[np.datetime64]) -> list[str]:
    """UTC, to the second."""
    return [f"{text}+00:00\n" for text in np.datetime_as_string(times.astype("datetime64[s]")).tolist()]


def answer_text(task: Task, value: Any) -> str:
    """The answer's key, keys joined by |, the grade; text and boxes as JSON.

    Text comes from strangers: without its quotes, a spreadsheet would run one that begins with “=”.
    """
    if isinstance(task, SingleTask):
        return str(task.answers[value].key)
    if isinstance(task, MultipleTask):
        return "|".join(task.answers[index].key for index in value)
    return value if isinstance(task, GradeTask) else json.dumps(value, sort_keys=True, ensure_ascii=False)
