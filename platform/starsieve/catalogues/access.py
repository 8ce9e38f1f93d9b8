"""Finding a workflow, subject or release along with what the asker may do there."""

from django.contrib.auth.models import AnonymousUser
from django.http import Http404
from django.shortcuts import get_object_or_404

from classify.models import SubjectProgress
from starsieve.accounts.models import User
from starsieve.catalogues.files import action_for
from starsieve.catalogues.models import ConsensusRun, Release
from starsieve.projects.models import Workflow, WorkflowVersion
from starsieve.projects.permissions import Action, require

Grants = frozenset[Action]


def workflow_for(
    user: User | AnonymousUser, workflow_id: int, action: Action, *, slug: str | None = None
) -> tuple[Workflow, Grants]:
    """The workflow (of that project) if the user may do `action` in it; Http404 or PermissionDenied otherwise."""
    workflows = Workflow.objects.select_related("project", "current")
    if slug is not None:
        workflows = workflows.filter(project__slug=slug)
    workflow = get_object_or_404(workflows, pk=workflow_id)
    return workflow, require(user, workflow.project, action)


def current_version(workflow: Workflow) -> WorkflowVersion:
    if workflow.current is None:
        raise Http404("This workflow has no version yet.")
    return workflow.current


def progress_for(workflow: Workflow, subject_id: int) -> SubjectProgress:
    rows = SubjectProgress.objects.select_related("subject__subject_set", "tallied_version")
    # `subject__pk`, not `subject_id`: a number too large for any database finds nothing instead of failing.
    return get_object_or_404(rows, workflow=workflow, subject__pk=subject_id)


def release_for(user: User | AnonymousUser, release_id: int, *, slug: str | None = None) -> tuple[Release, Grants]:
    releases = Release.objects.select_related("workflow__project", "workflow_version", "created_by").defer(
        "second_looks", "workflow_version__definition"
    )
    if slug is not None:
        releases = releases.filter(workflow__project__slug=slug)
    release = get_object_or_404(releases, pk=release_id)
    return release, require(user, release.workflow.project, Action.SEE_RESULTS)


def consensus_run_for(workflow: Workflow, run_id: int) -> ConsensusRun:
    """A finished run of the workflow."""
    runs = ConsensusRun.objects.done().select_related("workflow_version")
    return get_object_or_404(runs.defer("workflow_version__definition"), workflow=workflow, pk=run_id)


def may_have(grants: Grants, name: str) -> bool:
    """Whether someone with these grants may download a release's file of that name."""
    return action_for(name) in grants


def file_of(release: Release, grants: Grants, name: str) -> dict[str, str]:
    """The release's entry of that file; Http404 for an unknown file and for one the asker may not have."""
    entry = next((entry for entry in release.files if entry["name"] == name), None)
    if entry is None or not may_have(grants, name):
        raise Http404("This release has no such file.")
    return entry  # type: ignore[no-any-return]
