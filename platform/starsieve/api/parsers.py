"""How the API reads bodies."""

import codecs
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

from starsieve.api.problems import Problem
from starsieve.api.strict_json import JsonProblem, loads


class StrictJSONParser(BaseParser):
    """JSON as strict_json reads it: a hostile body is a 400 that says what is wrong, never a server error."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        encoding = (parser_context or {}).get("encoding") or "utf-8"
        longest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE  # Django's own check covers forms only
        body = stream.read(longest + 1)
        if len(body) > longest:
            raise Problem(413, f"The body is longer than {longest} bytes; send less at a time.")
        try:
            if codecs.lookup(encoding).name != "utf-8":  # RFC 8259; and Python knows "charsets" that unpack archives
                raise LookupError
            return loads(body.decode())
        except (LookupError, UnicodeDecodeError):
            raise ParseError("The body is not UTF-8 text; JSON always is.") from None
        except JsonProblem as problem:
            raise ParseError(str(problem)) from None
