"""The OpenAPI document as people read it: types in words, links to objects, operations by section."""

from typing import Any

import pytest

from starsieve.api.reference import reference_of

REF = {"$ref": "#/components/schemas/Frame"}
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"type": "integer", "minimum": 1, "maximum": 20, "default": 1}, "integer, 1 to 20, 1 if left out"),
    ({"type": "number", "minimum": 0}, "number, at least 0"),
    ({"type": "string", "format": "date-time"}, "string (date-time)"),
    ({"type": ["string", "null"], "maxLength": 80}, "string | null, at most 80 characters"),
    ({"type": "array", "items": REF, "maxItems": 5}, "list of [Frame], at most 5"),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
    ({"oneOf": [REF, {"type": "null"}]}, "[Frame] | null"),
    ({"enum": ["A", "B", None]}, "A | B | null"),
    ({"type": "boolean", "default": False}, "boolean, false if left out"),
    ({}, "any value"),
]


def document(schema: dict[str, Any]) -> dict[str, Any]:
    ways = {
        "post": {
            "operationId": "make_it",
            "summary": "Make it",
            "tags": ["things"],
            "requestBody": {"content": {"application/json": {"schema": REF}}},
            "responses": {
                "201": {"description": "made", "content": {"application/json": {"schema": schema}}},
                "200": {"description": "file", "content": {"text/csv": {"schema": {"type": "string"}}}},
                "204": {"description": "nothing"},
            },
        }
    }
    frame = {"type": "object", "properties": {"url": schema, "band": {}}, "required": ["url"]}
    return {"paths": {"/things": ways}, "components": {"schemas": {"Frame": frame}}}


def text(parts: Any) -> str:
    return "".join(f"[{part.text}]" if part.schema else part.text for part in parts)


@pytest.mark.parametrize(("schema", "words"), KINDS, ids=[words for _, words in KINDS])
def test_a_type_is_told_in_words(schema: dict[str, Any], words: str) -> None:
    reference = reference_of(document(schema))
    (operation,) = reference.sections["things"]
    assert text(operation.answers[0].kind) == words
    assert text(reference.schemas[0].fields[0].kind) == words


def test_an_operation_names_its_body_its_answers_and_what_is_no_json() -> None:
    (operation,) = reference_of(document({"type": "string"})).sections["things"]
    assert (operation.method, operation.path, operation.anchor) == ("POST", "/things", "make_it")
    assert text(operation.body) == "[Frame]"
    assert [(answer.status, text(answer.kind)) for answer in operation.answers] == [
        ("201", "string"),
        ("200", "text/csv"),
        ("204", ""),
    ]


def test_an_object_lists_its_fields_and_which_are_required() -> None:
    (frame,) = reference_of(document({"type": "string"})).schemas
    assert [(field.name, field.is_required) for field in frame.fields] == [("url", True), ("band", False)]
