"""`manage.py prefilter`: launch a prefilter batch, and on request wait for it or score it in this very process."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ml_worker.models import JobState, ModelVersion, PrefilterBatch, Shard
from ml_worker.services import PrefilterConflict, PrefilterRefused, launch_prefilter_batch
from ml_worker.shards import requeue_lost_shards
from starsieve.accounts.models import User
from starsieve.projects.models import Membership, Project, SubjectSet, Workflow

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 15
CONTROL_HELP = "part of the rest that is shown nevertheless, as a control sample (default 0.05)"


class Command(BaseCommand):
    help = "Let a model score a subject set: high scores come first, low ones are held. Exit 0 only when all went well."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", metavar="PROJECT_OR_WORKFLOW", help="a project's slug, or a workflow's number")
        parser.add_argument("--model", required=True, metavar="NAME[:VERSION]", help="the newest version unless named")
        parser.add_argument("--set", dest="set_name", metavar="NAME", help="needed where the workflow has several")
        cut = parser.add_mutually_exclusive_group()
        cut.add_argument("--show-above", type=float, metavar="X", help="show scores from X on (default 0.5)")
        cut.add_argument("--show-fraction", type=float, metavar="F", help="show the best-scoring part F")
        parser.add_argument("--control", type=float, default=0.05, metavar="F", help=CONTROL_HELP)
        parser.add_argument("--shard-size", type=int, default=64, metavar="N", help="subjects per task (default 64)")
        parser.add_argument("--seed", type=int, metavar="N", help="decides the control sample (default: drawn)")
        parser.add_argument("--user", metavar="NAME", help="who launches it (default: the project's first owner)")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--wait", action="store_true", help="wait until the workers have finished it")
        how.add_argument("--inline", action="store_true", help="score in this process; needs no worker and no broker")

    def handle(self, *args: Any, **options: Any) -> None:
        batch = self._launched(options)
        self.stdout.write(f"Prefilter batch {batch.pk} launched: {batch.shards.count()} shards.")
        if not (options["wait"] or options["inline"]):
            return
        with self._progress_of(batch) as show:
            for _ in score_inline(batch) if options["inline"] else self._waited_for(batch):
                show()
        self._report(batch)

    def _launched(self, options: dict[str, Any]) -> PrefilterBatch:
        workflow = find_workflow(options["target"])
        model = ModelVersion.objects.named(options["model"]).first()
        if model is None:
            raise CommandError(f"--model {options['model']}: no such model; `manage.py models` lists them")
        show_above = options["show_above"]
        if show_above is None and options["show_fraction"] is None:
            show_above = 0.5
        try:
            return launch_prefilter_batch(
                workflow=workflow,
                subject_set=find_set(workflow, options["set_name"]),
                model=model,
                show_above=show_above,
                show_fraction=options["show_fraction"],
                control_fraction=options["control"],
                shard_size=options["shard_size"],
                seed=options["seed"],
                user=find_user(workflow.project, options["user"]),
            )
        except (PrefilterRefused, PrefilterConflict) as refusal:
            raise CommandError(str(refusal)) from refusal

    def _waited_for(self, batch: PrefilterBatch) -> Iterator[None]:
        started, warned = time.monotonic(), False
        while not fresh(batch).is_finished:
            yield
            idle = not batch.shards.exclude(state=JobState.PENDING).exists()
            if idle and not warned and time.monotonic() - started > PATIENCE_SECONDS:
                warned = True
                self.stderr.write(
                    "No worker has taken a shard yet. Is one running? "
                    "(`celery -A starsieve worker --beat --concurrency 1`; or use --inline)"
                )
            time.sleep(POLL_SECONDS)
        yield

    @contextmanager
    def _progress_of(self, batch: PrefilterBatch) -> Iterator[Any]:
        """A callable that draws the batch's progress, on a terminal; elsewhere it does nothing."""
        if not self.stdout.isatty():
            yield lambda: None
            return
        columns = [TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with Progress(*columns) as progress:
            bar: TaskID = progress.add_task("", total=fresh(batch).n_subjects)  # type: ignore[attr-defined]
            yield lambda: progress.update(bar, completed=fresh(batch).n_scored)  # type: ignore[attr-defined]

    def _report(self, batch: PrefilterBatch) -> None:
        batch = fresh(batch)
        n_unreadable = batch.n_unreadable  # type: ignore[attr-defined]
        failed = batch.shards.filter(state=JobState.FAILED).order_by("index")
        if batch.state != JobState.DONE:
            reasons = "".join(f"\n  shard {shard.index}: {shard.error}" for shard in failed[:10])
            raise CommandError(f"Prefilter batch {batch.pk} {batch.get_state_display().lower()}.{reasons}")
        counts = batch.routing
        self.stdout.write(
            f"Done, cut at {batch.show_above:.4g}: {counts['shown']} shown, {counts['held']} held, "
            f"{counts['control']} shown as control sample."
        )
        if n_unreadable:
            stamps = [stamp for shard in batch.shards.exclude(unreadable=[]) for stamp in shard.unreadable][:10]
            lines = "".join(f"\n  {stamp['name']}: {stamp['reason']}" for stamp in stamps)
            raise CommandError(f"{n_unreadable} stamps could not be read; their subjects stay as they were.{lines}")


def fresh(batch: PrefilterBatch) -> PrefilterBatch:
    return PrefilterBatch.objects.with_progress().get(pk=batch.pk)


def score_inline(batch: PrefilterBatch) -> Iterator[None]:
    """Score the batch's shards here, one after the other, beside whatever workers take of them."""
    from ml_worker.tasks import score_shard

    while not fresh(batch).is_finished:
        pending = Shard.objects.filter(batch=batch, state=JobState.PENDING).order_by("index").first()
        if pending is not None:
            time.sleep(POLL_SECONDS * pending.attempts)  # after a passing fault
            score_shard(pending.pk)
        else:
            requeue_lost_shards()
            time.sleep(POLL_SECONDS)
        yield
    yield


def find_workflow(target: str) -> Workflow:
    """The workflow with this number, or the only one of the project with this slug."""
    workflows = Workflow.objects.select_related("project").order_by("id")
    if target.isascii() and target.isdigit() and len(target) < 19:
        found = workflows.filter(pk=int(target)).first()
        if found is not None:
            return found
    candidates = list(workflows.filter(project__slug=target))
    if not candidates:
        raise CommandError(f"{target}: no project has this slug and no workflow this number")
    if len(candidates) > 1:
        listed = ", ".join(f"{workflow.pk} ({workflow.name})" for workflow in candidates)
        raise CommandError(f"{target}: the project has several workflows; name one by its number: {listed}")
    return candidates[0]


def find_set(workflow: Workflow, name: str | None) -> SubjectSet:
    sets = list(workflow.subject_sets.order_by("id"))
    chosen = [subject_set for subject_set in sets if name is None or subject_set.name == name]
    if len(chosen) != 1:
        listed = ", ".join(f"“{subject_set.name}”" for subject_set in sets) or "none"
        raise CommandError(f"--set: name one of the sets linked to workflow {workflow.pk}: {listed}")
    return chosen[0]


def find_user(project: Project, name: str | None) -> User:
    if name is not None:
        user = User.objects.filter(username__iexact=name).first()
        if user is None:
            raise CommandError(f"--user {name}: there is no such user")
        return user
    owner = Membership.objects.filter(project=project, role=Membership.Role.OWNER).select_related("user").first()
    return owner.user if owner is not None else project.created_by
