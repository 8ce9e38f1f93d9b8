"""Results and releases over the API."""

import hashlib
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import pytest
from django.test import Client

from starsieve.catalogues.consensus.runs import run_consensus
from starsieve.catalogues.models import Release
from tests.platform.catalogues.conftest import BOXES, TREE, box

Download = Callable[..., Any]


@pytest.fixture
def workflow(survey: Any) -> Any:
    made = survey.workflow(TREE, limit=2)
    survey.answer(made, "one", 1, [0])
    survey.answer(made, "one", 0)
    survey.score(made, {"one": 0.75})
    return made


def results(workflow: Any) -> str:
    return f"/api/v1/workflows/{workflow.pk}/results"


def releases(workflow: Any) -> str:
    return f"/api/v1/workflows/{workflow.pk}/releases"


def post(client: Client, address: str, body: Any = None) -> Any:
    return client.post(address, body if body is not None else {}, content_type="application/json")


def test_results_tell_each_subjects_consensus(client: Client, survey: Any, workflow: Any) -> None:
    first, second = sorted(client.get(results(workflow)).json()["results"], key=itemgetter("name"))
    assert first["subject"] == survey.named(workflow, "one").pk
    assert (first["name"], first["classifications"], first["ml_score"]) == ("one", 2, 0.75)
    assert first["retirement_reason"] == "classification_count"
    assert first["tasks"]["T0"]["counts"] == [1, 1]
    assert first["tasks"]["T1"]["fractions"] == [1.0, 0.0]
    assert (second["retired_at"], second["ml_score"], second["tasks"]["T0"]["n"]) == (None, None, 0)


def test_results_say_nothing_that_is_hidden(client: Client, workflow: Any) -> None:
    text = client.get(results(workflow)).content.decode()
    for word in ("truth", "bucket", "is_control", "is_held", "pivot"):
        assert word not in text


def test_results_come_in_pages_that_cover_everything_once(client: Client, workflow: Any) -> None:
    address, names = f"{results(workflow)}?page_size=1", []
    while address:
        page = client.get(address).json()
        names += [row["name"] for row in page["results"]]
        address = page["next"]
    assert sorted(names) == ["one", "two"]


def test_one_subject_can_be_asked_for(client: Client, workflow: Any) -> None:
    one = client.get(results(workflow)).json()["results"][1]
    assert client.get(results(workflow), {"subject": one["subject"]}).json()["results"] == [one]
    assert client.get(results(workflow), {"subject": 10**12}).json()["results"] == []
    refused = client.get(results(workflow), {"subject": "M 51"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "subject")


def test_a_page_of_results_costs_a_fixed_number_of_queries(
    client: Client, workflow: Any, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(5):
        client.get(results(workflow))
    run_consensus(workflow=workflow)
    with django_assert_max_num_queries(7):
        client.get(results(workflow))


def test_results_tell_what_the_models_say(client: Client, survey: Any, workflow: Any) -> None:
    assert [row["consensus"] for row in client.get(results(workflow)).json()["results"]] == [None, None]
    run = run_consensus(workflow=workflow)
    stored = run.subjects.get().tasks
    first, second = sorted(client.get(results(workflow)).json()["results"], key=itemgetter("name"))
    assert first["consensus"] == {"T0": {"method": "pooled", **stored["T0"]}}
    assert second["consensus"] is None


def test_results_tell_the_probability_after_the_latest_vote(client: Client, survey: Any, workflow: Any) -> None:
    before = run_consensus(workflow=workflow).subjects.get().tasks["T0"]
    for name in ("one", "two"):
        survey.answer(workflow, name, 0)
    first, second = sorted(client.get(results(workflow)).json()["results"], key=itemgetter("name"))
    now = first["consensus"]["T0"]
    assert (now["n"], first["tasks"]["T0"]["n"]) == (3, 3)
    assert now["p"][0] > before["p"][0]
    assert second["consensus"]["T0"]["n"] == 1


def test_the_last_finished_run_is_told(client: Client, workflow: Any) -> None:
    from starsieve.catalogues.models import ConsensusRun

    address = f"/api/v1/workflows/{workflow.pk}/consensus"
    missing = client.get(address)
    assert (missing.status_code, missing["Content-Type"]) == (404, "application/problem+json")
    run = run_consensus(workflow=workflow)
    ConsensusRun.objects.create(workflow=workflow, workflow_version=workflow.current)
    body = client.get(address).json()
    assert body["id"] == run.pk
    assert (body["workflow"], body["version"], body["n_classifications"]) == (workflow.pk, "1.1", 2)
    assert body["watermark"] == workflow.classifications.last().pk
    assert body["finished_at"]
    assert body["tasks"] == run.tasks
    assert body["tasks"]["T0"]["fit"]["method"] == "pooled"
    assert body["tasks"]["T0"]["judgement"] is None


def test_what_the_models_said_of_other_questions_is_left_out(client: Client, survey: Any, workflow: Any) -> None:
    from starsieve.projects.services import publish_version

    run_consensus(workflow=workflow)
    definition = {"first": "T0", "tasks": {"T0": {**TREE["T0"], "type": "multiple", "name": "other"}}}
    definition["tasks"]["T0"]["answers"] = TREE["T1"]["answers"]
    publish_version(
        workflow=workflow, definition={**definition, "retirement": {"classification_count": 2}}, user=survey.owner
    )
    assert [row["consensus"] for row in client.get(results(workflow)).json()["results"]] == [None, None]


def test_boxes_are_in_the_results(client: Client, survey: Any) -> None:
    workflow = survey.workflow(BOXES, names=("one",))
    survey.answer(workflow, "one", [box(1, 2)])
    task = client.get(results(workflow)).json()["results"][0]["tasks"]["T0"]
    assert (task["n_seen"], task["clumps"][0]["x"], task["clumps"][0]["fraction"]) == (1, 1.0, 1.0)


@pytest.mark.parametrize("name", ["results", "releases", "consensus"])
def test_a_private_project_and_an_unknown_workflow_look_alike(client: Client, workflow: Any, name: str) -> None:
    workflow.project.is_public = False
    workflow.project.save()
    private = client.get(f"/api/v1/workflows/{workflow.pk}/{name}")
    unknown = client.get(f"/api/v1/workflows/{10**25}/{name}")
    assert private.status_code == unknown.status_code == 404
    assert private.json() == unknown.json()
    assert private["Content-Type"] == "application/problem+json"


def test_a_release_is_made_listed_and_read(
    client: Client, survey: Any, workflow: Any, make_release: Callable[..., Any]
) -> None:
    client.force_login(survey.owner)
    made = post(client, releases(workflow), {"formats": ["fits", "csv"]})
    assert made.status_code == 201
    body = made.json()
    assert (body["number"], body["state"], body["files"]) == (1, "pending", [])
    assert body["settings"] == {"method": "consensus", "formats": ["csv", "fits"], "include_classifications": False}
    assert [entry["id"] for entry in client.get(releases(workflow)).json()["results"]] == [body["id"]]
    assert client.get(f"/api/v1/releases/{body['id']}").json() == body


def test_an_empty_body_makes_a_release_of_all_formats(client: Client, survey: Any, workflow: Any) -> None:
    client.force_login(survey.owner)
    assert post(client, releases(workflow)).json()["settings"]["formats"] == ["csv", "parquet", "fits", "votable"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"method": "magic"}, "method"),
        ({"formats": []}, "formats"),
        ({"formats": ["xls"]}, "formats"),
        ({"formats": "csv"}, "formats"),
        ({"include_classifications": "perhaps"}, "include_classifications"),
        ([], "non_field_errors"),
    ],
)
def test_a_body_that_is_refused_names_the_field(
    client: Client, survey: Any, workflow: Any, body: Any, field: str
) -> None:
    client.force_login(survey.owner)
    answer = post(client, releases(workflow), body)
    assert answer.status_code in (400, 422)
    assert field in answer.json()["errors"][0]["field"]
    assert not Release.objects.exists()


@pytest.mark.parametrize("role", [None, "volunteer", "expert", "moderator"])
def test_others_may_not_make_or_retry_releases(
    client: Client, workflow: Any, member: Callable[..., Any], make_release: Callable[..., Any], role: str | None
) -> None:
    release = make_release(workflow)
    if role:
        client.force_login(member(workflow, role))
    for address in (releases(workflow), f"/api/v1/releases/{release.pk}/retry"):
        answer = post(client, address)
        assert answer.status_code in (401, 403)
        assert answer["Content-Type"] == "application/problem+json"
    assert Release.objects.count() == 1


def test_files_are_downloaded_whatever_the_client_accepts(
    client: Client, download: Download, workflow: Any, make_release: Callable[..., Any]
) -> None:
    make_release(workflow)
    release = client.get(releases(workflow)).json()["results"][0]
    assert {entry["name"] for entry in release["files"]} == {
        "SHA256SUMS", "provenance.json", "subjects.csv", "subjects.fits", "subjects.parquet", "subjects.vot",
    }  # fmt: skip
    for entry in release["files"]:
        answer = download(entry["url"], headers={"accept": "image/png"})
        assert hashlib.sha256(answer.body).hexdigest() == entry["sha256"]
        assert len(answer.body) == entry["bytes"]


def test_single_answers_are_listed_and_sent_to_those_who_may_make_releases(
    client: Client, download: Download, workflow: Any, make_release: Callable[..., Any], member: Callable[..., Any]
) -> None:
    release = make_release(workflow, include_classifications=True)
    address = f"/api/v1/releases/{release.pk}/files/classifications.csv"
    assert download(address).status_code == 404
    assert address not in client.get(f"/api/v1/releases/{release.pk}").content.decode()
    client.force_login(member(workflow, "scientist"))
    assert download(address).status_code == 200
    assert address in client.get(f"/api/v1/releases/{release.pk}").content.decode()


@pytest.mark.parametrize("name", ["x", "..", "%00", "subjects.csv%00", "%2e%2e%2f"])
def test_a_file_that_is_not_there_is_a_problem_document(
    client: Client, workflow: Any, make_release: Callable[..., Any], name: str
) -> None:
    release = make_release(workflow)
    answer = client.get(f"/api/v1/releases/{release.pk}/files/{name}")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_what_went_wrong_is_told_to_those_who_can_mend_it(
    client: Client, survey: Any, workflow: Any, make_release: Callable[..., Any]
) -> None:
    release = make_release(workflow, build=False)
    Release.objects.update(state="failed", error="disk full")
    assert client.get(f"/api/v1/releases/{release.pk}").json()["error"] == ""
    client.force_login(survey.owner)
    assert client.get(f"/api/v1/releases/{release.pk}").json()["error"] == "disk full"
    answer = post(client, f"/api/v1/releases/{release.pk}/retry")
    assert (answer.status_code, answer.json()["state"]) == (200, "pending")


def test_the_salt_is_never_sent(client: Client, survey: Any, workflow: Any, make_release: Callable[..., Any]) -> None:
    release = make_release(workflow, include_classifications=True)
    client.force_login(survey.owner)
    assert release.salt not in client.get(f"/api/v1/releases/{release.pk}").content.decode()


def test_the_schema_describes_results_and_releases(client: Client) -> None:
    paths = client.get("/api/v1/schema", headers={"accept": "application/vnd.oai.openapi+json"}).json()["paths"]
    assert "post" in paths["/api/v1/workflows/{id}/releases"]
    file = paths["/api/v1/releases/{id}/files/{name}"]["get"]["responses"]["200"]["content"]
    assert {"text/csv", "application/fits", "application/json"} <= set(file)
