"""The end of a split run: all pooled models are fitted; fit the other tasks, judge, and store shard by shard."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from aggregation import PooledFit, PooledPosteriors, report_from_bytes, round_from_bytes, shard_of
from classify.services import retire_settled
from classify.versions import definition_of
from ml_worker.models import JobState
from starsieve.catalogues.consensus.blocks import ASKED, answer_of, read_message, subjects_of
from starsieve.catalogues.consensus.boxes import BoxOutcome, settled_subject_ids
from starsieve.catalogues.consensus.gold import KnownAnswers, known_answers
from starsieve.catalogues.consensus.judging import fits_and_judgements
from starsieve.catalogues.consensus.live import LiveTasks, weigh_from_now_on
from starsieve.catalogues.consensus.methods import alone_outcomes, tasks_fitted_alone
from starsieve.catalogues.consensus.outcome import Outcome, live_of
from starsieve.catalogues.consensus.pooled import (
    PooledGroup,
    Sizes,
    facts_of,
    live_tasks,
    outcomes_on,
    pooled_groups,
    sizes_of,
)
from starsieve.catalogues.consensus.reading import read_votes
from starsieve.catalogues.consensus.shards import ClaimLost
from starsieve.catalogues.consensus.storing import Piece, store
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.consensus.votes import IntArray, VoteTable
from starsieve.catalogues.models import ConsensusShard, ConsensusSplit
from starsieve.projects.definitions import WorkflowDefinition

AnyOutcome = Outcome | BoxOutcome


def close_run(*, shard: ConsensusShard) -> None:
    """Store what the shards have found and end the run; `shard` is the claimed last piece of it. Raises ClaimLost.

    Holds the posteriors of one shard at a time, and the votes of the tasks that are not pooled.
    """
    split, run = shard.split, shard.split.run
    definition = definition_of(run.workflow_version)
    known = known_answers(definition, split.gold)
    alone = _fitted_alone(split, definition, known)
    pieces = _Pieces(split, definition, known, alone)

    def facts() -> dict[str, Any]:
        if not ConsensusShard.objects.filter(pk=shard.pk, state=JobState.RUNNING, claim=shard.claim).exists():
            raise ClaimLost(str(shard))
        counted = split.shards.filter(place__lt=split.n_shards).values_list("n_classifications", flat=True)
        tasks = fits_and_judgements(pieces.judged(), definition, known)
        return {"n_classifications": sum(n or 0 for n in counted), "tasks": tasks}

    if run.state == JobState.RUNNING:  # else somebody died between storing and what follows
        store(run=run, pieces=pieces, facts=facts)
    weigh_from_now_on(
        version=run.workflow_version, watermark=run.watermark, found=pieces.live(), by_shard=pieces.live_by_shard()
    )
    if definition.retirement.settled:
        boxes = [outcome for outcome in alone.values() if isinstance(outcome, BoxOutcome)]
        retire_settled(workflow=run.workflow, subject_ids=settled_subject_ids(boxes))
    ConsensusSplit.objects.filter(pk=split.pk).delete()


def _fitted_alone(split: ConsensusSplit, definition: WorkflowDefinition, known: KnownAnswers) -> dict[str, AnyOutcome]:
    keys = tasks_fitted_alone(definition)
    if not keys:
        return {}
    table = VoteTable(definition, keys)
    read_votes(split.run, table)
    return alone_outcomes(definition, table, known)


class _Pieces:
    """What is said of the subjects of one shard after the other; remembers of each what judges the whole."""

    def __init__(
        self,
        split: ConsensusSplit,
        definition: WorkflowDefinition,
        known: KnownAnswers,
        alone: Mapping[str, AnyOutcome],
    ) -> None:
        self._split, self._definition, self._known, self._alone = split, definition, known, alone
        self._groups = pooled_groups(definition)
        self._sizes: list[Sizes | None] = [None] * len(self._groups)
        self._gold: dict[str, list[Outcome]] = {}

    def __iter__(self) -> Iterator[Piece]:
        for place in range(self._split.n_shards):
            found = dict(self._alone)
            for number, group in enumerate(self._groups):
                found |= self._outcomes(number, group, place)
            shown = {key: found[key].without_gold() for key in self._definition.tasks if key in found}
            said = SubjectTable(shown, self._definition)
            ids = said.subject_ids
            yield Piece(ids[shard_of(ids, self._split.n_shards) == place], said)

    def judged(self) -> dict[str, AnyOutcome]:
        """Outcomes that hold the gold subjects only, with the facts of the whole fits; and those fitted alone."""
        found = dict(self._alone)
        for number, (group, sizes) in enumerate(zip(self._groups, self._sizes, strict=True)):
            if sizes is None or not sizes.n_all:
                continue
            for key, facts in facts_of(group, self._fits[number], sizes).items():
                found[key] = _together(self._gold[key], facts)
        return {key: found[key] for key in self._definition.tasks if key in found}

    def live(self) -> list[LiveTasks]:
        """What goes on vote by vote: of the pooled models with the evidence on the first shard's subjects only."""
        voted = {number for number, fit in enumerate(self._fits) if any(len(ids) for ids in fit.volunteers)}
        pooled = [self._live_at(number, 0) for number in sorted(voted)]
        order = list(self._definition.tasks)
        return sorted([*pooled, *live_of(self._alone.values())], key=lambda each: order.index(each.tasks[0]))

    def live_by_shard(self) -> Iterator[list[LiveTasks]]:
        """The same with the evidence on the subjects of one shard after the other."""
        others = live_of(self._alone.values())
        n_shards = self._split.n_shards
        for place in range(n_shards):
            pooled = [self._live_at(number, place) for number in range(len(self._groups))]
            yield [*pooled, *(each.on(shard_of(each.subject_ids, n_shards) == place) for each in others)]

    def _live_at(self, number: int, place: int) -> LiveTasks:
        return live_tasks(self._groups[number], self._fits[number], *self._said(number, place))

    def _said(self, number: int, place: int) -> tuple[PooledPosteriors, IntArray]:
        """Posteriors of a shard's subjects, and their ids."""
        at = self._split.last_rounds[number]
        said = report_from_bytes(read_message(split=self._split, number=at, name=answer_of(place)))
        assert isinstance(said, PooledPosteriors)
        ids = np.frombuffer(read_message(split=self._split, number=at, name=subjects_of(place)), dtype=np.int64)
        return said, ids

    def _outcomes(self, number: int, group: PooledGroup, place: int) -> dict[str, Outcome]:
        said, ids = self._said(number, place)
        sizes, before = sizes_of(said), self._sizes[number]
        self._sizes[number] = sizes if before is None else before.plus(sizes)
        outcomes = outcomes_on(group, said, ids, {})
        for key, outcome in outcomes.items():
            self._gold.setdefault(key, []).append(_rows(outcome, list(self._known.accepted.get(key, {}))))
        return outcomes

    @cached_property
    def _fits(self) -> list[PooledFit]:
        asked = [read_message(split=self._split, number=at, name=ASKED) for at in self._split.last_rounds]
        pairs = zip(self._groups, asked, strict=True)
        return [group.model.fitted(round_from_bytes(content)) for group, content in pairs]


def _rows(outcome: Outcome, subject_ids: list[int]) -> Outcome:
    return _taken(outcome, np.flatnonzero(np.isin(outcome.subject_ids, subject_ids)))


def _taken(outcome: Outcome, rows: IntArray) -> Outcome:
    return replace(
        outcome,
        subject_ids=outcome.subject_ids[rows],
        n_votes=outcome.n_votes[rows],
        posterior=outcome.posterior[rows],
        held_out=outcome.held_out[rows],
        reach=None if outcome.reach is None else outcome.reach[rows],
    )


def _together(parts: list[Outcome], facts: dict[str, Any]) -> Outcome:
    """Outcomes of different subjects as one, in the order of the subjects."""
    reaches = [part.reach for part in parts if part.reach is not None]
    whole = Outcome(
        np.concatenate([part.subject_ids for part in parts]),
        np.concatenate([part.n_votes for part in parts]),
        np.concatenate([part.posterior for part in parts]),
        np.concatenate([part.held_out for part in parts]),
        facts,
        reach=np.concatenate(reaches) if reaches else None,
    )
    return _taken(whole, np.argsort(whole.subject_ids, kind="stable"))
