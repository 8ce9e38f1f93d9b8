"""Filling a workflow with a simulation. Everything goes through bulk inserts, block by block."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction

from classify.feedback import RULES
from classify.live import fit_in_force
from classify.models import Classification, GoldStandard, SubjectProgress, Volunteer
from classify.queue import mark_training_subjects
from classify.rebuild import rebuild_results
from classify.urgency import urgency_of
from classify.versions import definition_of
from starsieve.ops.simulation.block import (
    Said,
    Timing,
    Truth,
    limit_of,
    make_said,
    make_truth,
    tallies_of,
    times,
    timing,
)
from starsieve.ops.simulation.crowd import Skills, make_skills
from starsieve.ops.simulation.plan import (
    FIRST_ID,
    LAST_ID,
    Block,
    Ints,
    Plan,
    SimulationRefused,
    blocks_of,
    check_plan,
    ids_of,
)
from starsieve.ops.simulation.stamps import store_stamps
from starsieve.ops.simulation.tree import joined
from starsieve.projects.arrivals import announce_arrivals
from starsieve.projects.bulk import Always, analyse, insert_columns, reserve_ids
from starsieve.projects.models import Origin, Project, Subject, SubjectSet, Workflow, WorkflowVersion
from starsieve.projects.services import link_subject_set

OnProgress = Callable[[int, int], None]
METADATA = json.dumps({"client": "simulate"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class Made:
    """What a simulation has stored."""

    subjects: int
    volunteers: int
    classifications: int
    gold_standards: int


@dataclass(frozen=True)
class _Run:
    plan: Plan
    workflow: Workflow
    version: WorkflowVersion
    subject_set: SubjectSet
    frames: list[str]
    skills: Skills
    volunteer_ids: Ints
    time: Timing


def set_name(workflow: Workflow, seed: int) -> str:
    return f"{set_prefix(workflow)}{seed}"


def set_prefix(workflow: Workflow) -> str:
    return f"Simulated, workflow {workflow.pk}, seed "


def check_target(workflow: Workflow, plan: Plan, *, force: bool) -> None:
    """Raises SimulationRefused where the simulation would be the second of its seed, or mix with people's work."""
    if workflow.current is None:
        raise SimulationRefused(f"workflow “{workflow}” has no version yet; save one on its page first")
    name = set_name(workflow, plan.seed)
    if SubjectSet.objects.filter(project=workflow.project_id, name=name).exists():
        raise SimulationRefused(f"“{name}” is there already; take another --seed, or remove it first with --remove")
    if force:
        return
    way_out = "take a project of its own, or say --force to mix them all the same"
    mine = Classification.objects.filter(workflow__project=workflow.project_id)
    if mine.exclude(volunteer__visitor__range=(FIRST_ID, LAST_ID)).exists():
        raise SimulationRefused(f"volunteers have classified in the project “{workflow.project}”; {way_out}")
    is_live = workflow.project.status == Project.Status.LIVE
    if is_live and Subject.objects.filter(project=workflow.project_id, origin=Origin.REAL).exists():
        raise SimulationRefused(f"the project “{workflow.project}” is live with real subjects; {way_out}")


def simulate(
    *,
    workflow: Workflow,
    plan: Plan,
    until: datetime,
    force: bool = False,
    skills_file: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Made:
    """Fill the workflow with subjects, volunteers and classifications; times lie before `until`.

    Writes a SubjectSet linked to the workflow and the Volunteers, then block by block, each in a transaction of its
    own, Subjects, Classifications along the current version's tree, SubjectProgress with tallies, count and retirement
    as running work would have left them, and GoldStandards of some subjects. Where more than the count decides on
    retirement, or a live fit is in force, counts everything anew at the end. Locks nothing until then. `skills_file`
    gets the volunteers' true skills as CSV.
    `on_progress` is told (done, in all), counting subjects and classifications.
    Raises SimulationRefused before anything is written.
    """
    check_plan(plan)
    check_target(workflow, plan, force=force)
    if skills_file is not None:
        skills_file.open("w").close()  # a file that cannot be written is known before anything is stored
    run = _start(workflow, plan, until)
    if skills_file is not None:
        _write_skills(run, skills_file)
    gold = 0
    for block in blocks_of(plan):
        gold += _store_block(run, block)
        if on_progress is not None:
            done = block.first_subject + block.n_subjects + block.first_classification + block.n_classifications
            on_progress(done, plan.subjects + plan.classifications)
    with transaction.atomic():
        announce_arrivals(run.subject_set)
    if must_be_counted_anew(workflow):
        rebuild_results(workflow=workflow)
    analyse(Subject, Classification, SubjectProgress, Volunteer, GoldStandard)
    return Made(plan.subjects, plan.volunteers, plan.classifications, gold)


def must_be_counted_anew(workflow: Workflow) -> bool:
    """Whether running work would have left more behind than counts and retirement by count."""
    assert workflow.current is not None
    return not definition_of(workflow.current).retirement.is_by_count_alone or fit_in_force(workflow.pk) is not None


def _start(workflow: Workflow, plan: Plan, until: datetime) -> _Run:
    assert workflow.current is not None
    skills = make_skills(plan.volunteers, plan.seed)
    time = timing(plan, skills, (until - EPOCH) // timedelta(microseconds=1))
    frames = [json.dumps([entry]) for entry in store_stamps()]
    with transaction.atomic():
        subject_set = SubjectSet.objects.create(
            project=workflow.project,
            name=set_name(workflow, plan.seed),
            origin=Origin.SIMULATED,
            description="Made by `simulate`: made-up pictures, simulated volunteers, known truth.",
        )
        link_subject_set(workflow=workflow, subject_set=subject_set)
        volunteer_ids = _store_volunteers(workflow, plan, time)
    return _Run(plan, workflow, workflow.current, subject_set, frames, skills, volunteer_ids, time)


def _store_volunteers(workflow: Workflow, plan: Plan, time: Timing) -> Ints:
    ids = reserve_ids(Volunteer, plan.volunteers)
    insert_columns(
        Volunteer,
        {
            "id": ids,
            "visitor": ids_of("volunteer", workflow.pk, plan.seed, 0, plan.volunteers),
            "created_at": Always(_before(time)),
        },
        plan.volunteers,
    )
    return ids


def _before(time: Timing) -> str:
    """When subjects and volunteers came: an hour before the first classification."""
    return times(np.array([time.begin - HOUR]))[0]


def _write_skills(run: _Run, file: Path) -> None:
    """One row per volunteer: id and every skill, by the names of Skills."""
    names = [field.name for field in fields(Skills)]
    columns = [getattr(run.skills, name).tolist() for name in names]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["volunteer_id", *names])
        writer.writerows(zip(run.volunteer_ids.tolist(), *columns, strict=True))


def _store_block(run: _Run, block: Block) -> int:
    """One transaction: a block's rows of all tables; how many gold standards."""
    rng = np.random.default_rng([run.plan.seed, 2, block.number])
    definition = definition_of(run.version)
    truth = make_truth(definition, block.n_subjects, rng)
    said = make_said(definition, block, truth, run.skills, run.time, rng)
    tallies = tallies_of(said.steps, said.subject, block.n_subjects)
    with transaction.atomic():
        ids = reserve_ids(Subject, block.n_subjects)
        _store_subjects(run, block, truth, ids, rng)
        _store_classifications(run, block, said, ids)
        _store_progress(run, block, said, tallies, ids, rng)
        return _store_gold(run, block, truth, ids, rng)


def _store_subjects(run: _Run, block: Block, truth: Truth, ids: Ints, rng: np.random.Generator) -> None:
    numbers = range(block.first_subject, block.first_subject + block.n_subjects)
    true = joined(truth.path, block.n_subjects, lambda task, value: f"{json.dumps(task.key)}: {json.dumps(value)}")
    columns: dict[str, Any] = {
        "id": ids,
        "project_id": Always(run.workflow.project_id),
        "subject_set_id": Always(run.subject_set.pk),
        "name": [f"sim-{run.workflow.pk}-{run.plan.seed}-{number:07d}" for number in numbers],
        "frames": [run.frames[number % len(run.frames)] for number in numbers],
        "hidden_metadata": [f'{{"truth": {{{text}}}}}' for text in true],
        "origin": Always(Origin.SIMULATED.value),
        "ra": np.round(rng.uniform(145, 155, block.n_subjects), 6),
        "dec": np.round(rng.uniform(-3, 7, block.n_subjects), 6),
        "created_at": Always(_before(run.time)),
    }
    insert_columns(Subject, columns, block.n_subjects)


def _store_classifications(run: _Run, block: Block, said: Said, ids: Ints) -> None:
    first, n = block.first_classification, block.n_classifications
    columns: dict[str, Any] = {
        "client_id": ids_of("classification", run.workflow.pk, run.plan.seed, first, n),
        "workflow_id": Always(run.workflow.pk),
        "workflow_version_id": Always(run.version.pk),
        "subject_id": ids[said.subject],
        "volunteer_id": run.volunteer_ids[said.volunteer],
        "annotations": said.annotations,
        "started_at": times(said.started),
        "finished_at": times(said.finished),
        "created_at": times(said.created),
        "metadata": Always(METADATA),
        "after_retirement": said.rank >= limit_of(definition_of(run.version)),
    }
    insert_columns(Classification, columns, n)


def _store_progress(
    run: _Run, block: Block, said: Said, tallies: list[str], ids: Ints, rng: np.random.Generator
) -> None:
    limit = limit_of(definition_of(run.version))
    counts = np.bincount(said.subject, minlength=block.n_subjects)
    retired: list[str | None] = [None] * block.n_subjects
    last = said.rank == limit - 1
    for subject, moment in zip(said.subject[last].tolist(), times(said.created[last]), strict=True):
        retired[subject] = moment
    by_count = SubjectProgress.RetirementReason.CLASSIFICATION_COUNT.value
    columns: dict[str, Any] = {
        "workflow_id": Always(run.workflow.pk),
        "subject_id": ids,
        "pivot": rng.random(block.n_subjects),
        "classification_count": counts,
        "tallies": tallies,
        "urgency": [urgency_of(count, limit, None) for count in counts.tolist()],
        "tallied_version_id": [run.version.pk if count else None for count in counts.tolist()],
        "retired_at": retired,
        "retirement_reason": [by_count if moment else "" for moment in retired],
    }
    insert_columns(SubjectProgress, columns, block.n_subjects)


def _store_gold(run: _Run, block: Block, truth: Truth, ids: Ints, rng: np.random.Generator) -> int:
    """Gold standards of all tasks on the true path that can have one, for some of the subjects."""
    has_gold = rng.random(block.n_subjects) < run.plan.gold
    subjects: list[int] = []
    tasks: list[str] = []
    values: list[str] = []
    for step in truth.path:
        if step.task.type not in RULES:
            continue
        chosen = has_gold[step.rows]
        subjects += ids[step.rows[chosen]].tolist()
        tasks += [step.task.key] * int(chosen.sum())
        values += [json.dumps(step.said.values[code]) for code in step.said.codes[chosen].tolist()]
    columns: dict[str, Any] = {
        "workflow_id": Always(run.workflow.pk),
        "subject_id": subjects,
        "task": tasks,
        "value": values,
        "source": Always(GoldStandard.Source.SIMULATED.value),
        "created_at": Always(_before(run.time)),
    }
    insert_columns(GoldStandard, columns, len(subjects))
    mark_training_subjects(workflow=run.workflow, subject_ids=sorted(set(subjects)))
    return len(subjects)
