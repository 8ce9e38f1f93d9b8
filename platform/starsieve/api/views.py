"""The API's own description: the OpenAPI document, a page that shows it, and the answer for unknown addresses."""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView

from starsieve.api.problems import problem
from starsieve.api.reference import Reference, reference_of


@cache
def _document() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


@cache
def _reference() -> Reference:
    return reference_of(_document())


class KeptSchemaGenerator(SchemaGenerator):
    """The description is the same for everyone and costs a good part of a second: a process makes it once."""

    def get_schema(self, request: Any = None, public: bool = False) -> Any:
        return _document()


class SchemaView(SpectacularAPIView):
    """OpenAPI 3.1 description of this API, as JSON unless YAML is asked for."""

    generator_class = KeptSchemaGenerator
    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2]


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "api/docs.html", {"reference": _reference()})


@csrf_exempt  # it changes nothing; without this an unknown address would answer a POST with a CSRF page
def unknown(request: HttpRequest) -> HttpResponse:
    return problem(404, "There is no such address in this API; /api/v1/docs lists those that exist.")
