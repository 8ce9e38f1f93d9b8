"""Forms of the account pages."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from allauth.account.forms import LoginForm as AllauthLoginForm
from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone

from starsieve.accounts.models import ApiToken, User

if TYPE_CHECKING:  # generic only in the type stubs
    UserModelForm = forms.ModelForm[User]
    TokenModelForm = forms.ModelForm[ApiToken]
else:
    UserModelForm = TokenModelForm = forms.ModelForm


class LoginForm(AllauthLoginForm):  # type: ignore[misc]
    """allauth's form, which names its field `login`; scripts may send `username`, as Django's own form calls it."""

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        if data is not None and "login" not in data and "username" in data:
            data = data.copy()
            data["login"] = data["username"]
        super().__init__(data, *args, **kwargs)
        self.fields["login"].label = "User name or e-mail address"
        self.fields["login"].max_length = 254
        self.fields["login"].widget.attrs.update(autocomplete="username", autocapitalize="none", placeholder="")
        self.fields["password"].widget.attrs["placeholder"] = ""
        self.fields["remember"].label = "Keep me signed in on this device"


class ProfileForm(UserModelForm):
    class Meta:
        model = User
        fields = ["credit_name", "theme"]
        widgets = {"theme": forms.RadioSelect}


class TokenForm(TokenModelForm):
    LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "One year"), ("", "Never")]

    lifetime = forms.ChoiceField(choices=LIFETIMES, required=False, initial="90", label="Expires after")

    class Meta:
        model = ApiToken
        fields = ["name", "scope"]
        labels = {"scope": "May"}
        help_texts = {"name": "What the token is for, so that you know it again."}

    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["lifetime"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class DeleteAccountForm(forms.Form):
    password = forms.CharField(
        label="Your password", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}), strip=False
    )

    def __init__(self, data: Any = None, *, request: HttpRequest) -> None:
        super().__init__(data)
        self.request = request

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        # authenticate() and not check_password(): wrong guesses count towards the lock-out.
        user = authenticate(self.request, username=self.request.user.get_username(), password=password)
        if user is None or user.pk != self.request.user.pk:
            raise forms.ValidationError("That is not your password.")
        return password
