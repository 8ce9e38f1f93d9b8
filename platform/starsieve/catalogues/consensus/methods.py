"""Applying each task's method to its votes. To add a method: a function here, and its name and settings in METHODS of
projects/task_types/consensus.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.grades import LENS_ESCAPE, LENS_LEVELS
from aggregation.live import Started, start_from_posterior
from aggregation.ordinal import OrdinalGrades, ordinal_grades
from aggregation.weighted import weighted_votes
from starsieve.catalogues.consensus.boxes import BoxOutcome, fit_boxes
from starsieve.catalogues.consensus.gold import KnownAnswers
from starsieve.catalogues.consensus.live import LiveTasks
from starsieve.catalogues.consensus.outcome import FloatArray, Outcome, plain
from starsieve.catalogues.consensus.pooled import POOLED, fit_group, known_codes, pooled_groups
from starsieve.catalogues.consensus.votes import IntArray, TaskVotes, VoteTable
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, SingleTask, Task

#: The method of boxes that is more than counting.
BOXES_METHOD = "skills"

#: Columns of `ordinal_grades` in the order of GRADES.
_GRADE_COLUMNS = [(*LENS_LEVELS, LENS_ESCAPE).index(grade) for grade in GRADES]


def is_modelled(task: Task) -> bool:
    """Whether the task's method is more than counting."""
    return task.consensus is not None and task.consensus.method in {*METHODS, POOLED, BOXES_METHOD}


def outcomes_of(
    definition: WorkflowDefinition, table: VoteTable, known: KnownAnswers
) -> dict[str, Outcome | BoxOutcome]:
    """Consensus of every task that has votes and a method beyond counting, in the order of the workflow."""
    groups = pooled_groups(definition)
    found: dict[str, Outcome | BoxOutcome] = {}
    for group in groups:
        found |= fit_group(group, table, known.exact)
    found |= alone_outcomes(definition, table, known)
    return {key: found[key] for key in definition.tasks if key in found}


def tasks_fitted_alone(definition: WorkflowDefinition) -> list[str]:
    """Keys of the tasks with a method beyond counting that no pooled model holds."""
    pooled = {key for group in pooled_groups(definition) for key in group.tasks}
    return [key for key, task in definition.tasks.items() if is_modelled(task) and key not in pooled]


def alone_outcomes(
    definition: WorkflowDefinition, table: VoteTable, known: KnownAnswers
) -> dict[str, Outcome | BoxOutcome]:
    """Consensus of the tasks of `tasks_fitted_alone` that have votes."""
    found: dict[str, Outcome | BoxOutcome] = {}
    for key in tasks_fitted_alone(definition):
        task, votes = definition.tasks[key], table.of(key)
        if not votes.subject_ids.size:
            continue
        if isinstance(task, BoxesTask):
            found[key] = fit_boxes(task, table.marks_of(key), known.boxes.get(key, {}))
        else:
            assert task.consensus is not None
            fit = METHODS[task.consensus.method]
            found[key] = fit(task, votes, known_codes(votes.subject_ids, known.exact.get(key)))
    return found


def _live_alone(task: Task, votes: TaskVotes, n_votes: IntArray, started: Started) -> LiveTasks:
    return LiveTasks((task.key,), (started,), votes.subject_ids, n_votes[:, np.newaxis], (votes.volunteer_ids,))


def _live_from(task: Task, votes: TaskVotes, n_votes: IntArray, posterior: FloatArray) -> LiveTasks:
    """Going on from the posterior of a model that is not made for it."""
    started = start_from_posterior(votes.subject, votes.volunteer, votes.answer, posterior)
    return _live_alone(task, votes, n_votes, started)


def _confusion(model: Callable[..., DawidSkene]) -> Callable[[Task, TaskVotes, IntArray | None], Outcome]:
    def fit_model(task: Task, votes: TaskVotes, gold: IntArray | None) -> Outcome:
        assert isinstance(task, SingleTask)
        assert task.consensus is not None
        settings = dict(task.consensus.settings)
        columns = (votes.subject, votes.volunteer, votes.answer, len(task.answers))
        fit = model(*columns, gold, **settings)
        # Without their gold answers these models do not say what they believe of gold subjects: fit again.
        held_out = fit.posterior if gold is None else model(*columns, **settings).posterior
        facts = _facts(task, votes, fit) | {"prior": plain(fit.prior)}
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
    facts = _facts(task, votes, fit) | {"thresholds": plain(fit.thresholds), "row_strength": fit.row_strength}
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


#: By the names of projects/task_types/consensus.py, for tasks with answers; those that only count are absent, and the
#: pooled model, which may hold several tasks (pooled.py).
METHODS: dict[str, Callable[[Task, TaskVotes, IntArray | None], Outcome]] = {
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
