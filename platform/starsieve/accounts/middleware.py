"""`request.user` by a prepared statement. Whatever is unusual about a session is left to Django's own reading."""

from functools import cache

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware as DjangosMiddleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from starsieve.accounts.models import User
from starsieve.statements import Columns, Statement

USER = Columns(User)
READ = Statement(f"SELECT {USER.of('person')} FROM {User._meta.db_table} person WHERE person.id = %s")


class AuthenticationMiddleware(DjangosMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: _user_of(request))  # type: ignore[assignment]


def _user_of(request: HttpRequest) -> User | AnonymousUser:
    known: User | AnonymousUser | None = getattr(
        request, "_cached_user", None
    )  # Django's name: its login() sets it too
    if known is None:
        known = request._cached_user = _signed_in(request) or auth.get_user(request)  # type: ignore[attr-defined]
    return known


def _signed_in(request: HttpRequest) -> User | None:
    """The user whose sign-in the session holds; None unless every check of django.contrib.auth.get_user holds."""
    session = request.session
    backend, user_id = session.get(auth.BACKEND_SESSION_KEY), str(session.get(auth.SESSION_KEY))
    if backend not in settings.AUTHENTICATION_BACKENDS or not _reads_users_by_id(backend):
        return None
    row = READ.row([int(user_id)]) if user_id.isdecimal() else None
    if row is None:
        return None
    user: User = USER.instance(row)
    proof = session.get(auth.HASH_SESSION_KEY) or ""
    is_valid = user.is_active and constant_time_compare(proof, user.get_session_auth_hash())
    return user if is_valid else None


@cache
def _reads_users_by_id(path: str) -> bool:
    """Whether the backend finds a user as ModelBackend does: by the id, active ones only."""
    kind = type(auth.load_backend(path))
    return (
        isinstance(kind, type)
        and issubclass(kind, ModelBackend)
        and kind.get_user is ModelBackend.get_user
        and kind.user_can_authenticate is ModelBackend.user_can_authenticate
    )
