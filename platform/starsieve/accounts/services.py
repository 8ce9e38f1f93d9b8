"""What people change about themselves."""

import secrets
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from starsieve.accounts.authentication import digest_of
from starsieve.accounts.models import ApiToken, User
from starsieve.accounts.own_data import holders, obstacles_of

MOST_TOKENS = 50


class AccountError(Exception):
    """A refusal that the person can read."""


def make_token(*, user: User, name: str, scope: str, expires_at: datetime | None) -> tuple[ApiToken, str]:
    """Write one ApiToken; the second value is its key, which exists nowhere else.

    Locks the user's row, so that two calls cannot both take the last free place.
    Raises AccountError when the user already has MOST_TOKENS tokens that are not revoked.
    """
    key = f"ss_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if user.api_tokens.filter(revoked_at=None).count() >= MOST_TOKENS:
            raise AccountError(f"You have {MOST_TOKENS} API tokens; revoke one that you no longer use first.")
        token = ApiToken.objects.create(user=user, name=name, scope=scope, expires_at=expires_at, digest=digest_of(key))
    return token, key


def revoke_token(*, token: ApiToken) -> None:
    """Mark the token revoked (one row); it stops working at once."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())


def set_theme(*, user: User, theme: str) -> None:
    """Store the theme in the user's row."""
    User.objects.filter(pk=user.pk).update(theme=theme)


def delete_account(*, user: User) -> None:
    """Forget the person in one transaction: every data holder cuts its ties, then the user's row is emptied.

    The row itself stays, nameless and unable to sign in, because workflow versions, releases and the admin's log
    point at it; what was classified stays with a volunteer row that no longer points at anybody.
    Locks the user's row. Raises AccountError naming what must be settled first.
    """
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        if obstacles := obstacles_of(user):
            raise AccountError(" ".join(obstacles))
        for holder in holders():
            holder.forget(user)
        user.username = f"deleted-{secrets.token_hex(8)}"
        user.email = user.first_name = user.last_name = user.credit_name = ""
        user.is_active = user.is_staff = user.is_superuser = False
        user.last_login = None
        user.set_unusable_password()  # also ends every session: their hash no longer fits
        user.save()
        user.groups.clear()
        user.user_permissions.clear()
