"""How the API reads bodies."""

import codecs
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

from starsieve.api.strict_json import JsonProblem, loads


class StrictJSONParser(BaseParser):
    """JSON as strict_json reads it: a hostile body is a 400 that says what is wrong, never a server error."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        encoding = (parser_context or {}).get("encoding") or settings.DEFAULT_CHARSET
        try:
            return loads(codecs.lookup(encoding).decode(stream.read())[0])
        except (LookupError, UnicodeDecodeError):
            raise ParseError(f"The body is not {encoding} text; send UTF-8.") from None
        except JsonProblem as problem:
            raise ParseError(str(problem)) from None
