"""`manage.py train_model` learns from the gold standard and registers what it learnt, saying from what."""

from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from PIL import Image

from classify.models import GoldStandard
from ml_worker.management.commands.train_model import held_out_metrics
from ml_worker.models import ModelVersion, Prediction

pytestmark = pytest.mark.django_db


@pytest.fixture
def graded(subject_set: Any, workflow: Any) -> list[Any]:
    """Twenty subjects with known truth: those with an even number show a bright ring and have grade A or B."""
    subjects = list(subject_set.subjects.order_by("id"))
    y, x = np.mgrid[:48, :48] - 23.5
    for i, subject in enumerate(subjects):
        ring = 150 * np.exp(-((np.hypot(x, y) - 10) ** 2) / 4) * (i % 2 == 0)
        noise = np.random.default_rng(i).normal(40, 6, (48, 48, 3))
        stream = BytesIO()
        Image.fromarray(np.clip(ring[..., None] + noise, 0, 255).astype(np.uint8)).save(stream, "PNG")
        default_storage.save(subject.frames[0]["path"], ContentFile(stream.getvalue()))
        subject.origin = "simulated" if i % 2 == 0 else "real"
        subject.save()
        GoldStandard.objects.create(
            workflow=workflow, subject=subject, task="T0", value="AXBX"[i % 4], source="simulated"
        )
    return subjects


@pytest.fixture
def train() -> Callable[..., str]:
    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("train_model", *arguments, stdout=out)
        return out.getvalue()

    return run


def test_a_model_is_registered_with_what_it_was_trained_on(graded: Any, train: Any, workflow: Any) -> None:
    said = train("rings", "--workflow", "lenses", "--note", "Rings painted on noise.")
    model = ModelVersion.objects.get()
    assert str(model) == "rings 1"
    assert "Random-initialised EfficientNet-B0 encoder (seed 0), never trained" in model.provenance
    assert "10 positive (all simulated) and 10 negative (all real) stamps" in model.provenance
    assert model.provenance.endswith("Rings painted on noise.")
    assert model.metrics["AUC"] > 0.9
    assert "rings:1 registered" in said


def test_the_trained_model_scores_its_kind_of_subject_high(graded: Any, train: Any) -> None:
    train("rings", "--workflow", "lenses")
    call_command("prefilter", "lenses", "--model", "rings", "--show-fraction", "0.5", "--inline", stdout=StringIO())
    scores = dict(Prediction.objects.values_list("subject_id", "score"))
    rings = [scores[subject.pk] for subject in graded[::2]]
    others = [scores[subject.pk] for subject in graded[1::2]]
    assert min(rings) > max(others)


def test_training_again_gives_the_same_file_and_no_new_version(graded: Any, train: Any) -> None:
    train("rings", "--workflow", "lenses")
    train("rings", "--workflow", "lenses")
    assert ModelVersion.objects.count() == 1
    train("rings", "--workflow", "lenses", "--seed", "1")
    assert ModelVersion.objects.count() == 2


def test_a_broken_stamp_stops_the_training_and_is_named(graded: Any, train: Any) -> None:
    default_storage.delete(graded[3].frames[0]["path"])
    with pytest.raises(CommandError, match=r"(?s)1 stamps of the gold standard cannot be read.*north-3: .*missing"):
        train("rings", "--workflow", "lenses")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workflow", "lenses", "--task", "T9"], "no such task; it has T0"),
        (["--workflow", "lenses", "--positive", "I"], "at least 5 positive"),
        (["--workflow", "elsewhere"], "no project has this slug"),
        (["--workflow", "lenses", "--encoder", "/nowhere/b0.safetensors"], "b0.safetensors"),
    ],
)
def test_what_cannot_be_trained_is_explained(graded: Any, train: Any, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        train("rings", *arguments)
    assert not ModelVersion.objects.exists()


def test_a_name_that_no_model_may_have_is_refused(graded: Any, train: Any) -> None:
    with pytest.raises(CommandError, match="lower-case"):
        train("My Rings", "--workflow", "lenses")


def test_the_area_under_the_curve_counts_pairs_in_the_right_order_and_half_the_ties() -> None:
    scores = np.array([0.9, 0.4, 0.4, 0.1])
    is_positive = np.array([True, True, False, False])
    assert held_out_metrics(scores, is_positive) == {"AUC": 0.875, "recall": 0.5, "false alarms": 0.0}
