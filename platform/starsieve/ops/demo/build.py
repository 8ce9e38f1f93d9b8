"""Builds the demo, step by step; a step that is done already is left alone, so a second start keeps all data."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import transaction
from numpy.typing import NDArray
from PIL import Image

from classify.models import GoldStandard
from classify.services import set_gold_standard
from ml_worker.models import ModelVersion
from starsieve.accounts.models import User
from starsieve.catalogues.consensus.runs import refresh_consensus
from starsieve.ops.demo import texts
from starsieve.ops.demo.lenses import paint_onto
from starsieve.ops.demo.people import make_people
from starsieve.ops.demo.sky import Galaxy, detect_galaxies, picture
from starsieve.ops.demo.stamps import (
    SHOWN,
    clump_peaks,
    colour_stamp,
    cutout,
    is_deflector_like,
    is_star_like,
    lens_stamp,
)
from starsieve.ops.demo.volunteers import classify, looks, make_volunteers
from starsieve.projects.imports import SubjectRow, import_subjects
from starsieve.projects.models import Membership, Origin, Project, Subject, SubjectSet, Workflow
from starsieve.projects.services import create_project, link_subject_set, publish_version, set_member
from starsieve.projects.stamps import Stamp
from starsieve.projects.task_types import BoxesTask, GradeTask, Task

Say = Callable[[str], None]
MODEL_NAME = "lens-finder"
SLUGS = [data["slug"] for data in (texts.GALAXY_ZOO, texts.LENS_GRADING, texts.CLUMP_SCOUT)]
LENS_FRACTION = 0.25  # of the candidates
# A training lens may be graded A, B or C: the simulator makes bright and faint ones.
LENS_GRADES = ["A", "B", "C"]


@dataclass(frozen=True)
class Size:
    """How many stamps each project gets, and how many simulated volunteers classify at most how often."""

    galaxies: int
    training: int
    candidates: int
    clumpy: int
    volunteers: int
    most_each: int


FULL = Size(galaxies=300, training=120, candidates=120, clumpy=60, volunteers=24, most_each=6)
SMALL = Size(galaxies=24, training=40, candidates=24, clumpy=8, volunteers=4, most_each=2)


def build_demo(size: Size, say: Say) -> None:
    """People, the three projects and the demo's network; what exists already is not touched."""
    people = make_people()
    missing = {
        data["slug"]: step
        for data, step in (
            (texts.GALAXY_ZOO, _galaxy_zoo),
            (texts.LENS_GRADING, _lens_grading),
            (texts.CLUMP_SCOUT, _clump_scout),
        )
        if not Project.objects.filter(slug=data["slug"]).exists()
    }
    if missing:
        say("Finding the galaxies of the Hubble Deep Field …")
        rgb = picture()
        galaxies = detect_galaxies(rgb)
    for slug, step in missing.items():
        say(f"Filling the project {slug} …")
        with transaction.atomic():
            step(people, rgb, galaxies, size)
    if not ModelVersion.objects.filter(name=MODEL_NAME).exists():
        say("Training the demo's network on its simulated lenses …")
        call_command("train_model", MODEL_NAME, workflow=texts.LENS_GRADING["slug"], note=texts.MODEL_NOTE, verbosity=0)
    say("Fitting the models of the volunteers …")
    for workflow in Workflow.objects.filter(project__slug__in=SLUGS).select_related("current"):
        refresh_consensus(workflow=workflow)


def _project(template: str, about: texts.About, people: dict[str, User]) -> tuple[Project, Workflow]:
    project = create_project(template=template, owner=people["admin"], status=Project.Status.LIVE, **about)
    set_member(project=project, user=people["expert"], role=Membership.Role.EXPERT)
    return project, project.workflows.get()


def _load(
    project: Project,
    workflow: Workflow,
    name: str,
    description: str,
    origin: str,
    stamps: Iterable[tuple[Galaxy, Stamp, str]],
) -> list[Subject]:
    """Import stamps (galaxy, stamp, origin) as a set linked to the workflow; the subjects in order."""
    subject_set = SubjectSet.objects.create(project=project, name=name, description=description, origin=origin)
    link_subject_set(workflow=workflow, subject_set=subject_set)
    rows = (
        SubjectRow(
            number=number,
            name=galaxy.name,
            frames=(("image", stamp),),
            metadata={"field": "Hubble Deep Field", "x": round(galaxy.x, 1), "y": round(galaxy.y, 1)},
            hidden_metadata={"area": galaxy.area, "ellipticity": round(galaxy.ellipticity, 3)},
            origin=stamp_origin,
        )
        for number, (galaxy, stamp, stamp_origin) in enumerate(stamps, start=2)
    )
    report = import_subjects(
        project=project, subject_set=subject_set, rows=rows, read_frame=lambda stamp: stamp, source="the demo"
    )
    if report.rejected:
        raise RuntimeError(f"the demo's own stamps were refused: {report.rejects[0]}")
    return list(subject_set.subjects.order_by("id"))


def _galaxy_zoo(people: dict[str, User], rgb: NDArray[np.uint8], galaxies: Sequence[Galaxy], size: Size) -> None:
    project, workflow = _project("gz-decals", texts.GALAXY_ZOO, people)
    chosen = galaxies[: size.galaxies]
    subjects = _load(
        project, workflow, "Hubble Deep Field", f"The {len(chosen)} largest sources of the picture.", Origin.REAL,
        ((galaxy, colour_stamp(rgb, galaxy), Origin.REAL) for galaxy in chosen),
    )  # fmt: skip
    _add_examples(workflow, people["admin"], {subject.name: subject for subject in subjects})
    rng = np.random.default_rng(1)
    volunteers = make_volunteers(size.volunteers, rng)
    some = subjects[: max(len(subjects) // 4, 10)]
    classify(workflow=workflow, subjects=some, volunteers=volunteers, most_each=size.most_each, truth=looks, rng=rng)


EXAMPLES = {
    "smooth-or-featured": [
        ("HDF-0001", "Smooth: light that fades evenly"),
        ("HDF-0003", "Features: spiral arms"),
        ("HDF-0004", "A star: spikes of the telescope"),
    ],
    "disk-edge-on": [("HDF-0018", "Edge-on"), ("HDF-0009", "Not edge-on")],
}


def _add_examples(workflow: Workflow, user: User, subjects: dict[str, Subject]) -> None:
    """Show some of the stamps as examples in the help of the first questions (a new version of the workflow)."""
    assert workflow.current is not None
    definition = workflow.current.definition
    for task in definition["tasks"].values():
        shown = [(subjects[name], caption) for name, caption in EXAMPLES.get(task["name"], []) if name in subjects]
        if shown:
            task["examples"] = [{"image": subject.frames[0]["path"], "caption": caption} for subject, caption in shown]
    publish_version(workflow=workflow, definition=definition, user=user)


def _lens_grading(people: dict[str, User], rgb: NDArray[np.uint8], galaxies: Sequence[Galaxy], size: Size) -> None:
    project, workflow = _project("lens-grading", texts.LENS_GRADING, people)
    deflectors = [galaxy for galaxy in galaxies if is_deflector_like(rgb, galaxy)]
    training = deflectors[0 : 2 * size.training : 2][: size.training]
    candidates = deflectors[1 : 2 * size.candidates : 2][: size.candidates]
    rng = np.random.default_rng(2)
    trained = _load(
        project, workflow, "Training", "Half of these galaxies carry a simulated lens. They are the gold standard.",
        Origin.SIMULATED, _with_lenses(rgb, training, fraction=0.5, prefix="T-", rng=rng),
    )  # fmt: skip
    for subject in trained:
        _set_gold(workflow, subject)
    searched = _load(
        project, workflow, "Candidates", "Real galaxies; one in four carries a simulated lens, in secret.",
        Origin.REAL, _with_lenses(rgb, candidates, fraction=LENS_FRACTION, prefix="", rng=rng),
    )  # fmt: skip
    volunteers = make_volunteers(size.volunteers, rng)
    classify(
        workflow=workflow, subjects=[*searched[: len(searched) // 4], *trained[: len(trained) // 3]],
        volunteers=volunteers, most_each=size.most_each, truth=_lens_truth, rng=rng,
    )  # fmt: skip


def _with_lenses(
    rgb: NDArray[np.uint8], galaxies: Sequence[Galaxy], *, fraction: float, prefix: str, rng: np.random.Generator
) -> Iterable[tuple[Galaxy, Stamp, str]]:
    for galaxy in galaxies:
        bands = cutout(rgb, galaxy)
        is_lens = rng.random() < fraction
        stamp = lens_stamp(paint_onto(bands, rng) if is_lens else bands)
        yield replace(galaxy, name=prefix + galaxy.name), stamp, Origin.SIMULATED if is_lens else Origin.REAL


def _set_gold(workflow: Workflow, subject: Subject) -> None:
    is_lens = subject.origin == Origin.SIMULATED
    set_gold_standard(
        workflow=workflow,
        subject=subject,
        task="T0",
        value=LENS_GRADES if is_lens else ["X", "I"],
        source=GoldStandard.Source.SIMULATED,
        right_message="Right: this lens was simulated and painted onto a real galaxy."
        if is_lens
        else "Right: a real galaxy, and nothing was painted onto it.",
        wrong_message="This was a lens: simulated arcs were painted onto a real galaxy. Look at the blue − red frame."
        if is_lens
        else "This is a real galaxy; nothing was painted onto it.",
    )


def _lens_truth(subject: Subject, task: Task) -> Any:
    assert isinstance(task, GradeTask)
    if subject.origin == Origin.REAL:
        return looks(subject, task)
    return str(np.random.default_rng(list(subject.name.encode())).choice(LENS_GRADES, p=[0.5, 0.3, 0.2]))


def _clump_scout(people: dict[str, User], rgb: NDArray[np.uint8], galaxies: Sequence[Galaxy], size: Size) -> None:
    project, workflow = _project("clump-scout", texts.CLUMP_SCOUT, people)
    large = [galaxy for galaxy in galaxies if galaxy.area >= 120 and not is_star_like(rgb, galaxy)][: 2 * size.clumpy]
    stamps = [(galaxy, colour_stamp(rgb, galaxy), Origin.REAL) for galaxy in large]
    lumpy = [entry for entry in stamps if len(clump_peaks(_pixels(entry[1]))) >= 2][: size.clumpy]
    subjects = _load(
        project, workflow, "Lumpy galaxies", "Large galaxies with at least two bright knots.", Origin.REAL, lumpy
    )
    rng = np.random.default_rng(3)
    volunteers = make_volunteers(size.volunteers, rng)
    classify(
        workflow=workflow, subjects=subjects[: len(subjects) // 2], volunteers=volunteers,
        most_each=size.most_each, truth=_clump_truth, rng=rng,
    )  # fmt: skip


def _pixels(stamp: Stamp) -> NDArray[np.uint8]:
    return np.asarray(stamp.pictures[0].image.convert("RGB"))


def _clump_truth(subject: Subject, task: Task) -> list[dict[str, float]]:
    assert isinstance(task, BoxesTask)
    with default_storage.open(subject.frames[0]["path"]) as file:
        peaks = clump_peaks(np.asarray(Image.open(file).convert("RGB")))
    side = SHOWN * 0.09
    return [{"x": p.x - side / 2, "y": p.y - side / 2, "width": side, "height": side} for p in peaks]
