"""Plots are well-formed pictures in both themes, and say the same in words and in a table."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from starsieve.catalogues.plots import plots_of
from starsieve.catalogues.statistics import progress_of, statistics_of
from starsieve.catalogues.svg import PALETTES, Drawing, compact, nice_ceiling
from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, box

SVG = "{http://www.w3.org/2000/svg}"


def plots(survey: Any, tasks: dict[str, Any], *answers: tuple[Any, ...]) -> dict[str, Any]:
    workflow = survey.workflow(tasks, limit=50)
    survey.score(workflow, {"one": 0.9, "two": 0.1})
    for values in answers:
        survey.answer(workflow, "one", *values)
    found = statistics_of(workflow, workflow.current, progress_of(workflow))
    return {plot.name: plot for plot in plots_of(found, workflow.current.parsed)}


WORKFLOWS = [(TREE, (1, [0])), (GRADE, ("A",)), (BOXES, ([box(5, 5)],))]


@pytest.mark.parametrize(("tasks", "answer"), WORKFLOWS)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_plot_is_well_formed_and_named_for_screen_readers(
    survey: Any, tasks: dict[str, Any], answer: tuple[Any, ...], theme: Any
) -> None:
    for plot in plots(survey, tasks, answer).values():
        root = ElementTree.fromstring(plot.svg(theme))
        assert root.tag == f"{SVG}svg"
        assert root.attrib["role"] == "img"
        assert plot.alt in root.attrib["aria-label"]
        assert root.find(f"{SVG}title").text.startswith(plot.title)
        assert int(root.attrib["width"]) == plot.width
        for row in plot.rows:
            assert len(row) == len(plot.headers)


@pytest.mark.parametrize(("tasks", "answer"), WORKFLOWS)
def test_nothing_is_drawn_outside_the_picture_and_nothing_needs_a_style(
    survey: Any, tasks: dict[str, Any], answer: tuple[Any, ...]
) -> None:
    for plot in plots(survey, tasks, answer).values():
        text = plot.svg("dark")
        assert "style" not in text
        for element in ElementTree.fromstring(text).iter(f"{SVG}rect"):
            box_ = {side: float(element.attrib[side]) for side in ("x", "y", "width", "height")}
            assert box_["x"] >= 0
            assert box_["y"] >= 0
            assert box_["x"] + box_["width"] <= plot.width
            assert box_["y"] + box_["height"] <= plot.height


def test_themes_differ_in_colours_alone(survey: Any) -> None:
    plot = plots(survey, GRADE, ("A",))["T0-grades"]
    colour = re.compile(r"#[0-9a-f]{6}")
    assert colour.sub("", plot.svg("dark")) == colour.sub("", plot.svg("light"))
    assert set(colour.findall(plot.svg("light"))) <= {
        PALETTES["light"].text, PALETTES["light"].faint, PALETTES["light"].grid, *PALETTES["light"].series,
    }  # fmt: skip


def test_each_kind_of_task_has_its_plots(survey: Any) -> None:
    assert list(plots(survey, TREE, (1, [0]))) == [
        "per-day", "T0-fractions", "T1-fractions", "ml-scores",
    ]  # fmt: skip
    assert {"T0-grades", "T0-fractions"} <= set(plots(survey, GRADE, ("A",)))
    assert {"T0-clumps", "T0-support"} <= set(plots(survey, BOXES, ([box(5, 5)],)))


def test_a_workflow_without_answers_has_only_scores(survey: Any) -> None:
    assert list(plots(survey, TREE)) == ["ml-scores"]


def test_the_sentence_and_the_table_tell_the_numbers(survey: Any) -> None:
    plot = plots(survey, GRADE, ("A",), ("A",), ("X",))["T0-grades"]
    assert plot.alt == "Consensus grades of 1 subjects: 1 A, 0 B, 0 C, 0 I, 0 X."
    assert plot.rows[0] == ("A", "Definite lens", "1")


def test_markup_in_texts_stays_text(survey: Any) -> None:
    tasks = {"T0": {**TREE["T0"], "question": "<script>&\"'", "answers": [
        {"key": "a", "label": "<b>", "next": None}, {"key": "b", "label": "c", "next": None}]}}  # fmt: skip
    text = plots(survey, tasks, (0,))["T0-fractions"].svg("dark")
    assert "<script>" not in text
    assert ElementTree.fromstring(text).find(f"{SVG}title").text.startswith("<script>&\"'")


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (3, 3), (5, 6), (7, 8), (10, 10), (11, 20), (55, 60), (599, 600), (801, 1000)]
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert nice_ceiling(value) == top


def test_large_counts_are_short() -> None:
    assert [compact(n) for n in (0, 950, 1200, 34_000, 5_600_000)] == ["0", "950", "1.2k", "34k", "5.6M"]


def test_a_bar_of_nothing_is_not_drawn() -> None:
    drawing = Drawing(10, "t", PALETTES["dark"])
    drawing.rect(0, 0, 5, 0, "#000000")
    assert drawing.shapes == []
