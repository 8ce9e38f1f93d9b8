"""``votes``: consensus answer and posterior of each subject and task."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregation._reading import Field, Parsed, Problems, Table, TableError, read_table
from aggregation._votes import FloatArray, IntArray
from aggregation._writing import write_table
from aggregation.commands._shared import (
    REPEATS,
    VOTES,
    CommandError,
    Commands,
    CountedVotes,
    OutputColumns,
    Parser,
    add_command,
    check_paths,
    counted_votes,
    finish,
    read_input,
    subject_columns,
)
from aggregation.tasks import DEFAULT_METHOD, METHODS, MODELS, TaskConfusion, aggregate_tasks

_MODEL_NAMES = ", ".join(MODELS)


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "votes",
        run,
        "Consensus answer and posterior of each subject and task. "
        f"IN: subject_id, volunteer_id, answer[, task][, created_at]. {REPEATS}",
    )
    command.add_argument(
        "--method", choices=METHODS, default=DEFAULT_METHOD, help="how to combine votes (default: %(default)s)"
    )
    command.add_argument(
        "--gold",
        type=Path,
        metavar="GOLD",
        help=f"known answers (subject_id, answer[, task]) that {_MODEL_NAMES} learn from",
    )
    command.add_argument(
        "--confusion",
        type=Path,
        metavar="FILE",
        help=f"write P(volunteer says p_… | truth), for {_MODEL_NAMES}",
    )


def run(options: argparse.Namespace) -> str:
    """Consensus per subject and task; returns the line that says what was done."""
    if options.method not in MODELS and (options.gold or options.confusion):
        unused = "--gold" if options.gold else "--confusion"
        raise CommandError(f"{unused}: method {options.method} has no use for it; use {' or '.join(MODELS)}", 2)
    check_paths(options, [options.input, options.gold], [options.confusion])
    table, rejects = read_input(options, VOTES)
    votes = counted_votes(table)
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
    columns = subject_columns(table, result.subject, result.task) | {"n_votes": result.n_votes}
    columns["answer"] = table.ids["answer"].column(answers.overall[result.task, result.answer])
    columns |= _probability_columns(table, _spread(result.posterior, result.task, answers))
    write_table(options.output, columns)
    if options.confusion:
        write_table(options.confusion, _confusion_columns(table, answers, result.confusion))
    return finish(options, table, rejects, len(result.subject), len(votes.subject))


@dataclass(frozen=True)
class _Answers:
    """Answers that occur in each task: their code in the table and among the answers of the task."""

    n_answers: list[int]
    local: IntArray
    """(task, answer of the table) → answer of the task, -1 if it is none."""
    overall: IntArray
    """(task, answer of the task) → answer of the table, -1 beyond the last."""


def _answers_of_tasks(votes: CountedVotes, n_overall: int) -> _Answers:
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
