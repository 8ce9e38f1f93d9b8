"""Reading without the serializers takes nothing that they refuse, and gives what they give."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.reading import plain_next_query, plain_submission
from classify.serializers import NextQuerySerializer, SubmissionSerializer
from classify.submissions import Submission

IDS = [
    "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "6F9619FF-8B86-4D01-B42D-00CF4FC964FF", "6f9619ff8b864d01b42d00cf4fc964ff",
    "{6f9619ff-8b86-4d01-b42d-00cf4fc964}", "6f9619ff-8b86-4d01-b42d-00cf4fc964f\n", "", None, 7,
]  # fmt: skip
SUBJECTS = [1, "1", 0, -1, True, 1.0, "١", "01", " 1", 2**63, 2**63 - 1, "9" * 19, "9" * 30, None, [], "1\n"]
VERSIONS = ["1.1", "3.10", "01.1", "1.1\n", "1.1 ", "١.1", "", "1.1.1", None, 1.1, "1." + "1" * 30]
MOMENTS = [
    "2026-05-01T12:00:00Z", "2026-05-01T12:00:00.5+02:00", "2026-05-01T12:00:00.123456-11:30", "2026-05-01T12:00:00",
    "2026-05-01 12:00:00Z", "2026-02-30T12:00:00Z", "2026-05-01T24:00:00Z", "2026-05-01T12:00:60Z", "2026-05-01",
    "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "2026-05-01T12:00:00+25:00", "2026-05-01T12:00:00z",
    "2026-05-01T12:00:00.1234567Z", "2026-05-01T12:00:00Z\n", "2026-05-01T12:00:00+23:59", "", None, 5,
]  # fmt: skip
ANNOTATIONS = [[], [{"task": "T0", "value": 0}], {}, "T0", None, 1]
METADATA = [{}, {"client": "web", "n": None, "inner": {"list": [1]}}, [], "x", None]


def as_serialized(body: Any) -> Submission | None:
    serializer = SubmissionSerializer(data=body)
    if not serializer.is_valid():
        return None
    fields = serializer.validated_data
    return Submission(fields.pop("id"), fields.pop("subject"), **fields)


@settings(max_examples=600, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.sampled_from(IDS) | st.uuids().map(str),
            "subject": st.sampled_from(SUBJECTS) | st.integers(),
            "workflow_version": st.sampled_from(VERSIONS) | st.text(max_size=8),
            "annotations": st.sampled_from(ANNOTATIONS),
            "started_at": st.sampled_from(MOMENTS) | st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
            "finished_at": st.sampled_from(MOMENTS[:3]),
            "metadata": st.sampled_from(METADATA),
            "more": st.none(),
        },
    )
)
def test_a_body_is_read_as_its_serializer_reads_it(body: dict[str, Any]) -> None:
    plain = plain_submission(body)
    assert plain is None or plain == as_serialized(body)


@pytest.mark.parametrize("body", [None, [], "x", 7])
def test_a_body_that_is_no_object_is_left_to_the_serializer(body: Any) -> None:
    assert plain_submission(body) is None


def test_what_the_classify_page_sends_needs_no_serializer(make_body: Any) -> None:
    body = make_body(12, version="3.10", started_at="2026-05-01T12:00:00.123Z", finished_at="2026-05-01T12:00:07.000Z")
    assert plain_submission(body) == as_serialized(body) is not None
    del body["metadata"]
    assert plain_submission(body) == as_serialized(body) is not None


COUNTS = ["1", "20", "21", "0", "-1", "", "07", " 1", "1 ", "+1", "1.0", "x", "١", "1\x00", "9" * 30]
EXCLUDES = ["", ",", "1,2", "1,,2,", "x", "1;2", "-1", "9" * 25, ",".join(["1"] * 50), ",".join(["1"] * 51), "١", " 1"]


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "count": st.sampled_from(COUNTS) | st.text(max_size=3),
            "exclude": st.sampled_from(EXCLUDES) | st.text("0123456789, ", max_size=9),
            "more": st.just("x"),
        },
    )
)
def test_a_query_is_read_as_its_serializer_reads_it(parameters: dict[str, str]) -> None:
    plain = plain_next_query(parameters)
    serializer = NextQuerySerializer(data=parameters)
    if plain is not None:
        assert serializer.is_valid(), serializer.errors
        assert plain == (serializer.validated_data["count"], serializer.validated_data["exclude"])


@pytest.mark.parametrize("parameters", [{}, {"count": "3"}, {"count": "3", "exclude": "5,7"}])
def test_what_the_classify_page_asks_needs_no_serializer(parameters: dict[str, str]) -> None:
    assert plain_next_query(parameters) is not None
