"""Simulated volunteers: they answer like people who err at known rates, through the same service as everyone else.

Their classifications carry {"client": "simulated volunteer"} in their metadata.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from classify.models import Volunteer
from classify.services import record_classification
from classify.submissions import Submission
from starsieve.projects.models import Subject, Workflow
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, MultipleTask, SingleTask, Task

Truth = Callable[[Subject, Task], Any]
NAMESPACE = uuid.UUID("6f1d3c1e-5a0e-4a39-9a6e-2d2b8f6f6c11")
# How a grade slips when a volunteer errs: to its neighbours on the scale from A to X, or to "interesting".
SLIPS = {"A": "BBC", "B": "ACC", "C": "BXI", "I": "CXX", "X": "CIX"}


@dataclass(frozen=True)
class SimulatedVolunteer:
    """`accuracy`: chance of giving the true answer to a question, or of marking a box that is there."""

    volunteer: Volunteer
    accuracy: float


def make_volunteers(count: int, rng: np.random.Generator) -> list[SimulatedVolunteer]:
    """Volunteers of mixed accuracy, 0.6 to 0.95; the same ones each time."""
    return [
        SimulatedVolunteer(
            Volunteer.objects.get_or_create(visitor=uuid.uuid5(NAMESPACE, f"simulated volunteer {i}"))[0],
            float(rng.uniform(0.6, 0.95)),
        )
        for i in range(count)
    ]


def classify(
    *, workflow: Workflow, subjects: Iterable[Subject], volunteers: Sequence[SimulatedVolunteer],
    most_each: int, truth: Truth, rng: np.random.Generator,
) -> int:  # fmt: skip
    """Each subject is classified by 1 to `most_each` of the volunteers; how many classifications were stored."""
    assert workflow.current is not None
    definition = workflow.current.parsed
    stored = 0
    for subject in subjects:
        count = int(rng.integers(1, most_each + 1))
        for i in rng.choice(len(volunteers), size=min(count, len(volunteers)), replace=False):
            annotations: list[Any] = []
            key: str | None = definition.first
            while key is not None:
                task = definition.tasks[key]
                value = answer(task, truth(subject, task), subject, volunteers[i].accuracy, rng)
                annotations.append({"task": key, "value": value})
                key = task.next_task(value)
            _store(workflow, subject, volunteers[i], annotations, rng)
            stored += 1
    return stored


def answer(task: Task, truth: Any, subject: Subject, accuracy: float, rng: np.random.Generator) -> Any:
    """What a volunteer of this accuracy says where `truth` would be right."""
    if isinstance(task, SingleTask):
        return truth if rng.random() < accuracy else int(rng.integers(len(task.answers)))
    if isinstance(task, MultipleTask):
        return [i for i in range(len(task.answers)) if rng.random() < (accuracy if i in truth else 0.03)]
    if isinstance(task, GradeTask):
        return truth if rng.random() < accuracy else str(rng.choice(list(SLIPS[truth])))
    if isinstance(task, BoxesTask):
        return _boxes(truth, subject, accuracy, rng)
    return ""


def _boxes(
    truth: list[dict[str, float]], subject: Subject, accuracy: float, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The true boxes, some missed, all a little off; now and then one where nothing is."""
    frame = subject.frames[0]
    marked = [box for box in truth if rng.random() < accuracy]
    if rng.random() < 0.5 * (1 - accuracy):
        marked.append({"x": rng.uniform(0, frame["width"] - 40), "y": rng.uniform(0, frame["height"] - 40),
                       "width": 30, "height": 30})  # fmt: skip
    scatter = 8 * (1.2 - accuracy)
    boxes = []
    for box in marked:
        x, y = box["x"] + rng.normal(0, scatter), box["y"] + rng.normal(0, scatter)
        width, height = (max(8.0, box[side] + rng.normal(0, scatter)) for side in ("width", "height"))
        boxes.append(
            {"x": round(x, 1), "y": round(y, 1), "width": round(width, 1), "height": round(height, 1), "tool": 0}
        )
    return boxes


def _store(
    workflow: Workflow, subject: Subject, person: SimulatedVolunteer, annotations: list[Any], rng: np.random.Generator
) -> None:
    assert workflow.current is not None
    now = datetime.now(UTC)
    record_classification(
        workflow=workflow,
        volunteer=person.volunteer,
        submission=Submission(
            client_id=uuid.uuid5(NAMESPACE, f"{workflow.pk} {subject.pk} {person.volunteer.pk}"),
            subject_id=subject.pk,
            workflow_version=workflow.current.number,
            annotations=annotations,
            started_at=now - timedelta(seconds=float(rng.uniform(3, 20))),
            finished_at=now,
            metadata={"client": "simulated volunteer"},
        ),
    )


def looks(subject: Subject, task: Task) -> Any:
    """The answer that a galaxy's measured outline suggests; where it suggests none, one fixed by the subject's name."""
    facts = subject.hidden_metadata
    area, ellipticity = float(facts.get("area", 0)), float(facts.get("ellipticity", 0))
    fixed = np.random.default_rng(list(f"{subject.name} {task.name}".encode()))
    if isinstance(task, SingleTask):
        suggested = {
            "smooth-or-featured": "featured-or-disk" if area > 60 and fixed.random() < 0.6 else "smooth",
            "how-rounded": "round" if ellipticity < 0.2 else "in-between" if ellipticity < 0.6 else "cigar-shaped",
            "disk-edge-on": "yes" if ellipticity > 0.65 else "no",
            "merging": "none" if fixed.random() < 0.8 else "minor-disturbance",
        }.get(task.name)
        keys = [answer.key for answer in task.answers]
        return keys.index(suggested) if suggested in keys else int(fixed.integers(len(keys)))
    if isinstance(task, MultipleTask):
        return []
    if isinstance(task, GradeTask):
        return str(fixed.choice(list(GRADES), p=[0.0, 0.02, 0.08, 0.1, 0.8]))
    raise TypeError(f"no simulated truth for task {task.key} of type {task.type}")
