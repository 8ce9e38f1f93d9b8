"""What the API says about results and releases."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from classify.models import SubjectProgress
from classify.results import current_summary
from starsieve.catalogues.access import may_have
from starsieve.catalogues.models import Release
from starsieve.catalogues.release_settings import DEFAULT_METHOD, FORMATS, METHODS
from starsieve.projects.permissions import Action

FREE_OBJECT = {"type": "object", "additionalProperties": True}


class SubjectResultSerializer(serializers.ModelSerializer[SubjectProgress]):
    """Consensus on one subject. `tasks` maps each task's key to its summary: `single`, `multiple` and `grade` have `n`,
    `counts`, `fractions`, `agreement`; `boxes` has `n_seen` and `clumps`; `text` has `n`.
    """

    subject = serializers.IntegerField(source="subject_id")
    name = serializers.CharField(source="subject.name")
    classifications = serializers.IntegerField(source="classification_count")
    retirement_reason = serializers.CharField()
    ml_score = serializers.SerializerMethodField()
    tasks = serializers.SerializerMethodField()

    class Meta:
        model = SubjectProgress
        fields = ["subject", "name", "classifications", "retired_at", "retirement_reason", "ml_score", "tasks"]

    @extend_schema_field({"type": ["number", "null"]})
    def get_ml_score(self, progress: SubjectProgress) -> float | None:
        score: float | None = getattr(progress, "score", None)
        return score

    @extend_schema_field({"type": "object", "additionalProperties": FREE_OBJECT})
    def get_tasks(self, progress: SubjectProgress) -> dict[str, Any]:
        return current_summary(progress, self.context["current"])


class FileSerializer(serializers.Serializer[dict[str, Any]]):
    name = serializers.CharField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    url = serializers.CharField()


class ReleaseSerializer(serializers.ModelSerializer[Release]):
    version = serializers.CharField(source="workflow_version.number")
    files = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    settings = serializers.JSONField()
    provenance = serializers.JSONField()

    class Meta:
        model = Release
        fields = [
            "id", "workflow", "number", "version", "state", "watermark", "n_written", "settings", "files",
            "provenance", "error", "created_at", "finished_at",
        ]  # fmt: skip

    @extend_schema_field(FileSerializer(many=True))
    def get_files(self, release: Release) -> list[dict[str, Any]]:
        return [
            {**entry, "url": reverse("api_release_file", args=[release.pk, entry["name"]])}
            for entry in release.files
            if may_have(self.context["grants"], entry["name"])
        ]

    @extend_schema_field({"type": "string"})
    def get_error(self, release: Release) -> str:
        """What went wrong, for those who can do something about it."""
        return release.error if Action.MAKE_RELEASE in self.context["grants"] else ""


class MakeReleaseSerializer(serializers.Serializer[dict[str, Any]]):
    method = serializers.ChoiceField(choices=list(METHODS), default=DEFAULT_METHOD)
    formats = serializers.ListField(
        child=serializers.ChoiceField(choices=FORMATS), default=list(FORMATS), allow_empty=False, max_length=10
    )
    include_classifications = serializers.BooleanField(default=False)
