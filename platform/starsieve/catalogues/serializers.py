"""What the API says about results and releases."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from classify.models import SubjectProgress
from classify.results import current_summary
from starsieve.catalogues.access import may_have
from starsieve.catalogues.models import ConsensusRun, Release
from starsieve.catalogues.release_settings import DEFAULT_METHOD, FORMATS, METHODS
from starsieve.projects.permissions import Action

FREE_OBJECT = {"type": "object", "additionalProperties": True}
CONSENSUS_OF_TASK = {
    "type": "object",
    "properties": {
        "method": {"type": "string"},
        "n": {"type": "integer", "description": "Votes the model read; for boxes, volunteers who saw the subject."},
        "p": {"type": "array", "items": {"type": "number"}, "description": "Of each answer; grades as A, B, C, I, X."},
        "answer": {"type": ["integer", "string"], "description": "The most probable: an answer's index, or a grade."},
        "reach": {"type": "number", "description": "Probability that the question applies; in a tree."},
        "expected_grade": {"type": ["number", "null"], "description": "From X 0 to A 3; null beside the scale."},
        "rank": {"type": ["number", "null"]},
        "rank_error": {"type": ["number", "null"]},
        "adjudicate": {"type": "boolean", "description": "Graders are divided: experts should talk."},
        "clumps": {"type": "array", "items": FREE_OBJECT, "description": "Boxes with probability and errors."},
    },
    "additionalProperties": True,
    "required": ["method", "n"],
}
FITTED_TASK = {
    "type": "object",
    "properties": {"fit": FREE_OBJECT, "judgement": {**FREE_OBJECT, "type": ["object", "null"]}},
    "required": ["fit", "judgement"],
}


class ResultsQuerySerializer(serializers.Serializer[dict[str, Any]]):
    subject = serializers.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, help_text="Only what is known of this subject."
    )


class SubjectResultSerializer(serializers.ModelSerializer[SubjectProgress]):
    """Consensus on one subject. `tasks` maps each task's key to its summary: `single`, `multiple` and `grade` have `n`,
    `counts`, `fractions`, `agreement`; `boxes` has `n_seen` and `clumps`; `text` has `n`.
    These are live. `consensus` is what the models of the last consensus run say, questions and grades with the votes
    since; null where they say nothing.
    """

    subject = serializers.IntegerField(source="subject_id")
    name = serializers.CharField(source="subject.name")
    classifications = serializers.IntegerField(source="classification_count")
    retirement_reason = serializers.CharField()
    ml_score = serializers.SerializerMethodField()
    tasks = serializers.SerializerMethodField()
    consensus = serializers.SerializerMethodField()

    class Meta:
        model = SubjectProgress
        fields = [
            "subject", "name", "classifications", "retired_at", "retirement_reason", "ml_score", "tasks", "consensus",
        ]  # fmt: skip

    @extend_schema_field({"type": ["number", "null"]})
    def get_ml_score(self, progress: SubjectProgress) -> float | None:
        score: float | None = getattr(progress, "score", None)
        return score

    @extend_schema_field({"type": "object", "additionalProperties": FREE_OBJECT})
    def get_tasks(self, progress: SubjectProgress) -> dict[str, Any]:
        return current_summary(progress, self.context["current"])

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": CONSENSUS_OF_TASK})
    def get_consensus(self, progress: SubjectProgress) -> dict[str, Any] | None:
        return self.context["consensus"].get(progress.subject_id)  # type: ignore[no-any-return]


class ConsensusRunSerializer(serializers.ModelSerializer[ConsensusRun]):
    """A finished run: classifications with id up to `watermark` counted, `n_classifications` of them. `tasks` maps
    each modelled task's key to `fit`, what the model found of the votes, and `judgement`, its figures as
    [value, low, high] and its reliability on gold subjects, null with too few of them.
    """

    version = serializers.CharField(source="workflow_version.number")
    tasks = serializers.SerializerMethodField()

    class Meta:
        model = ConsensusRun
        fields = ["id", "workflow", "version", "watermark", "n_classifications", "tasks", "finished_at"]

    @extend_schema_field({"type": "object", "additionalProperties": FITTED_TASK})
    def get_tasks(self, run: ConsensusRun) -> dict[str, Any]:
        return run.tasks  # type: ignore[no-any-return]


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
