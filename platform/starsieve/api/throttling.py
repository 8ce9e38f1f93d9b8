"""How often one client may call: per user when signed in, else per address."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.throttling import SimpleRateThrottle

if TYPE_CHECKING:  # rest_framework.views imports this module through the settings
    from rest_framework.views import APIView


class ClientThrottle(SimpleRateThrottle):
    scope = "client"
    num_requests: int  # these two are set where there is a rate
    duration: int

    def get_cache_key(self, request: HttpRequest, view: "APIView") -> str | None:
        user = request.user
        ident = f"user-{user.pk}" if user.is_authenticated else f"address-{self.get_ident(request)}"  # type: ignore[arg-type]
        return self.cache_format % {"scope": self.scope, "ident": ident}

    def take(self, request: HttpRequest, view: "APIView", more: int) -> float | None:
        """Count `more` calls besides the one that this request is; the seconds to wait if there is no room for them.

        Then none is counted. More than the rate ever allows is taken for as much as it allows, so that waiting helps.
        """
        key = self.get_cache_key(request, view)
        if self.rate is None or key is None or more <= 0:
            return None
        now = self.timer()
        history = [moment for moment in self.cache.get(key, []) if moment > now - self.duration]
        more = min(more, self.num_requests - 1)
        missing = more - (self.num_requests - len(history))
        if missing > 0:
            return float(self.duration - (now - history[-missing]))
        self.cache.set(key, [now] * more + history, self.duration)
        return None
