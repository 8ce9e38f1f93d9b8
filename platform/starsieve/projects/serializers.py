"""What the API says about projects, workflows and subjects, and what it takes to make them."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from starsieve.projects.frames import FrameUrl, frame_urls
from starsieve.projects.models import Project, Subject, Workflow, WorkflowVersion
from starsieve.projects.services import Refused, check_slug
from starsieve.projects.workflow_templates import TEMPLATES

FRAME = inline_serializer(
    "SubjectFrame",
    {
        "url": serializers.CharField(),
        "width": serializers.IntegerField(),
        "height": serializers.IntegerField(),
        "band": serializers.CharField(),
        "stretch": serializers.CharField(),
    },
    many=True,
)


class WorkflowSummarySerializer(serializers.ModelSerializer[Workflow]):
    version = serializers.CharField(source="current.number", default=None, allow_null=True)

    class Meta:
        model = Workflow
        fields = ["id", "name", "version", "is_active"]


class ProjectSummarySerializer(serializers.ModelSerializer[Project]):
    workflows = WorkflowSummarySerializer(many=True)

    class Meta:
        model = Project
        fields = ["slug", "title", "summary", "status", "is_public", "grading_by", "created_at", "workflows"]


class TutorialStepSerializer(serializers.Serializer[dict[str, str]]):
    title = serializers.CharField()
    text = serializers.CharField()
    image = serializers.CharField(required=False)


class ProjectSerializer(ProjectSummarySerializer):
    tutorial = TutorialStepSerializer(many=True)

    class Meta(ProjectSummarySerializer.Meta):
        fields = [*ProjectSummarySerializer.Meta.fields, "description", "data_note", "tutorial"]


class NewProjectSerializer(serializers.ModelSerializer[Project]):
    template = serializers.ChoiceField(choices=list(TEMPLATES))
    # The model's own validator for a slug that is taken would answer 400; the service's answer is a conflict.
    slug = serializers.SlugField(max_length=60)

    class Meta:
        model = Project
        fields = ["title", "slug", "summary", "template", "description", "data_note", "is_public", "grading_by"]

    def validate_slug(self, slug: str) -> str:
        try:
            check_slug(slug)
        except Refused as error:
            raise serializers.ValidationError(error.message) from None
        return slug


class WorkflowSerializer(serializers.ModelSerializer[Workflow]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    version = serializers.CharField(source="current.number", help_text="The current version, such as 3.1.")
    first = serializers.SerializerMethodField(help_text="Key of the first task.")
    tasks = serializers.SerializerMethodField(help_text="Task key → task.")
    retirement = serializers.SerializerMethodField()

    class Meta:
        model = Workflow
        fields = ["id", "name", "project", "is_active", "version", "first", "tasks", "retirement"]

    def get_first(self, workflow: Workflow) -> str:
        return str(_definition(workflow)["first"])

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_tasks(self, workflow: Workflow) -> Any:
        return _definition(workflow)["tasks"]

    @extend_schema_field(
        inline_serializer(
            "Retirement",
            {
                "classification_count": serializers.IntegerField(),
                "settled": serializers.BooleanField(required=False),
            },
        )
    )
    def get_retirement(self, workflow: Workflow) -> Any:
        return _definition(workflow)["retirement"]


def _definition(workflow: Workflow) -> dict[str, Any]:
    assert workflow.current is not None  # the view serves no workflow without a version
    definition: dict[str, Any] = workflow.current.definition
    return definition


@extend_schema_field(OpenApiTypes.OBJECT)
class DefinitionField(serializers.JSONField):
    """A workflow's definition; docs/guide/workflows.md describes it."""


class WorkflowVersionSerializer(serializers.ModelSerializer[WorkflowVersion]):
    version = serializers.CharField(source="number", read_only=True)
    definition = DefinitionField()

    class Meta:
        model = WorkflowVersion
        fields = ["version", "created_at", "definition"]


class SubjectSerializer(serializers.ModelSerializer[Subject]):
    """What anyone may know of a subject: nothing tells a training subject apart, so no name, origin or set."""

    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    frames = serializers.SerializerMethodField()
    metadata = serializers.DictField(read_only=True)

    class Meta:
        model = Subject
        fields = ["id", "project", "frames", "metadata"]

    @extend_schema_field(FRAME)
    def get_frames(self, subject: Subject) -> list[FrameUrl]:
        return frame_urls(subject)
