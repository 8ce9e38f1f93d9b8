"""The commands of ``python -m aggregation``: read a table, call the public function, write a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregation._reading import Field, Parsed, Problems, Rejects, Table, TableError, read_table
from aggregation._votes import FloatArray, IntArray
from aggregation._writing import check_output, write_rejects, write_table
from aggregation.boxes import consensus_boxes
from aggregation.grades import grade_distribution
from aggregation.tallies import last_votes
from aggregation.tasks import MODELS, TaskConfusion, aggregate_tasks

_VOTES = (
    Field("subject_id"),
    Field("volunteer_id"),
    Field("answer"),
    Field("task", required=False),
    Field("created_at", "time", required=False),
)
_SIDES = ("x", "y", "width", "height")
_BOXES = (
    Field("subject_id"),
    Field("volunteer_id"),
    *(Field(side, "number") for side in _SIDES),
    Field("label", required=False, blank=True),
)

OutputColumns = dict[str, "Sequence[str] | IntArray | FloatArray"]


class CommandError(Exception):
    """What went wrong apart from the input, in one line, and the exit status that it deserves."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run_votes(options: argparse.Namespace) -> str:
    """Consensus per subject and task; returns the line that says what was done."""
    if options.method not in MODELS and (options.gold or options.confusion):
        unused = "--gold" if options.gold else "--confusion"
        raise CommandError(f"{unused}: method {options.method} has no use for it; use {' or '.join(MODELS)}", 2)
    _check_paths(options, [options.input, options.gold], [options.confusion])
    table, rejects = _read(options, _VOTES)
    votes = _counted_votes(table)
    answers = _answers_of_tasks(votes, len(table.ids["answer"].values))
    result = aggregate_tasks(
        votes.subject,
        votes.volunteer,
        votes.task,
        answers.local[votes.task, votes.answer],
        answers.n_answers,
        method=options.method,
        gold=_read_gold(options.gold, table, answers) if options.gold else None,
    )
    if not result.converged:
        raise CommandError(f"{options.input}: {options.method} did not converge; use another --method", 1)
    columns = _subject_columns(table, result.subject, result.task) | {"n_votes": result.n_votes}
    columns["answer"] = table.ids["answer"].column(answers.overall[result.task, result.answer])
    columns |= _probability_columns(table, _spread(result.posterior, result.task, answers))
    write_table(options.output, columns)
    if options.confusion:
        write_table(options.confusion, _confusion_columns(table, answers, result.confusion))
    return _finish(options, table, rejects, len(result.subject), len(votes.subject))


def run_grades(options: argparse.Namespace) -> str:
    """Grade distribution per subject; returns the line that says what was done."""
    if options.escape in options.levels:
        raise CommandError(f"--escape: {options.escape!r} is one of the levels; name another grade, or ''", 2)
    grades = (*options.levels, options.escape) if options.escape else options.levels
    _check_paths(options, [options.input], [])

    def check(parsed: Parsed) -> Problems:
        unknown = set(parsed["answer"]) - set(grades)
        if not unknown:
            return {}
        reason = f"is not one of the grades {', '.join(grades)}; see --levels and --escape"
        rows = (row for row, value in enumerate(parsed["answer"]) if value in unknown)
        return dict.fromkeys(rows, ("answer", reason))

    table, rejects = _read(options, _VOTES, check)
    votes = _counted_votes(table)
    code = np.array([grades.index(value) for value in table.ids["answer"].values])
    n_tasks = int(votes.task.max()) + 1
    pairs, pair = np.unique(votes.subject * n_tasks + votes.task, return_inverse=True)
    result = grade_distribution(pair, code[votes.answer], len(options.levels), escape=bool(options.escape))
    columns = _subject_columns(table, pairs // n_tasks, pairs % n_tasks) | {"n_votes": result.n_votes}
    columns["grade"] = [grades[best] for best in result.grade.tolist()]
    columns |= {f"p_{name}": result.fractions[:, place] for place, name in enumerate(grades)}
    columns |= {"expected_grade": result.expected, "agreement": result.agreement}
    write_table(options.output, columns)
    return _finish(options, table, rejects, len(pairs), len(votes.subject))


def run_boxes(options: argparse.Namespace) -> str:
    """Consensus boxes per subject; returns the line that says what was done."""
    for name, low_is_good in (("iou", False), ("min_fraction", True)):
        value = getattr(options, name)
        if not (0.0 < value <= 1.0 or (low_is_good and value == 0.0)):
            raise CommandError(f"--{name.replace('_', '-')}: {value} is not between 0 and 1", 2)
    _check_paths(options, [options.input], [])
    table, rejects = _read(options, _BOXES, _check_marks)
    label = table.ids.get("label")
    result = consensus_boxes(
        table.ids["subject_id"].codes,
        table.ids["volunteer_id"].codes,
        np.stack([table.numbers[side] for side in _SIDES], axis=1),
        label=None if label is None else label.codes,
        iou_threshold=options.iou,
        min_fraction=options.min_fraction,
        average=options.average,
    )
    columns: OutputColumns = {"subject_id": table.ids["subject_id"].column(result.subject)}
    if label is not None:
        columns["label"] = label.column(result.label)
    columns |= {side: result.boxes[:, place] for place, side in enumerate(_SIDES)}
    columns |= {"n_marks": result.n_marks, "n_seen": result.n_seen, "probability": result.probability}
    write_table(options.output, columns)
    return _finish(options, table, rejects, len(result.subject), table.n_rows)


@dataclass(frozen=True)
class _CountedVotes:
    """Votes that count, by the codes of the table; task 0 everywhere if the table has no tasks."""

    subject: IntArray
    volunteer: IntArray
    task: IntArray
    answer: IntArray


@dataclass(frozen=True)
class _Answers:
    """Answers that occur in each task: their code in the table and among the answers of the task."""

    n_answers: list[int]
    local: IntArray
    """(task, answer of the table) → answer of the task, -1 if it is none."""
    overall: IntArray
    """(task, answer of the task) → answer of the table, -1 beyond the last."""


def _counted_votes(table: Table) -> _CountedVotes:
    subject, volunteer = table.ids["subject_id"].codes, table.ids["volunteer_id"].codes
    task = table.ids["task"].codes if "task" in table.ids else np.zeros_like(subject)
    last = last_votes(subject, volunteer, task, table.numbers.get("created_at"))
    return _CountedVotes(subject[last], volunteer[last], task[last], table.ids["answer"].codes[last])


def _answers_of_tasks(votes: _CountedVotes, n_overall: int) -> _Answers:
    n_tasks = int(votes.task.max()) + 1
    occurs = np.zeros((n_tasks, n_overall), dtype=bool)
    occurs[votes.task, votes.answer] = True
    local = np.where(occurs, np.cumsum(occurs, axis=1) - 1, -1)
    n_answers = occurs.sum(axis=1)
    overall = np.full((n_tasks, int(n_answers.max())), -1, dtype=np.int64)
    task, answer = np.nonzero(occurs)
    overall[task, local[task, answer]] = answer
    return _Answers(n_answers.tolist(), local, overall)


def _spread(posterior: FloatArray, task: IntArray, answers: _Answers) -> FloatArray:
    """Posterior over the answers of the table, nan for those of other tasks; (n_rows, n_overall)."""
    wide = np.full((len(posterior), answers.local.shape[1]), np.nan)
    for code, size in enumerate(answers.n_answers):
        rows = np.flatnonzero(task == code)
        wide[np.ix_(rows, answers.overall[code, :size])] = posterior[rows, :size]
    return wide


def _read_gold(path: Path, votes: Table, answers: _Answers) -> IntArray:
    """Known answers of the subjects that have votes, int (n_subjects, n_tasks), -1 where unknown."""
    has_task = "task" in votes.ids
    fields = [Field("subject_id"), Field("answer"), Field("task", required=has_task)]
    tasks = {name: code for code, name in enumerate(votes.ids["task"].values if has_task else ("",))}
    codes = {name: code for code, name in enumerate(votes.ids["answer"].values)}
    known: dict[tuple[str, str], str] = {}

    def check(parsed: Parsed) -> Problems:
        problems: Problems = {}
        if "task" in parsed and not has_task:
            raise TableError(
                f"{path}: header: has a column task, {votes.path} has none; leave it out of both or neither"
            )
        named = parsed.get("task", [""] * len(parsed["answer"]))
        for row, (subject, task, answer) in enumerate(zip(parsed["subject_id"], named, parsed["answer"], strict=True)):
            if task not in tasks:
                problems[row] = ("task", f"{task!r} has no votes in {votes.path}")
            elif answer not in codes or answers.local[tasks[task], codes[answer]] < 0:
                problems[row] = ("answer", f"{answer!r} is not an answer that {votes.path} has votes for")
            elif known.setdefault((subject, task), answer) != answer:
                problems[row] = ("answer", f"is {answer!r}, an earlier row says {known[subject, task]!r}")
        return problems

    read_table(path, fields, check=check, way_out="Correct it")
    subjects = {name: code for code, name in enumerate(votes.ids["subject_id"].values)}
    gold = np.full((len(subjects), len(tasks)), -1, dtype=np.int64)
    for (subject, task), answer in known.items():
        if subject in subjects:
            gold[subjects[subject], tasks[task]] = answers.local[tasks[task], codes[answer]]
    return gold


def _check_marks(parsed: Parsed) -> Problems:
    sides = np.stack([np.asarray(parsed[side], dtype=float) for side in _SIDES], axis=1)
    missing = np.isnan(sides)
    problems: Problems = {}
    for row in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)).tolist():
        column = _SIDES[int(missing[row].argmax())]
        problems[row] = (
            column,
            "is empty: give all of x, y, width, height, or none for a classification without a box",
        )
    for column in ("width", "height"):
        for row in np.flatnonzero(np.asarray(parsed[column]) <= 0).tolist():
            problems.setdefault(row, (column, f"is {parsed[column][row]}, not above 0"))
    for row, label in enumerate(parsed.get("label", ())):
        if not label and not missing[row].all():
            problems.setdefault(row, ("label", "is empty, but the row has a box"))
    return problems


def _check_paths(
    options: argparse.Namespace, inputs: Sequence[Path | None], further_outputs: Sequence[Path | None]
) -> None:
    """Refuse paths that cannot work before any time is spent."""
    given = [path for path in inputs if path is not None]
    outputs = [path for path in (options.output, *further_outputs) if path is not None]
    for path in outputs:
        check_output(path, given)
    if options.skip_bad is not None:
        check_output(options.skip_bad, given, csv_only=True)
        outputs.append(options.skip_bad)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise CommandError("two outputs have the same name; give each its own", 2)


def _read(
    options: argparse.Namespace, fields: Sequence[Field], check: Callable[[Parsed], Problems] | None = None
) -> tuple[Table, Rejects | None]:
    rejects = Rejects() if options.skip_bad else None
    return read_table(options.input, fields, check=check, rejects=rejects), rejects


def _subject_columns(table: Table, subject: IntArray, task: IntArray) -> OutputColumns:
    columns: OutputColumns = {"subject_id": table.ids["subject_id"].column(subject)}
    if "task" in table.ids:
        columns["task"] = table.ids["task"].column(task)
    return columns


def _probability_columns(table: Table, wide: FloatArray) -> OutputColumns:
    return {f"p_{name}": wide[:, code] for code, name in enumerate(table.ids["answer"].values)}


def _confusion_columns(table: Table, answers: _Answers, confusion: Mapping[int, TaskConfusion]) -> OutputColumns:
    """One row per volunteer, task and true answer: P(volunteer says p_… | truth)."""
    volunteer, task, truth, n_given, wide = [], [], [], [], []
    for code, fitted in sorted(confusion.items()):
        size = answers.n_answers[code]
        volunteer.append(np.repeat(fitted.volunteer, size))
        n_given.append(np.repeat(fitted.n_given, size))
        task.append(np.full(len(fitted.volunteer) * size, code))
        truth.append(np.tile(answers.overall[code, :size], len(fitted.volunteer)))
        wide.append(_spread(fitted.confusion.reshape(-1, size), task[-1], answers))
    order = np.lexsort((np.concatenate(truth), np.concatenate(task), np.concatenate(volunteer)))
    columns: OutputColumns = {"volunteer_id": table.ids["volunteer_id"].column(np.concatenate(volunteer)[order])}
    if "task" in table.ids:
        columns["task"] = table.ids["task"].column(np.concatenate(task)[order])
    columns["n_votes"] = np.concatenate(n_given)[order]
    columns["truth"] = table.ids["answer"].column(np.concatenate(truth)[order])
    return columns | _probability_columns(table, np.concatenate(wide)[order])


def _finish(options: argparse.Namespace, table: Table, rejects: Rejects | None, n_out: int, n_counted: int) -> str:
    """Write the rejected rows and say what was done."""
    summary = f"{options.output}: {n_out} rows from {n_counted} rows of {table.path}"
    if n_counted < table.n_rows:
        summary += f"; {table.n_rows - n_counted} repeated votes replaced by later ones"
    if rejects is not None:
        write_rejects(options.skip_bad, rejects)
        summary += f"; {len(rejects.rows)} bad rows set aside in {options.skip_bad}"
    return summary
