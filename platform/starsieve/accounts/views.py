"""Account pages beside allauth's: profile, theme, API tokens, own data."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from starsieve.accounts.forms import DeleteAccountForm, ProfileForm, TokenForm
from starsieve.accounts.models import User
from starsieve.accounts.own_data import counts_of, obstacles_of, sections_of
from starsieve.accounts.services import AccountError, delete_account, make_token, revoke_token, set_theme

THEME_COOKIE_AGE = 60 * 60 * 24 * 365


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    user = _signed_in(request)
    form = ProfileForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your profile is saved.")
        return redirect("account_profile")
    return render(request, "account/profile.html", {"form": form, "counts": counts_of(user)})


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """The light switch in every page's header: a row for users, a cookie for visitors."""
    chosen = request.POST.get("theme", "")
    if chosen not in User.Theme.values:
        return HttpResponseBadRequest(f"theme must be one of: {', '.join(User.Theme.values)}", "text/plain")
    if isinstance(request.user, User):
        set_theme(user=request.user, theme=chosen)
    if "application/json" in request.headers.get("Accept", ""):
        response = HttpResponse(status=204)
    else:
        response = redirect(_own_address(request, request.POST.get("next", "")))
    response.set_cookie(
        "theme", chosen, THEME_COOKIE_AGE, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax"
    )
    return response


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List and make API tokens. The new key is shown by the answer to the POST itself and stored nowhere."""
    user = _signed_in(request)
    form = TokenForm(request.POST or None)
    made, key = None, ""
    if request.method == "POST" and form.is_valid():
        try:
            wanted = form.cleaned_data
            made, key = make_token(user=user, name=wanted["name"], scope=wanted["scope"], expires_at=form.expires_at())
            form = TokenForm()
        except AccountError as error:
            form.add_error(None, str(error))
    context = {"form": form, "made": made, "key": key, "tokens": user.api_tokens.filter(revoked_at=None)}
    return render(request, "account/tokens.html", context)


@login_required
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(_signed_in(request).api_tokens.filter(revoked_at=None), pk=token_id)
    revoke_token(token=token)
    messages.success(request, f"The token “{token.name}” no longer works.")
    return redirect("account_tokens")


@login_required
@never_cache
@require_GET
def own_data(request: HttpRequest) -> StreamingHttpResponse:
    user = _signed_in(request)
    response = StreamingHttpResponse(_json_chunks(sections_of(user)), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="starsieve-account-{user.pk}.json"'
    return response


@login_required
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest) -> HttpResponse:
    user = _signed_in(request)
    form = DeleteAccountForm(request.POST or None, request=request)
    if request.method == "POST" and form.is_valid():
        try:
            delete_account(user=user)
        except AccountError as error:
            form.add_error(None, str(error))
        else:
            logout(request)
            messages.success(request, "Your account is deleted. Thank you for all you did.")
            return redirect("home")
    context = {"form": form, "obstacles": obstacles_of(user), "counts": counts_of(user)}
    return render(request, "account/delete.html", context)


def _signed_in(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # login_required stands before
    return request.user


def _own_address(request: HttpRequest, address: str) -> str:
    """The address if it is one of ours, else the front page: an open redirect helps phishing."""
    is_ours = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if is_ours else "/"


def _json_chunks(sections: dict[str, Any]) -> Iterator[str]:
    """The sections as one JSON object; iterators are written as lists, one element at a time."""
    encoder = DjangoJSONEncoder(ensure_ascii=False, indent=1)
    opening = "{\n"
    for name, section in sections.items():
        yield f"{opening}{encoder.encode(name)}: "
        opening = ",\n"
        if isinstance(section, Iterator):
            comma = "["
            for element in section:
                yield comma + encoder.encode(element)
                comma = ",\n"
            yield "]" if comma != "[" else "[]"
        else:
            yield encoder.encode(section)
    yield "\n}\n" if sections else "{}\n"
