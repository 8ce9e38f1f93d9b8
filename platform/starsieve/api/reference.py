"""The OpenAPI document, arranged for the page that people read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
PREFIX = "#/components/schemas/"
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A piece of a type's text; `schema` names the described object that it links to, if any."""

    text: str
    schema: str = ""


@dataclass(frozen=True)
class Field:
    name: str
    kind: list[Part]
    description: str
    is_required: bool
    place: str = ""


@dataclass(frozen=True)
class Answer:
    status: str
    kind: list[Part]
    description: str


@dataclass(frozen=True)
class Operation:
    anchor: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: list[Part]
    answers: list[Answer]


@dataclass(frozen=True)
class Described:
    """A named schema: an object's fields, or for another type what it is."""

    name: str
    description: str
    fields: list[Field]
    kind: list[Part]


@dataclass(frozen=True)
class Reference:
    sections: dict[str, list[Operation]]
    schemas: list[Described]


def reference_of(document: Schema) -> Reference:
    """Operations by their first tag, in the document's order, and every named schema."""
    sections: dict[str, list[Operation]] = {}
    for path, ways in document["paths"].items():
        for method in METHODS:
            if method in ways:
                sections.setdefault(ways[method]["tags"][0], []).append(_operation(method, path, ways[method]))
    schemas = document.get("components", {}).get("schemas", {})
    return Reference(sections, [_described(name, schema) for name, schema in schemas.items()])


def _operation(method: str, path: str, described: Schema) -> Operation:
    parameters = [
        Field(each["name"], _kind(each["schema"]), each.get("description", ""), each.get("required", False), each["in"])
        for each in described.get("parameters", [])
    ]
    return Operation(
        anchor=described["operationId"],
        method=method.upper(),
        path=path,
        summary=described.get("summary", ""),
        description=described.get("description", ""),
        parameters=parameters,
        body=_content(described.get("requestBody", {})),
        answers=[
            Answer(status, _content(answer), answer.get("description", ""))
            for status, answer in described["responses"].items()
        ],
    )


def _content(holder: Schema) -> list[Part]:
    """The type of the first representation; what has no JSON is named by its media type."""
    for media_type, content in holder.get("content", {}).items():
        return _kind(content["schema"]) if "json" in media_type and "schema" in content else [Part(media_type)]
    return []


def _described(name: str, schema: Schema) -> Described:
    required = schema.get("required", [])
    fields = [
        Field(field, _kind(kind), kind.get("description", ""), field in required)
        for field, kind in schema.get("properties", {}).items()
    ]
    return Described(name, schema.get("description", ""), fields, [] if fields else _kind(schema))


def _kind(schema: Schema) -> list[Part]:
    return [*_type(schema), *_limits(schema)]


def _type(schema: Schema) -> list[Part]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return [Part(name, name)]
    for way in ("allOf", "oneOf", "anyOf"):
        if way in schema:
            return _joined([_type(each) for each in schema[way]])
    if "enum" in schema:
        return [Part(" | ".join("null" if value is None else str(value) for value in schema["enum"]))]
    if "const" in schema:
        return [Part(str(schema["const"]))]
    types = schema.get("type", "any value")
    return _joined([_single(kind, schema) for kind in ([types] if isinstance(types, str) else types)])


def _single(kind: str, schema: Schema) -> list[Part]:
    if kind == "array":
        return [Part("list of "), *_type(schema.get("items", {}))]
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return [Part("object of "), *_type(schema["additionalProperties"])]
    return [Part(f"{kind} ({schema['format']})" if "format" in schema and kind != "null" else kind)]


def _joined(kinds: list[list[Part]]) -> list[Part]:
    parts = kinds[0]
    for kind in kinds[1:]:
        parts = [*parts, Part(" | "), *kind]
    return parts


def _limits(schema: Schema) -> Iterator[Part]:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and highest is not None:
        yield Part(f", {lowest} to {highest}")
    elif lowest is not None or highest is not None:
        yield Part(f", at least {lowest}" if lowest is not None else f", at most {highest}")
    for key, text in (("maxLength", "at most {} characters"), ("maxItems", "at most {}")):
        if key in schema:
            yield Part(", " + text.format(schema[key]))
    if "default" in schema:
        yield Part(f", {_default(schema['default'])} if left out")


def _default(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
