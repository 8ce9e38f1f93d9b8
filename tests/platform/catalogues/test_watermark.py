"""Every classification up to a release's watermark is committed when the watermark is read."""

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from starsieve.catalogues.freezing import read_watermark
from tests.platform.catalogues.conftest import GRADE


def test_there_is_none_without_classifications(survey: Any) -> None:
    assert read_watermark(survey.workflow(GRADE)).classification_id == 0


def test_it_must_not_be_read_inside_a_transaction(transactional_db: None, make_user: Any) -> None:
    from tests.platform.catalogues.conftest import Survey

    workflow = Survey(make_user("owner")).workflow(GRADE)
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        read_watermark(workflow)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time: none can be under way")
def test_it_waits_for_a_classification_that_is_under_way(transactional_db: None, make_user: Any) -> None:
    """The first id is drawn but not committed while a later one is: reading max(id) now would skip the first."""
    from classify.models import Classification
    from tests.platform.catalogues.conftest import Survey

    survey = Survey(make_user("owner"))
    workflow = survey.workflow(GRADE)
    inserted, may_commit = threading.Event(), threading.Event()
    read: list[int] = []

    def slow_writer() -> None:
        with transaction.atomic():
            survey.answer(workflow, "one", "A")
            inserted.set()
            may_commit.wait(20)
        connection.close()

    def reader() -> None:
        read.append(read_watermark(workflow).classification_id)
        connection.close()

    writer = threading.Thread(target=slow_writer)
    writer.start()
    assert inserted.wait(20)
    survey.answer(workflow, "two", "A")  # a later id, committed first
    releasing = threading.Thread(target=reader)
    releasing.start()
    releasing.join(0.5)
    assert releasing.is_alive()
    may_commit.set()
    writer.join(20)
    releasing.join(20)
    ids = list(Classification.objects.order_by("id").values_list("id", flat=True))
    assert len(ids) == 2
    assert read == [ids[-1]]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time: none can be under way")
def test_the_schedule_does_not_keep_volunteers_waiting_behind_a_long_writer(
    transactional_db: None, make_user: Any
) -> None:
    from starsieve.catalogues.freezing import WritersAtWork, newest_settled
    from starsieve.catalogues.snapshots.refresh import refresh_outdated
    from tests.platform.catalogues.conftest import Survey

    survey = Survey(make_user("owner"))
    workflow = survey.workflow(GRADE)
    inserted, may_commit = threading.Event(), threading.Event()

    def slow_writer() -> None:
        with transaction.atomic():
            survey.answer(workflow, "one", "A")
            inserted.set()
            may_commit.wait(20)
        connection.close()

    writer = threading.Thread(target=slow_writer)
    writer.start()
    assert inserted.wait(20)
    with pytest.raises(WritersAtWork):
        newest_settled(patience_ms=50)
    assert refresh_outdated() == 0
    may_commit.set()
    writer.join(20)
    assert refresh_outdated() == 1
