"""The pages of a project's prefilter: launch a batch, watch it, cancel it, retry a shard."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ml_worker.forms import LaunchForm
from ml_worker.histogram import Histogram
from ml_worker.models import JobState, ModelVersion, PrefilterBatch
from ml_worker.serializers import MOST_SHARDS_LISTED
from ml_worker.services import (
    PrefilterConflict,
    PrefilterRefused,
    cancel_prefilter_batch,
    launch_prefilter_batch,
    retry_shard,
)
from starsieve.accounts.models import User
from starsieve.projects.models import Project
from starsieve.projects.permissions import Action, require

MOST_BATCHES_LISTED = 50
Grants = frozenset[Action]


def project_for(request: HttpRequest, slug: str) -> tuple[Project, Grants]:
    project = get_object_or_404(Project, slug=slug)
    return project, require(request.user, project, Action.LAUNCH_PREFILTER)


def batch_for(request: HttpRequest, slug: str, batch_id: int) -> tuple[PrefilterBatch, Grants]:
    project, grants = project_for(request, slug)
    batches = PrefilterBatch.objects.with_progress().filter(workflow__project=project)
    related = batches.select_related("workflow__project", "subject_set", "model", "created_by")
    return get_object_or_404(related, pk=batch_id), grants


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def prefilter(request: HttpRequest, slug: str) -> HttpResponse:
    project, grants = project_for(request, slug)
    form = LaunchForm(project, request.POST or None)
    if request.method == "POST" and form.is_valid():
        batch = _launched(form, request.user)
        if batch is not None:
            messages.success(request, f"Prefilter batch {batch.pk} is launched.")
            return redirect("prefilter_batch", slug, batch.pk)
    batches = PrefilterBatch.objects.with_progress().filter(workflow__project=project)
    batches = batches.select_related("workflow", "subject_set", "model", "created_by")
    last = batches.filter(state=JobState.DONE).first()
    context = {
        "project": project,
        "grants": grants,
        "tab": "manage",
        "section": "prefilter",
        "form": form,
        "models": ModelVersion.objects.order_by("name", "-version"),
        "batches": batches[:MOST_BATCHES_LISTED],
        "last": last,
        "last_histogram": Histogram.of(last) if last else None,
    }
    return render(request, "ml_worker/prefilter.html", context, status=400 if form.errors else 200)


def _launched(form: LaunchForm, user: Any) -> PrefilterBatch | None:
    """The new batch; on a refusal None, with the reason in the form."""
    try:
        return launch_prefilter_batch(user=user, **form.arguments())
    except PrefilterRefused as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
    except PrefilterConflict as conflict:
        form.add_error(None, str(conflict))
    return None


@login_required
@require_GET
def prefilter_batch(request: HttpRequest, slug: str, batch_id: int) -> HttpResponse:
    batch, grants = batch_for(request, slug, batch_id)
    shards = list(batch.shards.worth_a_look_first()[:MOST_SHARDS_LISTED])
    context = {
        "project": batch.workflow.project,
        "grants": grants,
        "tab": "manage",
        "section": "prefilter",
        "batch": batch,
        "shards": shards,
        "n_left_out": batch.shards.count() - len(shards),
        "unreadable": [stamp for shard in shards for stamp in shard.unreadable][:MOST_SHARDS_LISTED],
        "histogram": Histogram.of(batch),
        "may_retry": not batch.cancel_requested_at,
    }
    return render(request, "ml_worker/batch.html", context)


@login_required
@require_POST
def prefilter_cancel(request: HttpRequest, slug: str, batch_id: int) -> HttpResponse:
    batch, _ = batch_for(request, slug, batch_id)
    try:
        cancel_prefilter_batch(batch=batch, user=_person(request))
        messages.success(request, "Cancelling. A shard that is running stops after its minibatch.")
    except PrefilterConflict as conflict:
        messages.error(request, str(conflict))
    return redirect("prefilter_batch", slug, batch_id)


@login_required
@require_POST
def prefilter_retry(request: HttpRequest, slug: str, batch_id: int, index: int) -> HttpResponse:
    batch, _ = batch_for(request, slug, batch_id)
    shard = get_object_or_404(batch.shards, index=index)
    try:
        retry_shard(shard=shard, user=_person(request))
        messages.success(request, f"Shard {index} is back in the queue.")
    except PrefilterConflict as conflict:
        messages.error(request, str(conflict))
    return redirect("prefilter_batch", slug, batch_id)


@login_required
@require_GET
@never_cache
def prefilter_scores(request: HttpRequest, slug: str, batch_id: int) -> HttpResponse:
    """The score histogram as a picture, in the colours of ?theme=dark or light."""
    batch, _ = batch_for(request, slug, batch_id)
    theme = "light" if request.GET.get("theme") == "light" else "dark"
    context = {"histogram": Histogram.of(batch), "colours": COLOURS[theme]}
    return render(request, "ml_worker/scores.svg", context, content_type="image/svg+xml")


COLOURS = {
    "dark": {"text": "#c9d2e3", "grid": "#263148", "shown": "#f5b461", "held": "#7db4ff"},
    "light": {"text": "#3b4558", "grid": "#dcd8cd", "shown": "#a85600", "held": "#1f5fae"},
}


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise TypeError("login_required stands before this view")
    return request.user
