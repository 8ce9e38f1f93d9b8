"""One answer out of several; each answer may lead to its own next task. Value: the answer's index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from starsieve.projects.task_types.base import TASK_FIELDS, Frame, Task, ValueProblem
from starsieve.projects.task_types.problems import Problems

MOST_ANSWERS = 50


@dataclass(frozen=True)
class Answer:
    """`next` is a task key, or None for the end; `has_next` tells an explicit null from "as the task says"."""

    key: str
    label: str
    next: str | None
    has_next: bool


def read_answers(data: dict[str, Any], place: str, problems: Problems, *, branching: bool) -> tuple[Answer, ...]:
    """The answers of a question; fewer than two, duplicate keys and (unless branching) a `next` are faults.

    Keys that differ in case only count as duplicates: FITS column names have no case.
    """
    answers: list[Answer] = []
    found_before = len(problems.found)
    entries = problems.objects(data, "answers", place, most=MOST_ANSWERS)
    if len(entries) < 2 and len(problems.found) == found_before:
        problems.add(f"{place}.answers", "needs at least two answers")
    for i, entry in enumerate(entries):
        where = f"{place}.answers.{i}"
        problems.unknown_fields(entry, ("key", "label", "next") if branching else ("key", "label"), where)
        key = problems.slug(entry, "key", where, required=True)
        if key and any(answer.key.lower() == key.lower() for answer in answers):
            problems.add(f"{where}.key", f"repeats the key {key!r}; each answer needs its own")
        label = problems.text(entry, "label", where, required=True, longest=120)
        target = problems.target(entry, where) if branching else None
        answers.append(Answer(key, label, target, has_next=branching and "next" in entry))
    return tuple(answers)


@dataclass(frozen=True)
class SingleTask(Task):
    answers: tuple[Answer, ...]

    type = "single"

    @classmethod
    def from_json(cls, key: str, data: dict[str, Any], place: str, problems: Problems) -> Self:
        problems.unknown_fields(data, (*TASK_FIELDS, "answers"), place)
        return cls(
            **cls.common_fields(key, data, place, problems),
            answers=read_answers(data, place, problems, branching=True),
        )

    def check_value(self, value: Any, frames: Sequence[Frame]) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueProblem("must be the index of an answer, a whole number")
        if not 0 <= value < len(self.answers):
            raise ValueProblem(f"must be between 0 and {len(self.answers) - 1}")
        return value

    def next_task(self, value: Any) -> str | None:
        if value is None:
            return self.next
        answer: Answer = self.answers[value]
        return answer.next if answer.has_next else self.next

    def targets(self) -> Iterator[tuple[str, str | None]]:
        for i, answer in enumerate(self.answers):
            if answer.has_next:
                yield f"answers.{i}.next", answer.next
        if not self.required or not all(answer.has_next for answer in self.answers):
            yield "next", self.next

    def without_texts(self) -> Self:
        return replace(super().without_texts(), answers=tuple(replace(answer, label="") for answer in self.answers))
