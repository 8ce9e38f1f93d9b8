"""The admin's view of models and batches: to look and to cancel. Batches are launched on the project's own page."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ml_worker.access import launch_projects
from ml_worker.models import ModelVersion, PrefilterBatch, Shard
from ml_worker.services import PrefilterConflict, cancel_prefilter_batch
from starsieve.accounts.models import User

if TYPE_CHECKING:  # generic only in the type stubs
    ModelAdminOfModel = admin.ModelAdmin[ModelVersion]
    ModelAdminOfBatch = admin.ModelAdmin[PrefilterBatch]
    ModelAdminOfShard = admin.ModelAdmin[Shard]
else:
    ModelAdminOfModel = ModelAdminOfBatch = ModelAdminOfShard = admin.ModelAdmin

MOST_PROJECTS_LINKED = 50


class LookOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ModelVersion)
class ModelVersionAdmin(LookOnly, ModelAdminOfModel):
    list_display = ("name", "version", "architecture", "provenance", "created_at")
    search_fields = ("name",)


@admin.register(Shard)
class ShardAdmin(LookOnly, ModelAdminOfShard):
    list_display = ("batch", "index", "state", "n_subjects", "n_scored", "n_unreadable", "attempts", "heartbeat_at")
    list_filter = ("state",)
    list_select_related = ("batch",)
    show_full_result_count = False


@admin.register(PrefilterBatch)
class PrefilterBatchAdmin(LookOnly, ModelAdminOfBatch):
    list_display = ("id", "page", "workflow", "subject_set", "model", "state", "created_by", "created_at")
    list_filter = ("state",)
    list_select_related = ("workflow__project", "subject_set", "model", "created_by")
    actions = ("cancel",)
    change_list_template = "ml_worker/admin_batches.html"

    @admin.display(description="batch page")
    def page(self, batch: PrefilterBatch) -> SafeString:
        address = reverse("prefilter_batch", args=[batch.workflow.project.slug, batch.pk])
        return format_html('<a href="{}">{}</a>', address, batch.workflow.project.title)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        projects = launch_projects(request.user).order_by("title")[:MOST_PROJECTS_LINKED]
        return super().changelist_view(request, {**(extra_context or {}), "launch_projects": projects})

    @admin.action(description="Cancel selected batches", permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[PrefilterBatch]) -> None:
        """Seeing is what the admin site grants; cancelling needs the role in the project, as everywhere."""
        if not isinstance(request.user, User):
            return
        mine = queryset.filter(workflow__project__in=launch_projects(request.user))
        for batch in mine:
            try:
                cancel_prefilter_batch(batch=batch, user=request.user)
                self.message_user(request, f"Cancelling {batch}.", messages.SUCCESS)
            except PrefilterConflict as conflict:
                self.message_user(request, str(conflict), messages.WARNING)
        for batch in queryset.exclude(pk__in=mine):
            self.message_user(request, f"Your role does not allow cancelling {batch}.", messages.ERROR)
