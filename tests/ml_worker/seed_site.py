"""Run inside a test site (`manage.py shell`): a lens project on real PNG files, a tiny model, a token for its owner."""

import json
import os
from io import BytesIO

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from starsieve.accounts.models import User
from starsieve.projects.models import Subject, SubjectSet
from starsieve.projects.services import create_project, link_subject_set

N_FILES, SIZE = 24, 40


def stamp(number: int) -> str:
    """A noisy blob, brighter with the number; its path in the media storage."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    blob = 200 * number / N_FILES * np.exp(-(x**2 + y**2) / 60)
    noise = np.random.default_rng(number).normal(20, 5, (SIZE, SIZE, 3))
    stream = BytesIO()
    Image.fromarray(np.clip(blob[..., None] + noise, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return default_storage.save(f"stamps/{number}.png", ContentFile(stream.getvalue()))


owner = User.objects.create_user("owner", "owner@example.org", "Volunteer!23")
project = create_project(
    title="Lenses", slug="lenses", summary="Grade them.", template="lens-grading", owner=owner, status="live"
)
workflow = project.workflows.get()
paths = [stamp(number) for number in range(N_FILES)]
sets = {}
for name, n_subjects in json.loads(os.environ["SEED_SETS"]).items():
    subject_set = SubjectSet.objects.create(project=project, name=name)
    Subject.objects.bulk_create(
        Subject(
            project=project,
            subject_set=subject_set,
            name=f"{name}-{i}",
            frames=[{"path": paths[i % N_FILES], "width": SIZE, "height": SIZE, "band": "r", "stretch": "asinh"}],
        )
        for i in range(n_subjects)
    )
    link_subject_set(workflow=workflow, subject_set=subject_set)
    sets[name] = subject_set.pk
