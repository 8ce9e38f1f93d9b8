"""Projects, workflows and subjects over the API."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from starsieve.accounts.authentication import TokenScope
from starsieve.api.problems import Conflict, Problem, Unprocessable
from starsieve.projects.definitions import DefinitionError
from starsieve.projects.models import Project, Subject, Workflow, WorkflowVersion
from starsieve.projects.overview import visible_projects
from starsieve.projects.permissions import Action, require
from starsieve.projects.serializers import (
    NewProjectSerializer,
    ProjectSerializer,
    ProjectSummarySerializer,
    SubjectSerializer,
    WorkflowSerializer,
    WorkflowVersionSerializer,
)
from starsieve.projects.services import Refused, create_project, publish_version

WORKFLOWS = Prefetch(
    "workflows", Workflow.objects.select_related("current").defer("current__definition").order_by("pk")
)


@extend_schema_view(
    get=extend_schema(operation_id="projects_list", summary="Projects that you may see", tags=["projects"])
)
class ProjectList(generics.ListAPIView[Project]):
    serializer_class = ProjectSummarySerializer

    def get_permissions(self) -> list[Any]:
        return [IsAuthenticated(), TokenScope()] if self.request.method == "POST" else [TokenScope()]

    def get_queryset(self) -> QuerySet[Project]:
        return visible_projects(self.request.user).prefetch_related(WORKFLOWS)

    @extend_schema(
        operation_id="projects_create",
        summary="Make a project from a workflow template",
        description="You become its owner; it begins as a draft. 409: the slug is taken.",
        request=NewProjectSerializer,
        responses={201: ProjectSerializer},
        tags=["projects"],
    )
    def post(self, request: Request) -> Response:
        wanted = NewProjectSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        try:
            project = create_project(owner=request.user, **wanted.validated_data)  # type: ignore[arg-type]  # IsAuthenticated
        except Refused as error:
            raise Conflict(str(error)) if error.field == "slug" else Unprocessable(error.field, error.message) from None
        return Response(ProjectSerializer(project).data, status=status.HTTP_201_CREATED)


class ProjectDetail(APIView):
    @extend_schema(
        operation_id="projects_read",
        summary="One project with its texts",
        responses=ProjectSerializer,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        project = generics.get_object_or_404(Project.objects.prefetch_related(WORKFLOWS), slug=slug)
        require(request.user, project, Action.VIEW)
        return Response(ProjectSerializer(project).data)


class WorkflowDetail(APIView):
    @extend_schema(
        operation_id="workflows_read",
        summary="A workflow's current version with its tasks",
        responses=WorkflowSerializer,
        tags=["projects"],
    )
    def get(self, request: Request, workflow_id: int) -> Response:
        workflow = _workflow(request, workflow_id, Action.VIEW)
        if workflow.current is None:
            raise Http404
        return Response(WorkflowSerializer(workflow).data)


class WorkflowVersions(generics.GenericAPIView[WorkflowVersion]):
    serializer_class = WorkflowVersionSerializer

    def get_queryset(self) -> QuerySet[WorkflowVersion]:
        return WorkflowVersion.objects.filter(workflow_id=self.kwargs["workflow_id"])

    @extend_schema(
        operation_id="workflow_versions_list",
        summary="All versions of a workflow, oldest first",
        responses=WorkflowVersionSerializer(many=True),
        tags=["projects"],
    )
    def get(self, request: Request, workflow_id: int) -> Response:
        _workflow(request, workflow_id, Action.VIEW)
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="workflow_versions_publish",
        summary="Publish a new version",
        description="201: the new version, current from now on. 200: the definition is current already; nothing new "
        "happened. 422: the definition is refused; `errors` lists everything that is wrong with it and where.",
        responses={201: WorkflowVersionSerializer, 200: WorkflowVersionSerializer},
        tags=["projects"],
    )
    def post(self, request: Request, workflow_id: int) -> Response:
        workflow = _workflow(request, workflow_id, Action.EDIT)
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        before = workflow.current
        try:
            version = publish_version(
                workflow=workflow,
                definition=wanted.validated_data["definition"],
                user=request.user,  # type: ignore[arg-type]  # EDIT needs an account
            )
        except DefinitionError as error:
            raise _refusal(error) from None
        is_new = version != before
        return Response(
            self.get_serializer(version).data, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        )


class SubjectDetail(APIView):
    @extend_schema(
        operation_id="subjects_read",
        summary="A subject's frames and public metadata",
        responses=SubjectSerializer,
        tags=["projects"],
    )
    def get(self, request: Request, subject_id: int) -> Response:
        subject = generics.get_object_or_404(Subject.objects.select_related("project"), pk=subject_id)
        require(request.user, subject.project, Action.VIEW)
        return Response(SubjectSerializer(subject).data)


def _workflow(request: Request, workflow_id: int, action: Action) -> Workflow:
    workflow = generics.get_object_or_404(Workflow.objects.select_related("project", "current"), pk=workflow_id)
    require(request.user, workflow.project, action)
    return workflow


def _refusal(error: DefinitionError) -> Problem:
    errors = [
        {"field": place if place == "definition" else f"definition.{place}", "message": message}
        for place, message in error.problems
    ]
    return Problem(status.HTTP_422_UNPROCESSABLE_ENTITY, f"The definition is refused: {error}", errors=errors)
