"""Run inside a test site (`Site.execute`): a lens project on real PNG files, a tiny model, a token for its owner."""

import json
import os
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from ml_worker.nets.network import save_network
from ml_worker.nets.training import train_network
from ml_worker.services import register_model
from starsieve.accounts.models import User
from starsieve.accounts.services import make_token
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


def tiny_checkpoint() -> Path:
    """A network with a random encoder whose head tells bright blobs from faint ones."""
    stamps = [np.asarray(Image.open(default_storage.open(path)).convert("RGB")) for path in paths]
    is_bright = np.arange(N_FILES) >= N_FILES // 2
    path = Path(tempfile.mkdtemp()) / "tiny.safetensors"
    save_network(train_network(stamps, is_bright, provenance="random, for tests", seed=0).network, path)
    return path


owner = User.objects.create_user("owner", "owner@example.org", "Volunteer!23")
paths = [stamp(number) for number in range(N_FILES)]
workflows, sets = {}, {}
for name, n_subjects in json.loads(os.environ["SEED_SETS"]).items():
    project = create_project(
        title=name, slug=name, summary="Grade them.", template="lens-grading", owner=owner, status="live"
    )
    workflow = project.workflows.get()
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
    workflows[name], sets[name] = workflow.pk, subject_set.pk
texts = {"name": "tiny", "architecture": "efficientnet_b0", "provenance": "random encoder, for tests"}
model = register_model(path=tiny_checkpoint(), **texts)
_, key = make_token(user=owner, name="test", scope="admin", expires_at=None)
print(json.dumps({"token": key, "model": model.pk, "workflows": workflows, "sets": sets}))
