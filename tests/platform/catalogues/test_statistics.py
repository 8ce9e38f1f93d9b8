"""The distributions of the results page: right, as the reducers say it, and cheap to ask for again."""

from typing import Any

import numpy as np
import pytest
from pytest_django import DjangoAssertNumQueries

from classify.models import SubjectProgress
from classify.results import current_summary
from starsieve.catalogues import statistics
from starsieve.catalogues.statistics import BINS, histogram, progress_of, statistics_of, task_statistics
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box


def answered(survey: Any, tasks: dict[str, Any], answers: list[tuple[str, tuple[Any, ...]]], **fields: Any) -> Any:
    workflow = survey.workflow(tasks, names=("one", "two", "three"), **fields)
    for name, values in answers:
        survey.answer(workflow, name, *values)
    return workflow


def of(workflow: Any) -> Any:
    return statistics_of(workflow, workflow.current, progress_of(workflow))


TREE_ANSWERS: list[tuple[str, tuple[Any, ...]]] = [
    ("one", (0,)), ("one", (1, [0])), ("one", (1, [0, 1])), ("one", (1, [])), ("two", (0,)), ("two", (0,)),
]  # fmt: skip


def test_progress_counts_are_exact(survey: Any) -> None:
    workflow = answered(survey, TREE, TREE_ANSWERS)
    SubjectProgress.objects.filter(subject__name="three").update(is_held=True)
    found = progress_of(workflow)
    assert (found.n_subjects, found.n_retired, found.n_touched, found.n_classifications) == (3, 1, 2, 6)
    assert (found.n_held, found.n_control, found.percent_retired) == (1, 0, 33)


def test_a_question_has_the_mean_and_the_histogram_of_its_fractions(survey: Any) -> None:
    shape = of(answered(survey, TREE, TREE_ANSWERS)).tasks["T0"]
    assert shape.n_subjects == 2
    assert shape.mean_fractions == [0.625, 0.375]
    smooth = [0] * BINS
    smooth[5] = smooth[19] = 1  # 0.25 and 1
    assert shape.histograms[0] == smooth


def test_a_question_further_down_counts_only_subjects_that_reached_it(survey: Any) -> None:
    odd = of(answered(survey, TREE, TREE_ANSWERS)).tasks["T1"]
    assert odd.n_subjects == 1
    assert odd.mean_fractions == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("tasks", "answers"),
    [
        (TREE, TREE_ANSWERS),
        (GRADE, [("one", ("A",)), ("one", ("X",)), ("two", ("I",)), ("two", ("B",)), ("two", ("B",))]),
    ],
)
def test_the_distributions_are_those_of_the_reducers_summaries(
    survey: Any, tasks: dict[str, Any], answers: list[tuple[str, tuple[Any, ...]]]
) -> None:
    workflow = answered(survey, tasks, answers)
    rows = list(SubjectProgress.objects.select_related("subject", "tallied_version"))
    for key, task in workflow.current.parsed.tasks.items():
        fast = task_statistics(task, [row.tallies[key] for row in rows if key in row.tallies])
        slow = [current_summary(row, workflow.current)[key] for row in rows]
        slow = [summary for summary in slow if summary["n"]]
        fractions = [list(dict(enumerate(s["fractions"])).values()) if isinstance(s["fractions"], list)
                     else list(s["fractions"].values()) for s in slow]  # fmt: skip
        assert fast.mean_fractions == pytest.approx(np.mean(fractions, axis=0))
        assert fast.agreement == histogram(np.array([summary["agreement"] for summary in slow]))
        if "grade" in slow[0]:
            grades = [summary["grade"] for summary in slow]
            assert {grade: n for grade, n in fast.grades.items() if n} == {g: grades.count(g) for g in grades}


def test_boxes_have_clumps_per_subject_and_their_support(survey: Any) -> None:
    answers = [("one", ([box(10, 10), box(50, 50)],)), ("one", ([box(10, 10)],)), ("two", ([],))]
    found = of(answered(survey, BOXES, answers)).tasks["T0"]
    assert (found.n_subjects, found.n_clumps) == (2, 2)
    assert found.clumps_per_subject[:3] == [1, 0, 1]
    assert found.agreement[BINS - 1] == 1  # marked by both
    assert found.agreement[BINS // 2] == 1  # marked by one of two


def test_bins_hold_their_lower_edge() -> None:
    edges = np.arange(BINS) / BINS
    assert histogram(edges) == [1] * BINS
    assert histogram(np.array([1.0, np.nan])) == [*[0] * (BINS - 1), 1]


def test_scores_are_told_apart_by_what_the_routing_did(survey: Any) -> None:
    workflow = answered(survey, GRADE, [])
    survey.score(workflow, {"one": 0.97, "two": 0.12, "three": 1.0})
    SubjectProgress.objects.filter(subject__name="two").update(is_held=True)
    SubjectProgress.objects.filter(subject__name="three").update(is_control=True)
    found = of(workflow)
    assert found.score_model == "net 1"
    assert {route: bins.index(1) for route, bins in found.scores.items()} == {"shown": 19, "held": 2, "control": 19}


def test_days_without_classifications_are_shown_as_nothing(survey: Any) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from classify.models import Classification

    workflow = answered(survey, GRADE, [("one", ("A",)), ("one", ("A",)), ("two", ("A",))])
    first = Classification.objects.order_by("id").first()
    Classification.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(days=3))
    assert [n for _, n in of(workflow).per_day] == [1, 0, 0, 2]


def test_days_go_on_counting_from_where_they_were(survey: Any) -> None:
    workflow = answered(survey, GRADE, [("one", ("A",)), ("two", ("A",))])
    assert [n for _, n in of(workflow).per_day] == [2]
    survey.answer(workflow, "three", "B")
    assert [n for _, n in of(workflow).per_day] == [3]


def test_a_large_workflow_is_sampled_by_pivot_and_says_so(survey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 1)
    workflow = answered(survey, GRADE, [("one", ("A",)), ("two", ("A",)), ("three", ("A",))])
    for name, pivot in (("one", 0.1), ("two", 0.5), ("three", 0.9)):
        SubjectProgress.objects.filter(subject__name=name).update(pivot=pivot)
    found = of(workflow)
    assert (found.n_sampled, found.n_touched, found.is_sample) == (1, 3, True)


def test_tallies_of_other_questions_are_left_out(survey: Any) -> None:
    from starsieve.projects.services import publish_version

    workflow = answered(survey, GRADE, [("one", ("A",))])
    publish_version(
        workflow=workflow, user=survey.owner,
        definition={"first": "T0", "tasks": TREE, "retirement": {"classification_count": 3}},
    )  # fmt: skip
    workflow.refresh_from_db()
    assert of(workflow).tasks["T0"].n_subjects == 0


def test_asking_again_reads_no_tallies(survey: Any, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    workflow = answered(survey, TREE, TREE_ANSWERS)
    progress = progress_of(workflow)
    first = statistics_of(workflow, workflow.current, progress)
    with django_assert_num_queries(2):  # which models, which is the newest batch
        assert statistics_of(workflow, workflow.current, progress) == first


def test_a_new_classification_changes_the_version(survey: Any) -> None:
    workflow = answered(survey, TREE, TREE_ANSWERS)
    before = of(workflow).version
    survey.answer(workflow, "three", 0)
    assert of(workflow).version != before
