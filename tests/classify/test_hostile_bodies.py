"""Whatever a body holds: a refusal that says what is wrong, never a server error, nothing stored."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classify.models import Classification

BOXES = {"type": "boxes", "question": "Mark", "tools": [{"key": "clump", "label": "Clump"}]}
TEXT = {"type": "text", "question": "Say"}


def raw(content: dict[str, Any], field: str, text: str) -> bytes:
    """The body as JSON text with `text` in place of a field's value."""
    marked = json.dumps({**content, field: "HERE"})
    return marked.replace('"HERE"', text).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "text",
    [
        '"a\\u0000b"', '"\\ud800"', '"\ud800"', "NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "-0",
        "[" * 500 + "]" * 500, "[" * 100_000 + "]" * 100_000, "[" * 100_000, '{"a":' * 90 + "1" + "}" * 90,
        '{"a":1,"a":2}', "null", "true", "[]", "{}", '""', "1.5", '{"__proto__":{}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["id", "subject", "workflow_version", "annotations", "started_at", "metadata"])
def test_a_hostile_value_in_any_field(world: Any, submit: Any, make_body: Any, field: str, text: str) -> None:
    workflow = world.workflow({"T0": TEXT})
    content = make_body(workflow.project.subjects.first().pk, answer="x")
    response = submit(workflow, raw(content, field, text))
    harmless = field == "metadata" and text in ("{}", '{"__proto__":{}}')
    assert response.status_code in ((201,) if harmless else (400, 422)), response.content
    assert Classification.objects.exists() == harmless


@pytest.mark.parametrize(
    "number", ["1e400", "1e308", "9" * 400, "-9e99", "NaN", '"1"', "null", "true", "[]", "1e-400", "0"]
)
@pytest.mark.parametrize("side", ["x", "width"])
def test_a_hostile_number_in_a_box(world: Any, submit: Any, make_body: Any, side: str, number: str) -> None:
    workflow = world.workflow({"T0": BOXES})
    subject = workflow.project.subjects.first()
    box = {"x": 1, "y": 1, "width": 5, "height": 5, side: "HERE"}
    content = json.dumps(make_body(subject.pk, answer=[box])).replace('"HERE"', number)
    response = submit(workflow, content)
    fits = side == "x" and number in ("0", "1e-400")
    assert response.status_code in ((201,) if fits else (400, 422)), response.content


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b"\x00", b"{}" * 2, b"\xef\xbb\xbf{}"]
)
def test_a_body_that_is_no_object(world: Any, submit: Any, body: bytes) -> None:
    response = submit(world.workflow(), body)
    assert response.status_code in (400, 422), response.content
    assert response["Content-Type"] == "application/problem+json"


def test_a_body_that_is_too_large(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow()
    content = make_body(workflow.project.subjects.first().pk, metadata={"a": "x" * 600_000})
    assert submit(workflow, content).status_code == 413


def test_a_body_that_is_not_json(world: Any, client: Any) -> None:
    workflow = world.workflow()
    response = client.post(f"/api/v1/workflows/{workflow.pk}/classifications", {"id": "1"})
    assert response.status_code == 415


def test_text_of_any_language_survives(world: Any, submit: Any, make_body: Any) -> None:
    workflow = world.workflow({"T0": TEXT})
    said = "Bogen? 弧 🔭 ‮⁦ é"
    metadata = {"ключ": ["😀", {"深": 1.5}]}
    assert (
        submit(workflow, make_body(workflow.project.subjects.first().pk, answer=said, metadata=metadata)).status_code
        == 201
    )
    stored = Classification.objects.get()
    assert stored.annotations[0]["value"] == said
    assert stored.metadata == metadata


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(field=st.sampled_from(["id", "subject", "workflow_version", "annotations", "metadata"]), value=anything)
def test_any_value_in_any_field(world: Any, submit: Any, make_body: Any, field: str, value: Any) -> None:
    workflow = world.workflow({"T0": TEXT}, subjects=1)
    content = make_body(workflow.project.subjects.get().pk, answer="x", **{field: value})
    assert submit(workflow, json.dumps(content)).status_code in (201, 400, 422)
