"""Get the next subjects and send classifications: INTERFACES under /api/v1/workflows/{id}/."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import NotAuthenticated, PermissionDenied, Throttled
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
    SubmissionBatchResultSerializer,
    SubmissionBatchSerializer,
    SubmissionSerializer,
    batch_from,
    next_query_from,
    submission_from,
)
from classify.services import Receipt, record_classification
from classify.versions import definition_of
from classify.volunteers import volunteer_of
from starsieve.accounts.models import ApiToken
from starsieve.api.problems import Conflict, Problem, Unprocessable, problem_body
from starsieve.api.throttling import ClientThrottle
from starsieve.projects.frames import frame_urls
from starsieve.projects.models import Subject
from starsieve.projects.permissions import Action

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
            definition=definition_of(access.version),
            volunteer_id=access.volunteer_id,
            count=count,
            exclude=exclude,
        )
        wait = selection.retry_after
        return Response(
            {
                "workflow_version": access.version.number,
                "subjects": [_subject(subject) for subject in selection.subjects],
                "remaining": selection.remaining,
                "finished": selection.is_finished,
                "reason": selection.reason,
                "retry_after": wait,
            },
            headers=None if wait is None else {"Retry-After": str(wait)},
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
        receipt = _store(access, lambda: _volunteer(request, access), request.data)
        _count_stored(request, int(receipt.created))
        return Response(_told(receipt), status=status.HTTP_201_CREATED if receipt.created else status.HTTP_200_OK)


class ClassificationBatch(APIView):
    token_scope = ApiToken.Scope.CLASSIFY

    @extend_schema(
        operation_id="workflow_classify_batch",
        summary="Send several classifications",
        description="For a client that was offline. Each entry is stored or refused on its own, as if it had been sent "
        "alone, and counts as a call of its own for the rate limit. `results` answers the entries in their order; "
        "after a lost answer send the same batch again: what was stored is answered 200.",
        parameters=[WHO],
        request=SubmissionBatchSerializer,
        responses=SubmissionBatchResultSerializer,
        tags=["classify"],
    )
    def post(self, request: Request, workflow_id: int) -> Response:
        access = open_access(request, workflow_id)
        entries = batch_from(request.data)
        wait = ClientThrottle().take(request, self, len(entries) - 1)
        if wait is not None:
            raise Throttled(wait)
        volunteer = cache(lambda: _volunteer(request, access))
        results = [_result(access, volunteer, entry) for entry in entries]
        _count_stored(request, sum(result["status"] == status.HTTP_201_CREATED for result in results))
        return Response({"results": results})


def _result(access: Access, volunteer: Callable[[], Volunteer], entry: Any) -> dict[str, Any]:
    """One entry of a batch, stored or refused in a transaction of its own."""
    try:
        receipt = _store(access, volunteer, entry)
    except Problem as refusal:
        sent = entry.get("id") if isinstance(entry, dict) else None
        problem = {"status": refusal.status_code, "receipt": None, "problem": problem_body(refusal)}
        return {"id": sent if isinstance(sent, str) else None, **problem}
    code = status.HTTP_201_CREATED if receipt.created else status.HTTP_200_OK
    return {"id": receipt.id, "status": code, "receipt": _told(receipt), "problem": None}


def _store(access: Access, volunteer: Callable[[], Volunteer], body: Any) -> Receipt:
    """Store what was sent; a volunteer is made only for a body that can be read. Raises Problem."""
    submission = submission_from(body)
    try:
        return record_classification(
            workflow=access.workflow,
            volunteer=volunteer(),
            submission=submission,
            by_expert=Action.GRADE in access.grants,
        )
    except SubmissionRefused as refusal:
        raise Unprocessable(refusal.field, refusal.message) from None
    except (AlreadyClassified, ForeignClassificationId) as refusal:
        raise Conflict(str(refusal)) from None


def _told(receipt: Receipt) -> dict[str, Any]:
    return {"id": receipt.id, "retired": receipt.retired, "feedback": receipt.feedback}


def _volunteer(request: Request, access: Access) -> Volunteer:
    volunteer = access.volunteer or volunteer_of(request, create=True)
    assert volunteer is not None  # create=True
    return volunteer


def _count_stored(request: Request, n_stored: int) -> None:
    """For the metrics."""
    request._request.n_classifications_stored = n_stored  # type: ignore[attr-defined]
