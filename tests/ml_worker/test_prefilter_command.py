"""`manage.py prefilter` and `manage.py models`."""

from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from PIL import Image

from ml_worker import tasks
from ml_worker.management.commands import prefilter
from ml_worker.models import PrefilterBatch

pytestmark = pytest.mark.django_db


@pytest.fixture
def bright_ones_score_high(subject_set: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey stamps of the twenty subjects, and their brightness in the network's place."""
    for i, subject in enumerate(subject_set.subjects.order_by("id")):
        stream = BytesIO()
        Image.new("RGB", (8, 8), (12 * i,) * 3).save(stream, "PNG")
        default_storage.save(subject.frames[0]["path"], ContentFile(stream.getvalue()))

    def brightness(stamps: Sequence[Any]) -> Any:
        return np.array([stamp.mean() / 255 for stamp in stamps])

    monkeypatch.setattr(tasks, "load_network", lambda root, file, sha256: brightness)
    monkeypatch.setattr(prefilter, "POLL_SECONDS", 0)


@pytest.fixture
def command(model: Any) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("prefilter", *arguments, stdout=out, stderr=out)
        return out.getvalue()

    return run


def test_inline_needs_no_worker_and_reports_the_routing(bright_ones_score_high: None, command: Any) -> None:
    said = command("lenses", "--model", "arcs", "--show-above", "0.5", "--control", "0", "--inline")
    batch = PrefilterBatch.objects.get()
    assert (batch.state, batch.created_by.username) == ("done", "owner")
    assert "9 shown, 11 held, 0 shown as control sample" in said


def test_a_fraction_may_be_shown_instead(bright_ones_score_high: None, command: Any, workflow: Any) -> None:
    said = command(str(workflow.pk), "--model", "arcs:1", "--show-fraction", "0.1", "--control", "0", "--inline")
    assert "2 shown, 18 held" in said


def test_without_waiting_the_batch_is_only_launched(command: Any, subject_set: Any) -> None:
    assert "launched: 3 shards" in command("lenses", "--model", "arcs", "--shard-size", "8")
    assert PrefilterBatch.objects.get().state == "pending"


def test_a_failed_batch_is_an_error_with_its_reasons(command: Any, subject_set: Any) -> None:
    path = subject_set.subjects.first().frames[0]["path"]
    stream = BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    default_storage.save(path, ContentFile(stream.getvalue()))
    with pytest.raises(CommandError, match=r"(?s)failed.*shard 0: ModelFileError.*register the model"):
        command("lenses", "--model", "arcs", "--inline")


def test_unreadable_stamps_are_an_error_that_names_them(
    bright_ones_score_high: None, command: Any, subject_set: Any
) -> None:
    subject = subject_set.subjects.order_by("id")[4]
    default_storage.delete(subject.frames[0]["path"])
    with pytest.raises(CommandError, match=r"(?s)1 stamps could not be read.*north-4: .*is missing"):
        command("lenses", "--model", "arcs", "--inline")
    assert PrefilterBatch.objects.get().state == "done"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "--model", "arcs"], "no project has this slug and no workflow this number"),
        (["9" * 30, "--model", "arcs"], "no project has this slug"),
        (["lenses", "--model", "arcs:7"], "no such model"),
        (["lenses", "--model", "arcs", "--set", "south"], "name one of the sets linked to workflow .*“north”"),
        (["lenses", "--model", "arcs", "--show-above", "7"], "show_above: must lie between 0 and 1"),
        (["lenses", "--model", "arcs", "--user", "nobody"], "there is no such user"),
    ],
)
def test_a_wrong_argument_is_named(command: Any, subject_set: Any, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        command(*arguments)
    assert not PrefilterBatch.objects.exists()


def test_several_sets_or_workflows_must_be_named(command: Any, subject_set: Any, make_set: Any, workflow: Any) -> None:
    from starsieve.projects.services import create_workflow

    make_set("south", 3)
    with pytest.raises(CommandError, match="“north”, “south”"):
        command("lenses", "--model", "arcs")
    project, definition = workflow.project, workflow.current.definition
    create_workflow(project=project, name="Second", definition=definition, user=project.created_by)
    with pytest.raises(CommandError, match=rf"several workflows.*{workflow.pk} \(Lens grading\).*\(Second\)"):
        command("lenses", "--model", "arcs", "--set", "north")


def test_models_are_listed_with_their_provenance(command: Any) -> None:
    out = StringIO()
    call_command("models", stdout=out)
    assert "arcs:1  efficientnet_b0" in out.getvalue()
    assert "random-initialised, for tests" in out.getvalue()
