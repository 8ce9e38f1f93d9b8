"""The statements of one next and one submit, sent by a bare psycopg connection: what no application can undercut."""

import json
import time
from typing import Any
from uuid import uuid4

from benchmarks.site import process_seconds

ANSWERED = "2026-11-22T12:00:00Z"


class BareClient:
    """One more volunteer at the workflow, whose classifications are stored but not thought about."""

    def __init__(self, url: str, workflow: Any) -> None:
        import psycopg
        from django.test import Client

        from benchmarks.site import shortest_annotations
        from classify.models import Volunteer
        from starsieve.accounts.models import User

        user = User.objects.create_user("bare")
        client = Client()
        client.force_login(user)
        self.session = client.cookies["sessionid"].value
        self.user, self.volunteer = user.pk, Volunteer.objects.create(user=user).pk
        self.workflow = workflow
        self.annotations = json.dumps(shortest_annotations(workflow))
        self.connection = psycopg.connect(url, autocommit=True)
        for _ in range(10):
            self._round()
        self.began = process_seconds(self.connection.info.backend_pid)

    def replay(self, rounds: int) -> float:
        """CPU seconds that this process spent on as many rounds of next and submit."""
        began = time.process_time()
        for _ in range(rounds):
            self._round()
        return time.process_time() - began

    def server_seconds(self) -> float:
        return process_seconds(self.connection.info.backend_pid) - self.began

    def _round(self) -> None:
        from classify import recording, selection

        self._who()
        window = selection.WINDOW.replace("{not_excluded}", "true")
        asked = {"workflow": self.workflow.pk, "volunteer": self.volunteer, "below": selection.ABOVE_ALL_BUCKETS}
        subject = self._send(window, asked | {"pivot": time.perf_counter() % 1, "count": 1})[2]
        self._who()
        with self.connection.transaction():
            lock = f"{recording.LOCK_PROGRESS.sql} {recording.LOCK_PROGRESS.lock}"
            progress = self._send(lock, [self.workflow.pk, subject])[3]
            version = self.workflow.current_id
            answer = [uuid4().hex, self.workflow.pk, version, subject, self.volunteer, self.annotations]
            self._send(recording.INSERT.sql, [*answer, ANSWERED, ANSWERED, ANSWERED, "{}", False])
            values: dict[str, Any] = dict.fromkeys(recording.DERIVED_COLUMNS)
            values |= {"classification_count": 1, "tallies": "{}", "tallied_version_id": version}
            values |= {"retirement_reason": ""}
            self.connection.execute(recording.UPDATE.sql, [*values.values(), progress], prepare=True)

    def _who(self) -> None:
        from classify import access
        from starsieve.accounts import middleware, sessions

        self._send(sessions.READ.sql, [self.session, ANSWERED])
        self._send(middleware.READ.sql, [self.user])
        self._send(access.BY_USER.sql, {"workflow": self.workflow.pk, "user": self.user})

    def _send(self, sql: Any, parameters: Any) -> Any:
        return self.connection.execute(sql, parameters, prepare=True).fetchone()
