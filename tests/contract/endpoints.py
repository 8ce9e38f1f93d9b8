"""Every address of the site, each method it takes, and who may use it.

This table is written by hand and says nothing by way of projects/permissions.py: a slip there shows up against it.
A new address fails tests/contract/test_permissions.py until it has a row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contract.world import ANONYMOUS, PEOPLE, ROLES, STRANGER, SUPERUSER, Place, World

People = frozenset[str]
EVERYBODY: People = frozenset(PEOPLE)
NOBODY: People = frozenset()
SIGNED_IN = EVERYBODY - {ANONYMOUS}
MEMBERS = frozenset({SUPERUSER, *ROLES})
OWNERS: People = frozenset({SUPERUSER, "owner"})
EDITORS = OWNERS | {"scientist"}
TESTERS = EDITORS | {"tester"}
RETIRERS = EDITORS | {"expert", "moderator"}
# Live: everybody who sees the project; before that its testers.
CLASSIFIERS = {"public": EVERYBODY, "private": MEMBERS, "draft": TESTERS}
VIEWERS: dict[str, People] = {"public": EVERYBODY, "private": MEMBERS, "draft": MEMBERS}

Body = Callable[[World, Place], Any]
Arguments = Callable[[World, Place], dict[str, Any]]
DONE = frozenset({200, 201, 202, 204, 302})


@dataclass(frozen=True)
class Call:
    """One method: who may, what is sent, what those who may are answered."""

    allowed: People | Mapping[str, People]
    body: Body | None = None
    done: frozenset[int] = DONE
    # What people get who may not know that the project exists; an id in a body is refused as content.
    hidden: frozenset[int] = frozenset({404})
    scope: str = "admin"  # the token scope that an unsafe call needs; "" = no token at all
    writes: frozenset[str] = frozenset()  # tables that even a GET may write to, with the reason beside the row
    own_list: bool = False  # a list of what belongs to the asker: whoever sees no project gets a shorter one

    def people(self, kind: str) -> People:
        return self.allowed if isinstance(self.allowed, frozenset) else self.allowed[kind]


@dataclass(frozen=True)
class Endpoint:
    calls: Mapping[str, Call]
    form: str = "page"  # page | api | file
    arguments: Arguments | None = None  # with arguments of a Place it is asked in each project
    in_project: bool = field(default=True)


def page(arguments: Arguments, **calls: Call) -> Endpoint:
    return Endpoint(calls, "page", arguments)


def file(arguments: Arguments, **calls: Call) -> Endpoint:
    return Endpoint(calls, "file", arguments)


def api(arguments: Arguments, **calls: Call) -> Endpoint:
    return Endpoint(calls, "api", arguments)


def site(form: str = "page", arguments: dict[str, Any] | None = None, **calls: Call) -> Endpoint:
    """An address outside projects."""
    return Endpoint(calls, form, lambda world, place: arguments or {}, in_project=False)


def slug(world: World, place: Place) -> dict[str, Any]:
    return {"slug": place.project.slug}


def workflow(world: World, place: Place) -> dict[str, Any]:
    return {"slug": place.project.slug, "workflow_id": place.workflow.pk}


def subject(world: World, place: Place) -> dict[str, Any]:
    return workflow(world, place) | {"subject_id": place.subject.pk}


def batch(world: World, place: Place) -> dict[str, Any]:
    return {"slug": place.project.slug, "batch_id": place.batch.pk}


def release(world: World, place: Place) -> dict[str, Any]:
    return {"slug": place.project.slug, "release_id": place.release.pk}


def of_workflow(name: str) -> Arguments:
    return lambda world, place: {name: place.workflow.pk}


def of_batch(world: World, place: Place) -> dict[str, Any]:
    return {"pk": place.batch.pk}


def of_release(world: World, place: Place) -> dict[str, Any]:
    return {"pk": place.release.pk}


def launch(world: World, place: Place) -> dict[str, Any]:
    wanted = {"workflow": place.workflow.pk, "subject_set": place.subject_set.pk, "model": world.model.pk}
    return wanted | {"show_above": 0.5, "control_fraction": 0.05, "shard_size": 64, "cut": "score"}


SESSION = frozenset({"django_session"})
# allauth copies the address in the user's row into its own table when the page is opened.
ADDRESSES = frozenset({"account_emailaddress"})
FORM_OR_DONE = frozenset({200, 302})
# allauth's form views take PUT for POST, as Django's FormView does.
ACCOUNT_FORM = {"GET": Call(EVERYBODY), "POST": Call(EVERYBODY), "PUT": Call(EVERYBODY)}
OWN_FORM = {"GET": Call(SIGNED_IN), "POST": Call(SIGNED_IN), "PUT": Call(SIGNED_IN)}

ACCOUNTS: dict[str, Endpoint] = {
    "account_login": site(**ACCOUNT_FORM),
    "account_logout": site(GET=Call(EVERYBODY), POST=Call(EVERYBODY)),
    "account_inactive": site(GET=Call(EVERYBODY)),
    "account_signup": site(**ACCOUNT_FORM),
    "account_reauthenticate": site(**OWN_FORM),
    "account_email": site(GET=Call(SIGNED_IN, writes=ADDRESSES), POST=Call(SIGNED_IN)),
    "account_email_verification_sent": site(GET=Call(EVERYBODY)),
    "account_change_password": site(**OWN_FORM),
    "account_set_password": site(**OWN_FORM),
    "account_reset_password": site(**ACCOUNT_FORM),
    "account_confirm_login_code": site(**ACCOUNT_FORM),
    "account_confirm_email": site(
        arguments={"key": "abc"}, GET=Call(EVERYBODY), POST=Call(EVERYBODY, done=frozenset({404}))
    ),
    "account_reset_password_from_key_done": site(GET=Call(EVERYBODY)),
    "account_reset_password_from_key": site(
        arguments={"uidb36": "1", "key": "a-b"},
        GET=Call(EVERYBODY, writes=ADDRESSES),
        POST=Call(EVERYBODY),
        PUT=Call(EVERYBODY),
    ),
    "account_reset_password_done": site(GET=Call(EVERYBODY)),
    "account_profile": site(GET=Call(SIGNED_IN), POST=Call(SIGNED_IN, body=lambda w, p: {"theme": "dark"})),
    "set_theme": site(POST=Call(EVERYBODY, body=lambda w, p: {"theme": "dark"})),
    "account_tokens": site(
        GET=Call(SIGNED_IN), POST=Call(SIGNED_IN, body=lambda w, p: {"name": "t", "scope": "read", "lifetime": "30"})
    ),
    # Everybody but its owner is told that there is no such token.
    "account_revoke_token": Endpoint(
        {"POST": Call(frozenset({"tester"}))},
        arguments=lambda world, place: {"token_id": world.tokens["tester"].pk},
        in_project=False,
    ),
    "account_data": site("file", GET=Call(SIGNED_IN)),
    "account_delete": site(GET=Call(SIGNED_IN), POST=Call(SIGNED_IN)),
    "api_tokens": site(
        "api", GET=Call(SIGNED_IN), POST=Call(SIGNED_IN, body=lambda w, p: {"name": "t", "scope": "read"}, scope="")
    ),
    "api_token": Endpoint(
        {"DELETE": Call(frozenset({"tester"}))},
        "api",
        arguments=lambda world, place: {"pk": world.tokens["tester"].pk},
        in_project=False,
    ),
}

SITE: dict[str, Endpoint] = {
    "healthz": site("file", GET=Call(EVERYBODY)),
    "readyz": site("file", GET=Call(EVERYBODY)),
    "metrics": site("file", GET=Call(EVERYBODY)),
    "robots": site("file", GET=Call(EVERYBODY)),
    "api_schema": site("api", GET=Call(EVERYBODY)),
    "api_docs": site(GET=Call(EVERYBODY)),
}


def member(world: World, place: Place) -> dict[str, Any]:
    user = world.people["tester"]
    assert user is not None
    return slug(world, place) | {"user_id": user.pk}


def settings_form(world: World, place: Place) -> dict[str, Any]:
    project = place.project
    texts = {"title": "Renamed", "summary": "S", "description": "", "data_note": "", "tutorial": "[]"}
    return texts | {"status": project.status, "grading_by": "everyone", "is_public": project.is_public}


def definition(world: World, place: Place) -> dict[str, Any]:
    assert place.workflow.current is not None
    return {"definition": place.workflow.current.definition}


def link(world: World, place: Place) -> dict[str, Any]:
    return {"workflow": place.workflow.pk, "subject_set": place.spare_set.pk}


NEW_PROJECT = {"title": "New", "slug": "brand-new", "summary": "S", "template": "lens-grading"}

PROJECTS: dict[str, Endpoint] = {
    "home": site(GET=Call(EVERYBODY)),
    "about": site(GET=Call(EVERYBODY)),
    "new_project": site(GET=Call(SIGNED_IN), POST=Call(SIGNED_IN, body=lambda w, p: NEW_PROJECT)),
    "project": page(slug, GET=Call(VIEWERS)),
    "manage_project": page(slug, GET=Call(EDITORS), POST=Call(EDITORS, body=settings_form)),
    "manage_members": page(
        slug, GET=Call(OWNERS), POST=Call(OWNERS, body=lambda w, p: {"person": "stranger", "role": "expert"})
    ),
    "change_role": page(member, POST=Call(OWNERS, body=lambda w, p: {"role": "owner"})),
    "take_role": page(member, POST=Call(OWNERS)),
    "manage_subjects": page(slug, GET=Call(EDITORS), POST=Call(EDITORS)),
    "link_set": page(slug, POST=Call(EDITORS, body=link)),
    "manage_workflows": page(
        slug,
        GET=Call(EDITORS),
        POST=Call(EDITORS, body=lambda w, p: {"name": "second", "template": "lens-grading"}),
    ),
    "edit_workflow": page(workflow, GET=Call(EDITORS), POST=Call(EDITORS)),
    "switch_workflow": page(workflow, POST=Call(EDITORS, body=lambda w, p: {"is_active": "0"})),
    # Names are hashes of the content: whoever has a picture's address was given it.
    "media": Endpoint(
        {"GET": Call(EVERYBODY)},
        "file",
        arguments=lambda world, place: {"path": place.subject.frames[0]["path"]},
        in_project=False,
    ),
    "api_projects": site(
        "api",
        GET=Call(EVERYBODY),
        POST=Call(SIGNED_IN, body=lambda w, p: NEW_PROJECT),
    ),
    "api_project": api(slug, GET=Call(VIEWERS)),
    "api_workflow": api(of_workflow("workflow_id"), GET=Call(VIEWERS)),
    "api_workflow_versions": api(of_workflow("workflow_id"), GET=Call(VIEWERS), POST=Call(EDITORS, body=definition)),
    "api_subject": api(lambda w, p: {"subject_id": p.subject.pk}, GET=Call(VIEWERS)),
}

CLASSIFY: dict[str, Endpoint] = {
    "classify": page(workflow, GET=Call(VIEWERS)),
    "api_next": api(of_workflow("workflow_id"), GET=Call(CLASSIFIERS)),
    "api_classifications": api(
        of_workflow("workflow_id"),
        POST=Call(CLASSIFIERS, body=lambda w, p: p.classification, done=frozenset({201}), scope="classify"),
    ),
    "api_classification_batch": api(
        of_workflow("workflow_id"),
        POST=Call(CLASSIFIERS, body=lambda w, p: {"classifications": [p.classification]}, scope="classify"),
    ),
}

PREFILTER: dict[str, Endpoint] = {
    "prefilter": page(slug, GET=Call(EDITORS), POST=Call(EDITORS, body=launch, done=frozenset({200, 302, 400}))),
    "prefilter_batch": page(batch, GET=Call(EDITORS)),
    "prefilter_cancel": page(batch, POST=Call(EDITORS)),
    "prefilter_retry": page(lambda w, p: batch(w, p) | {"index": 0}, POST=Call(EDITORS)),
    "prefilter_scores": file(batch, GET=Call(EDITORS)),
    # Scientists and owners of any project, so that they can choose.
    "api_models": site("api", GET=Call(EDITORS)),
    "api_prefilter_batches": api(
        lambda w, p: {},
        GET=Call(SIGNED_IN, own_list=True),
        POST=Call(EDITORS, body=launch, done=frozenset({201, 409, 422}), hidden=frozenset({422})),
    ),
    "api_prefilter_batch": api(of_batch, GET=Call(EDITORS)),
    "api_prefilter_cancel": api(of_batch, POST=Call(EDITORS, done=frozenset({200, 409}))),
    "api_prefilter_shards": api(of_batch, GET=Call(EDITORS)),
    "api_shard_retry": api(lambda w, p: {"pk": p.batch.pk, "index": 0}, POST=Call(EDITORS, done=frozenset({200, 409}))),
}

SNAPSHOT = frozenset({"catalogues_snapshot", "catalogues_snapshotpart"})
RELEASE = {"formats": ["csv"]}
CATALOGUES: dict[str, Endpoint] = {
    "results": page(workflow, GET=Call(VIEWERS)),
    "results_plot": file(lambda w, p: workflow(w, p) | {"name": "T0-grades"}, GET=Call(VIEWERS)),
    "consensus_plot": file(
        lambda w, p: workflow(w, p) | {"run_id": p.consensus.pk, "name": "T0-reliability"}, GET=Call(VIEWERS)
    ),
    "subject_marks": file(lambda w, p: subject(w, p) | {"run_id": p.consensus.pk, "task": "T0"}, GET=Call(VIEWERS)),
    "update_consensus": page(workflow, POST=Call(EDITORS)),
    "results_subjects": page(workflow, GET=Call(VIEWERS)),
    "subject_result": page(subject, GET=Call(VIEWERS)),
    "decide_subject": page(subject, POST=Call(RETIRERS, body=lambda w, p: {"decision": "retire"})),
    "releases": page(workflow, GET=Call(VIEWERS), POST=Call(EDITORS, done=frozenset({200, 302, 400}))),
    "release_retry": page(release, POST=Call(EDITORS)),
    "release_file": file(lambda w, p: release(w, p) | {"name": "subjects.csv"}, GET=Call(VIEWERS)),
    "api_results": api(of_workflow("pk"), GET=Call(VIEWERS)),
    "api_consensus": api(of_workflow("pk"), GET=Call(VIEWERS)),
    # It brings the workflow's snapshot up to date first.
    "api_export": api(
        lambda w, p: {"pk": p.workflow.pk, "name": "classifications.csv"}, GET=Call(EDITORS, writes=SNAPSHOT)
    ),
    "api_releases": api(
        of_workflow("pk"),
        GET=Call(VIEWERS),
        POST=Call(EDITORS, body=lambda w, p: {}, done=frozenset({201, 400, 422})),
    ),
    "api_release": api(of_release, GET=Call(VIEWERS)),
    "api_release_retry": api(of_release, POST=Call(EDITORS)),
    "api_release_file": api(lambda w, p: of_release(w, p) | {"name": "subjects.csv"}, GET=Call(VIEWERS)),
}

ENDPOINTS: dict[str, Endpoint] = ACCOUNTS | SITE | PROJECTS | CLASSIFY | PREFILTER | CATALOGUES
STRANGERS: People = frozenset({STRANGER, ANONYMOUS})
