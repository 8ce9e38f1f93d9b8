"""The gold standard of a workflow from a table."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.platform.catalogues.conftest import BOXES, GRADE, TREE, Survey


@pytest.fixture
def survey(db: None, make_user: Callable[..., Any]) -> Survey:
    return Survey(make_user("owner"))


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., str]:
    def run(workflow: Any, text: str | bytes, *options: str) -> str:
        file = tmp_path / "gold.csv"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        out = io.StringIO()
        call_command("import_gold", str(workflow.pk), str(file), *options, stdout=out)
        return out.getvalue()

    return run


def known(workflow: Any) -> dict[tuple[str, str], Any]:
    rows = workflow.gold_standards.values_list("subject__name", "task", "value")
    return {(name, task): value for name, task, value in rows}


def test_answers_are_given_by_key_and_tasks_by_name_or_key(survey: Survey, load: Callable[..., str]) -> None:
    workflow = survey.workflow(TREE)
    said = load(workflow, "subject,task,answer\none,shape,features\none,T1,ring|merger\ntwo,shape,smooth|features\n")
    assert known(workflow) == {("one", "T0"): 1, ("one", "T1"): [0, 1], ("two", "T0"): [0, 1]}
    assert "gold standard of 3 answers set" in said
    assert set(workflow.gold_standards.values_list("source", "give_feedback")) == {("expert", True)}


def test_of_a_workflow_with_one_task_its_name_can_be_left_out(survey: Survey, load: Callable[..., str]) -> None:
    workflow = survey.workflow(GRADE)
    load(workflow, "\ufeffsubject,answer\none,A|B|C\ntwo,X\n", "--source", "simulated", "--no-feedback")
    assert known(workflow) == {("one", "T0"): ["A", "B", "C"], ("two", "T0"): "X"}
    assert set(workflow.gold_standards.values_list("source", "give_feedback")) == {("simulated", False)}


def test_boxes_are_json_and_none_says_that_nothing_is_there(survey: Survey, load: Callable[..., str]) -> None:
    workflow = survey.workflow(BOXES)
    load(workflow, 'subject,answer\none,"[{""x"": 1, ""y"": 2, ""width"": 5, ""height"": 6}]"\ntwo,[]\n')
    assert known(workflow)["two", "T0"] == []
    assert known(workflow)["one", "T0"][0]["width"] == 5


def test_what_was_known_before_is_replaced(survey: Survey, load: Callable[..., str]) -> None:
    workflow = survey.workflow(GRADE)
    load(workflow, "subject,answer\none,A\n")
    load(workflow, "subject,answer\none,X\n")
    assert known(workflow) == {("one", "T0"): "X"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,answer\none,A\n", "row 1: column 'subject' is missing"),
        ("subject,answer,z\none,A,1\n", "row 1: column 'z' is not known"),
        ("subject,answer\none,A\nnine,A\n", "row 3, column subject: there is no subject 'nine'"),
        ("subject,answer\ntwo,B\none,Q\n", "row 3, column answer: value must be one of A, B, C, I, X"),
        ("subject,task,answer\none,size,A\n", "row 2, column task: 'size' is none of lens"),
        ("subject,answer\none\n", "row 2: has another number of fields than the header"),
        (b"subject,answer\n\xff,A\n", "is not text in UTF-8"),
        ("", "row 1: column 'subject' is missing"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(
    survey: Survey, load: Callable[..., str], text: str | bytes, words: str
) -> None:
    workflow = survey.workflow(GRADE)
    with pytest.raises(CommandError, match=r"gold\.csv: ") as refused:
        load(workflow, text)
    assert words in str(refused.value)
    assert refused.value.returncode == 2
    assert known(workflow) == {}


def test_an_answer_that_is_no_key_and_a_text_task_are_refused(survey: Survey, load: Callable[..., str]) -> None:
    with pytest.raises(CommandError, match="row 2, column answer: 'disk' is none of smooth, features"):
        load(survey.workflow(TREE), "subject,task,answer\none,shape,disk\n")
    text = {"T0": {"type": "text", "name": "remark", "question": "Anything else?"}}
    with pytest.raises(CommandError, match="a task of type text has no gold standard"):
        load(survey.workflow(text), "subject,answer\none,well\n")


def test_a_file_that_is_not_there(survey: Survey, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_gold", str(survey.workflow(GRADE).pk), str(tmp_path / "none.csv"))
