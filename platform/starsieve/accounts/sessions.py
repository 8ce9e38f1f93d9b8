"""Django's sessions in the database, read by a prepared statement: every request of a volunteer begins with one."""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

from starsieve.statements import Statement

READ = Statement(
    f"SELECT session_data FROM {Session._meta.db_table} WHERE session_key = %s AND expire_date > %s"
)  # the columns of django.contrib.sessions


class SessionStore(db.SessionStore):
    def load(self) -> dict[str, Any]:
        row = READ.row([self.session_key, timezone.now()])
        if row is None:
            self._session_key = None
            return {}
        data: dict[str, Any] = self.decode(row[0])
        return data
