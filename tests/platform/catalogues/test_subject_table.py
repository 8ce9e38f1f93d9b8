"""The subject table: every order turns every subject up once, at a bounded number of queries."""

from typing import Any
from urllib.parse import parse_qs

import pytest
from django.http import Http404, QueryDict
from pytest_django import DjangoAssertNumQueries

from classify.models import SubjectProgress
from starsieve.catalogues import services, subject_table
from starsieve.catalogues.models import SubjectDisagreement
from starsieve.catalogues.subject_table import SORTS, Wanted, subject_page
from tests.platform.catalogues.conftest import BOXES, GRADE, box

NAMES = tuple("abcdefgh")


@pytest.fixture
def workflow(survey: Any) -> Any:
    """a has the most votes and scores, and the votes on b and d are split."""
    made = survey.workflow(GRADE, names=NAMES, limit=3)
    for name, grades in {"a": "AAAA", "b": "AX", "c": "BB", "d": "ABCX", "e": "C"}.items():
        for grade in grades:
            survey.answer(made, name, grade)
    survey.score(made, {name: 0.9 - 0.1 * i for i, name in enumerate(NAMES[:6])})
    services.refresh_disagreement(workflow=made)
    return made


def turned(workflow: Any, monkeypatch: pytest.MonkeyPatch, size: int = 2, **query: str) -> list[str]:
    """The names on all pages, in order."""
    monkeypatch.setattr(subject_table, "PAGE_SIZE", size)
    names: list[str] = []
    after = ""
    for _ in range(20):
        text = QueryDict(mutable=True)
        text.update({**query, "after": after})
        page = subject_page(workflow, Wanted.from_query(text))
        names += [row.progress.subject.name for row in page.rows]
        after = page.next_cursor
        if not after:
            return names
    raise AssertionError("the pages never end")


@pytest.mark.parametrize(
    ("sort", "names"),
    [("count", "adbcefgh"), ("disagreement", "dbace"), ("score", "abcdef"), ("subject", "abcdefgh")],
)
def test_each_order_shows_each_subject_once(
    workflow: Any, monkeypatch: pytest.MonkeyPatch, sort: str, names: str
) -> None:
    assert turned(workflow, monkeypatch, sort=sort) == list(names)


@pytest.mark.parametrize("sort", list(SORTS))
def test_the_filter_holds_in_each_order(workflow: Any, monkeypatch: pytest.MonkeyPatch, sort: str) -> None:
    everything = set(turned(workflow, monkeypatch, sort=sort))
    retired = set(turned(workflow, monkeypatch, sort=sort, state="retired"))
    still_open = set(turned(workflow, monkeypatch, sort=sort, state="open"))
    assert retired == {"a", "d"}
    assert still_open == everything - retired


def test_another_workflow_on_the_same_subjects_changes_nothing(
    survey: Any, workflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starsieve.projects.services import create_workflow, link_subject_set

    other = create_workflow(
        project=workflow.project, name="Other", user=survey.owner,
        definition={"first": "T0", "tasks": GRADE, "retirement": {"classification_count": 3}},
    )  # fmt: skip
    link_subject_set(workflow=other, subject_set=workflow.subject_sets.get())
    assert turned(workflow, monkeypatch, sort="score", state="open") == list("bcef")
    assert turned(workflow, monkeypatch, sort="count") == list("adbcefgh")


@pytest.mark.parametrize(("sort", "names"), [("count", "adbce"), ("score", "abcde"), ("subject", "abcde")])
def test_of_an_unlinked_set_only_subjects_with_votes_stay(
    workflow: Any, monkeypatch: pytest.MonkeyPatch, sort: str, names: str
) -> None:
    from starsieve.projects.services import unlink_subject_set

    unlink_subject_set(workflow=workflow, subject_set=workflow.subject_sets.get())
    assert turned(workflow, monkeypatch, sort=sort) == list(names)


def test_rows_tell_the_leading_answer_and_the_score(workflow: Any) -> None:
    row = subject_page(workflow, Wanted("count", "", None)).rows[0]
    assert (row.answer, row.share, row.disagreement) == ("A", 1.0, 0.0)
    assert row.score == pytest.approx(0.9)
    assert row.stamp_url.endswith("stamps/ab/abc.png")


def test_a_page_costs_the_same_at_any_depth(
    workflow: Any, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for after in (None, (2.0, 1)):
        with django_assert_max_num_queries(6):
            subject_page(workflow, Wanted("count", "", after))


@pytest.mark.parametrize(
    "query",
    ["sort=price", "state=lost", "after=x", "after=1", "after=1~x", "after=nan~1", "after=inf~1", "after=1~-1",
     "after=1e300~1", f"after=1~{2**64}", "after=%00~1"],
)  # fmt: skip
def test_what_the_table_does_not_offer_does_not_exist(query: str) -> None:
    with pytest.raises(Http404):
        Wanted.from_query(QueryDict(query))


def test_a_cursor_reads_back_exactly() -> None:
    wanted = Wanted("disagreement", "", None)
    text = wanted.cursor(0.1 + 0.2, 7)
    assert Wanted.from_query({"after": parse_qs(f"after={text}")["after"][0]}).after == (0.1 + 0.2, 7)


# --- Disagreement -------------------------------------------------------------------------------------------------
def test_disagreement_is_what_the_largest_fraction_leaves() -> None:
    summaries = {"T0": {"n": 10, "agreement": 0.9}, "T1": {"n": 2, "agreement": 0.5}, "T2": {"n": 0, "agreement": None}}
    assert services.disagreement(summaries) == pytest.approx((10 * 0.1 + 2 * 0.5) / 12)


def test_nobody_disagrees_where_nobody_answered() -> None:
    assert services.disagreement({"T0": {"n": 0, "agreement": None}, "T1": {"n_seen": 0, "clumps": []}}) == 0


def test_disagreement_about_boxes_is_their_missing_support(survey: Any) -> None:
    workflow = survey.workflow(BOXES)
    survey.answer(workflow, "one", [box(5, 5), box(50, 50)])
    survey.answer(workflow, "one", [box(5, 5)])
    services.refresh_disagreement(workflow=workflow)
    assert SubjectDisagreement.objects.get(subject__name="one").value == pytest.approx(0.25)


def test_only_what_has_changed_is_computed_again(survey: Any, workflow: Any) -> None:
    assert services.refresh_disagreement(workflow=workflow) == 0
    survey.answer(workflow, "c", "X")
    assert services.refresh_disagreement(workflow=workflow) == 1
    assert SubjectDisagreement.objects.get(subject__name="c").value == pytest.approx(1 / 3)


def test_a_subject_that_is_no_longer_counted_keeps_no_disagreement(survey: Any, workflow: Any) -> None:
    SubjectProgress.objects.filter(workflow=workflow, subject__name="b").update(classification_count=0, tallies={})
    services.refresh_disagreement(workflow=workflow)
    assert not SubjectDisagreement.objects.filter(subject__name="b").exists()


def test_the_task_goes_over_every_workflow(survey: Any, workflow: Any) -> None:
    from starsieve.catalogues.tasks import refresh_disagreements

    survey.answer(workflow, "f", "A")
    refresh_disagreements()
    assert SubjectDisagreement.objects.filter(subject__name="f").exists()
