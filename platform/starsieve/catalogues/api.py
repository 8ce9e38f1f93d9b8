"""Results and releases over the API. Permissions: projects/permissions.py."""

from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse, Http404, StreamingHttpResponse
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from classify.models import SubjectProgress
from starsieve.accounts.models import User
from starsieve.api.pagination import IdCursorPagination
from starsieve.api.problems import Conflict, Unprocessable
from starsieve.catalogues import services
from starsieve.catalogues.access import current_version, file_of, release_for, workflow_for
from starsieve.catalogues.consensus.pages import consensus_on_subjects, with_methods
from starsieve.catalogues.files import CONTENT_TYPES, EXPORTS, content_type_of
from starsieve.catalogues.freezing import in_catalogue, models_in_use, score_annotations
from starsieve.catalogues.models import ConsensusRun, Release
from starsieve.catalogues.release_settings import ReleaseSettings, SettingsProblem
from starsieve.catalogues.serializers import (
    ConsensusRunSerializer,
    MakeReleaseSerializer,
    ReleaseSerializer,
    ResultsQuerySerializer,
    SubjectResultSerializer,
)
from starsieve.catalogues.views import download
from starsieve.projects.permissions import Action, require


class ResultsPagination(IdCursorPagination):
    page_size = 50
    max_page_size = 200


class NewestFirst(IdCursorPagination):
    ordering = "-id"


@extend_schema_view(
    get=extend_schema(
        operation_id="list_results",
        summary="Consensus on each subject of a workflow, live",
        parameters=[ResultsQuerySerializer],
    )
)
class WorkflowResults(generics.ListAPIView[SubjectProgress]):
    serializer_class = SubjectResultSerializer
    pagination_class = ResultsPagination

    def get_queryset(self) -> QuerySet[SubjectProgress]:
        if getattr(self, "swagger_fake_view", False):  # the schema is drawn without a workflow
            return SubjectProgress.objects.none()
        self.workflow, _ = workflow_for(self.request.user, self.kwargs["pk"], Action.SEE_RESULTS)
        current_version(self.workflow)
        rows = SubjectProgress.objects.filter(in_catalogue(), workflow=self.workflow).select_related(
            "subject", "tallied_version"
        )
        query = ResultsQuerySerializer(data=self.request.query_params.dict())
        query.is_valid(raise_exception=True)
        if "subject" in query.validated_data:
            rows = rows.filter(subject_id=query.validated_data["subject"])
        return rows.annotate(**score_annotations(models_in_use(self.workflow)))

    def paginate_queryset(self, queryset: Any) -> Any:
        """The page, and beside it what the models say of its subjects."""
        page = super().paginate_queryset(queryset) or []
        said = consensus_on_subjects(self.workflow, [row.subject_id for row in page])
        self.consensus = {pk: with_methods(said.run, each) for pk, each in said.of.items()} if said.run else {}
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        known = {"current": self.workflow.current, "consensus": self.consensus} if hasattr(self, "consensus") else {}
        return {**super().get_serializer_context(), **known}


class WorkflowConsensus(APIView):
    @extend_schema(
        operation_id="get_consensus",
        summary="The last fit of the workflow's models, and what it is worth",
        description="The latest finished run: how each task's model was fitted, and its figures on the gold standard. "
        "404 while none has finished. What it says of each subject is in the results.",
        responses=ConsensusRunSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        workflow, _ = workflow_for(request.user, pk, Action.SEE_RESULTS)
        run = ConsensusRun.objects.select_related("workflow_version").latest_done(workflow)
        if run is None:
            raise Http404
        return Response(ConsensusRunSerializer(run).data)


class WorkflowReleases(generics.ListAPIView[Release]):
    serializer_class = ReleaseSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[Release]:
        if getattr(self, "swagger_fake_view", False):
            return Release.objects.none()
        workflow, self.grants = workflow_for(self.request.user, self.kwargs["pk"], Action.SEE_RESULTS)
        return workflow.releases.select_related("workflow_version").defer("second_looks")

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "grants": getattr(self, "grants", frozenset())}

    @extend_schema(operation_id="list_releases", summary="Releases of a workflow, newest first")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="make_release",
        summary="Freeze a release; a worker writes its files",
        request=MakeReleaseSerializer,
        responses={201: ReleaseSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        workflow, grants = workflow_for(request.user, pk, Action.MAKE_RELEASE)
        body = MakeReleaseSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        assert isinstance(request.user, User)  # nobody else may make releases
        try:
            settings = ReleaseSettings.of(**body.validated_data)
            release = services.make_release(workflow=workflow, user=request.user, settings=settings)
        except SettingsProblem as problem:
            raise Unprocessable(problem.field, problem.message) from problem
        return Response(ReleaseSerializer(release, context={"grants": grants}).data, status=201)


class ReleaseDetail(APIView):
    @extend_schema(operation_id="get_release", summary="One release with its files", responses=ReleaseSerializer)
    def get(self, request: Request, pk: int) -> Response:
        release, grants = release_for(request.user, pk)
        return Response(ReleaseSerializer(release, context={"grants": grants}).data)


class ReleaseRetry(APIView):
    @extend_schema(
        operation_id="retry_release",
        summary="Write a failed release again",
        description="The frozen inputs stay the same. A release that has not failed is left as it is.",
        request=None,
        responses={200: ReleaseSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        release, _ = release_for(request.user, pk)
        grants = require(request.user, release.workflow.project, Action.MAKE_RELEASE)
        services.retry_release(release=release)
        release.refresh_from_db()
        return Response(ReleaseSerializer(release, context={"grants": grants}).data)


class AsItIs(BaseContentNegotiation):
    """A file has one representation, whatever the client says it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


BINARY_FILES = {
    (200, content_type.partition(";")[0]): OpenApiResponse(OpenApiTypes.BINARY, description="The file")
    for content_type in CONTENT_TYPES.values()
    if content_type != "application/json"
}


class WorkflowExport(APIView):
    content_negotiation_class = AsItIs

    @extend_schema(
        operation_id="export_classifications",
        summary="All classifications of a workflow as one file",
        description="`classifications.csv` or `classifications.parquet`: one row per person and subject, answers as "
        "JSON, volunteers as pseudonyms that hold within this file; for those who may make releases. It is written "
        "while it is sent, so an answer that breaks off is not a whole file: ask again.",
        responses={
            (200, content_type_of(name).partition(";")[0]): OpenApiResponse(OpenApiTypes.BINARY, description="The file")
            for name in EXPORTS
        },
    )
    def get(self, request: Request, pk: int, name: str) -> StreamingHttpResponse:
        from starsieve.catalogues.snapshots.export import export_classifications  # pyarrow only where it is used
        from starsieve.catalogues.snapshots.reading import SnapshotChanged

        workflow, _ = workflow_for(request.user, pk, Action.MAKE_RELEASE)
        if name not in EXPORTS:
            raise Http404
        try:
            watermark, pieces = export_classifications(workflow=workflow, ending=name.rpartition(".")[2])
        except SnapshotChanged as changed:
            raise Conflict(str(changed)) from changed
        filename = f"{workflow.project.slug}-{workflow.pk}-{watermark}-{name}"
        response = StreamingHttpResponse(pieces, content_type=content_type_of(name))
        response["Content-Disposition"] = content_disposition_header(True, filename)
        patch_cache_control(response, private=True, max_age=0)
        return response


class ReleaseFile(APIView):
    content_negotiation_class = AsItIs

    @extend_schema(
        operation_id="get_release_file",
        summary="Download a file of a release",
        responses={
            **BINARY_FILES,
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, description="provenance.json"),
        },
    )
    def get(self, request: Request, pk: int, name: str) -> FileResponse:
        if "\x00" in name:
            raise Http404
        release, grants = release_for(request.user, pk)
        return download(release, file_of(release, grants, name))
