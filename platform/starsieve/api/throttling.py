"""How often one client may call: per user when signed in, else per address."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.throttling import SimpleRateThrottle

if TYPE_CHECKING:  # rest_framework.views imports this module through the settings
    from rest_framework.views import APIView


class ClientThrottle(SimpleRateThrottle):
    scope = "client"

    def get_cache_key(self, request: HttpRequest, view: "APIView") -> str | None:
        user = request.user
        ident = f"user-{user.pk}" if user.is_authenticated else f"address-{self.get_ident(request)}"  # type: ignore[arg-type]
        return self.cache_format % {"scope": self.scope, "ident": ident}
