"""Column names are safe in every format and unique whatever their case."""

from typing import Any

from starsieve.catalogues.columns import layout_of, slug
from starsieve.projects.definitions import parse_definition
from tests.platform.catalogues.conftest import BOXES, GRADE


def layout(tasks: dict[str, Any], *, with_models: bool = False) -> Any:
    definition = {"first": next(iter(tasks)), "tasks": tasks, "retirement": {"classification_count": 1}}
    return layout_of(parse_definition(definition), with_models=with_models)


def names(columns: Any) -> list[str]:
    return [column.name for column in columns]


def question(name: str, *keys: str, **fields: Any) -> dict[str, Any]:
    answers = [{"key": key, "label": key} for key in keys]
    return {"type": "single", "name": name, "question": "?", "answers": answers, **fields}


def test_other_characters_become_underscores() -> None:
    assert slug("smooth-or-featured.v2") == "smooth_or_featured_v2"


def test_names_that_fall_together_get_a_number() -> None:
    tasks = {"T0": question("bar-a", "x", "y", next="T1"), "T1": question("Bar.A", "X", "y")}
    found = [name for name in names(layout(tasks).subjects) if "bar" in name.lower()]
    assert len({name.lower() for name in found}) == len(found) == 12
    assert "Bar_A_X_count_2" in found


def test_a_question_called_like_a_fixed_column_does_not_take_its_place() -> None:
    found = names(layout({"T0": {"type": "text", "name": "ml", "question": "?", "next": "T1"},
                          "T1": question("ml", "score", "y") | {"name": "n_classifications"}}).subjects)  # fmt: skip
    assert len({name.lower() for name in found}) == len(found)


def test_the_only_grade_and_boxes_task_have_short_names() -> None:
    tasks = {"T0": {**GRADE["T0"], "next": "T1"}, "T1": BOXES["T0"]}
    found = names(layout(tasks).subjects)
    assert {"grade", "expected_grade", "grade_A_count", "n_clumps"} <= set(found)


def test_of_two_grade_tasks_each_has_its_name() -> None:
    tasks = {"T0": {**GRADE["T0"], "next": "T1"}, "T1": {**GRADE["T0"], "name": "again"}}
    found = names(layout(tasks).subjects)
    assert {"lens_grade", "again_grade", "again_A_count", "again_expected_grade"} <= set(found)


def test_a_workflow_without_boxes_has_no_clump_table() -> None:
    assert layout(GRADE).clumps == ()


def test_models_add_their_columns_after_the_counts_of_all_tasks() -> None:
    tasks = {"T0": question("shape", "smooth", "disk", next="T1"), "T1": question("arms", "yes", "no", next="T2"),
             "T2": {**GRADE["T0"], "name": "lens"}}  # fmt: skip
    plain, full = names(layout(tasks).subjects), names(layout(tasks, with_models=True).subjects)
    added = [name for name in full if name not in plain]
    assert added[:4] == ["shape_smooth_probability", "shape_disk_probability", "shape_answer", "shape_applies"]
    assert added[-3:] == ["grade_rank", "grade_rank_error", "grade_adjudicate"]
    assert [name for name in full if name in plain] == plain


def test_a_task_that_only_counts_adds_none() -> None:
    tasks = {"T0": question("shape", "smooth", "disk", consensus={"method": "majority"})}
    assert layout(tasks, with_models=True) == layout(tasks)
