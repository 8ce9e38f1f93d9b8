"""Lists come in pages that cost the same at any depth."""

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

LONGEST_ID = 18  # digits; what a 64-bit column surely holds


class IdCursorPagination(CursorPagination):
    ordering = "id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        """DRF trusts the position inside the cursor; a made-up one would reach the database and fail there."""
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            position = str(cursor.position)
            if not (position.isascii() and position.isdigit() and len(position) <= LONGEST_ID):
                raise NotFound(self.invalid_cursor_message)
        return cursor
