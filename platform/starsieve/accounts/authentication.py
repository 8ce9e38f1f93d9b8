"""How an API call says who it is: a session cookie (with CSRF), or `Authorization: Token <key>`."""

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Q
from django.utils import timezone
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from starsieve.accounts.models import ApiToken, User

if TYPE_CHECKING:  # rest_framework.views imports this module through the settings
    from rest_framework.views import APIView

SCOPE_ORDER = [ApiToken.Scope.READ, ApiToken.Scope.CLASSIFY, ApiToken.Scope.ADMIN]
LAST_USED_RESOLUTION = timedelta(minutes=5)


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class TokenAuthentication(authentication.BaseAuthentication):
    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        header = authentication.get_authorization_header(request).decode("latin-1").split()
        if not header or header[0].lower() not in ("token", "bearer"):
            return None
        if len(header) != 2:
            raise exceptions.AuthenticationFailed("The header must read: Authorization: Token <key>.")
        now = timezone.now()
        token = (
            ApiToken.objects.select_related("user")
            .filter(Q(expires_at=None) | Q(expires_at__gt=now), digest=digest_of(header[1]), revoked_at=None)
            .first()
        )
        if token is None or not token.user.is_active:
            raise exceptions.AuthenticationFailed(
                "The token is unknown, expired or revoked; make a new one in your account."
            )
        if token.last_used_at is None or token.last_used_at < now - LAST_USED_RESOLUTION:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword


class SessionAuthentication(authentication.SessionAuthentication):
    """Session cookie with CSRF, checked for anonymous visitors too: their session says what they have seen."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        user = getattr(request._request, "user", None)
        self.enforce_csrf(request)
        if user is None or not user.is_active:
            return None
        return user, None

    def enforce_csrf(self, request: Request) -> None:
        if request.method not in permissions.SAFE_METHODS:
            super().enforce_csrf(request)


class TokenScope(permissions.BasePermission):
    """A token may read, also classify, or do all that its owner may. Views that take classifications say
    `token_scope = "classify"`; any other unsafe call needs "admin". Sessions are not limited here.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        token = request.auth
        if not isinstance(token, ApiToken) or request.method in permissions.SAFE_METHODS:
            return True
        needed = getattr(view, "token_scope", ApiToken.Scope.ADMIN)
        self.message = f"This token may only {token.scope}; the call needs the scope “{needed}”."
        return SCOPE_ORDER.index(ApiToken.Scope(token.scope)) >= SCOPE_ORDER.index(ApiToken.Scope(needed))


class SessionOnly(permissions.BasePermission):
    """Unsafe calls need a session: what a token did, its thief could do too."""

    message = "This needs a signed-in session; a token may not do it."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return request.method in permissions.SAFE_METHODS or not isinstance(request.auth, ApiToken)
