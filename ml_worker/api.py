"""Prefilter batches over the API: launch, watch, cancel, retry a shard. Permissions: projects/permissions.py."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import ParseError, PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ml_worker.access import launch_projects
from ml_worker.models import ModelVersion, PrefilterBatch, Shard
from ml_worker.serializers import (
    LARGEST_ID,
    BatchDetailSerializer,
    BatchSerializer,
    LaunchSerializer,
    ModelSerializer,
    ShardSerializer,
)
from ml_worker.services import (
    PrefilterConflict,
    PrefilterRefused,
    cancel_prefilter_batch,
    launch_prefilter_batch,
    retry_shard,
)
from starsieve.accounts.authentication import TokenScope
from starsieve.accounts.models import User
from starsieve.api.pagination import IdCursorPagination
from starsieve.api.problems import Conflict, Unprocessable
from starsieve.projects.models import SubjectSet, Workflow
from starsieve.projects.permissions import Action, require

T = TypeVar("T")


class NewestFirst(IdCursorPagination):
    ordering = "-id"


def person(request: Request) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def answered(service: Callable[..., T], **arguments: Any) -> T:
    """The service's result; its refusals as problem documents."""
    try:
        return service(**arguments)
    except PrefilterRefused as refusal:
        raise Unprocessable(refusal.field, refusal.message) from refusal
    except PrefilterConflict as conflict:
        raise Conflict(str(conflict)) from conflict


def batch_for(request: Request, pk: int) -> PrefilterBatch:
    """The batch, if the person may launch batches in its project."""
    batches = PrefilterBatch.objects.with_progress().select_related("workflow__project", "model", "created_by")
    batch = get_object_or_404(batches, pk=pk)
    require(request.user, batch.workflow.project, Action.LAUNCH_PREFILTER)
    return batch


class BatchList(generics.ListAPIView[PrefilterBatch]):
    serializer_class = BatchSerializer
    pagination_class = NewestFirst
    permission_classes = [IsAuthenticated, TokenScope]

    def get_queryset(self) -> QuerySet[PrefilterBatch]:
        batches = PrefilterBatch.objects.with_progress().select_related("model", "created_by")
        batches = batches.filter(workflow__project__in=launch_projects(self.request.user))
        workflow = self.request.GET.get("workflow")
        if workflow is None:
            return batches
        if not (workflow.isascii() and workflow.isdigit() and len(workflow) < 20 and int(workflow) <= LARGEST_ID):
            raise ParseError("workflow: must be the number of a workflow")
        return batches.filter(workflow=int(workflow))

    @extend_schema(
        operation_id="list_prefilter_batches",
        summary="Prefilter batches of your projects, newest first",
        parameters=[OpenApiParameter("workflow", {"type": "integer", "minimum": 0, "maximum": LARGEST_ID})],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="launch_prefilter_batch",
        summary="Launch a prefilter batch",
        request=LaunchSerializer,
        responses=BatchDetailSerializer,
    )
    def post(self, request: Request) -> Response:
        body = LaunchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = dict(body.validated_data)
        workflow = self._workflow(request, wanted.pop("workflow"))
        subject_set = SubjectSet.objects.filter(pk=wanted.pop("subject_set"), project_id=workflow.project_id).first()
        if subject_set is None:
            raise Unprocessable("subject_set", "no such subject set in the workflow's project")
        model = ModelVersion.objects.filter(pk=wanted.pop("model")).first()
        if model is None:
            raise Unprocessable("model", "no such model; GET /api/v1/models lists them")
        batch = answered(
            launch_prefilter_batch,
            workflow=workflow,
            subject_set=subject_set,
            model=model,
            user=person(request),
            **wanted,
        )
        return Response(BatchDetailSerializer(batch_for(request, batch.pk)).data, status=201)

    @staticmethod
    def _workflow(request: Request, pk: int) -> Workflow:
        """A workflow that may not be seen is answered like one that does not exist."""
        workflow = Workflow.objects.select_related("project").filter(pk=pk).first()
        try:
            if workflow is None:
                raise Http404
            require(request.user, workflow.project, Action.LAUNCH_PREFILTER)
        except Http404:
            raise Unprocessable("workflow", "no such workflow, or you may not see it") from None
        return workflow


class BatchDetail(APIView):
    @extend_schema(
        operation_id="get_prefilter_batch",
        summary="A prefilter batch with its progress, score histogram and shards",
        responses=BatchDetailSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(BatchDetailSerializer(batch_for(request, pk)).data)


class BatchCancel(APIView):
    @extend_schema(
        operation_id="cancel_prefilter_batch",
        summary="Cancel a prefilter batch",
        description="Waiting shards are cancelled at once, a running one stops after its minibatch. Again: no change.",
        request=None,
        responses={200: BatchDetailSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        batch = batch_for(request, pk)
        answered(cancel_prefilter_batch, batch=batch, user=person(request))
        return Response(BatchDetailSerializer(batch_for(request, pk)).data)


@extend_schema_view(get=extend_schema(operation_id="list_shards", summary="All shards of a prefilter batch"))
class ShardList(generics.ListAPIView[Shard]):
    serializer_class = ShardSerializer

    def get_queryset(self) -> QuerySet[Shard]:
        if getattr(self, "swagger_fake_view", False):  # the schema is drawn without a batch
            return Shard.objects.none()
        return Shard.objects.filter(batch=batch_for(self.request, self.kwargs["pk"]))


class ShardRetry(APIView):
    @extend_schema(
        operation_id="retry_shard",
        summary="Try a failed shard again",
        description="Also a done one with unreadable stamps, after they were mended.",
        request=None,
        responses={200: ShardSerializer},
    )
    def post(self, request: Request, pk: int, index: int) -> Response:
        batch = batch_for(request, pk)
        shard = get_object_or_404(batch.shards, index=index)
        return Response(ShardSerializer(answered(retry_shard, shard=shard, user=person(request))).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="list_models",
        summary="Models that a prefilter batch can run, with what they were trained on",
        description="For those who may launch a batch in some project.",
    )
)
class ModelList(generics.ListAPIView[ModelVersion]):
    serializer_class = ModelSerializer
    queryset = ModelVersion.objects.all()
    permission_classes = [IsAuthenticated, TokenScope]

    def get_queryset(self) -> QuerySet[ModelVersion]:
        if not launch_projects(self.request.user).exists() and not self.request.user.is_superuser:
            raise PermissionDenied("Your roles do not allow launching prefilter batches.")
        return ModelVersion.objects.all()
