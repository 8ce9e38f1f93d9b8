"""The admin's view of people. Nobody raises their own powers there: CVE-2026-23526's class of fault."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest

from starsieve.accounts.models import ApiToken, User

if TYPE_CHECKING:  # generic only in the type stubs
    TokenModelAdmin = admin.ModelAdmin[ApiToken]
    PeopleAdmin = DjangoUserAdmin[User]
else:
    TokenModelAdmin = admin.ModelAdmin
    PeopleAdmin = DjangoUserAdmin

POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(PeopleAdmin):
    """A superuser may change everything; other staff may neither grant powers nor touch accounts that have some."""

    list_display = ("username", "email", "is_active", "is_staff", "date_joined", "last_login")
    fieldsets = (*(DjangoUserAdmin.fieldsets or ()), ("Starsieve", {"fields": ("theme", "credit_name")}))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if _is_superuser(request) else (*fields, *POWERS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)


@admin.register(ApiToken)
class ApiTokenAdmin(TokenModelAdmin):
    """To see who holds which token, and to remove it. Keys are made by their owners only."""

    list_display = ("name", "user", "scope", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_filter = ("scope",)
    search_fields = ("name", "user__username")
    fields = list_display
    readonly_fields = list_display

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    if person is None or _is_superuser(request) or person.pk == request.user.pk:
        return True
    return not (person.is_staff or person.is_superuser)
