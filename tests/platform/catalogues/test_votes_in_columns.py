"""Votes read from the snapshot in columns are those that the rows of the database give one by one."""

import random
from typing import Any

import numpy as np
import pytest

from aggregation.codes import coded
from starsieve.catalogues.consensus.votes import VoteTable
from tests.platform.catalogues.conftest import BOXES, GRADE, box

TREE = {
    "T0": {
        "type": "single", "name": "shape", "question": "?",
        "answers": [{"key": "a", "label": "A", "next": "T1"}, {"key": "b", "label": "B", "next": "T2"},
                    {"key": "c", "label": "C", "next": None}],
    },
    "T1": {"type": "single", "name": "bar", "question": "?",
           "answers": [{"key": "y", "label": "Y", "next": "T3"}, {"key": "n", "label": "N", "next": None}]},
    "T2": {"type": "multiple", "name": "odd", "question": "?",
           "answers": [{"key": "r", "label": "R"}, {"key": "m", "label": "M"}]},
    "T3": {"type": "grade", "name": "lens", "question": "?"},
}  # fmt: skip
NAMES = tuple(f"s{number}" for number in range(9))


def random_answers(chance: random.Random, tasks: dict[str, Any]) -> list[Any]:
    if tasks is GRADE:
        return [chance.choice("ABCIX")]
    if tasks is BOXES:
        n = chance.randrange(4)
        corners = [(chance.randrange(80), chance.random() * 60, chance.randrange(2)) for _ in range(n)]
        return [[box(x, round(y, 2), tool=tool) for x, y, tool in corners]]
    first = chance.randrange(3)
    if first == 0:
        second = chance.randrange(2)
        return [0, second, chance.choice("ABCX")] if second == 0 else [0, 1]
    return [1, sorted(chance.sample([0, 1], chance.randrange(3)))] if first == 1 else [2]


@pytest.fixture
def crowded(survey: Any, make_user: Any) -> Any:
    """crowded(tasks, seed) → a workflow with random classifications, merges and a version that does not count."""
    from classify.models import Volunteer
    from classify.volunteers import merge_visitor
    from starsieve.catalogues.snapshots.refresh import refresh_snapshot
    from starsieve.projects.services import publish_version

    def make(tasks: dict[str, Any], seed: int) -> Any:
        chance = random.Random(seed)
        older = {"T0": {"type": "text", "name": "words", "question": "Say something"}}
        workflow = survey.workflow(older, names=NAMES, limit=100)
        survey.answer(workflow, NAMES[0], "nothing that counts")
        definition = {"first": "T0", "tasks": tasks, "retirement": {"classification_count": 100}}
        publish_version(workflow=workflow, definition=definition, user=survey.owner)
        workflow.refresh_from_db()
        people = [survey.volunteer() for _ in range(6)]
        for person in people:
            for name in chance.sample(NAMES, 6):
                survey.answer(workflow, name, *random_answers(chance, tasks), volunteer=person)
        refresh_snapshot(workflow=workflow)
        for number, person in enumerate(people[:2]):
            user = make_user(f"u{seed}-{number}")
            member = Volunteer.objects.create(user=user)
            survey.answer(workflow, chance.choice(NAMES), *random_answers(chance, tasks), volunteer=member)
            merge_visitor(user=user, visitor=person.visitor)
        return workflow

    return make


def one_by_one(workflow: Any) -> VoteTable:
    """The slow reference: through the ORM, row by row."""
    from classify.models import Classification
    from classify.versions import counts_towards

    table = VoteTable(workflow.current.parsed)
    for row in Classification.objects.counted().filter(workflow=workflow).order_by("id"):
        if counts_towards(row.workflow_version, workflow.current):
            table.add(row.subject_id, row.volunteer_id, row.annotations)
    return table


def same(one: Any, other: Any) -> None:
    for name in one._fields:
        mine, its = getattr(one, name), getattr(other, name)
        assert (name, mine.dtype) == (name, its.dtype)
        assert np.array_equal(mine, its, equal_nan=mine.dtype.kind == "f"), name


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tasks", [TREE, GRADE, BOXES], ids=["tree", "grade", "boxes"])
def test_a_run_reads_the_votes_that_the_database_has(crowded: Any, tasks: Any, seed: int) -> None:
    from classify.models import Classification
    from starsieve.catalogues.consensus.reading import read_votes
    from starsieve.catalogues.models import ConsensusRun

    workflow = crowded(tasks, seed)
    run = ConsensusRun(workflow=workflow, workflow_version=workflow.current, watermark=2**40)
    told: list[int] = []
    read = VoteTable(workflow.current.parsed)
    n_classifications = read_votes(run, read, on_progress=told.append)
    expected = one_by_one(workflow)
    keys = [key for key, task in workflow.current.parsed.tasks.items() if task.consensus is not None]
    assert keys
    for key in keys:
        same(read.of(key), expected.of(key))
    if tasks is BOXES:
        same(read.marks_of("T0"), expected.marks_of("T0"))
    counted = Classification.objects.counted().filter(workflow=workflow, workflow_version=workflow.current).count()
    assert n_classifications == told[-1] == counted
    shards = [VoteTable(workflow.current.parsed) for _ in range(3)]
    assert sum(read_votes(run, each, home=(place, 3)) for place, each in enumerate(shards)) == counted
    for key in keys:
        ids = [each.of(key).subject_ids for each in shards]
        assert np.array_equal(np.sort(np.concatenate(ids)), expected.of(key).subject_ids)


def test_texts_that_nobody_said_are_no_votes(survey: Any) -> None:
    definition = survey.workflow(TREE).current.parsed
    table = VoteTable(definition)
    texts = [
        '[{"task": "T0", "value": "of another version"}]',
        '[{"task": "T0", "value": 2}]',
        "[]",
        '[{"task": "T0", "value": null}]',
    ]
    rows = np.array([5, 7, 5, 9])
    table.add_columns(rows, rows + 100, texts, np.array([1, 2, 1, 3]))
    table.add_columns(rows[:0], rows[:0], texts, np.zeros(0, dtype=np.int64))
    votes = table.of("T0")
    assert (votes.subject_ids.tolist(), votes.volunteer_ids.tolist()) == ([5], [105])
    assert votes.answer.tolist() == [2, 2]
    assert table.of("T1").answer.size == 0


@pytest.mark.parametrize("spread", [1, 3, 1000])
@pytest.mark.parametrize("size", [0, 1, 500])
def test_ids_are_coded_as_numpy_would(spread: int, size: int) -> None:
    ids = np.random.default_rng(size).integers(10**12, 10**12 + spread * max(size, 1), size)
    for mine, its in zip(coded(ids), np.unique(ids, return_inverse=True), strict=True):
        assert np.array_equal(mine, its)
        assert mine.dtype == its.dtype
