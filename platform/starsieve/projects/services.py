"""Everything that changes a project, its workflows, sets and members. Who may do so is decided by the callers."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from starsieve.accounts.models import User
from starsieve.projects.arrivals import announce_arrivals, announce_version
from starsieve.projects.definitions import WorkflowDefinition, parse_definition
from starsieve.projects.models import Membership, Origin, Project, SubjectSet, Workflow, WorkflowVersion
from starsieve.projects.task_types import is_storable
from starsieve.projects.workflow_templates import TEMPLATES

# /projects/new/ is the page that makes one.
RESERVED_SLUGS = frozenset({"new"})
PROJECT_FIELDS = frozenset(
    {"title", "summary", "description", "data_note", "tutorial", "status", "is_public", "grading_by"}
)


class Refused(ValueError):
    """A change that would break a rule. `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}")


def create_project(
    *,
    title: str,
    slug: str,
    summary: str,
    template: str,
    owner: User,
    description: str = "",
    data_note: str = "",
    tutorial: Sequence[Mapping[str, str]] | None = None,
    status: str = Project.Status.DRAFT,
    is_public: bool = True,
    grading_by: str = Project.GradingBy.EVERYONE,
) -> Project:
    """A project with its owner and one workflow at version 1.1, from a workflow template.

    Writes Project, Membership, Workflow and WorkflowVersion in one transaction; locks nothing. The template's tutorial
    serves unless another is given. Raises Refused for an unknown template, a bad field and a slug that is taken.
    """
    if template not in TEMPLATES:
        raise Refused("template", f"there is no template {template!r}; there are {', '.join(TEMPLATES)}")
    check_slug(slug)
    chosen = TEMPLATES[template]
    project = Project(
        title=title,
        slug=slug,
        summary=summary,
        description=description,
        data_note=data_note,
        tutorial=chosen.fresh_tutorial() if tutorial is None else list(tutorial),
        status=status,
        is_public=is_public,
        grading_by=grading_by,
        created_by=owner,
    )
    _check_fields(project)
    with transaction.atomic():
        try:
            with transaction.atomic():
                project.save(force_insert=True)
        except IntegrityError:
            raise Refused("slug", f"the address “{slug}” is taken; choose another") from None
        Membership.objects.create(project=project, user=owner, role=Membership.Role.OWNER)
        create_workflow(project=project, name=chosen.name, definition=chosen.fresh_definition(), user=owner)
    return project


def check_slug(slug: str) -> None:
    """Raises Refused for an address that the platform's own pages use."""
    if slug in RESERVED_SLUGS:
        raise Refused("slug", f"“{slug}” is kept for the platform's own pages; choose another")


def update_project(*, project: Project, changes: Mapping[str, Any]) -> Project:
    """Set the project's texts, status, visibility or who grades. Writes the Project row's named columns only."""
    unknown = sorted(set(changes) - PROJECT_FIELDS)
    if unknown:
        raise Refused(unknown[0], f"cannot be changed; these can: {', '.join(sorted(PROJECT_FIELDS))}")
    for name, value in changes.items():
        setattr(project, name, value)
    _check_fields(project)
    project.save(update_fields=sorted(changes))
    return project


def _check_fields(project: Project) -> None:
    try:
        project.clean_fields(exclude=["created_by"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Refused(field, messages[0]) from None


def create_workflow(*, project: Project, name: str, definition: Any, user: User) -> Workflow:
    """A workflow at version 1.1. Writes Workflow and WorkflowVersion in one transaction; locks nothing.

    Raises DefinitionError for a definition that is refused, Refused for a name that the project already has.
    """
    parse_definition(definition)
    if not name.strip() or len(name) > 120:
        raise Refused("name", "must have between 1 and 120 characters")
    with transaction.atomic():
        try:
            with transaction.atomic():
                workflow = Workflow.objects.create(project=project, name=name.strip())
        except IntegrityError:
            raise Refused("name", f"this project already has a workflow “{name.strip()}”") from None
        _store_version(workflow, 1, 1, definition, user)
    return workflow


def publish_version(*, workflow: Workflow, definition: Any, user: User) -> WorkflowVersion:
    """Make the definition the workflow's current version and return it.

    The major number rises when tasks, their order or the retirement rule change; the minor one when only wording or
    the way to a consensus does; the definition that is current already changes nothing. Locks the Workflow row, so
    that two publishers get two numbers; writes WorkflowVersion, Workflow.current, and what the version listeners write.
    Raises DefinitionError for a definition that is refused.
    """
    parsed = parse_definition(definition)
    with transaction.atomic():
        locked = Workflow.objects.select_for_update().get(pk=workflow.pk)
        latest = locked.versions.order_by("-major", "-minor").first()
        if latest is None:
            major, minor = 1, 1
        elif latest.definition == definition:
            workflow.current = latest
            return latest
        else:
            major, minor = _next_number(latest, parsed)
        version = _store_version(locked, major, minor, definition, user)
        announce_version(locked)
    workflow.current = version
    return version


def _next_number(latest: WorkflowVersion, parsed: WorkflowDefinition) -> tuple[int, int]:
    if latest.parsed.without_texts() == parsed.without_texts():
        return latest.major, latest.minor + 1
    return latest.major + 1, 1


def _store_version(workflow: Workflow, major: int, minor: int, definition: Any, user: User) -> WorkflowVersion:
    version = WorkflowVersion.objects.create(
        workflow=workflow, major=major, minor=minor, definition=definition, created_by=user
    )
    workflow.current = version
    workflow.save(update_fields=["current"])
    return version


def set_workflow_active(*, workflow: Workflow, is_active: bool) -> None:
    """Open or close a workflow to volunteers. Writes one column of the Workflow row."""
    workflow.is_active = is_active
    workflow.save(update_fields=["is_active"])


def create_subject_set(
    *, project: Project, name: str, origin: str = Origin.REAL, description: str = ""
) -> tuple[SubjectSet, bool]:
    """The project's set of that name, and whether it is new. Writes at most one SubjectSet; a set that exists stays as
    it is. Raises Refused for a bad name and for a set of the other origin: real and simulated pixels stay apart.
    """
    name = name.strip()
    if not name or len(name) > 120:
        raise Refused("subject_set", "the set's name must have between 1 and 120 characters")
    if not is_storable(name) or not name.isprintable():
        raise Refused("subject_set", "the set's name has characters that cannot be shown")
    if origin not in Origin.values:
        raise Refused("origin", f"must be one of {', '.join(Origin.values)}")
    subject_set, is_new = SubjectSet.objects.get_or_create(
        project=project, name=name, defaults={"origin": origin, "description": description}
    )
    if subject_set.origin != origin:
        raise Refused("origin", f"the set “{name}” holds {subject_set.origin} subjects; {origin} ones need another set")
    return subject_set, is_new


def link_subject_set(*, workflow: Workflow, subject_set: SubjectSet) -> None:
    """Let the workflow take the set's subjects. Writes the link and, through the arrival listeners, the queue rows, in
    one transaction; linking twice changes nothing. Raises Refused when they belong to different projects.
    """
    if workflow.project_id != subject_set.project_id:
        raise Refused("subject_set", "belongs to another project than the workflow")
    with transaction.atomic():
        workflow.subject_sets.add(subject_set)
        announce_arrivals(subject_set)


def unlink_subject_set(*, workflow: Workflow, subject_set: SubjectSet) -> None:
    """Stop the workflow from showing the set's subjects. Removes the link and, through the arrival listeners, the
    places in the queue, in one transaction; classifications and counts stay.
    """
    with transaction.atomic():
        workflow.subject_sets.remove(subject_set)
        announce_arrivals(subject_set)


def set_member(*, project: Project, user: User, role: str) -> Membership:
    """Give the user that role in the project, in place of any other. Locks the Project row, so that two changes at once
    cannot take away the last two owners; writes one Membership.
    """
    if role not in Membership.Role.values:
        raise Refused("role", f"must be one of {', '.join(Membership.Role.values)}")
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        if role != Membership.Role.OWNER:
            _keep_an_owner(project, user)
        membership, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    return membership


def remove_member(*, project: Project, user: User) -> None:
    """Take the user's role away. Locks the Project row; deletes one Membership. The last owner stays."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        _keep_an_owner(project, user)
        Membership.objects.filter(project=project, user=user).delete()


def _keep_an_owner(project: Project, user: User) -> None:
    owners = set(
        Membership.objects.filter(project=project, role=Membership.Role.OWNER).values_list("user_id", flat=True)
    )
    if owners == {user.pk}:
        raise Refused("role", "a project needs an owner; make someone else an owner first")
