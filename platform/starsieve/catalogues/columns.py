"""The columns of a catalogue: names, kinds, units, descriptions and UCDs, derived from a workflow's definition.

Names have letters, digits and underscores only and stay unique when their case is ignored, as FITS asks.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from starsieve.catalogues.consensus.methods import is_modelled
from starsieve.catalogues.consensus.subjects import answer_labels
from starsieve.catalogues.consensus.tree import tree_of
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, MultipleTask, SingleTask, Task

RATIO = "meta.number;arith.ratio"
Kind = Literal["id", "count", "float", "bool", "text"]


@dataclass(frozen=True)
class Column:
    """One column; floats and texts may be empty (null), the other kinds never are."""

    name: str
    kind: Kind
    description: str
    unit: str = ""
    ucd: str = ""


@dataclass(frozen=True)
class TaskColumns:
    """Where one task's numbers go: each field holds column names."""

    task: Task
    counts: tuple[str, ...] = ()
    fractions: tuple[str, ...] = ()
    n: str = ""
    agreement: str = ""
    grade: str = ""
    expected_grade: str = ""
    n_clumps: str = ""
    labels: tuple[str, ...] = ()
    probabilities: tuple[str, ...] = ()
    answer: str = ""
    applies: str = ""
    rank: str = ""
    rank_error: str = ""
    adjudicate: str = ""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Both tables of a catalogue."""

    subjects: tuple[Column, ...]
    clumps: tuple[Column, ...]
    tasks: tuple[TaskColumns, ...]

    @property
    def has_clumps(self) -> bool:
        return bool(self.clumps)


SUBJECT_HEAD = (
    Column("subject_id", "id", "Subject's key in Starsieve", ucd="meta.id"),
    Column("name", "text", "Subject's name as imported", ucd="meta.id;meta.main"),
    Column("subject_set", "text", "Subject set the subject belongs to", ucd="meta.dataset"),
    Column("origin", "text", "Where the pixels come from: real or simulated", ucd="meta.code"),
    Column("ra", "float", "Right ascension, ICRS", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "float", "Declination, ICRS", unit="deg", ucd="pos.eq.dec;meta.main"),
    Column("n_classifications", "count", "Classifications up to the watermark", ucd="meta.number"),
    Column("retired", "bool", "Whether the subject had been retired when the release was frozen", ucd="meta.code"),
    Column("retirement_reason", "text", "Why the subject was retired; empty if it was not", ucd="meta.code.status"),
)
SUBJECT_TAIL = (
    Column("ml_score", "float", "Calibrated score of the network named in ml_model, 0 to 1", ucd="stat.probability"),
    Column("ml_model", "text", "Name and version of the network that gave ml_score", ucd="meta.id;meta.modelled"),
    Column("is_control", "bool", "Shown whatever its score, to measure completeness below the cut", ucd="meta.code"),
)
#: Of a subject with boxes, by the names of what the model says.
EXPECTED_ERRORS = {
    "expected_missed": "Expected real objects without a consensus box",
    "expected_false": "Expected consensus boxes that are no real object",
    "expected_inaccurate": "Expected consensus boxes that overlap their object by less than half",
    "risk": "Expected errors of the three kinds together",
}
CLUMP_HEAD = (
    Column("subject_id", "id", "Subject's key in Starsieve", ucd="meta.id"),
    Column("name", "text", "Subject's name as imported", ucd="meta.id;meta.main"),
    Column("task", "text", "Name of the task in which the boxes were drawn", ucd="meta.code"),
    Column("clump", "count", "Number of the clump within subject and task, from 1", ucd="meta.number"),
    Column("x", "float", "Left edge of the consensus box, from the frame's left", unit="pix", ucd="pos.cartesian.x"),
    Column("y", "float", "Upper edge of the consensus box, from the frame's top", unit="pix", ucd="pos.cartesian.y"),
    Column("width", "float", "Width of the consensus box", unit="pix", ucd="phys.angSize"),
    Column("height", "float", "Height of the consensus box", unit="pix", ucd="phys.angSize"),
    Column("n_marks", "count", "Volunteers whose box belongs to this clump", ucd="meta.number"),
    Column("n_seen", "count", "Volunteers who did the task on this subject", ucd="meta.number"),
    Column("fraction", "float", "n_marks / n_seen", ucd=RATIO),
)
CLUMP_MODEL = (
    Column("probability", "float", "Probability that the box is a real object", ucd="stat.probability"),
    Column(
        "x_error", "float", "Standard error of the box's centre along x", unit="pix", ucd="stat.error;pos.cartesian.x"
    ),
    Column(
        "y_error", "float", "Standard error of the box's centre along y", unit="pix", ucd="stat.error;pos.cartesian.y"
    ),
    Column("width_error", "float", "Standard error of the width", unit="pix", ucd="stat.error;phys.angSize"),
    Column("height_error", "float", "Standard error of the height", unit="pix", ucd="stat.error;phys.angSize"),
)
CLUMP_TAIL = (
    Column("ra", "float", "Right ascension of the box's centre, ICRS", unit="deg", ucd="pos.eq.ra"),
    Column("dec", "float", "Declination of the box's centre, ICRS", unit="deg", ucd="pos.eq.dec"),
)


def slug(text: str) -> str:
    """`text` as (part of) a column name: every run of other characters becomes one underscore."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"


class _Table:
    """Collects columns under names that are unique whatever their case; a name taken twice gets _2, _3, …"""

    def __init__(self, head: tuple[Column, ...], tail: tuple[Column, ...] = ()) -> None:
        self.columns = list(head)
        self.taken = {column.name.lower() for column in (*head, *tail)}

    def add(self, name: str, kind: Kind, description: str, ucd: str) -> str:
        unique, n = name, 2
        while unique.lower() in self.taken:
            unique, n = f"{name}_{n}", n + 1
        self.taken.add(unique.lower())
        self.columns.append(Column(unique, kind, description, ucd=ucd))
        return unique

    def counts_and_fractions(
        self, prefix: str, answers: list[tuple[str, str]]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Two columns for each (key, label); returns the names of the counts and of the fractions."""
        counts, fractions = [], []
        for key, label in answers:
            name = f"{prefix}_{slug(key)}"
            counts.append(self.add(f"{name}_count", "count", f'Votes for "{label}"', "meta.number"))
            fractions.append(self.add(f"{name}_fraction", "float", f'Share of votes for "{label}"', RATIO))
        return tuple(counts), tuple(fractions)


def layout_of(definition: WorkflowDefinition, *, with_models: bool) -> Layout:
    """The columns of both tables, those of the tasks' models only if asked for. The clump table has none in a
    workflow without a boxes task.
    """
    subjects, clumps = _Table(SUBJECT_HEAD, SUBJECT_TAIL), _Table(CLUMP_HEAD, CLUMP_TAIL)
    tasks = tuple(_task_columns(task, definition, subjects, clumps) for task in definition.tasks.values())
    if with_models:
        if any(is_modelled(columns.task) for columns in tasks if columns.n_clumps):
            clumps.columns += CLUMP_MODEL
        tree = tree_of(definition)
        in_tree = tree.tasks if tree else ()
        tasks = tuple(_model_columns(columns, columns.task.key in in_tree, subjects) for columns in tasks)
    has_boxes = any(isinstance(task, BoxesTask) for task in definition.tasks.values())
    return Layout(
        subjects=(*subjects.columns, *SUBJECT_TAIL),
        clumps=(*clumps.columns, *CLUMP_TAIL) if has_boxes else (),
        tasks=tasks,
    )


def _task_columns(task: Task, definition: WorkflowDefinition, subjects: _Table, clumps: _Table) -> TaskColumns:
    is_only = sum(other.type == task.type for other in definition.tasks.values()) == 1
    prefix = slug(task.name)
    if isinstance(task, SingleTask | MultipleTask):
        counts, fractions = subjects.counts_and_fractions(prefix, [(a.key, a.label) for a in task.answers])
        n, agreement = _n_and_agreement(subjects, prefix, task)
        return TaskColumns(task, counts, fractions, n, agreement)
    if isinstance(task, GradeTask):
        return _grade_columns(task, "grade" if is_only else prefix, is_only, subjects)
    if isinstance(task, BoxesTask):
        return _box_columns(task, prefix, is_only, subjects, clumps)
    return TaskColumns(task, n=subjects.add(f"{prefix}_n", "count", f'Texts given in "{task.name}"', "meta.number"))


def _model_columns(columns: TaskColumns, in_tree: bool, subjects: _Table) -> TaskColumns:
    """The columns of the task's model beside those of its counts; grade and expected grade become the model's."""
    task = columns.task
    if not is_modelled(task):
        return columns
    assert task.consensus is not None
    if isinstance(task, BoxesTask):
        prefix = columns.n_clumps.removesuffix("n_clumps") or ""
        return replace(
            columns,
            errors=tuple(
                subjects.add(f"{prefix}{name}", "float", description, "stat.value")
                for name, description in EXPECTED_ERRORS.items()
            ),
        )
    method = task.consensus.method
    prefix = columns.grade.removesuffix("_grade") if columns.grade else slug(task.name)
    keys = GRADES if isinstance(task, GradeTask) else [answer.key for answer in task.answers]  # type: ignore[attr-defined]
    columns = replace(
        columns,
        probabilities=tuple(
            subjects.add(f"{prefix}_{slug(key)}_probability", "float", f'Probability of "{label}" ({method})',
                         "stat.probability")
            for key, label in zip(keys, answer_labels(task), strict=True)
        ),
    )  # fmt: skip
    if isinstance(task, GradeTask):
        return replace(
            columns,
            rank=subjects.add(f"{prefix}_rank", "float", "Place on the scale X 0, C 1, B 2, A 3 and beyond both ends",
                              "meta.code.qual;stat.mean"),
            rank_error=subjects.add(f"{prefix}_rank_error", "float", "Standard error of the rank", "stat.error"),
            adjudicate=subjects.add(f"{prefix}_adjudicate", "bool", "Whether the graders should talk about it",
                                    "meta.code"),
        )  # fmt: skip
    answer = subjects.add(f"{prefix}_answer", "text", f'Most probable answer to "{task.question}"', "meta.code.class")
    if not in_tree:
        return replace(columns, answer=answer)
    applies = subjects.add(
        f"{prefix}_applies", "float", f'Probability that "{task.question}" applies to the subject', "stat.probability"
    )
    return replace(columns, answer=answer, applies=applies)


def _n_and_agreement(subjects: _Table, prefix: str, task: Task) -> tuple[str, str]:
    n = subjects.add(f"{prefix}_n", "count", f'Volunteers who answered "{task.question}"', "meta.number")
    largest = f'Largest share of votes in "{task.name}"'
    agreement = subjects.add(f"{prefix}_agreement", "float", largest, f"{RATIO};stat.max")
    return n, agreement


def _grade_columns(task: GradeTask, prefix: str, is_only: bool, subjects: _Table) -> TaskColumns:
    counts, fractions = subjects.counts_and_fractions(prefix, list(zip(GRADES, task.labels, strict=True)))
    n, agreement = _n_and_agreement(subjects, prefix, task)
    grade = subjects.add("grade" if is_only else f"{prefix}_grade", "text", "Consensus grade", "meta.code.qual")
    expected = subjects.add(
        "expected_grade" if is_only else f"{prefix}_expected_grade", "float",
        "Mean of the votes on the scale X 0, C 1, B 2, A 3; votes for I are left out", "meta.code.qual;stat.mean",
    )  # fmt: skip
    return TaskColumns(task, counts, fractions, n, agreement, grade, expected)


def _box_columns(task: BoxesTask, prefix: str, is_only: bool, subjects: _Table, clumps: _Table) -> TaskColumns:
    n = subjects.add(f"{prefix}_n", "count", f'Volunteers who did "{task.name}"', "meta.number")
    n_clumps = subjects.add(
        "n_clumps" if is_only else f"{prefix}_n_clumps", "count", f'Consensus boxes in "{task.name}"', "meta.number"
    )
    labels = tuple(
        clumps.add(f"{prefix}_{slug(tool.key)}_fraction", "float", f"Share of the boxes drawn as \"{tool.label}\"",
                   RATIO)
        for tool in task.tools
    )  # fmt: skip
    return TaskColumns(task, n=n, n_clumps=n_clumps, labels=labels)
