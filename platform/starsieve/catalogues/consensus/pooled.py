"""The pooled model of a workflow's questions, a decision tree or one question alone; of all subjects, or of a shard."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from aggregation import PooledFit, PooledPosteriors, PooledShard, ShardedPooled
from aggregation.codes import coded
from aggregation.live import start_sharded
from starsieve.catalogues.consensus.live import LiveTasks
from starsieve.catalogues.consensus.outcome import Outcome, calibration_facts, plain
from starsieve.catalogues.consensus.tree import tree_of
from starsieve.catalogues.consensus.votes import IntArray, VoteTable
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.task_types import SingleTask

POOLED = "pooled"

#: Known answers: task key → subject id → answer code.
Gold = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class PooledGroup:
    """Keys of the tasks that one model holds, and for each the place that each of its answers leads to, -1: the end."""

    tasks: tuple[str, ...]
    next_task: tuple[tuple[int, ...], ...]

    @property
    def is_tree(self) -> bool:
        return len(self.tasks) > 1

    @property
    def model(self) -> ShardedPooled:
        return ShardedPooled(self.next_task)


class Gathered(NamedTuple):
    """Votes of a group, ready to be fitted, and the ids behind its codes of subjects."""

    shard: PooledShard
    subject_ids: IntArray


class Sizes(NamedTuple):
    """What the facts of a fit say of its subjects; sums over shards.

    `n_subjects` were asked each task, `reach` is the sum of the probabilities that it applies; `n_all` were asked any.
    """

    n_subjects: tuple[int, ...]
    reach: tuple[float, ...]
    n_all: int

    def plus(self, other: "Sizes") -> "Sizes":
        n_subjects = tuple(a + b for a, b in zip(self.n_subjects, other.n_subjects, strict=True))
        reach = tuple(a + b for a, b in zip(self.reach, other.reach, strict=True))
        return Sizes(n_subjects, reach, self.n_all + other.n_all)


def pooled_groups(definition: WorkflowDefinition) -> list[PooledGroup]:
    """The models that the tasks with the pooled method make up, in the order of the workflow."""
    tree = tree_of(definition)
    if tree is not None:
        return [PooledGroup(tree.tasks, tree.next_task)]
    return [
        PooledGroup((key,), ((-1,) * len(task.answers),))
        for key, task in definition.tasks.items()
        if isinstance(task, SingleTask) and task.consensus is not None and task.consensus.method == POOLED
    ]


def fit_group(group: PooledGroup, table: VoteTable, gold: Gold) -> dict[str, Outcome]:
    """Consensus of the tasks of a group that have votes, from all of them here."""
    gathered = gather(group, table, gold)
    if not gathered.subject_ids.size:
        return {}
    ended = group.model.run([gathered.shard])
    said = ended.posteriors[0]
    outcomes = outcomes_on(group, said, gathered.subject_ids, facts_of(group, ended.fit, sizes_of(said)))
    first = next(iter(outcomes))
    live = live_tasks(group, ended.fit, said, gathered.subject_ids)
    return outcomes | {first: replace(outcomes[first], live=live)}


def live_tasks(group: PooledGroup, fit: PooledFit, said: PooledPosteriors, subject_ids: IntArray) -> LiveTasks:
    """The fit as it goes on vote by vote, with the evidence on a shard's subjects."""
    started = tuple(start_sharded(fit, said, group.next_task))
    return LiveTasks(group.tasks, started, subject_ids, said.n_votes, tuple(fit.volunteers))


def gather(group: PooledGroup, table: VoteTable, gold: Gold) -> Gathered:
    """The group's votes in the table; volunteers keep their ids, which are the same in every shard."""
    columns = [table.columns_of(key) for key in group.tasks]
    subjects, volunteers, answers = (np.concatenate(each) for each in zip(*columns, strict=True))
    subject_ids, subject = coded(subjects)
    task = np.repeat(np.arange(len(columns)), [len(each[0]) for each in columns])
    unknown = np.full(len(subject_ids), -1, dtype=np.int64)
    known = [known_codes(subject_ids, gold.get(key)) for key in group.tasks]
    shard = PooledShard.of_tree(
        subject,
        volunteers,
        task,
        answers,
        group.next_task,
        np.stack([unknown if each is None else each for each in known], axis=1),
        n_subjects=len(subject_ids),
    )
    return Gathered(shard, subject_ids)


def known_codes(subject_ids: IntArray, answers: Mapping[int, int] | None) -> IntArray | None:
    """Gold in the order of the codes, -1 where unknown; None where nothing is known."""
    if not answers:
        return None
    known = np.array([answers.get(subject, -1) for subject in subject_ids.tolist()], dtype=np.int64)
    return known if (known >= 0).any() else None


def outcomes_on(
    group: PooledGroup, said: PooledPosteriors, subject_ids: IntArray, facts: Mapping[str, dict[str, Any]]
) -> dict[str, Outcome]:
    """What is said of a shard's subjects; each outcome has those that were asked."""
    outcomes = {}
    for place, key in enumerate(group.tasks):
        asked = np.flatnonzero(said.n_votes[:, place] > 0)
        if asked.size:
            outcomes[key] = Outcome(
                subject_ids[asked],
                said.n_votes[asked, place],
                said.posterior[place][asked],
                said.held_out[place][asked],
                facts.get(key, {}),
                reach=said.reach[asked, place] if group.is_tree else None,
            )
    return outcomes


def sizes_of(said: PooledPosteriors) -> Sizes:
    n_subjects = (said.n_votes > 0).sum(axis=0).tolist()
    return Sizes(tuple(n_subjects), tuple(said.reach.sum(axis=0).tolist()), len(said.reach))


def facts_of(group: PooledGroup, fit: PooledFit, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Task key → what a page or a provenance says about the fit, of the tasks that have votes."""
    return {
        key: _facts_of(group, place, fit, sizes) for place, key in enumerate(group.tasks) if sizes.n_subjects[place]
    }


def _facts_of(group: PooledGroup, place: int, fit: PooledFit, sizes: Sizes) -> dict[str, Any]:
    in_tree = {"tree": True, "reach": round(sizes.reach[place] / sizes.n_all, 6)} if group.is_tree else {}
    return {
        "method": POOLED,
        "settings": {},
        "n_votes": int(fit.n_given[place].sum()),
        "n_subjects": sizes.n_subjects[place],
        "n_volunteers": len(fit.volunteers[place]),
        **in_tree,
        "log_likelihood": fit.log_likelihood,
        "n_iterations": fit.n_iterations,
        "converged": fit.converged,
        "strength": fit.strength[place],
        "muddled": fit.muddled[place],
        "correlation": fit.correlation[place],
        "prior": plain(fit.prior[place]),
        "crowd": plain(fit.crowd[place]),
        **calibration_facts(fit.calibration[place]),
    }
