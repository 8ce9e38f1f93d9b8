"""Vote counts and vote fractions: the raw consensus that every posterior is published beside.

Counts are the state, everything else is a function of the counts. So the running form (add one vote to the
counts, `RunningTally`) and the batch form (count all votes, `tally_votes`) agree exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from aggregation._votes import (
    FloatArray,
    IntArray,
    check_codes,
    check_same_length,
    count,
    modal_answer,
    ratio,
)


@dataclass(frozen=True)
class Tally:
    """Vote counts of one task and what follows from them; row i is subject code i.

    Attributes
    ----------
    counts
        Votes for each answer, int (n_subjects, n_answers).
    n_voters
        Volunteers who answered the task, int (n_subjects,). Equal to the row sum of `counts` where a
        volunteer gives one answer; on a multiple-choice task each may give several or none.
    fractions
        ``counts / n_voters``, float (n_subjects, n_answers); nan where nobody answered.
    answer
        The answer with most votes, the lowest code among equals, -1 where nobody answered; int (n_subjects,).
        On a multiple-choice task it may be an answer that nobody chose.
    agreement
        Largest fraction, float (n_subjects,); nan where nobody answered.
    entropy
        In nats, float (n_subjects,); nan where nobody answered. ``-sum_y f ln f``, or on a multiple-choice
        task the sum over the answers of each one's own chosen / not chosen entropy.
    """

    counts: IntArray
    n_voters: IntArray
    fractions: FloatArray
    answer: IntArray
    agreement: FloatArray
    entropy: FloatArray


def tally_from_counts(counts: npt.ArrayLike, n_voters: npt.ArrayLike | None = None) -> Tally:
    """Derive fractions, agreement and entropy from vote counts.

    Parameters
    ----------
    counts
        Votes for each answer, int (n_subjects, n_answers).
    n_voters
        Volunteers who answered, int (n_subjects,), for a multiple-choice task. None means that each gave
        exactly one answer, so that it is the row sum.

    Returns
    -------
    Tally

    Examples
    --------
    >>> tally_from_counts([[3, 1], [0, 0]]).fractions
    array([[0.75, 0.25],
           [ nan,  nan]])
    """
    votes = _check_counts(counts)
    multiple = n_voters is not None
    voters = _check_voters(n_voters, votes) if multiple else votes.sum(axis=1)
    known = voters > 0
    fractions = ratio(votes, voters[:, np.newaxis])
    agreement = fractions.max(axis=1) if votes.shape[1] else np.full(len(votes), np.nan)
    entropy = np.where(known, entr(fractions).sum(axis=1), np.nan)
    if multiple:
        entropy = entropy + entr(1.0 - fractions).sum(axis=1)
    return Tally(votes, voters, fractions, modal_answer(votes, known), agreement, entropy)


def tally_votes(
    subject: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    *,
    n_subjects: int | None = None,
    n_voters: npt.ArrayLike | None = None,
) -> Tally:
    """Count the votes of one task.

    Parameters
    ----------
    subject, answer
        Codes of each vote, int (n,). Repeats count as often as they are given: see `last_votes`.
    n_answers, n_subjects
        Sizes of the result; by default the largest code + 1.
    n_voters
        For a multiple-choice task (one row per chosen answer): volunteers who answered each subject, int
        (n_subjects,), those included who chose nothing.

    Returns
    -------
    Tally

    Examples
    --------
    >>> tally_votes([0, 0, 0, 1], [1, 1, 0, 0]).counts
    array([[1, 2],
           [1, 0]])
    """
    subjects, n_subjects = check_codes("subject", subject, n_subjects)
    answers, n_answers = check_codes("answer", answer, n_answers)
    check_same_length(subject=subjects, answer=answers)
    return tally_from_counts(count_votes(subjects, answers, n_subjects, n_answers), n_voters)


def count_votes(subject: IntArray, answer: IntArray, n_subjects: int, n_answers: int) -> IntArray:
    """Votes for each answer of each subject, int (n_subjects, n_answers), from checked codes."""
    cells = count(subject * n_answers + answer, n_subjects * n_answers)
    return cells.reshape(n_subjects, n_answers)


@dataclass(frozen=True)
class RunningTally:
    """Counts of one task on one subject, updated vote by vote; all its state fits in a database row.

    Attributes
    ----------
    counts
        Votes for each answer, in the order of the answers.
    n_voters
        Volunteers who answered.
    multiple
        Whether a volunteer may choose several answers or none.
    """

    counts: tuple[int, ...]
    n_voters: int = 0
    multiple: bool = False

    @classmethod
    def empty(cls, n_answers: int, *, multiple: bool = False) -> RunningTally:
        """No votes yet on a task with `n_answers` answers."""
        return cls((0,) * n_answers, 0, multiple)

    def add(self, vote: int | Collection[int], *, replaces: int | Collection[int] | None = None) -> RunningTally:
        """Return the counts with one more vote: an answer code, or the chosen codes of a multiple choice.

        `replaces` is the earlier vote of the same volunteer, which stops counting.
        """
        counts = np.array(self.counts, dtype=np.int64)
        if replaces is not None:
            counts[self._chosen(replaces)] -= 1
        counts[self._chosen(vote)] += 1
        if counts.size and counts.min() < 0:
            raise ValueError(f"the replaced vote {replaces!r} was never counted in {self.counts}")
        voters = self.n_voters + (1 if replaces is None else 0)
        return RunningTally(tuple(counts.tolist()), voters, self.multiple)

    def tally(self) -> Tally:
        """The same result as `tally_votes` of all votes so far, with one row."""
        return tally_from_counts(
            np.array([self.counts], dtype=np.int64).reshape(1, len(self.counts)),
            np.array([self.n_voters]) if self.multiple else None,
        )

    def _chosen(self, vote: int | Collection[int]) -> list[int]:
        chosen = [vote] if isinstance(vote, int | np.integer) else sorted(vote)
        if not self.multiple and len(chosen) != 1:
            raise ValueError(f"this task takes one answer per volunteer, got {vote!r}")
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"an answer is chosen twice in {vote!r}")
        if any(not 0 <= answer < len(self.counts) for answer in chosen):
            raise ValueError(f"vote {vote!r} is outside the {len(self.counts)} answers of this task")
        return [int(answer) for answer in chosen]


def last_votes(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    task: npt.ArrayLike | None = None,
    created_at: npt.ArrayLike | None = None,
) -> IntArray:
    """Find the votes that count: the last of each volunteer on each subject and task (Willett et al. 2013).

    Parameters
    ----------
    subject, volunteer, task
        Codes of each vote, int (n,); one task if None.
    created_at
        Time of each vote, any sortable numbers (n,). The later row wins among equal times, and everywhere if
        None.

    Returns
    -------
    ndarray
        Increasing row numbers of the votes to keep, int (n_kept,).

    Examples
    --------
    >>> last_votes(subject=[0, 0, 1], volunteer=[4, 4, 4])
    array([1, 2])
    """
    subjects, _ = check_codes("subject", subject, np.iinfo(np.int64).max)
    volunteers, _ = check_codes("volunteer", volunteer, np.iinfo(np.int64).max)
    tasks, _ = check_codes("task", np.zeros_like(subjects) if task is None else task, np.iinfo(np.int64).max)
    times = np.zeros(len(subjects)) if created_at is None else np.asarray(created_at)
    check_same_length(subject=subjects, volunteer=volunteers, task=tasks, created_at=times)
    # lexsort is stable, so rows of equal time stay in file order and the last one of a group counts.
    order = np.lexsort((times, tasks, volunteers, subjects))
    is_last = np.ones(len(order), dtype=bool)
    same = [column[order][1:] == column[order][:-1] for column in (subjects, volunteers, tasks)]
    is_last[:-1] = ~np.logical_and.reduce(same)
    return np.sort(order[is_last])


def reach_probability(
    next_task: Sequence[Sequence[int]], fractions: Sequence[FloatArray], first: int = 0
) -> FloatArray:
    """Give the probability that a volunteer reaches each question of a decision tree.

    The product of the vote fractions along the path, summed over the paths that lead to the question:
    ``reach_first = 1`` and ``reach_t = sum_{q,y: next(q,y) = t} reach_q f_qy``. A question whose answers all
    lead to the same place hands its whole probability on (also if it is a multiple choice, whose fractions
    do not sum to 1).

    Parameters
    ----------
    next_task
        For each task, the task that each of its answers leads to; -1 ends the classification.
    fractions
        For each task, its vote fractions, float (n_subjects, n_answers); nan where nobody answered.
    first
        The task every volunteer starts with.

    Returns
    -------
    ndarray
        Float (n_subjects, n_tasks). nan where a question before it, itself reached, has no votes.

    Raises
    ------
    ValueError
        If the tasks form a cycle, or shapes disagree.

    Examples
    --------
    >>> smooth = np.array([[0.75, 0.25]])   # smooth -> end, featured -> task 1
    >>> reach_probability([[-1, 1], [-1, -1]], [smooth, np.array([[0.5, 0.5]])])
    array([[1.  , 0.25]])
    """
    tables = [np.asarray(table, dtype=float) for table in fractions]
    _check_tree(next_task, tables, first)
    n_subjects = len(tables[first])
    reach = np.zeros((n_subjects, len(next_task)))
    reach[:, first] = 1.0
    for task in topological_order(next_task, first):
        targets = set(next_task[task])
        for target in sorted(targets - {-1}):
            if len(targets) == 1:
                reach[:, target] += reach[:, task]
                continue
            through = [answer for answer, following in enumerate(next_task[task]) if following == target]
            share = tables[task][:, through].sum(axis=1)
            # A question that cannot be reached adds nothing, though its fractions are 0/0.
            reach[:, target] += np.where(reach[:, task] > 0, reach[:, task] * share, reach[:, task])
    return np.minimum(reach, 1.0)


def _check_counts(counts: npt.ArrayLike) -> IntArray:
    array = np.asarray(counts)
    if array.ndim != 2 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"counts must be integers of shape (n_subjects, n_answers), got {array.dtype} {array.shape}")
    array = array.astype(np.int64)
    if array.size and array.min() < 0:
        raise ValueError(f"counts must not be negative, got {int(array.min())}")
    return array


def _check_voters(n_voters: npt.ArrayLike | None, counts: IntArray) -> IntArray:
    voters = np.asarray(n_voters)
    if voters.shape != (len(counts),) or (voters.size and voters.dtype.kind not in "iu"):
        raise ValueError(f"n_voters must hold one integer per subject ({len(counts)}), got {voters.shape}")
    if counts.size and np.any(counts.max(axis=1) > voters):
        worst = int(np.flatnonzero(counts.max(axis=1) > voters)[0])
        raise ValueError(f"subject {worst}: {int(counts[worst].max())} votes for one answer by {voters[worst]} voters")
    return voters.astype(np.int64)


def _check_tree(next_task: Sequence[Sequence[int]], tables: Sequence[FloatArray], first: int) -> None:
    n_tasks = len(next_task)
    if len(tables) != n_tasks or not 0 <= first < n_tasks:
        raise ValueError(f"{n_tasks} tasks, {len(tables)} tables of fractions, first task {first}: they disagree")
    for task, (answers, table) in enumerate(zip(next_task, tables, strict=True)):
        if table.shape != (len(tables[first]), len(answers)):
            raise ValueError(
                f"task {task}: fractions must have shape {(len(tables[first]), len(answers))}, not {table.shape}"
            )
        if any(not -1 <= target < n_tasks for target in answers):
            raise ValueError(f"task {task} leads to an unknown task: {list(answers)}")


def topological_order(next_task: Sequence[Sequence[int]], first: int) -> list[int]:
    """Tasks that can be reached from `first`, each after all that lead to it."""
    done: list[int] = []
    open_tasks: list[int] = []

    def visit(task: int) -> None:
        if task in open_tasks:
            raise ValueError(f"tasks form a cycle: {[*open_tasks[open_tasks.index(task) :], task]}")
        if task in done:
            return
        open_tasks.append(task)
        for target in sorted(set(next_task[task]) - {-1}):
            visit(target)
        done.append(open_tasks.pop())

    visit(first)
    return done[::-1]
