import json
from copy import deepcopy
from typing import Any

import pytest

from starsieve.projects.definitions import AnnotationError, DefinitionError, parse_definition, read_definition
from starsieve.projects.task_types import Frame

TREE: dict[str, Any] = {
    "first": "T0",
    "tasks": {
        "T0": {
            "type": "single",
            "name": "shape",
            "question": "Smooth?",
            "answers": [{"key": "yes", "label": "Yes", "next": "T2"}, {"key": "no", "label": "No", "next": "T1"}],
        },
        "T1": {
            "type": "single",
            "question": "Arms?",
            "answers": [{"key": "yes", "label": "Yes"}, {"key": "no", "label": "No", "next": None}],
            "next": "T2",
            "required": False,
        },
        "T2": {"type": "boxes", "question": "Mark", "tools": [{"key": "clump", "label": "Clump"}], "next": "T3"},
        "T3": {
            "type": "multiple",
            "question": "Odd?",
            "answers": [{"key": "a", "label": "A"}, {"key": "b", "label": "B"}],
            "next": "T4",
        },
        "T4": {"type": "grade", "question": "Grade", "next": "T5"},
        "T5": {"type": "text", "question": "Remarks", "required": False},
    },
    "retirement": {"classification_count": 10},
}  # fmt: skip
FRAMES = [Frame(100, 80)]


def problems_of(data: Any) -> dict[str, str]:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(data)
    return dict(caught.value.problems)


def changed(*path: Any, to: Any) -> dict[str, Any]:
    data = deepcopy(TREE)
    target: Any = data
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = to
    return data


def test_a_tree_of_all_task_types_is_read() -> None:
    definition = parse_definition(TREE)
    assert list(definition.tasks) == ["T0", "T1", "T2", "T3", "T4", "T5"]
    assert definition.tasks["T0"].name == "shape"
    assert definition.tasks["T1"].name == "T1"
    assert definition.retirement.classification_count == 10


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        (changed("tasks", "T0", "answers", 1, "next", to="T9"), "tasks.T0.answers.1.next", "names no task"),
        (changed("tasks", "T4", "next", to="T9"), "tasks.T4.next", "names no task"),
        # Every answer of T0 says where it leads, and still its own `next` must not dangle.
        (changed("tasks", "T0", "next", to="T9"), "tasks.T0.next", "names no task"),
        (changed("tasks", "T0", "answers", 1, "next", to=7), "tasks.T0.answers.1.next", "task key or null"),
        (changed("tasks", "T0", "answers", 1, "next", to=None), "tasks.T1", "cannot be reached"),
        (changed("tasks", "T4", "next", to="T2"), "tasks.T4", "leads back to T2: T2 → T3 → T4 → T2"),
        (changed("tasks", "T5", "next", to="T5"), "tasks.T5", "leads back to T5: T5 → T5"),
        (changed("first", to="T9"), "first", "names no task"),
        (changed("first", to=["T0"]), "first", "names no task"),
        (changed("first", to=None), "first", "names no task"),
        (changed("tasks", to={}), "tasks", "at least one task"),
        (changed("tasks", to=[]), "tasks", "at least one task"),
        (changed("tasks", "T0", to="x"), "tasks.T0", "must be an object"),
        (changed("tasks", "T0", "type", to="poll"), "tasks.T0.type", "unknown type 'poll'"),
        (changed("tasks", "T0", "type", to=["single"]), "tasks.T0.type", "unknown type"),
        (changed("tasks", "T0", "question", to=" "), "tasks.T0.question", "missing or empty"),
        (changed("tasks", "T0", "question", to=5), "tasks.T0.question", "must be text"),
        (changed("tasks", "T0", "question", to="a\x00b"), "tasks.T0.question", "NUL"),
        (changed("tasks", "T0", "question", to="\ud800"), "tasks.T0.question", "surrogate"),
        (changed("tasks", "T0", "question", to="x" * 501), "tasks.T0.question", "longer than 500"),
        (changed("tasks", "T0", "required", to=1), "tasks.T0.required", "true or false"),
        (changed("tasks", "T0", "answers", 1, "key", to="yes"), "tasks.T0.answers.1.key", "repeats the key"),
        (changed("tasks", "T0", "answers", 1, "key", to="YES"), "tasks.T0.answers.1.key", "repeats the key"),
        (changed("tasks", "T0", "answers", 1, "key", to="no way"), "tasks.T0.answers.1.key", "letters, digits"),
        (changed("tasks", "T0", "answers", to=[]), "tasks.T0.answers", "at least two"),
        (changed("tasks", "T0", "answers", to="yes"), "tasks.T0.answers", "list of objects"),
        (changed("tasks", "T0", "answers", to=[{"key": f"k{i}", "label": "x"} for i in range(51)]),
         "tasks.T0.answers", "at most 50"),
        (changed("tasks", "T0", "colour", to="red"), "tasks.T0.colour", "not a known field"),
        (changed("tasks", "T1", "name", to="Shape"), "tasks.T1.name", "repeats the name of task T0"),
        (changed("tasks", "T1", "name", to="a b"), "tasks.T1.name", "letters, digits"),
        (changed("tasks", "T2", "tools", to=[]), "tasks.T2.tools", "at least one tool"),
        (changed("tasks", "T2", "max_marks", to=True), "tasks.T2.max_marks", "between 1 and 500"),
        (changed("tasks", "T3", "answers", 0, "next", to="T4"), "tasks.T3.answers.0.next", "not a known field"),
        (changed("tasks", "T4", "labels", to={"Z": "?"}), "tasks.T4.labels.Z", "not a known field"),
        (changed("tasks", "T4", "labels", to={"A": "\x00"}), "tasks.T4.labels.A", "NUL"),
        (changed("tasks", "T0", "examples", to=[{"image": "../secret.png"}]), "tasks.T0.examples.0.image", "inside"),
        (changed("tasks", "T0", "examples", to=[{"image": "https://e.org/a"}]), "tasks.T0.examples.0.image", "inside"),
        (changed("tasks", "T0", "examples", to=[{"image": "a.svg"}]), "tasks.T0.examples.0.image", "inside"),
        (changed("retirement", to=None), "retirement.classification_count", "whole number"),
        (changed("retirement", "classification_count", to=0), "retirement.classification_count", "between 1"),
        (changed("retirement", "classification_count", to=True), "retirement.classification_count", "whole number"),
        (changed("retirement", "after", to=3), "retirement.after", "not a known field"),
        (changed("extra", to=1), "extra", "not a known field"),
        ([], "definition", "must be an object"),
        (None, "definition", "must be an object"),
    ],
)  # fmt: skip
def test_a_faulty_definition_is_refused_with_the_place(data: Any, place: str, words: str) -> None:
    assert words in problems_of(data)[place]


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 41, "T0\n"])
def test_a_task_key_that_could_not_be_a_column_is_refused(key: str) -> None:
    data = changed("tasks", key, to=TREE["tasks"]["T5"])
    assert "is no task key" in problems_of(data)["tasks"]


def test_all_faults_are_reported_at_once() -> None:
    data = changed("tasks", "T0", "question", to="")
    data["tasks"]["T4"]["type"] = "rank"
    data["retirement"] = {}
    assert set(problems_of(data)) == {"tasks.T0.question", "tasks.T4.type", "retirement.classification_count"}


def test_a_flood_of_faults_is_cut_short() -> None:
    data = changed("tasks", to={f"T{i}": {"type": "text", "question": "", "x": 1, "y": 2} for i in range(150)})
    with pytest.raises(DefinitionError) as caught:
        parse_definition(data)
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1] == ("definition", "has 350 further problems")


def test_two_hundred_tasks_in_a_line_are_taken_and_one_more_is_not() -> None:
    def line(n: int) -> dict[str, Any]:
        tasks = {f"T{i}": {"type": "text", "question": "?", "next": f"T{i + 1}"} for i in range(n)}
        tasks[f"T{n - 1}"]["next"] = None  # type: ignore[assignment]
        return {"first": "T0", "tasks": tasks, "retirement": {"classification_count": 1}}

    assert len(parse_definition(line(200)).tasks) == 200
    assert "at most 200" in problems_of(line(201))["tasks"]


def test_the_help_of_all_tasks_together_is_bounded() -> None:
    texts = {"type": "text", "question": "?", "help": "x" * 10_000}
    definition = changed("tasks", to={f"T{i}": texts for i in range(30)})
    assert "300,000 characters of help" in problems_of(definition)["tasks"]


def test_paths_that_meet_again_are_no_cycle() -> None:
    assert parse_definition(TREE).tasks["T2"].key == "T2"


def test_a_huge_value_is_quoted_in_a_line() -> None:
    message = problems_of(changed("first", to="x" * 100_000))["first"]
    assert len(message) < 120


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"first": "T0", "first": "T1"}', "body", "gives the key 'first' twice"),
        ('{"tasks": {"T0": {}, "T0": {}}}', "tasks", "gives the key 'T0' twice"),
        ('{"tasks": [{"a": {"b": 1, "b": 2}}]}', "tasks[0].a", "gives the key 'b' twice"),
        ("{", "line 1, column 2", "is not JSON"),
        ('{"a": 1,\n}', "line 2, column 1", "is not JSON"),
        ("", "line 1, column 1", "is not JSON"),
        ('{"a": NaN}', "body", "NaN is no JSON number"),
        ('{"a": 1e999}', "body", "too large"),
        ('{"a": ' + "9" * 5000 + "}", "body", "is not JSON"),
        ("[" * 100 + "]" * 100, "body", "deeper than 64"),
        ("[" * 100_000 + "]" * 100_000, "body", "deeper than 64"),
        ('{"a": "\\u0000"}', "a", "NUL"),
        ('{"a": "\\ud800"}', "a", "surrogate"),
        ('{"\\u0000": 1}', "body", "NUL"),
    ],
)
def test_hostile_json_text_is_refused_with_the_place(text: str, place: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_definition(text)
    ((found, message),) = caught.value.problems
    assert found == place or (place == "body" and found == "")
    assert words in message


def test_text_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(DefinitionError, match="longer than"):
        read_definition(" " * 1_000_001)


def test_good_json_text_is_read_as_it_is() -> None:
    assert parse_definition(read_definition(json.dumps(TREE))) == parse_definition(TREE)


def answer(*values: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"task": task, "value": value} for task, value in values]


TAIL = (("T2", []), ("T3", [1, 0]), ("T4", "A"), ("T5", " seen "))


def test_annotations_follow_the_tree_and_come_out_in_canonical_form() -> None:
    checked = parse_definition(TREE).check_annotations(answer(("T0", 1), ("T1", 0), *TAIL), FRAMES)
    assert checked == answer(("T0", 1), ("T1", 0), ("T2", []), ("T3", [0, 1]), ("T4", "A"), ("T5", "seen"))


def test_a_skipped_optional_question_takes_the_tasks_own_next() -> None:
    checked = parse_definition(TREE).check_annotations(answer(("T0", 1), ("T1", None), *TAIL), FRAMES)
    assert [annotation["task"] for annotation in checked] == ["T0", "T1", "T2", "T3", "T4", "T5"]


def test_an_answer_that_ends_the_tree_takes_nothing_after_it() -> None:
    definition = parse_definition(TREE)
    assert len(definition.check_annotations(answer(("T0", 1), ("T1", 1)), FRAMES)) == 2
    with pytest.raises(AnnotationError, match="the tree ends before it"):
        definition.check_annotations(answer(("T0", 1), ("T1", 1), *TAIL), FRAMES)


@pytest.mark.parametrize(
    ("annotations", "place"),
    [
        ("x", "annotations"),
        ([], "annotations"),
        (answer(("T0", 0)), "annotations"),
        (answer(("T1", 0)), "annotations[0].task"),
        (answer(("T9", 0)), "annotations[0].task"),
        ([{"task": ["T0"], "value": 0}], "annotations[0].task"),
        (["T0"], "annotations[0]"),
        ([{"task": "T0", "value": 0, "more": 1}], "annotations[0]"),
        (answer(("T0", None)), "annotations[0].value"),
        (answer(("T0", True)), "annotations[0].value"),
        (answer(("T0", 2)), "annotations[0].value"),
        (answer(("T0", -1)), "annotations[0].value"),
        (answer(("T0", 10**400)), "annotations[0].value"),
        (answer(("T0", 0.0)), "annotations[0].value"),
        (answer(("T0", 0), ("T2", [{"x": 1}])), "annotations[1].value[0].y"),
    ],
)
def test_annotations_that_do_not_fit_are_refused_with_the_place(annotations: Any, place: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse_definition(TREE).check_annotations(annotations, FRAMES)
    assert caught.value.place == place


BOX = {"x": 1.005, "y": -0.001, "width": 10, "height": 5}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"x": 10**400}, ".x"),
        ({"x": float("nan")}, ".x"),
        ({"y": float("inf")}, ".y"),
        ({"x": "1"}, ".x"),
        ({"x": True}, ".x"),
        ({"width": 0}, ".width"),
        ({"width": 0.001}, ".width"),
        ({"height": 161}, ".height"),
        ({"x": 100}, ""),
        ({"x": -10}, ""),
        ({"tool": 1}, ".tool"),
        ({"tool": True}, ".tool"),
        ({"angle": 3}, ".angle"),
        ({"details": {}}, ".details"),
        ({"details": [0] * 21}, ".details"),
        ({"details": [[[]]]}, ".details[0]"),
        ({"details": ["\x00"]}, ".details[0]"),
        ({"details": [1, float("nan")]}, ".details[1]"),
    ],
)
def test_a_box_that_does_not_fit_is_refused_with_the_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse_definition(TREE).check_annotations(answer(("T0", 0), ("T2", [BOX | change])), FRAMES)
    assert caught.value.place == f"annotations[1].value[0]{place}"


def test_a_box_is_rounded_to_hundredths_of_a_pixel_without_a_negative_zero() -> None:
    checked = parse_definition(TREE).check_annotations(answer(("T0", 0), ("T2", [BOX]), *TAIL[1:]), FRAMES)
    assert json.dumps(checked[1]["value"]) == '[{"x": 1.0, "y": 0.0, "width": 10.0, "height": 5.0, "tool": 0}]'


@pytest.mark.parametrize("value", [[0, 0], [2], ["0"], [True], 0, None])
def test_a_choice_of_several_must_be_a_list_of_different_indices(value: Any) -> None:
    with pytest.raises(AnnotationError, match=r"T3|annotations"):
        parse_definition(TREE).check_annotations(answer(("T0", 0), ("T2", []), ("T3", value)), FRAMES)


@pytest.mark.parametrize("text", ["a\x00b", "\udfff", "x" * 5001, 5])
def test_a_text_that_cannot_be_stored_is_refused(text: Any) -> None:
    with pytest.raises(AnnotationError):
        parse_definition(TREE).check_annotations(
            answer(("T0", 0), ("T2", []), ("T3", []), ("T4", "A"), ("T5", text)), FRAMES
        )


@pytest.mark.parametrize(
    "path",
    [
        ("tasks", "T0", "question"),
        ("tasks", "T0", "help"),
        ("tasks", "T0", "answers", 0, "label"),
        ("tasks", "T2", "tools", 0, "label"),
        ("tasks", "T3", "answers", 0, "label"),
    ],
)
def test_wording_does_not_count_as_a_change_of_the_tasks(path: tuple[Any, ...]) -> None:
    reworded = parse_definition(changed(*path, to="Other words"))
    assert reworded != parse_definition(TREE)
    assert reworded.without_texts() == parse_definition(TREE).without_texts()


def test_grade_labels_are_wording_too() -> None:
    reworded = parse_definition(changed("tasks", "T4", "labels", to={"A": "Sure"}))
    assert reworded.without_texts() == parse_definition(TREE).without_texts()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tasks", "T0", "answers", 0, "key"), "aye"),
        (("tasks", "T0", "answers", 0, "next"), "T1"),
        (("tasks", "T0", "name"), "form"),
        (("tasks", "T5", "required"), True),
        (("tasks", "T2", "max_marks"), 7),
        (("retirement", "classification_count"), 11),
    ],
)
def test_everything_else_counts_as_a_change(path: tuple[Any, ...], value: Any) -> None:
    assert parse_definition(changed(*path, to=value)).without_texts() != parse_definition(TREE).without_texts()


# --- Retirement rules ---------------------------------------------------------------------------------------------
QUESTION = {
    "type": "single", "question": "A lens?",
    "answers": [{"key": "lens", "label": "Lens"}, {"key": "none", "label": "None"}],
}  # fmt: skip


def with_rule(rule: dict[str, Any], **task: Any) -> dict[str, Any]:
    tasks = {"T0": {**QUESTION, **task}}
    return {"first": "T0", "tasks": tasks, "retirement": {"classification_count": 9, **rule}}


def test_rules_are_read_with_their_defaults() -> None:
    read = parse_definition(
        with_rule(
            {
                "agreement": {"task": "T0", "share": 0.8},
                "posterior": {"task": "T0", "thresholds": {"lens": 0.95}, "after": 2},
                "risk": {"task": "T0", "most": 0.01},
                "blank": {"task": "T0", "answers": ["none"], "count": 4},
                "expert": True,
            }
        )
    ).retirement
    assert (read.agreement.share, read.agreement.after) == (0.8, 5)  # type: ignore[union-attr]
    assert read.posterior.thresholds == (0.95, 2.0)  # type: ignore[union-attr]
    assert read.risk.loss == ((0.0, 1.0), (1.0, 0.0))  # type: ignore[union-attr]
    assert (read.blank.answers, read.blank.count) == ((1,), 4)  # type: ignore[union-attr]
    assert read.expert
    assert read.is_by_posterior
    assert not read.is_by_count_alone


def test_never_stands_alone() -> None:
    data = {**with_rule({}), "retirement": {"never": True}}
    assert parse_definition(data).retirement.classification_count is None
    data["retirement"] = {"never": True, "classification_count": 3, "expert": True}
    assert set(problems_of(data)) == {"retirement.classification_count", "retirement.expert"}


@pytest.mark.parametrize(
    ("rule", "place", "words"),
    [
        ({"agreement": 0.8}, "retirement.agreement", "object"),
        ({"agreement": {"task": "T7", "share": 0.8}}, "retirement.agreement.task", "no task: 'T7'"),
        ({"agreement": {"task": "T0"}}, "retirement.agreement.share", "between 0.5 and 1"),
        ({"agreement": {"task": "T0", "share": True}}, "retirement.agreement.share", "number"),
        ({"agreement": {"task": "T0", "share": 0.8, "after": 0}}, "retirement.agreement.after", "between 1 and"),
        ({"agreement": {"task": "T0", "share": 0.8, "when": 3}}, "retirement.agreement.when", "not a known field"),
        ({"posterior": {"task": "T0"}}, "retirement.posterior.threshold", "between 0.5 and 1"),
        ({"posterior": {"task": "T0", "threshold": 1e999}}, "retirement.posterior.threshold", "number"),
        ({"posterior": {"task": "T0", "thresholds": {"star": 0.9}}}, "retirement.posterior.thresholds", "'star' is no"),
        ({"posterior": {"task": "T0", "thresholds": {}}}, "retirement.posterior.thresholds", "object"),
        ({"risk": {"task": "T0", "most": -1}}, "retirement.risk.most", "between 0"),
        ({"risk": {"task": "T0", "most": 1, "loss": [[0], [1, 0]]}}, "retirement.risk.loss", "2 numbers each"),
        ({"risk": {"task": "T0", "most": 1, "loss": [[0, "x"]]}}, "retirement.risk.loss[0][1]", "number"),
        ({"blank": {"task": "T0", "count": 3}}, "retirement.blank.answers", "nothing here"),
        ({"blank": {"task": "T0", "answers": ["none"]}}, "retirement.blank.count", "whole number"),
        ({"expert": 1}, "retirement.expert", "true or false"),
        ({"often": 1}, "retirement.often", "not a known field"),
    ],
)  # fmt: skip
def test_a_faulty_rule_is_named_with_its_place(rule: dict[str, Any], place: str, words: str) -> None:
    problems = problems_of(with_rule(rule))
    assert words in problems[place]


def test_a_rule_on_probabilities_needs_a_method_that_gives_them() -> None:
    rule = {"posterior": {"task": "T0", "threshold": 0.9}}
    problems = problems_of(with_rule(rule, consensus={"method": "majority"}))
    assert "no probabilities" in problems["retirement.posterior.task"]


def test_a_rule_on_answers_needs_a_question_with_one() -> None:
    data = with_rule({"agreement": {"task": "T0", "share": 0.9}}, type="multiple")
    assert "single or grade" in problems_of(data)["retirement.agreement.task"]
