"""How large a classification's body may be."""

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from rest_framework import status

from starsieve.api.parsers import StrictJSONParser
from starsieve.api.problems import Problem

# 500 boxes of 300 bytes, texts and metadata fit in several times over.
LARGEST_BODY = 512 * 1024


class BoundedJSONParser(StrictJSONParser):
    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise Problem(
                status.HTTP_413_REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {LARGEST_BODY // 1024} kB."
            )
        return super().parse(BytesIO(body), media_type, parser_context)
