"""Pages that everyone may see, and the page that makes a project."""

from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils._os import safe_join
from django.views.decorators.http import require_http_methods, require_safe

from starsieve.projects.forms import NewProjectForm
from starsieve.projects.markdown import render_markdown
from starsieve.projects.models import Project, Subject
from starsieve.projects.overview import (
    HERO_STAMPS,
    SAMPLE_STAMPS,
    project_cards,
    project_stats,
    real_stamps,
    visible_projects,
    workflow_cards,
)
from starsieve.projects.permissions import Action, require
from starsieve.projects.services import Refused, create_project
from starsieve.projects.task_types import is_media_picture
from starsieve.projects.workflow_templates import TEMPLATES

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    open_projects = visible_projects(request.user).filter(status=Project.Status.LIVE)
    context = {
        "cards": project_cards(request.user),
        "hero_stamps": real_stamps(Subject.objects.filter(project__in=open_projects.values("pk")), HERO_STAMPS),
    }
    return render(request, "projects/home.html", context)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    return render(request, "projects/about.html")


@require_safe
def project(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_object_or_404(Project, slug=slug)
    grants = require(request.user, project, Action.VIEW)
    cards = workflow_cards(project, grants)
    context = {
        "project": project,
        "grants": grants,
        "tab": "about",
        "description_html": render_markdown(project.description),
        "data_note_html": render_markdown(project.data_note),
        "workflow_cards": cards,
        "stats": project_stats(project, cards),
        "sample_stamps": real_stamps(project.subjects.all(), SAMPLE_STAMPS),
    }
    return render(request, "projects/project.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_project(request: HttpRequest) -> HttpResponse:
    form = NewProjectForm(request.POST or None, initial={"template": next(iter(TEMPLATES))})
    if request.method == "POST" and form.is_valid():
        try:
            made = create_project(owner=request.user, **form.cleaned_data)  # type: ignore[arg-type]  # login_required
            return redirect("manage_project", made.slug)
        except Refused as error:
            form.refuse(error)
    return render(request, "projects/new.html", {"form": form, "templates": TEMPLATES.values()})


@require_safe
def media(request: HttpRequest, path: str) -> HttpResponseBase:
    """A stored picture, for ever the same: names follow from content. In production a proxy serves it."""
    if not is_media_picture(path):
        raise Http404
    try:
        file = Path(safe_join(settings.MEDIA_ROOT, path)).open("rb")  # noqa: SIM115  FileResponse closes it
    except (OSError, ValueError):
        raise Http404 from None
    response = FileResponse(file, content_type=MEDIA_TYPES[Path(path).suffix.lower()])
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
