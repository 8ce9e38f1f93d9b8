"""What every page knows about its reader."""

from django.http import HttpRequest

from starsieve.accounts.models import User


def theme(request: HttpRequest) -> dict[str, str]:
    """`theme` for the page's root: the user's own, else the visitor's cookie, else dark."""
    user = getattr(request, "user", None)
    chosen = user.theme if isinstance(user, User) else request.COOKIES.get("theme", "")
    return {"theme": chosen if chosen in User.Theme.values else User.Theme.DARK}
