"""Get the next subjects and send classifications: INTERFACES under /api/v1/workflows/{id}/."""

from typing import Any, NoReturn

from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from classify.access import Access, access_to
from classify.errors import AlreadyClassified, ForeignClassificationId, SubmissionRefused
from classify.models import Volunteer
from classify.parsers import BoundedJSONParser
from classify.selection import select
from classify.serializers import (
    NextQuerySerializer,
    NextSerializer,
    ReceiptSerializer,
    SubmissionSerializer,
    next_query_from,
    submission_from,
)
from classify.services import record_classification
from classify.volunteers import volunteer_of
from starsieve.accounts.models import ApiToken
from starsieve.api.problems import Conflict, Unprocessable
from starsieve.projects.frames import frame_urls
from starsieve.projects.models import Subject

WHO_HEADER = "X-Starsieve-Volunteer"
WHO = OpenApiParameter(
    WHO_HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Whom the client takes itself for: `user:12` or `visitor`. A call for a user whose session has lapsed "
    "is refused with 401, so that no work is stored under somebody else.",
)
EXCLUDE = OpenApiParameter(
    "exclude",
    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "maxItems": 50},
    OpenApiParameter.QUERY,
    style="form",
    explode=False,
    description="Subjects that the client holds already, comma-separated ids, 50 at most: not served again.",
)


def open_access(request: Request, workflow_id: int) -> Access:
    """Access to a workflow that takes answers from this person now; a refusal otherwise."""
    _check_who(request)
    access = access_to(request, workflow_id)
    if access.closed is not None:
        raise PermissionDenied(f"{access.closed.title}. {access.closed.sentence}")
    return access


def _check_who(request: Request) -> None:
    claimed = request.headers.get(WHO_HEADER, "")
    if claimed.startswith("user:") and claimed != f"user:{request.user.pk}":
        raise NotAuthenticated("You are no longer signed in as the person who began this. Sign in again to send it.")


class NextSubjects(APIView):
    token_scope = ApiToken.Scope.CLASSIFY

    @extend_schema(
        operation_id="workflow_next",
        summary="The next subjects to classify",
        parameters=[NextQuerySerializer, EXCLUDE, WHO],
        responses=NextSerializer,
        tags=["classify"],
    )
    @method_decorator([never_cache, ensure_csrf_cookie])
    def get(self, request: Request, workflow_id: int) -> Response:
        count, exclude = next_query_from(request.query_params.dict())
        access = open_access(request, workflow_id)
        selection = select(
            workflow_id=workflow_id,
            volunteer_id=access.volunteer_id,
            count=count,
            exclude=exclude,
        )
        return Response(
            {
                "workflow_version": access.version.number,
                "subjects": [_subject(subject) for subject in selection.subjects],
                "remaining": selection.remaining,
                "finished": selection.reason != "",
                "reason": selection.reason,
            }
        )


def _subject(subject: Subject) -> dict[str, Any]:
    """What a volunteer may know of a subject before answering: nothing tells a training subject apart."""
    return {"id": subject.pk, "frames": frame_urls(subject), "metadata": subject.metadata}


class Classifications(APIView):
    token_scope = ApiToken.Scope.CLASSIFY
    parser_classes = [BoundedJSONParser]

    @extend_schema(
        operation_id="workflow_classify",
        summary="Send one classification",
        description="201: stored, durably. 200: this id was stored before; nothing new happened. 409: this person has "
        "classified the subject already, or the id is someone else's. 422: `errors` names the field.",
        parameters=[WHO],
        request=SubmissionSerializer,
        responses={201: ReceiptSerializer, 200: ReceiptSerializer},
        tags=["classify"],
    )
    def post(self, request: Request, workflow_id: int) -> Response:
        access = open_access(request, workflow_id)
        submission = submission_from(request.data)
        try:
            receipt = record_classification(
                workflow=access.workflow, volunteer=_volunteer(request, access), submission=submission
            )
        except (SubmissionRefused, AlreadyClassified, ForeignClassificationId) as refusal:
            _refuse(refusal)
        body = {"id": receipt.id, "retired": receipt.retired, "feedback": receipt.feedback}
        return Response(body, status=status.HTTP_201_CREATED if receipt.created else status.HTTP_200_OK)


def _volunteer(request: Request, access: Access) -> Volunteer:
    volunteer = access.volunteer or volunteer_of(request, create=True)
    assert volunteer is not None  # create=True
    return volunteer


def _refuse(refusal: SubmissionRefused | AlreadyClassified | ForeignClassificationId) -> NoReturn:
    if isinstance(refusal, SubmissionRefused):
        raise Unprocessable(refusal.field, refusal.message) from None
    raise Conflict(str(refusal)) from None
