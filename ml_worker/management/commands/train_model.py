"""`manage.py train_model`: train a network's head on a workflow's gold standard and register it as a model."""

import hashlib
import tempfile
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError
from numpy.typing import NDArray

from aggregation import auc
from classify.models import GoldStandard
from ml_worker.management.commands.prefilter import find_workflow
from ml_worker.services import PrefilterRefused, register_model
from ml_worker.stamps import StampUnreadable, read_stamp
from starsieve.projects.models import Origin, Subject, Workflow

if TYPE_CHECKING:
    from ml_worker.nets.encoder import EfficientNetB0

LENS_GRADES = ("A", "B")
MOST_NAMED = 10


@dataclass(frozen=True)
class Examples:
    """Subjects with known truth, their stamps, and which of them are what is looked for."""

    subjects: list[Subject]
    stamps: list[NDArray[np.uint8]]
    is_positive: NDArray[np.bool_]

    def counted(self, *, positive: bool) -> str:
        """E.g. "120 positive (all simulated)"."""
        origins = [s.origin for s, kind in zip(self.subjects, self.is_positive, strict=True) if kind == positive]
        n_simulated = sum(origin == Origin.SIMULATED for origin in origins)
        share = {0: "all real", len(origins): "all simulated"}.get(n_simulated, f"{n_simulated} of them simulated")
        return f"{len(origins)} {'positive' if positive else 'negative'} ({share})"


class Command(BaseCommand):
    help = "Train a model on a workflow's gold standard and register it. Says honestly what it was trained on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="of the model; its next version is registered")
        parser.add_argument("--workflow", required=True, metavar="W", help="a workflow's number, or a project's slug")
        parser.add_argument("--task", metavar="KEY", help="whose gold standard (default: the workflow's first task)")
        parser.add_argument(
            "--positive", nargs="+", metavar="VALUE", help="answers that count as positive (grades: A B; else needed)"
        )
        parser.add_argument("--encoder", metavar="FILE", help="trained EfficientNet-B0 weights (default: random ones)")
        parser.add_argument("--note", default="", help="a sentence for the provenance, e.g. where the stamps are from")
        parser.add_argument("--seed", type=int, default=0, help="of the random encoder and the folds (default 0)")

    def handle(self, *args: Any, **options: Any) -> None:
        workflow = find_workflow(options["workflow"])
        task = options["task"] or workflow.current.parsed.first  # type: ignore[union-attr]
        examples = gold_examples(workflow, task, positive_values(workflow, task, options["positive"]))

        from ml_worker.nets.encoder import WeightsError, load_encoder
        from ml_worker.nets.training import TrainingError

        path = Path(options["encoder"]) if options["encoder"] else None
        try:
            encoder = load_encoder(path) if path else None
            self._train(workflow, task, examples, encoder, path, options)
        except (TrainingError, WeightsError, PrefilterRefused, OSError) as problem:
            raise CommandError(str(problem)) from problem

    def _train(
        self,
        workflow: Workflow,
        task: str,
        examples: Examples,
        encoder: "EfficientNetB0 | None",
        path: Path | None,
        options: dict[str, Any],
    ) -> None:
        import torch

        from ml_worker.nets.network import ARCHITECTURE, save_network
        from ml_worker.nets.training import train_network

        torch.set_num_threads(1)
        provenance = described(workflow, task, examples, path, options["seed"], options["note"])
        training = train_network(
            examples.stamps, examples.is_positive, provenance=provenance, seed=options["seed"], encoder=encoder
        )
        metrics = held_out_metrics(training.held_out, examples.is_positive)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.safetensors"
            save_network(training.network, file)
            model = register_model(
                path=file, name=options["name"], architecture=ARCHITECTURE, provenance=provenance, metrics=metrics
            )
        self.stdout.write(f"{model.name}:{model.version} registered. {provenance}")
        self.stdout.write("Held out: " + ", ".join(f"{name} {value:.3g}" for name, value in metrics.items()))


def positive_values(workflow: Workflow, task: str, named: list[str] | None) -> list[Any]:
    """The answers that count as positive, in the form in which gold standards store them."""
    definition = workflow.current.parsed  # type: ignore[union-attr]
    if task not in definition.tasks:
        raise CommandError(f"--task {task}: the workflow has no such task; it has {', '.join(definition.tasks)}")
    kind = definition.tasks[task].type
    if kind == "grade":
        return named or list(LENS_GRADES)
    if kind != "single":
        raise CommandError(f"--task {task}: a {kind} task has no answer to learn; name a single or grade task")
    if not named or not all(value.isascii() and value.isdigit() for value in named):
        raise CommandError("--positive: name the answers that count as positive by their numbers, from 0")
    return [int(value) for value in named]


def gold_examples(workflow: Workflow, task: str, positive: list[Any]) -> Examples:
    """Every subject of the workflow with a gold standard of this task. Raises CommandError naming broken stamps."""
    gold = GoldStandard.objects.filter(workflow=workflow, task=task).select_related("subject").order_by("subject_id")
    subjects, stamps, is_positive, broken = [], [], [], []
    for truth in gold:
        try:
            stamps.append(read_stamp(truth.subject))
        except StampUnreadable as problem:
            broken.append(f"{truth.subject.name}: {problem}")
            continue
        subjects.append(truth.subject)
        accepted = truth.value if isinstance(truth.value, list) else [truth.value]
        is_positive.append(any(value in positive for value in accepted))
    if broken:
        listed = "".join(f"\n  {line}" for line in broken[:MOST_NAMED])
        raise CommandError(f"{len(broken)} stamps of the gold standard cannot be read; mend or remove them:{listed}")
    return Examples(subjects, stamps, np.array(is_positive, dtype=bool))


def described(workflow: Workflow, task: str, examples: Examples, path: Path | None, seed: int, note: str) -> str:
    if path is None:
        encoder = f"Random-initialised EfficientNet-B0 encoder (seed {seed}), never trained"
    else:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        encoder = f"EfficientNet-B0 encoder with the weights of {path.name} (SHA-256 {sha256[:16]}…)"
    stamps = f"{examples.counted(positive=True)} and {examples.counted(positive=False)} stamps"
    # By number: everyone who may launch a batch anywhere reads this, and the project may be private.
    source = f"the gold standard of task {task} of workflow {workflow.pk}"
    return " ".join(filter(None, [f"{encoder}; head trained on {stamps}, {source}.", note.strip()]))


def held_out_metrics(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> dict[str, float]:
    """How well examples are told apart by heads that had not seen them.

    Parameters
    ----------
    scores : (n,) float in [0, 1]
    is_positive : (n,) bool, with at least one of each kind

    Returns
    -------
    dict
        "AUC", the chance that a positive scores higher than a negative, ties counting half; "recall" and "false
        alarms", the shares of positives and negatives at or above 0.5.
    """
    return {
        "AUC": round(auc(scores, is_positive), 4),
        "recall": round(float((scores[is_positive] >= 0.5).mean()), 4),
        "false alarms": round(float((scores[~is_positive] >= 0.5).mean()), 4),
    }
