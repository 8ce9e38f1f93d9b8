from collections.abc import Callable
from typing import Any

import pytest

from starsieve.projects.definitions import DefinitionError
from starsieve.projects.models import Membership, Origin, Project, Subject, Workflow, WorkflowVersion
from starsieve.projects.services import (
    Refused,
    create_project,
    create_subject_set,
    create_workflow,
    link_subject_set,
    publish_version,
    remove_member,
    set_member,
    set_workflow_active,
    unlink_subject_set,
    update_project,
)
from starsieve.projects.workflow_templates import TEMPLATES

pytestmark = pytest.mark.django_db


def test_a_new_project_has_an_owner_and_a_workflow_at_version_one_point_one(owner: Any) -> None:
    project = create_project(title="Lenses", slug="lenses", summary="Grade.", template="lens-grading", owner=owner)
    assert Membership.objects.get(project=project).role == "owner"
    workflow = project.workflows.get()
    assert (workflow.name, str(workflow.current)) == ("Lens grading", "1.1")
    assert project.tutorial == TEMPLATES["lens-grading"].tutorial
    assert project.status == Project.Status.DRAFT


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"template": "nope"}, "template"),
        ({"slug": "new"}, "slug"),
        ({"slug": "no spaces"}, "slug"),
        ({"slug": "deep-field"}, "slug"),
        ({"title": ""}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"status": "gone"}, "status"),
    ],
)
def test_a_project_that_breaks_a_rule_is_refused_and_leaves_nothing(
    project: Project, owner: Any, fields: dict[str, str], field: str
) -> None:
    wanted = {"title": "T", "slug": "t", "summary": "S", "template": "gz2"} | fields
    with pytest.raises(Refused) as caught:
        create_project(owner=owner, **wanted)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert (Project.objects.count(), Workflow.objects.count()) == (1, 1)


def test_settings_are_changed_and_nothing_else(project: Project) -> None:
    update_project(project=project, changes={"title": "New", "is_public": False})
    project.refresh_from_db()
    assert (project.title, project.is_public, project.slug) == ("New", False, "deep-field")
    with pytest.raises(Refused, match="slug: cannot be changed"):
        update_project(project=project, changes={"slug": "other"})
    with pytest.raises(Refused, match="title"):
        update_project(project=project, changes={"title": ""})


def reworded(workflow: Workflow) -> dict[str, Any]:
    definition = TEMPLATES["gz-rings"].fresh_definition()
    definition["tasks"]["T0"]["question"] = "Is there a ring?"
    return definition


def test_new_wording_raises_the_minor_number(workflow: Workflow, owner: Any) -> None:
    version = publish_version(workflow=workflow, definition=reworded(workflow), user=owner)
    workflow.refresh_from_db()
    assert (version.number, workflow.current) == ("1.2", version)


def test_a_changed_task_or_retirement_raises_the_major_number(workflow: Workflow, owner: Any) -> None:
    publish_version(workflow=workflow, definition=reworded(workflow), user=owner)
    definition = reworded(workflow)
    definition["retirement"]["classification_count"] = 3
    assert publish_version(workflow=workflow, definition=definition, user=owner).number == "2.1"
    definition["tasks"]["T0"]["answers"].append({"key": "maybe", "label": "Maybe"})
    assert publish_version(workflow=workflow, definition=definition, user=owner).number == "3.1"


def test_the_same_definition_again_changes_nothing(workflow: Workflow, owner: Any) -> None:
    version = publish_version(workflow=workflow, definition=TEMPLATES["gz-rings"].fresh_definition(), user=owner)
    assert version.number == "1.1"
    assert WorkflowVersion.objects.count() == 1


def test_a_return_to_old_tasks_is_a_new_version_and_the_old_ones_stay(workflow: Workflow, owner: Any) -> None:
    original = TEMPLATES["gz-rings"].fresh_definition()
    publish_version(workflow=workflow, definition=reworded(workflow), user=owner)
    assert publish_version(workflow=workflow, definition=original, user=owner).number == "1.3"
    assert workflow.versions.get(minor=1).definition == original


def test_a_refused_definition_leaves_the_current_version(workflow: Workflow, owner: Any) -> None:
    with pytest.raises(DefinitionError):
        publish_version(workflow=workflow, definition={"first": "T0"}, user=owner)
    workflow.refresh_from_db()
    assert str(workflow.current) == "1.1"


def test_two_workflows_of_a_project_have_two_names(project: Project, owner: Any) -> None:
    definition = TEMPLATES["gz2"].fresh_definition()
    assert str(create_workflow(project=project, name=" Second ", definition=definition, user=owner)) == "Second"
    with pytest.raises(Refused, match="already has"):
        create_workflow(project=project, name="Second", definition=definition, user=owner)
    with pytest.raises(Refused, match="1 and 120"):
        create_workflow(project=project, name=" ", definition=definition, user=owner)
    assert project.workflows.count() == 2


def test_a_workflow_is_closed_and_opened(workflow: Workflow) -> None:
    set_workflow_active(workflow=workflow, is_active=False)
    workflow.refresh_from_db()
    assert not workflow.is_active


def test_real_and_simulated_subjects_never_share_a_set(project: Project) -> None:
    made, is_new = create_subject_set(project=project, name="A", origin=Origin.SIMULATED)
    assert is_new
    assert create_subject_set(project=project, name=" A ", origin=Origin.SIMULATED) == (made, False)
    with pytest.raises(Refused, match="need another set"):
        create_subject_set(project=project, name="A", origin=Origin.REAL)
    with pytest.raises(Refused, match="origin"):
        create_subject_set(project=project, name="B", origin="painted")
    with pytest.raises(Refused, match="1 and 120"):
        create_subject_set(project=project, name="")


def test_linking_and_unlinking_tell_the_arrival_listeners(
    workflow: Workflow, subject_set: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr("starsieve.projects.services.announce_arrivals", heard.append)
    link_subject_set(workflow=workflow, subject_set=subject_set)
    link_subject_set(workflow=workflow, subject_set=subject_set)
    assert heard == [subject_set, subject_set]
    assert list(workflow.subject_sets.all()) == [subject_set]
    unlink_subject_set(workflow=workflow, subject_set=subject_set)
    assert heard == [subject_set, subject_set, subject_set]
    assert not workflow.subject_sets.exists()


def test_an_unlinked_set_is_out_of_the_queue_and_comes_back(workflow: Workflow, subject_set: Any) -> None:
    frame = {"path": "stamps/ab/ab.png", "width": 9, "height": 9, "band": "", "stretch": ""}
    Subject.objects.create(project=workflow.project, subject_set=subject_set, name="a", frames=[frame])
    for act, n_open in ((link_subject_set, 1), (unlink_subject_set, 0), (link_subject_set, 1)):
        act(workflow=workflow, subject_set=subject_set)
        assert workflow.progress.open().count() == n_open
    assert workflow.progress.count() == 1


def test_a_link_is_undone_when_a_listener_fails(
    workflow: Workflow, subject_set: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("listener")

    monkeypatch.setattr("starsieve.projects.services.announce_arrivals", fail)
    with pytest.raises(RuntimeError, match="listener"):
        link_subject_set(workflow=workflow, subject_set=subject_set)
    assert not workflow.subject_sets.exists()


def test_a_set_cannot_be_linked_to_another_projects_workflow(workflow: Workflow, owner: Any) -> None:
    other = create_project(title="O", slug="other", summary="S", template="gz2", owner=owner)
    foreign, _ = create_subject_set(project=other, name="Foreign")
    with pytest.raises(Refused, match="another project"):
        link_subject_set(workflow=workflow, subject_set=foreign)


def test_a_member_gets_changes_and_loses_a_role(project: Project, make_user: Callable[..., Any]) -> None:
    ada = make_user("ada")
    set_member(project=project, user=ada, role="expert")
    set_member(project=project, user=ada, role="tester")
    assert project.memberships.get(user=ada).role == "tester"
    remove_member(project=project, user=ada)
    remove_member(project=project, user=ada)
    assert not project.memberships.filter(user=ada).exists()
    with pytest.raises(Refused, match="must be one of"):
        set_member(project=project, user=ada, role="king")


def test_the_last_owner_stays_owner(project: Project, owner: Any, make_user: Callable[..., Any]) -> None:
    with pytest.raises(Refused, match="needs an owner"):
        set_member(project=project, user=owner, role="scientist")
    with pytest.raises(Refused, match="needs an owner"):
        remove_member(project=project, user=owner)
    set_member(project=project, user=owner, role="owner")
    ada = make_user("ada")
    set_member(project=project, user=ada, role="owner")
    remove_member(project=project, user=owner)
    assert project.memberships.get().user == ada
