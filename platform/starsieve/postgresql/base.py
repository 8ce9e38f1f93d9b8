"""The database engine named in settings; Django wants it in a module `base`."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self) -> bool:
        """Whether the connection that the last request left still leads to its server.

        A server that stops or ends the connection says so on the socket; while nothing has come in on an idle one, it
        is as good as a `SELECT 1` would find it, without the way to the server and back in each request.
        """
        if self.connection is None or self.connection.closed:
            return False
        waiting = select.poll()
        waiting.register(self.connection.fileno(), select.POLLIN)
        return True if not waiting.poll(0) else bool(super().is_usable())
