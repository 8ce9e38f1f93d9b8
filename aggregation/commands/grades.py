"""``grades``: consensus of ordinal grades of each subject."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregation._reading import Field, Parsed, Problems, Table, TableError, read_table
from aggregation._votes import FloatArray, IntArray
from aggregation._writing import write_table
from aggregation.agreement import KappaReport, kappa_report
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
from aggregation.grades import LENS_ESCAPE, LENS_LEVELS, GradeDistribution, grade_distribution
from aggregation.ordinal import OrdinalGrades, ordinal_grades

METHODS = ("ordinal", "fractions")


def add(commands: Commands[Parser]) -> None:
    command = add_command(
        commands,
        "grades",
        run,
        "Consensus of ordinal grades of each subject. "
        f"IN: subject_id, volunteer_id, answer[, task][, created_at], the answers being grades. {REPEATS}",
    )
    command.add_argument(
        "--levels",
        type=_levels,
        default=",".join(LENS_LEVELS),
        help="grades from worst to best, separated by commas (default: %(default)s)",
    )
    command.add_argument(
        "--escape", default=LENS_ESCAPE, help="grade outside the scale, '' for none (default: %(default)s)"
    )
    command.add_argument(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="ordinal: probabilities by a model of sharp and lenient graders; fractions: of the votes "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--gold", type=Path, metavar="GOLD", help="known grades (subject_id, answer[, task]) that ordinal learns from"
    )
    command.add_argument(
        "--graders", type=Path, metavar="FILE", help="write each grader's sharpness, leniency, willingness and kappa"
    )


def _levels(text: str) -> tuple[str, ...]:
    levels = tuple(text.split(","))
    if "" in levels or len(set(levels)) != len(levels):
        raise argparse.ArgumentTypeError(f"{text!r} must name different grades, separated by commas")
    return levels


@dataclass(frozen=True)
class _Scale:
    """The grades in the order of their codes: levels from worst to best, then the escape grade if there is one."""

    levels: tuple[str, ...]
    escape: str

    @property
    def grades(self) -> tuple[str, ...]:
        return (*self.levels, self.escape) if self.escape else self.levels

    @property
    def n_levels(self) -> int:
        return len(self.levels)

    def problems(self, parsed: Parsed) -> Problems:
        unknown = set(parsed["answer"]) - set(self.grades)
        if not unknown:
            return {}
        reason = f"is not one of the grades {', '.join(self.grades)}; see --levels and --escape"
        rows = (row for row, value in enumerate(parsed["answer"]) if value in unknown)
        return dict.fromkeys(rows, ("answer", reason))


@dataclass(frozen=True)
class _TaskGrades:
    """What was made of the votes of one task; rows belong to `subject` and `grader`, codes of the table."""

    task: int
    subject: IntArray
    grader: IntArray
    distribution: GradeDistribution
    model: OrdinalGrades | None
    kappa: KappaReport | None


def run(options: argparse.Namespace) -> str:
    """Grades per subject; returns the line that says what was done."""
    scale = _check_options(options)
    check_paths(options, [options.input, options.gold], [options.graders])
    table, rejects = read_input(options, VOTES, scale.problems)
    votes = counted_votes(table)
    code = np.array([scale.grades.index(value) for value in table.ids["answer"].values])
    gold = _read_gold(options.gold, table, scale) if options.gold else None
    ordinal = options.method == "ordinal"
    tasks = [
        _grade_task(votes, task, code, scale, gold, ordinal=ordinal, report=bool(options.graders))
        for task in range(int(votes.task.max()) + 1)
    ]
    write_table(options.output, _consensus_columns(table, tasks, scale))
    if options.graders:
        write_table(options.graders, _grader_columns(table, tasks))
    n_rows = sum(len(each.subject) for each in tasks)
    return finish(options, table, rejects, n_rows, len(votes.subject)) + _unsettled(tasks)


def _check_options(options: argparse.Namespace) -> _Scale:
    if options.escape in options.levels:
        raise CommandError(f"--escape: {options.escape!r} is one of the levels; name another grade, or ''", 2)
    if options.method == "fractions" and (options.gold or options.graders):
        unused = "--gold" if options.gold else "--graders"
        raise CommandError(f"{unused}: method fractions has no use for it; use --method ordinal", 2)
    if options.method == "ordinal" and len(options.levels) < 2:
        raise CommandError("--levels: one level has no order; name two or more, or use --method fractions", 2)
    return _Scale(options.levels, options.escape)


def _grade_task(
    votes: CountedVotes,
    task: int,
    code: IntArray,
    scale: _Scale,
    gold: IntArray | None,
    *,
    ordinal: bool,
    report: bool,
) -> _TaskGrades:
    own = votes.task == task
    subjects, subject = np.unique(votes.subject[own], return_inverse=True)
    graders, grader = np.unique(votes.volunteer[own], return_inverse=True)
    grade = code[votes.answer[own]]
    distribution = grade_distribution(subject, grade, scale.n_levels, escape=bool(scale.escape))
    if not ordinal:
        return _TaskGrades(task, subjects, graders, distribution, None, None)
    known = None if gold is None else gold[subjects, task]
    model = ordinal_grades(subject, grader, grade, scale.n_levels, escape=bool(scale.escape), gold=known)
    kappa = kappa_report(subject, grader, grade, scale.n_levels) if report else None
    return _TaskGrades(task, subjects, graders, distribution, model, kappa)


def _consensus_columns(table: Table, tasks: list[_TaskGrades], scale: _Scale) -> OutputColumns:
    subject = np.concatenate([each.subject for each in tasks])
    task = np.concatenate([np.full(len(each.subject), each.task) for each in tasks])
    order = np.lexsort((task, subject))

    def column(parts: list[FloatArray]) -> FloatArray:
        return np.concatenate(parts)[order]

    counted = [each.distribution for each in tasks]
    models = [each.model for each in tasks if each.model is not None]
    columns = subject_columns(table, subject[order], task[order])
    columns["n_votes"] = np.concatenate([each.n_votes for each in counted])[order]
    grade = np.concatenate([each.grade for each in models or counted])[order]
    columns["grade"] = [scale.grades[best] for best in grade.tolist()]
    chance = [each.posterior for each in models] if models else [each.fractions for each in counted]
    columns |= {f"p_{name}": column([each[:, place] for each in chance]) for place, name in enumerate(scale.grades)}
    columns["expected_grade"] = column([each.expected for each in models or counted])
    columns["agreement"] = column([each.agreement for each in counted])
    if models:
        columns["rank"] = column([each.rank for each in models])
        columns["rank_error"] = column([each.rank_error for each in models])
        columns["adjudicate"] = np.concatenate([each.needs_adjudication for each in models])[order].astype(np.int64)
    return columns


def _grader_columns(table: Table, tasks: list[_TaskGrades]) -> OutputColumns:
    grader = np.concatenate([each.grader for each in tasks])
    columns: OutputColumns = {"volunteer_id": table.ids["volunteer_id"].column(grader)}
    if "task" in table.ids:
        columns["task"] = table.ids["task"].column(np.concatenate([np.full(len(e.grader), e.task) for e in tasks]))
    models = [each.model for each in tasks if each.model is not None]
    reports = [each.kappa for each in tasks if each.kappa is not None]
    columns["n_given"] = np.concatenate([each.n_given for each in models])
    for name in ("sharpness", "leniency", "willingness"):
        columns[name] = np.concatenate([getattr(each, name) for each in models])
    for name, attribute in (("kappa", "kappa"), ("kappa_low", "low"), ("kappa_high", "high")):
        columns[name] = np.concatenate([getattr(each, attribute) for each in reports])
    return columns


def _unsettled(tasks: list[_TaskGrades]) -> str:
    steps = [each.model.n_iterations for each in tasks if each.model is not None and not each.model.converged]
    return f"; the model still moved after {max(steps)} steps" if steps else ""


def _read_gold(path: Path, votes: Table, scale: _Scale) -> IntArray:
    """Known grades of the subjects that have votes, int (n_subjects, n_tasks), -1 where unknown."""
    has_task = "task" in votes.ids
    tasks = {name: code for code, name in enumerate(votes.ids["task"].values if has_task else ("",))}
    known: dict[tuple[str, str], str] = {}

    def check(parsed: Parsed) -> Problems:
        if "task" in parsed and not has_task:
            raise TableError(
                f"{path}: header: has a column task, {votes.path} has none; leave it out of both or neither"
            )
        problems = scale.problems(parsed)
        named = parsed.get("task", [""] * len(parsed["answer"]))
        for row, (subject, task, grade) in enumerate(zip(parsed["subject_id"], named, parsed["answer"], strict=True)):
            if task not in tasks:
                problems[row] = ("task", f"{task!r} has no votes in {votes.path}")
            elif row not in problems and known.setdefault((subject, task), grade) != grade:
                problems[row] = ("answer", f"is {grade!r}, an earlier row says {known[subject, task]!r}")
        return problems

    fields = [Field("subject_id"), Field("answer"), Field("task", required=has_task)]
    read_table(path, fields, check=check, way_out="Correct it")
    subjects = {name: code for code, name in enumerate(votes.ids["subject_id"].values)}
    gold = np.full((len(subjects), len(tasks)), -1, dtype=np.int64)
    for (subject, task), grade in known.items():
        if subject in subjects:
            gold[subjects[subject], tasks[task]] = scale.grades.index(grade)
    return gold
