"""Applying each task's method to its votes. To add a method: a function here, and its name and settings in METHODS of
projects/task_types/consensus.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation.calibration import CalibrationMap
from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.grades import LENS_ESCAPE, LENS_LEVELS
from aggregation.live import Started, start_from_posterior, start_pooled, start_tree
from aggregation.ordinal import OrdinalGrades, ordinal_grades
from aggregation.pooled import pooled_dawid_skene
from aggregation.tree import pooled_tree
from aggregation.weighted import weighted_votes
from starsieve.catalogues.consensus.boxes import BoxOutcome, fit_boxes
from starsieve.catalogues.consensus.gold import KnownAnswers
from starsieve.catalogues.consensus.live import LiveTasks
from starsieve.catalogues.consensus.tree import TaskTree, tree_of
from starsieve.catalogues.consensus.votes import IntArray, TaskVotes, VoteTable
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, SingleTask, Task

FloatArray = npt.NDArray[np.float64]
#: Known answers: task key → subject id → answer code.
Gold = Mapping[str, Mapping[int, int]]

#: The method of boxes that is more than counting.
BOXES_METHOD = "skills"
#: What is stored and published has this many decimals: it must not hang on the last bits of a sum.
DECIMALS = 6

#: Columns of `ordinal_grades` in the order of GRADES.
_GRADE_COLUMNS = [(*LENS_LEVELS, LENS_ESCAPE).index(grade) for grade in GRADES]


@dataclass(frozen=True)
class Outcome:
    """Consensus on one task; row i is `subject_ids[i]`, columns are answers or GRADES.

    `held_out` is the posterior of gold subjects without their own gold answer. `reach` is the probability that the
    question applies, where the tree knows. `columns` and `held_out_columns` hold further numbers by name. `facts` is
    what a page or a provenance says about the fit. `live` goes on vote by vote, for this task or, at the first question
    of a tree, for all of its questions.
    """

    subject_ids: IntArray
    n_votes: IntArray
    posterior: FloatArray
    held_out: FloatArray
    facts: dict[str, Any]
    reach: FloatArray | None = None
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    held_out_columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    live: LiveTasks | None = None

    @property
    def answer(self) -> IntArray:
        """The most probable answer's code."""
        best: IntArray = self.posterior.argmax(axis=1)
        return best

    def without_gold(self) -> "Outcome":
        """The same, saying of gold subjects what votes alone say: pages must not give the gold standard away."""
        return replace(self, posterior=self.held_out, columns=self.held_out_columns)

    def said_of(self, row: int) -> dict[str, Any]:
        """What is said of one subject, in plain numbers; "answer" is still a code."""
        return {name: column[row].tolist() for name, column in self.rounded.items()}

    @cached_property
    def rounded(self) -> dict[str, npt.NDArray[Any]]:
        """What is said of all subjects, by the same names."""
        columns: dict[str, npt.NDArray[Any]] = {"n": self.n_votes, "p": self.posterior, "answer": self.answer}
        if self.reach is not None:
            columns["reach"] = self.reach
        columns |= self.columns
        return {
            name: np.round(column, DECIMALS) if column.dtype.kind == "f" else column for name, column in columns.items()
        }


def is_modelled(task: Task) -> bool:
    """Whether the task's method is more than counting."""
    return task.consensus is not None and task.consensus.method in {*METHODS, BOXES_METHOD}


def outcomes_of(
    definition: WorkflowDefinition, table: VoteTable, known: KnownAnswers
) -> dict[str, Outcome | BoxOutcome]:
    """Consensus of every task that has votes and a method beyond counting, in the order of the workflow."""
    found: dict[str, Outcome | BoxOutcome] = {}
    tree = tree_of(definition)
    if tree is not None:
        found |= _pooled_tree(tree, table, known.exact)
    for key, task in definition.tasks.items():
        votes = table.of(key) if is_modelled(task) and key not in found else None
        if votes is None or not votes.subject_ids.size:
            continue
        if isinstance(task, BoxesTask):
            found[key] = fit_boxes(task, table.marks_of(key), known.boxes.get(key, {}))
        else:
            assert task.consensus is not None
            fit = METHODS[task.consensus.method]
            found[key] = fit(task, votes, _known(votes.subject_ids, known.exact.get(key)))
    return {key: found[key] for key in definition.tasks if key in found}


def _known(subject_ids: IntArray, answers: Mapping[int, int] | None) -> IntArray | None:
    """Gold in the order of the codes, -1 where unknown; None where nothing is known."""
    if not answers:
        return None
    known = np.array([answers.get(subject, -1) for subject in subject_ids.tolist()], dtype=np.int64)
    return known if (known >= 0).any() else None


def _pooled(task: Task, votes: TaskVotes, gold: IntArray | None) -> Outcome:
    assert isinstance(task, SingleTask)
    fit = pooled_dawid_skene(votes.subject, votes.volunteer, votes.answer, len(task.answers), gold)
    facts = _facts(task, votes, fit) | _calibration(fit.calibration)
    facts |= {"strength": fit.strength, "muddled": fit.muddled, "correlation": fit.correlation,
              "prior": _plain(fit.prior), "crowd": _plain(fit.crowd)}  # fmt: skip
    live = _live_alone(task, votes, fit.n_votes, start_pooled(fit))
    return Outcome(votes.subject_ids, fit.n_votes, fit.posterior, fit.held_out, facts, live=live)


def _live_alone(task: Task, votes: TaskVotes, n_votes: IntArray, started: Started) -> LiveTasks:
    return LiveTasks((task.key,), (started,), votes.subject_ids, n_votes[:, np.newaxis], (votes.volunteer_ids,))


def _live_from(task: Task, votes: TaskVotes, n_votes: IntArray, posterior: FloatArray) -> LiveTasks:
    """Going on from the posterior of a model that is not made for it."""
    started = start_from_posterior(votes.subject, votes.volunteer, votes.answer, posterior)
    return _live_alone(task, votes, n_votes, started)


def _pooled_tree(tree: TaskTree, table: VoteTable, gold: Gold) -> dict[str, Outcome | BoxOutcome]:
    """All questions of a decision tree at once; each outcome has the subjects that were asked."""
    votes = [table.of(key) for key in tree.tasks]
    subject_ids = np.unique(np.concatenate([each.subject_ids for each in votes]))
    volunteer_ids = np.unique(np.concatenate([each.volunteer_ids for each in votes]))
    if not subject_ids.size:
        return {}
    known = [_known(subject_ids, gold.get(key)) for key in tree.tasks]
    unknown = np.full(len(subject_ids), -1, dtype=np.int64)
    fit = pooled_tree(
        np.concatenate([np.searchsorted(subject_ids, each.subject_ids)[each.subject] for each in votes]),
        np.concatenate([np.searchsorted(volunteer_ids, each.volunteer_ids)[each.volunteer] for each in votes]),
        np.concatenate([np.full(len(each.answer), place) for place, each in enumerate(votes)]),
        np.concatenate([each.answer for each in votes]),
        tree.next_task,
        np.stack([unknown if each is None else each for each in known], axis=1),
        n_subjects=len(subject_ids),
    )
    people = tuple(volunteer_ids[who] for who in fit.volunteers)
    live = LiveTasks(tuple(tree.tasks), tuple(start_tree(fit, tree.next_task)), subject_ids, fit.n_votes, people)
    outcomes: dict[str, Outcome | BoxOutcome] = {}
    for place, (key, each) in enumerate(zip(tree.tasks, votes, strict=True)):
        asked = np.flatnonzero(fit.n_votes[:, place] > 0)
        if not asked.size:
            continue
        facts = {
            "method": "pooled",
            "settings": {},
            **_sizes(each),
            "tree": True,
            "reach": round(float(fit.reach[:, place].mean()), 6),
            "log_likelihood": fit.log_likelihood,
            "n_iterations": fit.n_iterations,
            "converged": fit.converged,
            "strength": fit.strength[place],
            "muddled": fit.muddled[place],
            "correlation": fit.correlation[place],
            "prior": _plain(fit.prior[place]),
            "crowd": _plain(fit.crowd[place]),
            **_calibration(fit.calibration[place]),
        }
        outcomes[key] = Outcome(
            subject_ids[asked],
            fit.n_votes[asked, place],
            fit.posterior[place][asked],
            fit.held_out[place][asked],
            facts,
            reach=fit.reach[asked, place],
            live=live if not outcomes else None,
        )
    return outcomes


def _confusion(model: Callable[..., DawidSkene]) -> Callable[[Task, TaskVotes, IntArray | None], Outcome]:
    def fit_model(task: Task, votes: TaskVotes, gold: IntArray | None) -> Outcome:
        assert isinstance(task, SingleTask)
        assert task.consensus is not None
        settings = dict(task.consensus.settings)
        columns = (votes.subject, votes.volunteer, votes.answer, len(task.answers))
        fit = model(*columns, gold, **settings)
        # Without their gold answers these models do not say what they believe of gold subjects: fit again.
        held_out = fit.posterior if gold is None else model(*columns, **settings).posterior
        facts = _facts(task, votes, fit) | {"prior": _plain(fit.prior)}
        live = _live_from(task, votes, fit.n_votes, held_out)
        return Outcome(votes.subject_ids, fit.n_votes, fit.posterior, held_out, facts, live=live)

    return fit_model


def _weighted(task: Task, votes: TaskVotes, gold: IntArray | None) -> Outcome:
    assert isinstance(task, SingleTask)
    assert task.consensus is not None
    settings = dict(task.consensus.settings)
    fit = weighted_votes(
        votes.subject, votes.volunteer, votes.answer, len(task.answers),
        passes=int(settings["passes"]), threshold=settings["threshold"], exponent=settings["exponent"],
    )  # fmt: skip
    facts = {"method": "weighted", "settings": settings, **_sizes(votes)}
    return Outcome(votes.subject_ids, fit.n_votes, fit.posterior, fit.posterior, facts)


def _ordinal(task: Task, votes: TaskVotes, gold: IntArray | None) -> Outcome:
    assert isinstance(task, GradeTask)
    to_scale = np.array([(*LENS_LEVELS, LENS_ESCAPE).index(grade) for grade in GRADES])
    columns = (votes.subject, votes.volunteer, to_scale[votes.answer])
    known = None if gold is None else np.where(gold >= 0, to_scale[gold], -1)
    fit = ordinal_grades(*columns, gold=known)
    held_out = fit if known is None else ordinal_grades(*columns)
    facts = _facts(task, votes, fit) | {"thresholds": _plain(fit.thresholds), "row_strength": fit.row_strength}
    facts["n_adjudicate"] = int(fit.needs_adjudication.sum())
    return Outcome(
        votes.subject_ids,
        fit.n_votes,
        fit.posterior[:, _GRADE_COLUMNS],
        held_out.posterior[:, _GRADE_COLUMNS],
        facts,
        columns=_grade_columns(fit),
        held_out_columns=_grade_columns(held_out),
        live=_live_from(task, votes, fit.n_votes, held_out.posterior[:, _GRADE_COLUMNS]),
    )


def _grade_columns(fit: OrdinalGrades) -> dict[str, npt.NDArray[Any]]:
    return {
        "expected_grade": fit.expected,
        "rank": fit.rank,
        "rank_error": fit.rank_error,
        "adjudicate": fit.needs_adjudication,
    }


#: By the names of projects/task_types/consensus.py, for tasks with answers; those that only count are absent.
METHODS: dict[str, Callable[[Task, TaskVotes, IntArray | None], Outcome]] = {
    "pooled": _pooled,
    "dawid-skene": _confusion(dawid_skene),
    "one-coin": _confusion(one_coin),
    "weighted": _weighted,
    "ordinal": _ordinal,
}


def _facts(task: Task, votes: TaskVotes, fit: Any) -> dict[str, Any]:
    assert task.consensus is not None
    return {
        "method": task.consensus.method,
        "settings": dict(task.consensus.settings),
        **_sizes(votes),
        "log_likelihood": fit.log_likelihood,
        "n_iterations": fit.n_iterations,
        "converged": fit.converged,
    }


def _sizes(votes: TaskVotes) -> dict[str, int]:
    return {
        "n_votes": len(votes.answer),
        "n_subjects": len(votes.subject_ids),
        "n_volunteers": len(votes.volunteer_ids),
    }


def _calibration(fitted: CalibrationMap | None) -> dict[str, Any]:
    if fitted is None:
        return {}
    return {"calibration": {"kind": fitted.kind, "n_gold": fitted.n_gold, "reason": fitted.reason}}


def _plain(numbers: FloatArray) -> list[Any]:
    """Nested lists of rounded numbers."""
    rounded: list[Any] = np.round(numbers, DECIMALS).tolist()
    return rounded
