"""The OpenAPI document is true: it is valid, it names every endpoint, and no answer falls outside it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from starsieve.accounts.services import make_token
from starsieve.wsgi import application
from tests.contract.endpoints import ENDPOINTS
from tests.contract.world import SUPERUSER, World
from tests.support.fuzzing import exercise

EXAMPLES = 10


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(Client().get("/api/v1/schema").json())


def test_the_document_is_valid_openapi_3_1_and_made_without_a_warning(tmp_path: Any) -> None:
    target = tmp_path / "schema.json"

    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(target))

    assert json.loads(target.read_text())["openapi"].startswith("3.1")


def test_every_endpoint_and_method_is_described(document: dict[str, Any]) -> None:
    described = sorted(method.upper() for path in document["paths"].values() for method in path)
    listed = sorted(
        method
        for name, endpoint in ENDPOINTS.items()
        if endpoint.form == "api" and name != "api_schema"
        for method in endpoint.calls
    )

    assert described == listed


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_has_a_name_a_summary_and_its_refusals(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(document):
        assert operation.get("summary"), (method, path)
        for status in ("401", "403", "404", "429"):
            assert "application/problem+json" in operation["responses"][status]["content"], (method, path)


def test_the_document_says_who_must_sign_in(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    assert {} not in document["paths"]["/api/v1/tokens"]["get"]["security"]
    assert {} in document["paths"]["/api/v1/workflows/{workflow_id}/next"]["get"]["security"]


def test_the_document_is_json_unless_yaml_is_asked_for(client: Client) -> None:
    assert client.get("/api/v1/schema")["Content-Type"] == "application/json"
    yaml = client.get("/api/v1/schema", headers={"Accept": "application/yaml"})
    assert yaml["Content-Type"].startswith("application/yaml")
    assert yaml.content.startswith(b"openapi: 3.1")


def real_arguments(world: World) -> dict[str, dict[str, Any]]:
    """Path → parameters that lead to something, so that fuzzing gets past "no such object"."""
    place = world.places["public"]
    by_prefix = {
        "/api/v1/workflows/": place.workflow.pk,
        "/api/v1/prefilter-batches/": place.batch.pk,
        "/api/v1/releases/": place.release.pk,
        "/api/v1/subjects/": place.subject.pk,
        "/api/v1/tokens/": world.tokens[SUPERUSER].pk,
    }
    return {
        prefix: {"pk": key, "id": key, "workflow_id": key, "subject_id": key, "index": 0, "name": "subjects.csv"}
        for prefix, key in by_prefix.items()
    } | {"/api/v1/projects/": {"slug": place.project.slug}}


def served(environ: Any, start_response: Any) -> list[bytes]:
    """The application as a server calls it: files are closed after sending.

    As in Django's own test client the database's connection stays open: it is inside the test's transaction.
    """
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    answer = application(environ, start_response)
    try:
        return [b"".join(answer)]
    finally:
        answer.close()
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


def identity(who: str, world: World) -> dict[str, dict[str, str]]:
    """What a request carries to be that person."""
    if who == "visitor":
        token = _get_new_csrf_string()
        return {"headers": {"X-CSRFToken": token}, "cookies": {"csrftoken": token}}
    user = world.people[SUPERUSER]
    assert user is not None
    key = make_token(user=user, name="fuzz", scope="admin", expires_at=None)[1]
    return {"headers": {"Authorization": f"Token {key}"}, "cookies": {}}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("who", ["admin", "visitor"])
def test_no_answer_is_a_fault_or_outside_the_document(who: str, mode: GenerationMode, world: World) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema", app=served)
    carried, arguments = identity(who, world), real_arguments(world)
    exercised = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        real = next((found for prefix, found in arguments.items() if operation.path.startswith(prefix)), {})
        try:
            exercise(operation, mode, carried=carried, real=real, examples=EXAMPLES, call=undone)
            exercised += 1
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # it takes nothing that could be wrong

    assert exercised > 20


def undone(case: Any, **carried: Any) -> Any:
    """The call's answer; what it wrote is taken back."""
    point = transaction.savepoint()
    response = case.call(**carried)
    transaction.savepoint_rollback(point)
    return response
