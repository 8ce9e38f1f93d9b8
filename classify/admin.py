"""The admin site shows this room's rows and changes none: truth is never edited, the rest is derived from it."""

from django.contrib import admin

from classify.models import Assessment, Classification, GoldStandard, LiveFit, SubjectProgress, Volunteer
from starsieve.projects.admin import ReadOnlyAdmin


@admin.register(Classification)
class ClassificationAdmin(ReadOnlyAdmin):
    list_display = ["id", "workflow", "workflow_version", "subject", "volunteer", "created_at", "after_retirement"]
    list_filter = ["workflow", "after_retirement"]
    list_select_related = ["workflow", "workflow_version", "subject", "volunteer"]
    search_fields = ["=client_id", "=subject__name"]


@admin.register(SubjectProgress)
class SubjectProgressAdmin(ReadOnlyAdmin):
    list_display = [
        "id", "workflow", "subject", "bucket", "is_held", "is_control", "classification_count", "retired_at",
        "retirement_reason",
    ]  # fmt: skip
    list_filter = ["workflow", "is_held", "is_control", "retirement_reason"]
    list_select_related = ["workflow", "subject"]
    search_fields = ["=subject__name"]


@admin.register(GoldStandard)
class GoldStandardAdmin(ReadOnlyAdmin):
    list_display = ["id", "workflow", "subject", "task", "source", "give_feedback"]
    list_filter = ["workflow", "source"]
    list_select_related = ["workflow", "subject"]
    search_fields = ["=subject__name"]


@admin.register(Volunteer)
class VolunteerAdmin(ReadOnlyAdmin):
    list_display = ["id", "user", "merged_into", "created_at"]
    list_select_related = ["user", "merged_into"]
    search_fields = ["=user__username"]


@admin.register(LiveFit)
class LiveFitAdmin(ReadOnlyAdmin):
    list_display = ["id", "workflow", "workflow_version", "watermark", "is_in_force", "created_at"]
    list_filter = ["workflow", "is_in_force"]
    list_select_related = ["workflow", "workflow_version"]


@admin.register(Assessment)
class AssessmentAdmin(ReadOnlyAdmin):
    list_display = ["id", "workflow", "version", "started_at", "heartbeat_at", "finished_at", "n_changed", "error"]
    list_select_related = ["workflow", "version"]
