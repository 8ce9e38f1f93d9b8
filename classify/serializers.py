"""The shapes of the classify API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers, status

from classify.leases import LONGEST_WAIT, MOST_HELD
from classify.reading import is_id, plain_next_query, plain_submission
from classify.selection import MOST_EXCLUDED, MOST_SUBJECTS
from classify.submissions import Submission
from starsieve.api.problems import Problem, Unprocessable
from starsieve.api.schema import ProblemSerializer

Fields = serializers.Serializer[Any]
MOST_AT_ONCE = 50


# --- Out ----------------------------------------------------------------------------------------------------------


class FrameSerializer(Fields):
    url = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    band = serializers.CharField(allow_blank=True)
    stretch = serializers.CharField(allow_blank=True)


class NextSubjectSerializer(Fields):
    id = serializers.IntegerField(help_text="Use it as it is; it may become a string one day.")
    frames = FrameSerializer(many=True)
    metadata = serializers.DictField(help_text="What volunteers may see.")


class NextSerializer(Fields):
    workflow_version = serializers.CharField()
    subjects = NextSubjectSerializer(many=True, help_text="Best first; each one is new to this volunteer.")
    remaining = serializers.IntegerField(
        min_value=0, help_text="Subjects left for this volunteer, counted up to 200: 200 says that many or more."
    )
    finished = serializers.BooleanField(help_text="Nothing is left for this volunteer.")
    reason = serializers.CharField(
        allow_blank=True,
        help_text="Why it is finished: `seen_all`, this volunteer has classified all that is open; `all_retired`, "
        "nothing is open any more; `empty`, no subject was ever queued. Not finished: `all_leased`, subjects are left, "
        f"but others are answering them now, or this volunteer holds {MOST_HELD} unanswered ones: ask again after "
        "`retry_after`. Empty text while something can be served.",
    )
    retry_after = serializers.IntegerField(
        allow_null=True, min_value=1, max_value=LONGEST_WAIT,
        help_text="With `all_leased`: seconds to wait, also in the header Retry-After. Null otherwise.",
    )  # fmt: skip


class FeedbackSerializer(Fields):
    task = serializers.CharField()
    is_right = serializers.BooleanField()
    message = serializers.CharField()
    truth = serializers.JSONField(help_text="The true answer, or the list of accepted ones.")
    source = serializers.CharField(help_text="`expert` or `simulated`.")  # type: ignore[assignment]


class ReceiptSerializer(Fields):
    id = serializers.UUIDField()
    retired = serializers.BooleanField(help_text="The subject has been seen enough.")
    feedback = FeedbackSerializer(many=True, allow_null=True)


class EntryResultSerializer(Fields):
    id = serializers.CharField(allow_null=True, help_text="As it was sent; null where that was no text.")
    status = serializers.IntegerField(
        help_text="What the entry alone would have been answered with: 201, 200, 409, 422."
    )
    receipt = ReceiptSerializer(allow_null=True, help_text="With 201 and 200.")
    problem = ProblemSerializer(allow_null=True, help_text="With any other status.")


class SubmissionBatchResultSerializer(Fields):
    results = EntryResultSerializer(many=True, help_text="One for each classification, in the order they were sent.")


# --- In -----------------------------------------------------------------------------------------------------------


@extend_schema_field({"type": "array", "items": {"type": "integer"}})
class IdListField(serializers.Field[list[int], Any, list[int], Any]):
    """Comma-separated ids in a query."""

    default_error_messages = {
        "invalid": "Must be whole numbers separated by commas.",
        "too_many": f"Names more than {MOST_EXCLUDED} subjects.",
    }

    def to_internal_value(self, data: Any) -> list[int]:
        texts = [text for text in str(data).split(",") if text]
        if len(texts) > MOST_EXCLUDED:
            self.fail("too_many")
        if not all(is_id(text) for text in texts):
            self.fail("invalid")
        return [int(text) for text in texts]

    def to_representation(self, value: list[int]) -> list[int]:
        return value


class NextQuerySerializer(Fields):
    count = serializers.IntegerField(
        min_value=1, max_value=MOST_SUBJECTS, default=1, help_text="How many subjects at most."
    )
    exclude = IdListField(required=False, default=list)


class TextField(serializers.CharField):
    """Text, and not a number that looks like it: version 3.10 is not 3.1."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class ClientIdField(serializers.UUIDField):
    """A UUID in its usual form of 36 characters."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or len(data) != 36:
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class ZonedDateTimeField(serializers.DateTimeField):
    """ISO 8601 with its time zone: a moment without one is nobody's."""

    default_error_messages = {"no_zone": "Needs a time zone, as in 2026-05-01T20:15:00Z."}

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("no_zone")
        return super().enforce_timezone(value)


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{1,19}$"}]})
class SubjectIdField(serializers.Field[int, Any, int, Any]):
    """A subject's id as it was handed out: a whole number, or the same in a string."""

    default_error_messages = {"invalid": "Is not a subject's id."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int | str) or not is_id(str(data)):
            self.fail("invalid")
        return int(data)

    def to_representation(self, value: int) -> int:
        return value


@extend_schema_field({"description": "As the task's type has it; null where a task is skipped."})
class AnswerField(serializers.JSONField):
    pass


class AnnotationSerializer(Fields):
    """One answer. The workflow's definition says which tasks take which values."""

    # For the documentation: the definition does the checking, and names what is wrong.
    task = serializers.CharField()
    value = AnswerField()


@extend_schema_field(AnnotationSerializer(many=True))
class AnnotationsField(serializers.JSONField):
    pass


@extend_schema_field(OpenApiTypes.OBJECT)
class MetadataField(serializers.DictField):
    pass


class SubmissionSerializer(Fields):
    id = ClientIdField(help_text="Made by the client (version 4); the same id again changes nothing.")
    subject = SubjectIdField()
    workflow_version = TextField(max_length=30, trim_whitespace=False, help_text="As `next` said, e.g. 3.1.")
    annotations = AnnotationsField(help_text="The reached tasks in order.")
    started_at = ZonedDateTimeField()
    finished_at = ZonedDateTimeField()
    metadata = MetadataField(required=False, default=dict, help_text="What the client wants to note, at most 16 kB.")


class SubmissionBatchSerializer(Fields):
    # For the documentation: each entry is read on its own.
    classifications = serializers.ListField(child=SubmissionSerializer(), max_length=MOST_AT_ONCE)


def next_query_from(parameters: Mapping[str, str]) -> tuple[int, list[int]]:
    """Count and excluded subjects that a query asks for. Raises ValidationError naming the parameter at fault."""
    if (plain := plain_next_query(parameters)) is not None:
        return plain
    query = NextQuerySerializer(data=parameters)
    query.is_valid(raise_exception=True)
    return query.validated_data["count"], query.validated_data["exclude"]


def batch_from(body: Any) -> list[Any]:
    """The entries of a batch, none of them read yet. Raises a 422 problem for what is not a batch."""
    if not isinstance(body, dict):
        raise Unprocessable("body", "must be an object with classifications")
    entries = body.get("classifications")
    if not isinstance(entries, list):
        raise Unprocessable("classifications", "must be a list")
    if len(entries) > MOST_AT_ONCE:
        raise Unprocessable("classifications", f"has {len(entries)} entries; at most {MOST_AT_ONCE} are taken at once")
    return entries


def submission_from(body: Any) -> Submission:
    """The body of a request as a Submission. Raises a 422 problem that names every field at fault."""
    if (plain := plain_submission(body)) is not None:
        return plain
    serializer = SubmissionSerializer(data=body)
    if not serializer.is_valid():
        errors = [
            {"field": "body" if field == "non_field_errors" else field, "message": str(message)}
            for field, messages in serializer.errors.items()
            for message in (messages if isinstance(messages, list) else [messages])
        ]
        detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        raise Problem(status.HTTP_422_UNPROCESSABLE_ENTITY, detail, errors=errors)
    fields = serializer.validated_data
    return Submission(
        client_id=fields["id"],
        subject_id=fields["subject"],
        workflow_version=fields["workflow_version"],
        annotations=fields["annotations"],
        started_at=fields["started_at"],
        finished_at=fields["finished_at"],
        metadata=fields["metadata"],
    )
