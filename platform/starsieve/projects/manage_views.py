"""Pages for those who run a project: settings, members, subjects, workflows."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from starsieve.projects.forms import (
    AddMemberForm,
    DefinitionForm,
    LinkForm,
    NewWorkflowForm,
    RoleForm,
    SettingsForm,
    UploadForm,
)
from starsieve.projects.imports import ImportReport
from starsieve.projects.manifests import ManifestError
from starsieve.projects.models import Origin, Project, Workflow
from starsieve.projects.permissions import Action, require
from starsieve.projects.services import (
    Refused,
    create_workflow,
    link_subject_set,
    publish_version,
    remove_member,
    set_member,
    set_workflow_active,
    unlink_subject_set,
    update_project,
)
from starsieve.projects.uploads import import_archive
from starsieve.projects.workflow_templates import TEMPLATES

MEMBERS_PER_PAGE = 100
SETS_PER_PAGE = 50
SHOWN_REJECTS = 50
SHOWN_VERSIONS = 50

form_page = require_http_methods(["GET", "HEAD", "POST"])


def _opened(request: HttpRequest, slug: str, action: Action, section: str) -> tuple[Project, dict[str, Any]]:
    """The project, if the action is allowed, and the context that every management page needs."""
    project = get_object_or_404(Project, slug=slug)
    grants = require(request.user, project, action)
    return project, {"project": project, "grants": grants, "tab": "manage", "section": section}


@form_page
def manage_project(request: HttpRequest, slug: str) -> HttpResponse:
    project, context = _opened(request, slug, Action.EDIT, "settings")
    # The form's validation writes into its instance; the page's heading must keep what is stored.
    form = SettingsForm(request.POST or None, instance=Project.objects.get(pk=project.pk))
    if request.method == "POST" and form.is_valid():
        update_project(project=project, changes=form.cleaned_data)
        messages.success(request, "The settings are saved.")
        return redirect("manage_project", slug)
    return render(request, "projects/manage_settings.html", context | {"form": form})


@form_page
def manage_members(request: HttpRequest, slug: str) -> HttpResponse:
    project, context = _opened(request, slug, Action.MANAGE_MEMBERS, "members")
    form = AddMemberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            set_member(project=project, user=form.cleaned_data["person"], role=form.cleaned_data["role"])
            messages.success(request, f"{form.cleaned_data['person']} is now {form.cleaned_data['role']}.")
            return redirect("manage_members", slug)
        except Refused as error:
            form.refuse(error)
    members = project.memberships.select_related("user").order_by("pk")
    page = Paginator(members, MEMBERS_PER_PAGE).get_page(request.GET.get("page"))
    roles = project.memberships.model.Role.choices
    return render(request, "projects/manage_members.html", context | {"form": form, "page": page, "roles": roles})


@require_POST
def change_role(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    project, _ = _opened(request, slug, Action.MANAGE_MEMBERS, "members")
    member = get_object_or_404(project.memberships.select_related("user"), user__pk=user_id)
    form = RoleForm(request.POST)
    if form.is_valid():
        try:
            set_member(project=project, user=member.user, role=form.cleaned_data["role"])
            messages.success(request, f"{member.user} is now {form.cleaned_data['role']}.")
        except Refused as error:
            messages.error(request, f"{member.user} stays {member.role}: {error.message}.")
    else:
        messages.error(request, "There is no such role.")
    return redirect("manage_members", slug)


@require_POST
def take_role(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    project, _ = _opened(request, slug, Action.MANAGE_MEMBERS, "members")
    member = get_object_or_404(project.memberships.select_related("user"), user__pk=user_id)
    try:
        remove_member(project=project, user=member.user)
        messages.success(request, f"{member.user} has no role here any more.")
    except Refused as error:
        messages.error(request, f"{member.user} stays {member.role}: {error.message}.")
    return redirect("manage_members", slug)


@form_page
def manage_subjects(request: HttpRequest, slug: str) -> HttpResponse:
    project, context = _opened(request, slug, Action.EDIT, "subjects")
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            report = import_archive(project=project, user=request.user, **form.cleaned_data)  # type: ignore[arg-type]  # EDIT needs an account
            _tell(request, report)
            return redirect("manage_subjects", slug)
        except ManifestError as error:
            form.add_error("archive", f"The archive is refused: {error}.")
        except Refused as error:
            form.refuse(error)
    sets = project.subject_sets.annotate(
        n_subjects=Count("subjects"),
        n_simulated=Count("subjects", filter=Q(subjects__origin=Origin.SIMULATED)),
    ).prefetch_related(Prefetch("workflows", Workflow.objects.order_by("pk")))
    context |= {
        "form": form,
        "page": Paginator(sets.order_by("pk"), SETS_PER_PAGE).get_page(request.GET.get("page")),
        "workflows": project.workflows.order_by("pk"),
        "last_import": project.imports.select_related("subject_set", "created_by").order_by("pk").last(),
        "shown_rejects": SHOWN_REJECTS,
        "shown_rejects_slice": f":{SHOWN_REJECTS}",
    }
    return render(request, "projects/manage_subjects.html", context)


def _tell(request: HttpRequest, report: ImportReport) -> None:
    text = f"{report.created} subjects created, {report.unchanged} unchanged, {report.rejected} rejected."
    (messages.warning if report.rejected else messages.success)(request, text)


@require_POST
def link_set(request: HttpRequest, slug: str) -> HttpResponse:
    """Link or, with `unlink` in the form, unlink."""
    project, _ = _opened(request, slug, Action.EDIT, "subjects")
    form = LinkForm(project, request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a set and a workflow of this project.")
    elif "unlink" in request.POST:
        unlink_subject_set(**form.cleaned_data)
        messages.success(request, "The workflow no longer shows this set.")
    else:
        link_subject_set(**form.cleaned_data)
        messages.success(request, "The workflow takes this set's subjects now.")
    return redirect("manage_subjects", slug)


@form_page
def manage_workflows(request: HttpRequest, slug: str) -> HttpResponse:
    project, context = _opened(request, slug, Action.EDIT, "workflows")
    form = NewWorkflowForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        definition = TEMPLATES[form.cleaned_data["template"]].fresh_definition()
        try:
            workflow = create_workflow(
                project=project,
                name=form.cleaned_data["name"],
                definition=definition,
                user=request.user,  # type: ignore[arg-type]  # EDIT needs an account
            )
            return redirect("edit_workflow", slug, workflow.pk)
        except Refused as error:
            form.refuse(error)
    workflows = project.workflows.select_related("current").annotate(n_sets=Count("subject_sets")).order_by("pk")
    context |= {"form": form, "workflows": workflows, "templates": TEMPLATES.values()}
    return render(request, "projects/manage_workflows.html", context)


@form_page
def edit_workflow(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    project, context = _opened(request, slug, Action.EDIT, "workflows")
    workflow = get_object_or_404(project.workflows.select_related("current"), pk=workflow_id)
    form = DefinitionForm(request.POST or None, initial=_initial(workflow))
    if request.method == "POST" and form.is_valid():
        before = workflow.current
        version = publish_version(
            workflow=workflow,
            definition=form.cleaned_data["definition"],
            user=request.user,  # type: ignore[arg-type]  # EDIT needs an account
        )
        messages.success(
            request, "Nothing has changed." if version == before else f"Version {version.number} is current now."
        )
        return redirect("edit_workflow", slug, workflow_id)
    versions = workflow.versions.select_related("created_by").defer("definition").order_by("-major", "-minor")
    context |= {"form": form, "workflow": workflow, "versions": versions[:SHOWN_VERSIONS]}
    return render(request, "projects/edit_workflow.html", context)


def _initial(workflow: Workflow) -> dict[str, Any]:
    if workflow.current is None:
        return {"definition": "", "retirement_count": None}
    definition = workflow.current.definition
    return {
        "definition": json.dumps(definition, indent=2, ensure_ascii=False),
        "retirement_count": definition["retirement"].get("classification_count"),
    }


@require_POST
def switch_workflow(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    project, _ = _opened(request, slug, Action.EDIT, "workflows")
    workflow = get_object_or_404(project.workflows, pk=workflow_id)
    set_workflow_active(workflow=workflow, is_active=request.POST.get("is_active") == "1")
    messages.success(request, f"“{workflow.name}” is {'open' if workflow.is_active else 'closed'}.")
    return redirect("manage_workflows", slug)
