"""A simulation leaves exactly what running work would have left, along any tree, and goes away without a trace."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from classify.feedback import checked_truth
from classify.models import Classification, GoldStandard, SubjectProgress, Volunteer
from classify.rebuild import rebuild_results
from starsieve.ops.simulation import plan as plans
from starsieve.ops.simulation.block import times
from starsieve.ops.simulation.crowd import CROWDS, make_skills
from starsieve.ops.simulation.plan import (
    Plan,
    SimulationRefused,
    blocks_of,
    check_plan,
    classification_counts,
    id_range,
    ids_of,
    ranks,
    who_sees_what,
)
from starsieve.ops.simulation.removal import remove_simulations
from starsieve.ops.simulation.services import simulate
from starsieve.projects.definitions import parse_definition
from starsieve.projects.frames import frame_sizes
from starsieve.projects.models import Project, Subject, SubjectSet, Workflow
from starsieve.projects.services import create_workflow

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def answers(*keys: str, **ways: str | None) -> list[dict[str, Any]]:
    return [{"key": key, "label": key, **({"next": ways[key]} if key in ways else {})} for key in keys]


TREE = {
    "T0": {"type": "single", "question": "?", "answers": answers("smooth", "disk", "star", star=None), "next": "T1"},
    "T1": {"type": "multiple", "question": "?", "answers": answers("ring", "bar", "dust"), "next": "T2",
           "required": False},
    "T2": {"type": "grade", "question": "?", "next": "T3"},
    "T3": {"type": "boxes", "question": "?", "tools": answers("clump", "other"), "max_marks": 5, "next": "T4"},
    "T4": {"type": "text", "question": "?", "required": False},
}  # fmt: skip
ONE = {"T0": {"type": "single", "question": "?", "answers": answers("smooth", "disk")}}


@pytest.fixture
def make_workflow(make_user: Callable[..., Any]) -> Callable[..., Workflow]:
    def make(tasks: dict[str, Any] = ONE, *, limit: int = 5, **project: Any) -> Workflow:
        owner = make_user(f"owner-{uuid4().hex[:8]}")
        fields = {"title": "Teaching", "slug": uuid4().hex[:10], "created_by": owner, **project}
        definition = {"first": "T0", "tasks": tasks, "retirement": {"classification_count": limit}}
        return create_workflow(project=Project.objects.create(**fields), name="Main", definition=definition, user=owner)

    return make


def fill(workflow: Workflow, subjects: int = 30, volunteers: int = 12, classifications: int = 100, **plan: Any) -> Any:
    return simulate(workflow=workflow, plan=Plan(subjects, volunteers, classifications, **plan), until=NOON)


def command(workflow: Workflow, **options: Any) -> str:
    out = StringIO()
    call_command("simulate", str(workflow.pk), stdout=out, **options)
    return out.getvalue()


def progress_of(workflow: Workflow) -> list[tuple[Any, ...]]:
    rows = SubjectProgress.objects.filter(workflow=workflow).order_by("subject_id")
    return list(
        rows.values_list("classification_count", "tallies", "tallied_version", "retired_at", "retirement_reason")
    )


# --- What is stored -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [ONE, TREE], ids=["one question", "a tree of every task type"])
@pytest.mark.parametrize("classifications", [0, 100, 200, 360])
def test_rebuilding_changes_nothing_and_gives_the_same_again(
    make_workflow: Any, tasks: dict[str, Any], classifications: int
) -> None:
    workflow = make_workflow(tasks)
    fill(workflow, classifications=classifications)
    stored = progress_of(workflow)
    assert sum(row[0] for row in stored) == classifications
    assert rebuild_results(workflow=workflow) == 0
    SubjectProgress.objects.update(classification_count=77, tallies={}, retired_at=None, retirement_reason="")
    rebuild_results(workflow=workflow)
    assert progress_of(workflow) == stored


def test_every_answer_and_every_truth_passes_the_workflows_own_checks(make_workflow: Any) -> None:
    workflow = make_workflow(TREE)
    fill(workflow, classifications=300, gold=1.0)
    definition = workflow.current.parsed
    reached = set()
    for row in Classification.objects.select_related("subject"):
        assert definition.check_annotations(row.annotations, frame_sizes(row.subject)) == row.annotations
        reached |= {annotation["task"] for annotation in row.annotations}
    assert reached == set(TREE)
    golds = list(GoldStandard.objects.select_related("subject"))
    assert {gold.task for gold in golds} == {"T0", "T1", "T2", "T3"}
    for gold in golds:
        frames = frame_sizes(gold.subject)
        assert checked_truth(definition.tasks[gold.task], gold.value, frames) == gold.value
        assert gold.subject.hidden_metadata["truth"][gold.task] == gold.value


def test_blocks_make_no_difference_to_what_must_hold(make_workflow: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(plans, "BLOCK_ROWS", 25)
    workflow = make_workflow(TREE)
    fill(workflow, classifications=200)
    assert (Subject.objects.count(), Classification.objects.count()) == (30, 200)
    assert rebuild_results(workflow=workflow) == 0
    moments = list(Classification.objects.order_by("id").values_list("created_at", flat=True))
    assert moments == sorted(moments)


def test_retirement_and_what_comes_after_it_are_told_apart(make_workflow: Any) -> None:
    workflow = make_workflow(limit=3)
    fill(workflow, classifications=200)
    for progress in SubjectProgress.objects.all():
        rows = list(Classification.objects.filter(subject=progress.subject_id).order_by("id"))
        assert [row.after_retirement for row in rows] == [i >= 3 for i in range(len(rows))]
        assert progress.retired_at == (rows[2].created_at if len(rows) >= 3 else None)


def test_times_come_one_after_the_other_before_the_end(make_workflow: Any) -> None:
    workflow = make_workflow(TREE)
    fill(workflow)
    for row in Classification.objects.select_related("subject", "volunteer"):
        assert row.subject.created_at < row.started_at < row.finished_at < row.created_at <= NOON
        assert row.finished_at - row.started_at < timedelta(hours=1)


def test_a_seed_gives_the_same_again_and_another_seed_something_else(make_workflow: Any) -> None:
    def said(seed: int) -> list[Any]:
        workflow = make_workflow(TREE)
        fill(workflow, seed=seed)
        rows = Classification.objects.filter(workflow=workflow).order_by("id")
        return list(rows.values_list("annotations", "created_at", "started_at"))

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_a_simulated_subject_is_served_and_classified_like_any_other(make_workflow: Any, client: Client) -> None:
    workflow = make_workflow(status=Project.Status.LIVE)
    fill(workflow, classifications=50)
    served = client.get(f"/api/v1/workflows/{workflow.pk}/next").json()
    assert "truth" not in str(served)
    stored = client.post(
        f"/api/v1/workflows/{workflow.pk}/classifications",
        {
            "id": str(uuid4()),
            "subject": served["subjects"][0]["id"],
            "workflow_version": served["workflow_version"],
            "annotations": [{"task": "T0", "value": 0}],
            "started_at": "2026-05-01T12:00:00Z",
            "finished_at": "2026-05-01T12:00:07Z",
            "metadata": {},
        },
        content_type="application/json",
    )
    assert stored.status_code == 201, stored.content
    assert Subject.objects.create(
        project=workflow.project, subject_set=SubjectSet.objects.get(), name="mine", frames=[]
    ).pk > max(SubjectProgress.objects.values_list("subject_id", flat=True))
    assert rebuild_results(workflow=workflow) == 0


def test_two_seeds_lie_side_by_side(make_workflow: Any) -> None:
    workflow = make_workflow()
    fill(workflow, seed=1)
    fill(workflow, seed=2)
    assert Classification.objects.count() == 200
    assert rebuild_results(workflow=workflow) == 0


def test_the_true_skills_go_into_a_file(make_workflow: Any, tmp_path: Path) -> None:
    workflow = make_workflow()
    command(workflow, subjects=10, volunteers=7, classifications=20, skills=tmp_path / "skills.csv")
    with (tmp_path / "skills.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {int(row["volunteer_id"]) for row in rows} == set(Volunteer.objects.values_list("pk", flat=True))
    assert [float(row["accuracy"]) for row in rows] == make_skills(7, 0).accuracy.tolist()


# --- The crowd ----------------------------------------------------------------------------------------------------


def test_skilled_volunteers_are_right_more_often_in_every_task_type() -> None:
    n = 4000
    rng = np.random.default_rng(0)
    skills = make_skills(400, 3)
    who = rng.integers(0, 400, n)
    tasks = parse_definition({"first": "T0", "tasks": TREE, "retirement": {"classification_count": 1}}).tasks
    better = {"T0": skills.accuracy, "T1": -skills.misses, "T2": skills.sharpness, "T3": -skills.misses,
              "T4": skills.accuracy}  # fmt: skip
    for key, skill in better.items():
        crowd = CROWDS[tasks[key].type]
        truth = crowd.truths(tasks[key], n, rng)
        said = crowd.answers(tasks[key], truth, skills.of(who), np.zeros(n), rng)
        right = np.array(
            [
                len(said.values[b]) >= len(truth.values[a]) if key == "T3" else said.values[b] == truth.values[a]
                for a, b in zip(truth.codes, said.codes, strict=True)
            ]
        )
        is_good = skill[who] > np.median(skill)
        assert right[is_good].mean() > right[~is_good].mean() + 0.03, key
        assert right.mean() > 0.4, key


@pytest.mark.parametrize(("n_volunteers", "most"), [(6, 6), (500, 8)])
def test_each_subject_gets_its_number_of_different_volunteers_and_the_eager_do_more(
    n_volunteers: int, most: int
) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, most + 1, 300)
    effort = np.geomspace(1, 50, n_volunteers)
    subject, volunteer = who_sees_what(counts, effort, rng)
    assert np.bincount(subject, minlength=300).tolist() == counts.tolist()
    assert len({*zip(subject.tolist(), volunteer.tolist(), strict=True)}) == counts.sum()
    done = np.bincount(volunteer, minlength=n_volunteers)
    assert done[n_volunteers // 2 :].sum() > 1.2 * done[: n_volunteers // 2].sum()


@pytest.mark.parametrize("plan", [Plan(1, 1, 1), Plan(7, 3, 21), Plan(1000, 50, 0), Plan(999, 50, 12_345),
                                  Plan(300_000, 10, 100_000), Plan(3, 1_000_000, 2_999_999)])  # fmt: skip
def test_blocks_hold_all_subjects_and_classifications_once(plan: Plan) -> None:
    rng = np.random.default_rng(2)
    subjects = classifications = 0
    for block in blocks_of(plan):
        assert (block.first_subject, block.first_classification) == (subjects, classifications)
        counts = classification_counts(block, 20, plan.volunteers, rng)
        assert counts.sum() == block.n_classifications
        assert counts.max() <= plan.volunteers
        subjects += block.n_subjects
        classifications += block.n_classifications
    assert (subjects, classifications) == (plan.subjects, plan.classifications)


def test_ranks_count_earlier_rows_of_the_same_subject() -> None:
    assert ranks(np.array([3, 1, 3, 3, 1])).tolist() == [0, 0, 1, 2, 1]


def test_ids_lie_in_their_own_range_and_times_are_exact() -> None:
    low, high = id_range("volunteer", 3, 4)
    first, *_, last = ids_of("volunteer", 3, 4, 0, 5)
    assert low.hex == first < last < high.hex
    assert low.version == 8
    assert id_range("volunteer", 3, 5)[0] != low != id_range("classification", 3, 4)[0]
    assert times(np.array([1_777_636_800_000_001])) == ["2026-05-01 12:00:00.000001"]


# --- What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (Plan(0, 5, 5), "--subjects"),
        (Plan(5, 0, 5), "--volunteers"),
        (Plan(5, 5, -1), "--classifications"),
        (Plan(10**9, 5, 5), "--subjects"),
        (Plan(5, 5, 26), "25 at most"),
        (Plan(5, 5, 5, seed=-1), "--seed"),
        (Plan(5, 5, 5, gold=1.5), "--gold"),
        (Plan(5, 5, 5, gold=float("nan")), "--gold"),
    ],
)
def test_numbers_that_make_no_sense_are_named(plan: Plan, named: str) -> None:
    with pytest.raises(SimulationRefused, match=named):
        check_plan(plan)


def test_the_command_refuses_with_status_2_and_writes_nothing(make_workflow: Any) -> None:
    workflow = make_workflow()
    for options in ({"subjects": 5}, {"subjects": 5, "volunteers": 2, "classifications": 11}, {"remove": True}):
        with pytest.raises(CommandError) as refused:
            command(workflow, **options)
        assert refused.value.returncode == 2
    assert not SubjectSet.objects.exists()


def test_a_project_that_people_use_is_left_alone_unless_forced(make_workflow: Any) -> None:
    workflow = make_workflow()
    fill(workflow)
    subject = Subject.objects.first()
    person = Volunteer.objects.create(visitor=uuid4())
    classify(workflow, subject, person)
    with pytest.raises(CommandError, match="--force"):
        command(workflow, subjects=5, volunteers=2, classifications=5, seed=9)
    assert "5 subjects" in command(workflow, subjects=5, volunteers=2, classifications=5, seed=9, force=True)


def test_a_live_project_with_real_subjects_is_left_alone_a_draft_is_not(make_workflow: Any) -> None:
    for status, is_refused in (("live", True), ("draft", False)):
        workflow = make_workflow(status=status)
        subject_set = SubjectSet.objects.create(project=workflow.project, name="Real")
        Subject.objects.create(project=workflow.project, subject_set=subject_set, name="NGC 1", frames=[])
        if is_refused:
            with pytest.raises(SimulationRefused, match="live with real subjects"):
                fill(workflow)
        else:
            fill(workflow)


def test_the_same_seed_is_made_once(make_workflow: Any) -> None:
    workflow = make_workflow()
    fill(workflow)
    with pytest.raises(SimulationRefused, match="--seed"):
        fill(workflow)


def classify(workflow: Workflow, subject: Any, volunteer: Volunteer) -> None:
    Classification.objects.filter(volunteer=volunteer).delete()
    Classification.objects.create(
        client_id=uuid4(), workflow=workflow, workflow_version=workflow.current, subject=subject,
        volunteer=volunteer, annotations=[{"task": "T0", "value": 0}], started_at=NOON, finished_at=NOON,
    )  # fmt: skip


# --- Removing -----------------------------------------------------------------------------------------------------


def test_removing_leaves_everything_else_as_it_was(make_workflow: Any) -> None:
    workflow, other = make_workflow(TREE), make_workflow()
    fill(other)
    real_set = SubjectSet.objects.create(project=workflow.project, name="Real")
    real = Subject.objects.create(project=workflow.project, subject_set=real_set, name="NGC 1", frames=[])
    person = Volunteer.objects.create(visitor=uuid4())
    classify(workflow, real, person)

    def state() -> list[list[Any]]:
        models = (Subject, SubjectSet, Volunteer, Classification, SubjectProgress, GoldStandard)
        return [sorted(model.objects.values_list("pk", flat=True)) for model in models]

    before = state()
    command(workflow, subjects=30, volunteers=5, classifications=60, seed=1, force=True, gold=0.5)
    command(workflow, subjects=20, volunteers=5, classifications=60, seed=2, force=True)
    assert "removed 30 subjects, 5 volunteers and 60 classifications of 1 " in command(workflow, remove=True, seed=1)
    assert "removed 20 subjects" in command(workflow, remove=True)
    assert state() == before
    with pytest.raises(CommandError, match="no simulation"):
        command(workflow, remove=True)


def test_peoples_answers_to_simulated_subjects_go_only_when_forced(make_workflow: Any) -> None:
    workflow = make_workflow()
    fill(workflow)
    person = Volunteer.objects.create(visitor=uuid4())
    classify(workflow, Subject.objects.first(), person)
    with pytest.raises(SimulationRefused, match="1 classifications"):
        remove_simulations(workflow=workflow)
    assert Subject.objects.count() == 30
    removed = remove_simulations(workflow=workflow, force=True)
    assert (removed.subjects, removed.classifications) == (30, 101)
    assert list(Volunteer.objects.all()) == [person]
