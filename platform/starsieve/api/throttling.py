"""How often one client may call: per user when signed in, else per address."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.throttling import SimpleRateThrottle

if TYPE_CHECKING:  # rest_framework.views imports this module through the settings
    from rest_framework.views import APIView


ROUNDING = 0.001  # seconds by which the sum of a period's shares may differ from the period


class ClientThrottle(SimpleRateThrottle):
    """A token bucket: who has been away may send a whole period's calls at once, and goes on at the rate.

    The cache holds one number for each client, the time at which the bucket is full again, however high the rate.
    """

    scope = "client"
    cache_format = "full_at_%(scope)s_%(ident)s"
    num_requests: int  # these two are set where there is a rate
    duration: int
    seconds_to_wait: float | None = None

    def get_cache_key(self, request: HttpRequest, view: "APIView") -> str | None:
        user = request.user
        ident = f"user-{user.pk}" if user.is_authenticated else f"address-{self.get_ident(request)}"  # type: ignore[arg-type]
        return self.cache_format % {"scope": self.scope, "ident": ident}

    def allow_request(self, request: HttpRequest, view: "APIView") -> bool:
        self.seconds_to_wait = self._take(request, view, 1)
        return self.seconds_to_wait is None

    def wait(self) -> float | None:
        return self.seconds_to_wait

    def take(self, request: HttpRequest, view: "APIView", more: int) -> float | None:
        """Count `more` calls besides the one that this request is; the seconds to wait if there is no room for them.

        Then none is counted. More than the rate ever allows is taken for as much as it allows, so that waiting helps.
        """
        if self.rate is None or more <= 0:
            return None
        return self._take(request, view, min(more, self.num_requests - 1))

    def _take(self, request: HttpRequest, view: "APIView", n: int) -> float | None:
        key = self.get_cache_key(request, view) if self.rate is not None else None
        if key is None or n == 0:
            return None
        now = self.timer()
        full_at = max(float(self.cache.get(key, 0.0)), now) + n * self.duration / self.num_requests
        wait = full_at - now - self.duration
        if wait > ROUNDING:
            return wait
        self.cache.set(key, full_at, self.duration)
        return None
