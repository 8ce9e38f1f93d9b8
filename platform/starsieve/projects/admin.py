"""The admin's view of projects: to look and to find. Everything is changed on the projects' own pages, where services
keep the rules (versions that never change, an owner in every project, real apart from simulated).
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from starsieve.projects.models import (
    Membership,
    Project,
    Subject,
    SubjectImport,
    SubjectSet,
    Workflow,
    WorkflowVersion,
)

if TYPE_CHECKING:  # generic only in the type stubs
    AnyModelAdmin = admin.ModelAdmin[Model]
else:
    AnyModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(AnyModelAdmin):
    show_full_result_count = False  # a COUNT over a million subjects for one number at the foot

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Project)
class ProjectAdmin(ReadOnlyAdmin):
    list_display = ("title", "slug", "status", "is_public", "grading_by", "created_by", "created_at")
    list_filter = ("status", "is_public")
    list_select_related = ("created_by",)
    search_fields = ("title", "slug")


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "project", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "project")
    search_fields = ("user__username", "project__slug")


@admin.register(SubjectSet)
class SubjectSetAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "origin", "created_at")
    list_filter = ("origin",)
    list_select_related = ("project",)
    search_fields = ("name", "project__slug")


@admin.register(Subject)
class SubjectAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "subject_set", "origin", "ra", "dec")
    list_filter = ("origin",)
    list_select_related = ("project", "subject_set")
    search_fields = ("=name",)


@admin.register(SubjectImport)
class SubjectImportAdmin(ReadOnlyAdmin):
    list_display = (
        "source",
        "project",
        "subject_set",
        "created_count",
        "unchanged_count",
        "rejected_count",
        "created_at",
    )
    list_select_related = ("project", "subject_set")


@admin.register(Workflow)
class WorkflowAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "current", "is_active")
    list_select_related = ("project", "current")
    search_fields = ("name", "project__slug")


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ReadOnlyAdmin):
    list_display = ("workflow", "number", "created_by", "created_at")
    list_select_related = ("workflow", "created_by")
