"""The pages of a project's results: overview with plots, subjects, one subject, releases."""

from pathlib import Path
from urllib.parse import urlencode

from django.contrib import messages
from django.core.cache import cache
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from classify.models import SubjectProgress
from classify.services import reopen_subject, retire_subject
from ml_worker.models import JobState
from starsieve.accounts.models import User
from starsieve.catalogues import services
from starsieve.catalogues.access import (
    consensus_run_for,
    current_version,
    file_of,
    may_have,
    progress_for,
    release_for,
    workflow_for,
)
from starsieve.catalogues.consensus.pages import consensus_on_page, consensus_on_subjects, subject_models
from starsieve.catalogues.consensus.pictures import Picture, marks_picture, marks_size, pictures_of
from starsieve.catalogues.consensus.runs import AlreadyRunning, NothingToFit, request_consensus
from starsieve.catalogues.files import DESCRIPTIONS, content_type_of, release_folder
from starsieve.catalogues.forms import ReleaseForm
from starsieve.catalogues.freezing import models_in_use
from starsieve.catalogues.models import ConsensusRun, Release, SubjectConsensus
from starsieve.catalogues.plots import plots_of
from starsieve.catalogues.release_settings import SettingsProblem
from starsieve.catalogues.statistics import progress_of, statistics_of, stored_statistics
from starsieve.catalogues.subject_table import SORTS, STATES, Wanted, scores_of, subject_page
from starsieve.catalogues.subject_view import frames_on_page, task_results
from starsieve.catalogues.svg import Theme
from starsieve.projects.frames import open_frame
from starsieve.projects.models import Membership
from starsieve.projects.permissions import Action, require, role_in

MOST_RELEASES = 50
PLOT_SECONDS = 24 * 60 * 60


@require_GET
def results(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    workflow, grants = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    current = current_version(workflow)
    progress = progress_of(workflow)
    statistics = statistics_of(workflow, current, progress)
    plots = plots_of(statistics, current.parsed)
    context = {
        "workflow": workflow,
        "project": workflow.project,
        "grants": grants,
        "tab": "results",
        "view": "overview",
        "results_workflow_id": workflow.pk,
        "workflows": workflow.project.workflows.all(),
        "progress": progress,
        "statistics": statistics,
        "plots": plots,
        "has_questions": any(plot.name.endswith("-fractions") for plot in plots),
        "consensus": consensus_on_page(workflow, current, progress),
        "release": workflow.releases.done().first(),
    }
    return render(request, "catalogues/results.html", context)


@require_GET
def plot(request: HttpRequest, slug: str, workflow_id: int, name: str) -> HttpResponse:
    """One plot as a picture, in the colours of ?theme=dark or light. The page's ?v= changes with the numbers."""
    workflow, _ = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    current = current_version(workflow)
    asked_for = request.GET.get("v", "")
    statistics = stored_statistics(workflow, asked_for) or statistics_of(workflow, current, progress_of(workflow))
    found = next((plot for plot in plots_of(statistics, current.parsed) if plot.name == name), None)
    if found is None:
        raise Http404("There is no such plot.")
    response = HttpResponse(found.svg(_theme(request)), content_type="image/svg+xml")
    patch_cache_control(response, private=True, max_age=PLOT_SECONDS if asked_for == statistics.version else 0)
    return response


def _theme(request: HttpRequest) -> Theme:
    return "light" if request.GET.get("theme") == "light" else "dark"


@require_GET
def consensus_plot(request: HttpRequest, slug: str, workflow_id: int, run_id: int, name: str) -> HttpResponse:
    """One plot of a consensus run, in the colours of ?theme=dark or light. A run that is done never changes."""
    workflow, _ = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    run = consensus_run_for(workflow, run_id)
    found = next((picture for picture in pictures_of(run) if picture.name == name), None)
    if found is None:
        raise Http404("There is no such plot.")
    response = HttpResponse(_drawn(run, found, _theme(request)), content_type="image/svg+xml")
    patch_cache_control(response, private=True, max_age=PLOT_SECONDS)
    return response


def _drawn(run: ConsensusRun, picture: Picture, theme: Theme) -> str:
    """From the cache where it was drawn before: matplotlib takes a good part of a second."""
    assert run.finished_at is not None
    key = f"consensus-plot:{run.pk}:{run.finished_at.timestamp():.0f}:{picture.name}:{theme}"
    svg: str | None = cache.get(key)
    if svg is None:
        svg = picture.svg(theme)
        cache.set(key, svg, PLOT_SECONDS)
    return svg


@require_GET
def subject_marks(
    request: HttpRequest, slug: str, workflow_id: int, run_id: int, subject_id: int, task: str
) -> HttpResponse:
    """What volunteers drew on one subject, as a run saw it, in the colours of ?theme=dark or light."""
    workflow, _ = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    run = consensus_run_for(workflow, run_id)
    rows = SubjectConsensus.objects.select_related("subject")
    said = get_object_or_404(rows, run=run, subject__pk=subject_id)
    if task not in said.marks or not said.subject.frames:
        raise Http404("There are no marks.")
    frame = said.subject.frames[0]
    clumps = said.tasks[task].get("clumps", ())
    picture = marks_picture(said.marks[task], clumps, (frame["width"], frame["height"]), open_frame(said.subject))
    response = HttpResponse(picture.svg(_theme(request)), content_type="image/svg+xml")
    patch_cache_control(response, private=True, max_age=PLOT_SECONDS)
    return response


@require_POST
def update_consensus(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    """Have the models fitted again now."""
    workflow, _ = workflow_for(request.user, workflow_id, Action.MAKE_RELEASE, slug=slug)
    try:
        request_consensus(workflow=workflow, user=request.user if isinstance(request.user, User) else None)
    except NothingToFit:
        messages.info(request, "No question of this workflow has a method beyond counting votes: nothing to compute.")
    except AlreadyRunning:
        messages.info(request, "The consensus is being computed already; the numbers appear here in a moment.")
    else:
        messages.success(request, "The consensus is being computed; the numbers appear here in a moment.")
    return redirect(reverse("results", args=[slug, workflow_id]) + "#consensus")


@require_GET
def subjects(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    workflow, grants = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    current_version(workflow)
    wanted = Wanted.from_query(request.GET)
    page = subject_page(workflow, wanted)
    chosen = {"sort": wanted.sort, "state": wanted.state}
    context = {
        "workflow": workflow,
        "project": workflow.project,
        "grants": grants,
        "tab": "results",
        "view": "subjects",
        "results_workflow_id": workflow.pk,
        "workflows": workflow.project.workflows.all(),
        "page": page,
        "wanted": wanted,
        "sorts": SORTS,
        "states": STATES,
        "next_url": f"?{urlencode({**chosen, 'after': page.next_cursor})}" if page.next_cursor else "",
        "first_url": f"?{urlencode(chosen)}" if wanted.after else "",
    }
    return render(request, "catalogues/subjects.html", context)


@require_GET
def subject_result(request: HttpRequest, slug: str, workflow_id: int, subject_id: int) -> HttpResponse:
    workflow, grants = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    current = current_version(workflow)
    progress = progress_for(workflow, subject_id)
    said = consensus_on_subjects(workflow, [subject_id])
    models = subject_models(workflow, said.run, said.of[subject_id]) if said.run else {}
    tasks = task_results(progress, current, models)
    model_ids = models_in_use(workflow)
    context = {
        "workflow": workflow,
        "project": workflow.project,
        "grants": grants,
        "tab": "results",
        "view": "subjects",
        "results_workflow_id": workflow.pk,
        "workflows": workflow.project.workflows.all(),
        "subject": progress.subject,
        "progress": progress,
        "frames": frames_on_page(progress),
        "tasks": tasks,
        "run": said.run,
        "marks_size": marks_size(progress.subject),
        "boxes": [box for task in tasks for box in task.boxes],
        "score": scores_of([subject_id], model_ids).get(subject_id),
        "sees_hidden": Action.EDIT in grants,
    }
    return render(request, "catalogues/subject.html", context)


@require_POST
def decide_subject(request: HttpRequest, slug: str, workflow_id: int, subject_id: int) -> HttpResponse:
    """Retire or reopen by hand, as the field `decision` says."""
    workflow, _ = workflow_for(request.user, workflow_id, Action.RETIRE, slug=slug)
    subject = progress_for(workflow, subject_id).subject
    decision = request.POST.get("decision")
    if decision == "retire":
        is_expert = role_in(request.user, workflow.project) == Membership.Role.EXPERT
        reasons = SubjectProgress.RetirementReason
        retire_subject(workflow=workflow, subject=subject, reason=reasons.EXPERT if is_expert else reasons.HUMAN)
        messages.success(request, f"{subject.name} is retired.")
    elif decision == "reopen":
        reopen_subject(workflow=workflow, subject=subject)
        messages.success(request, f"{subject.name} is open again.")
    else:
        messages.error(request, "Choose to retire or to reopen the subject.")
    return redirect("subject_result", slug, workflow_id, subject_id)


@require_http_methods(["GET", "HEAD", "POST"])
def releases(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    workflow, grants = workflow_for(request.user, workflow_id, Action.SEE_RESULTS, slug=slug)
    form = ReleaseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        require(request.user, workflow.project, Action.MAKE_RELEASE)
        if form.is_valid() and isinstance(request.user, User):
            try:
                release = services.make_release(
                    workflow=workflow, user=request.user, settings=form.cleaned_data["settings"]
                )
            except SettingsProblem as problem:
                form.add_error(problem.field if problem.field in form.fields else None, problem.message)
            else:
                messages.success(request, f"Release {release.number} is frozen; its files are being written.")
                return redirect("releases", slug, workflow_id)
    listed = workflow.releases.select_related("workflow_version", "created_by").defer("second_looks")
    context = {
        "workflow": workflow,
        "project": workflow.project,
        "grants": grants,
        "tab": "results",
        "view": "releases",
        "results_workflow_id": workflow.pk,
        "workflows": workflow.project.workflows.all(),
        "form": form,
        "releases": [_listed(release, grants) for release in listed[:MOST_RELEASES]],
    }
    return render(request, "catalogues/releases.html", context, status=400 if form.errors else 200)


def _listed(release: Release, grants: frozenset[Action]) -> dict[str, object]:
    files = [
        {**entry, "description": DESCRIPTIONS.get(Path(entry["name"]).stem, "")}
        for entry in release.files
        if may_have(grants, entry["name"])
    ]
    return {"release": release, "files": files, "is_busy": release.state in (JobState.PENDING, JobState.RUNNING)}


@require_POST
def release_retry(request: HttpRequest, slug: str, release_id: int) -> HttpResponse:
    release, _ = release_for(request.user, release_id, slug=slug)
    require(request.user, release.workflow.project, Action.MAKE_RELEASE)
    services.retry_release(release=release)
    messages.success(request, f"Release {release.number} is being written again.")
    return redirect("releases", slug, release.workflow_id)


@require_GET
def release_file(request: HttpRequest, slug: str, release_id: int, name: str) -> FileResponse:
    release, grants = release_for(request.user, release_id, slug=slug)
    return download(release, file_of(release, grants, name))


def download(release: Release, entry: dict[str, str]) -> FileResponse:
    """The file as a download that can be checked: its SHA-256 is the ETag."""
    path = release_folder(release) / entry["name"]
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Http404("The file is not on this server any more; make_release --release writes it again.") from None
    response = FileResponse(
        file,
        as_attachment=True,
        filename=f"{release.workflow.project.slug}-release-{release.number}-{entry['name']}",
        content_type=content_type_of(entry["name"]),
    )
    response["ETag"] = f'"{entry["sha256"]}"'
    patch_cache_control(response, private=True, max_age=0)
    return response
