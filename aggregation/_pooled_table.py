"""Input of the pooled model: votes on one question or on a tree, checked and coded for one shard of subjects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation._pooled_em import Tree
from aggregation._question import Question
from aggregation._votes import FloatArray, IntArray, Votes, check_codes, check_gold, check_same_length
from aggregation.codes import coded
from aggregation.tallies import topological_order


class Coded(NamedTuple):
    """A shard's votes, and per question the ids of its volunteers, increasing."""

    tree: Tree
    volunteers: list[IntArray]


class TreeShape(NamedTuple):
    """Where answers lead, and an order in which each question comes after its parents."""

    next_task: Sequence[Sequence[int]]
    order: list[int]

    @classmethod
    def of(cls, next_task: Sequence[Sequence[int]], first: int) -> TreeShape:
        """Raises ValueError for a cycle and for what cannot be reached."""
        return cls(next_task, _check_order(next_task, first))


def question_tree(
    question: Question, gold: IntArray, evidence: FloatArray | None = None, machine: IntArray | None = None
) -> Tree:
    """One checked question as a tree of one node."""
    ends = [[-1] * question.n_answers]
    return Tree([question], ends, [0], gold[:, np.newaxis], [evidence], [machine])


def code_question(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int,
    gold: npt.ArrayLike | None,
    n_subjects: int | None,
    evidence: npt.ArrayLike | None,
    machine: npt.ArrayLike | None,
) -> Coded:
    """Votes on one question by volunteers of any id."""
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    answers, _ = check_codes("answer", answer, n_answers)
    ids = check_ids("volunteer", volunteer)
    check_same_length(subject=subjects, volunteer=ids, answer=answers)
    people, local = coded(ids)
    question = Question.of(Votes(subjects, local, answers, n_subjects, len(people), n_answers))
    known = check_gold(gold, n_subjects, n_answers)
    jurors = check_evidence(evidence, question), check_machine(machine, question)
    return Coded(question_tree(question, known, *jurors), [people])


def code_tree(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    task: npt.ArrayLike,
    answer: npt.ArrayLike,
    shape: TreeShape,
    gold: npt.ArrayLike | None,
    n_subjects: int | None,
) -> Coded:
    """Votes on the questions of a tree by volunteers of any id."""
    next_task = shape.next_task
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    ids = check_ids("volunteer", volunteer)
    tasks, _ = check_codes("task", task, len(next_task))
    answers, _ = check_codes("answer", answer)
    check_same_length(subject=subjects, volunteer=ids, task=tasks, answer=answers)
    known = _check_tree_gold(gold, n_subjects, next_task)
    people, questions = [], []
    for code, leads_to in enumerate(next_task):
        here = np.flatnonzero(tasks == code)
        given, _ = check_codes(f"answer to task {code}", answers[here], len(leads_to))
        who, local = coded(ids[here])
        people.append(who)
        questions.append(Question.of(Votes(subjects[here], local, given, n_subjects, len(who), len(leads_to))))
    nothing = [None] * len(next_task)
    return Coded(Tree(questions, next_task, shape.order, known, nothing, nothing), people)


def check_ids(name: str, column: npt.ArrayLike) -> IntArray:
    """Ids as int64, int (n,); they need not be contiguous."""
    ids = np.asarray(column)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(f"{name} must hold one integer id per row, not shape {ids.shape} of {ids.dtype}")
    return ids.astype(np.int64, copy=False)


def _check_order(next_task: Sequence[Sequence[int]], first: int) -> list[int]:
    if not 0 <= first < len(next_task):
        raise ValueError(f"the first task is {first}, but there are {len(next_task)} tasks")
    for task, targets in enumerate(next_task):
        if not len(targets) or any(not -1 <= target < len(next_task) for target in targets):
            raise ValueError(
                f"task {task} leads to {list(targets)}: tasks are 0 to {len(next_task) - 1}, the end is -1"
            )
    order = topological_order(next_task, first)
    missing = sorted(set(range(len(next_task))) - set(order))
    if missing:
        raise ValueError(f"task {missing[0]} cannot be reached from task {first}")
    return order


def _check_tree_gold(gold: npt.ArrayLike | None, n_subjects: int, next_task: Sequence[Sequence[int]]) -> IntArray:
    shape = (n_subjects, len(next_task))
    if gold is None:
        return np.full(shape, -1, dtype=np.int64)
    table = np.asarray(gold)
    if table.shape != shape or (table.size and table.dtype.kind not in "iu"):
        raise ValueError(f"gold must be integers of shape (n_subjects, n_tasks) = {shape}, got {table.shape}")
    sizes = np.array([len(targets) for targets in next_task])
    wrong = np.argwhere((table < -1) | (table >= sizes))
    if len(wrong):
        row, task = wrong[0]
        raise ValueError(f"gold[{row}, {task}] is {table[row, task]}: an answer code below {sizes[task]} or -1")
    return table.astype(np.int64)


def check_evidence(evidence: npt.ArrayLike | None, question: Question) -> FloatArray | None:
    if evidence is None:
        return None
    table = np.asarray(evidence, dtype=float)
    shape = (question.n_subjects, question.n_answers)
    if table.shape != shape:
        raise ValueError(f"evidence must have shape (n_subjects, n_answers) = {shape}, got {table.shape}")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise ValueError(f"evidence[{row}] is {table[row]}: log-likelihoods must be finite; 0 says nothing")
    return table


def check_machine(machine: npt.ArrayLike | None, question: Question) -> IntArray | None:
    if machine is None:
        return None
    bins = np.asarray(machine)
    if bins.shape != (question.n_subjects,) or (bins.size and bins.dtype.kind not in "iu"):
        raise ValueError(
            f"machine must hold one bin per subject ({question.n_subjects}), -1 where it has no say; "
            f"got shape {bins.shape} of {bins.dtype}"
        )
    return bins.astype(np.int64)
