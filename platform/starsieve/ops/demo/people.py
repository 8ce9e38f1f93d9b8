"""The demo's logins. Passwords are random per demo folder, so a demo that someone exposes is not open to all."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from starsieve.accounts.models import User

WHO = {
    "admin": "owns the demo projects, launches prefilter batches, makes releases",
    "expert": "grades lens candidates",
    "volunteer": "classifies",
}


@dataclass(frozen=True)
class Login:
    username: str
    password: str
    what: str


def _passwords_file() -> Path:
    return Path(settings.VAR_DIR) / "demo_logins.json"


def logins() -> list[Login]:
    """The logins of this demo folder, as `make_people` wrote them."""
    passwords = json.loads(_passwords_file().read_text())
    return [Login(username, passwords[username], what) for username, what in WHO.items()]


def make_people() -> dict[str, User]:
    """Create the demo's users, or find them; a missing password file gives them new passwords."""
    people = {
        username: User.objects.get_or_create(
            username=username, defaults={"email": f"{username}@example.org", "is_staff": username == "admin"}
        )[0]
        for username in WHO
    }
    User.objects.filter(username="admin").update(is_superuser=True, is_staff=True)
    file = _passwords_file()
    if not file.exists():
        passwords = {username: secrets.token_urlsafe(9) for username in WHO}
        for username, person in people.items():
            person.set_password(passwords[username])
            person.save(update_fields=["password"])
        file.touch(mode=0o600)
        file.write_text(json.dumps(passwords, indent=1))
    return people
