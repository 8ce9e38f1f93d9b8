"""The admin's view of releases, consensus runs and snapshots: to look. Releases are made on the project's results page
and never edited; the schedule keeps the others.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from starsieve.catalogues.models import ConsensusRun, Release, Snapshot
from starsieve.projects.admin import ReadOnlyAdmin

if TYPE_CHECKING:  # generic only in the type stubs
    ModelAdminOfRelease = admin.ModelAdmin[Release]
else:
    ModelAdminOfRelease = admin.ModelAdmin


@admin.register(Release)
class ReleaseAdmin(ModelAdminOfRelease):
    list_display = ("__str__", "page", "state", "watermark", "n_written", "created_by", "created_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("workflow__project", "created_by")
    exclude = ("salt", "second_looks")

    @admin.display(description="releases page")
    def page(self, release: Release) -> SafeString:
        project = release.workflow.project
        address = reverse("releases", args=[project.slug, release.workflow_id])
        return format_html('<a href="{}">{}</a>', address, project.title)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ["workflow", "rows", "files", "megabytes", "watermark", "epoch", "refreshed_at"]
    list_select_related = ["workflow"]

    def get_queryset(self, request: HttpRequest) -> Any:
        sums = {"n_rows": Sum("parts__n_rows"), "n_parts": Count("parts"), "n_bytes": Sum("parts__n_bytes")}
        return super().get_queryset(request).annotate(**sums)

    @admin.display(ordering="n_rows")
    def rows(self, snapshot: Any) -> int:
        return snapshot.n_rows or 0

    @admin.display(ordering="n_parts")
    def files(self, snapshot: Any) -> int:
        return int(snapshot.n_parts)

    @admin.display(ordering="n_bytes")
    def megabytes(self, snapshot: Any) -> str:
        return f"{(snapshot.n_bytes or 0) / 1e6:,.1f}"


@admin.register(ConsensusRun)
class ConsensusRunAdmin(ReadOnlyAdmin):
    list_display = ["id", "workflow", "state", "n_classifications", "watermark", "created_at", "finished_at", "error"]
    list_filter = ["state", "workflow"]
    list_select_related = ["workflow"]
