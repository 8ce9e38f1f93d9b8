"""Models over all votes of a workflow: which votes they read, what is kept, how they are judged."""

import copy
import io
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from aggregation import ordinal_grades, pooled_dawid_skene, pooled_tree

QUESTION = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [{"key": "smooth", "label": "Smooth"}, {"key": "features", "label": "Features"}],
    },
}  # fmt: skip
TWO_QUESTIONS = {
    "T0": {
        "type": "single", "name": "shape", "question": "Is the galaxy smooth?",
        "answers": [
            {"key": "smooth", "label": "Smooth", "next": None},
            {"key": "features", "label": "Features", "next": "odd"},
        ],
    },
    "odd": {
        "type": "multiple", "name": "odd", "question": "Anything odd?", "next": "arms",
        "answers": [{"key": "ring", "label": "Ring"}, {"key": "merger", "label": "Merger"}],
    },
    "arms": {
        "type": "single", "name": "arms", "question": "Are there spiral arms?",
        "answers": [{"key": "yes", "label": "Yes"}, {"key": "no", "label": "No"}],
    },
}  # fmt: skip
GRADE = {"T0": {"type": "grade", "name": "lens", "question": "How sure are you?"}}


def with_method(tasks: dict[str, Any], key: str, **consensus: Any) -> dict[str, Any]:
    changed = copy.deepcopy(tasks)
    changed[key]["consensus"] = consensus
    return changed


@pytest.fixture
def classified(survey: Any) -> Any:
    """(tasks, answers by subject) → a workflow in which each volunteer in turn gave one answer per subject."""

    def make(tasks: dict[str, Any], answers: dict[str, list[Any]], **settings: Any) -> Any:
        workflow = survey.workflow(tasks, names=tuple(answers), limit=100, **settings)
        people = [survey.volunteer() for _ in range(max(map(len, answers.values())))]
        for name, values in answers.items():
            for volunteer, value in zip(people, values, strict=False):
                survey.answer(workflow, name, *(value if isinstance(value, tuple) else (value,)), volunteer=volunteer)
        return workflow

    return make


def gold(workflow: Any, name: str, value: Any, task: str = "T0") -> None:
    from classify.models import GoldStandard

    subject = workflow.project.subjects.get(name=name)
    GoldStandard.objects.create(workflow=workflow, subject=subject, task=task, value=value, source="expert")


def run(workflow: Any) -> Any:
    from starsieve.catalogues.consensus.runs import run_consensus

    return run_consensus(workflow=workflow)


def said_of(done: Any, name: str) -> dict[str, Any]:
    tasks: dict[str, Any] = done.subjects.get(subject__name=name).tasks
    return tasks


VOTES = {"one": [0, 0, 0, 1], "two": [1, 1, 1, 1], "three": [0, 0, 1, 1], "four": [1, 1, 0, 1]}


def test_the_pooled_model_is_what_a_question_gets_unless_it_says_otherwise(classified: Any) -> None:
    workflow = classified(QUESTION, VOTES)
    done = run(workflow)
    expected = pooled_dawid_skene(np.repeat(range(4), 4), np.tile(range(4), 4), np.concatenate(list(VOTES.values())), 2)
    assert done.state == "done"
    assert done.n_classifications == 16
    assert done.watermark == workflow.classifications.last().pk
    for row, name in enumerate(VOTES):
        said = said_of(done, name)["T0"]
        assert said["p"] == pytest.approx(expected.posterior[row].tolist(), abs=1e-6)
        assert (said["n"], said["answer"]) == (4, expected.answer[row])
    fit = done.tasks["T0"]["fit"]
    assert (fit["method"], fit["n_votes"], fit["n_subjects"], fit["n_volunteers"]) == ("pooled", 16, 4, 4)
    assert fit["converged"]
    assert done.tasks["T0"]["judgement"] is None


@pytest.mark.parametrize(
    ("method", "numbers"),
    [("dawid-skene", {"smoothing": 1.0}), ("one-coin", {}), ("weighted", {"passes": 1})],
)
def test_a_task_chooses_its_method_and_settings(classified: Any, method: str, numbers: dict[str, Any]) -> None:
    import aggregation

    workflow = classified(with_method(QUESTION, "T0", method=method, **numbers), VOTES)
    fit = run(workflow).tasks["T0"]["fit"]
    assert fit["method"] == method
    assert numbers.items() <= fit["settings"].items()
    model = {"dawid-skene": aggregation.dawid_skene, "one-coin": aggregation.one_coin,
             "weighted": aggregation.weighted_votes}[method]  # fmt: skip
    votes = np.repeat(range(4), 4), np.tile(range(4), 4), np.concatenate(list(VOTES.values()))
    expected = model(*votes, 2, **fit["settings"]).posterior[0].tolist()
    done = workflow.consensus_runs.latest("id")
    assert said_of(done, "one")["T0"]["p"] == pytest.approx(expected, abs=1e-6)


def test_questions_of_a_tree_are_fitted_together_past_the_tasks_between_them(classified: Any) -> None:
    answers = {
        "spiral": [(1, [0], 0), (1, [], 0), (1, [], 0), (0,)],
        "smooth": [(0,), (0,), (1, [], 1), (0,)],
        "disk": [(1, [], 1), (1, [], 1), (0,), (1, [1], 1)],
    }
    done = run(classified(TWO_QUESTIONS, answers))
    rows = [(s, v, 0, a[0]) for s, each in enumerate(answers.values()) for v, a in enumerate(each)]
    rows += [(s, v, 1, a[2]) for s, each in enumerate(answers.values()) for v, a in enumerate(each) if len(a) > 1]
    expected = pooled_tree(*np.array(rows).T, [[-1, 1], [-1, -1]])
    for row, name in enumerate(answers):
        said = said_of(done, name)
        assert set(said) == {"T0", "arms"}
        assert said["T0"]["p"] == pytest.approx(expected.posterior[0][row].tolist(), abs=1e-6)
        assert said["T0"]["reach"] == 1.0
        assert said["arms"]["reach"] == pytest.approx(expected.reach[row, 1], abs=1e-6)
    assert said_of(done, "smooth")["arms"]["reach"] < said_of(done, "spiral")["arms"]["reach"]
    assert done.tasks["arms"]["fit"]["tree"]


def test_a_question_that_another_method_decides_on_splits_the_tree(classified: Any) -> None:
    tasks = copy.deepcopy(TWO_QUESTIONS)
    tasks["T0"]["consensus"] = {"method": "majority"}
    tasks["arms"]["answers"][0]["next"] = "tight"
    tasks["tight"] = {**copy.deepcopy(QUESTION["T0"]), "name": "tight"}
    done = run(classified(tasks, {"one": [(1, [], 0, 1)] * 3, "two": [(0,)] * 3}))
    assert set(said_of(done, "one")) == {"arms", "tight"}
    assert "tree" not in done.tasks["arms"]["fit"]
    assert done.subjects.count() == 1


def test_grades_get_the_ordinal_model_with_rank_and_adjudication(classified: Any) -> None:
    grades = {"lens": list("AAABA"), "maybe": list("CBCCX"), "dud": list("XXXXX"), "ring": list("IIXII")}
    done = run(classified(GRADE, grades))
    codes = {"X": 0, "C": 1, "B": 2, "A": 3, "I": 4}
    votes = np.array([codes[grade] for each in grades.values() for grade in each])
    expected = ordinal_grades(np.repeat(range(4), 5), np.tile(range(5), 4), votes)
    said = said_of(done, "lens")["T0"]
    assert said["p"] == pytest.approx(expected.posterior[0][[3, 2, 1, 4, 0]].tolist(), abs=1e-6)  # A B C I X
    assert said["answer"] == "A"
    assert said["rank"] == pytest.approx(expected.rank[0], abs=1e-6)
    assert said["adjudicate"] is bool(expected.needs_adjudication[0])
    assert said_of(done, "ring")["T0"]["answer"] == "I"


def test_gold_teaches_and_judges_the_model_that_did_not_see_it(classified: Any) -> None:
    rng = np.random.default_rng(5)
    truth = {f"g{i:02}": int(rng.integers(2)) for i in range(30)}
    answers = {name: [t if rng.random() < 0.85 else 1 - t for _ in range(6)] for name, t in truth.items()}
    workflow = classified(QUESTION, answers)
    for name in list(truth)[:20]:
        gold(workflow, name, truth[name])
    done = run(workflow)
    assert 0.5 < max(said_of(done, "g00")["T0"]["p"]) < 1  # nobody learns the gold standard from a page
    judgement = done.tasks["T0"]["judgement"]
    assert judgement["n_gold"] == 20
    assert judgement["classes"] == ["Smooth", "Features"]
    value, low, high = judgement["figures"]["accuracy"]
    assert 0.7 < low <= value <= high <= 1
    assert sum(point["n"] for point in judgement["reliability"]) == 20
    assert max(point["promised"] for point in judgement["reliability"]) < 1  # as if gold were not known


def test_gold_that_takes_several_grades_is_judged_as_a_set(classified: Any) -> None:
    names = [f"lens{i}" for i in range(8)] + [f"dud{i}" for i in range(8)]
    workflow = classified(GRADE, {name: list("ABBCA" if "lens" in name else "XXXCX") for name in names})
    for name in names:
        gold(workflow, name, ["A", "B", "C"] if "lens" in name else "X")
    judgement = run(workflow).tasks["T0"]["judgement"]
    assert judgement["classes"] == ["A or B or C", "X", "I"]
    assert judgement["n_true"] == [8, 8, 0]
    assert judgement["figures"]["accuracy"][0] == 1.0


def test_grades_do_not_give_the_gold_standard_away(classified: Any) -> None:
    workflow = classified(GRADE, {"lens": list("AAABA"), "dud": list("XXXXX"), "maybe": list("CBCCB")})
    before = said_of(run(workflow), "dud")["T0"]
    gold(workflow, "dud", "A")
    assert said_of(run(workflow), "dud")["T0"] == before


def test_too_little_gold_judges_nothing(classified: Any) -> None:
    workflow = classified(QUESTION, VOTES)
    gold(workflow, "one", 0)
    assert run(workflow).tasks["T0"]["judgement"] is None


def test_votes_of_other_questions_and_second_looks_do_not_count(classified: Any, survey: Any) -> None:
    from classify.models import Classification, Volunteer
    from starsieve.projects.services import publish_version

    workflow = classified(QUESTION, VOTES)
    second = Classification.objects.filter(workflow=workflow).first()
    Volunteer.objects.filter(pk=second.volunteer_id).update(merged_into=survey.volunteer())
    assert run(workflow).n_classifications == 12
    changed = copy.deepcopy(QUESTION)
    changed["T0"]["answers"].append({"key": "artifact", "label": "Artifact"})
    definition = {"first": "T0", "tasks": changed, "retirement": {"classification_count": 9}}
    publish_version(workflow=workflow, definition=definition, user=survey.owner)
    workflow.refresh_from_db()
    done = run(workflow)
    assert (done.n_classifications, done.tasks, done.subjects.count()) == (0, {}, 0)


def test_another_method_is_a_minor_version_and_all_votes_go_on_counting(classified: Any, survey: Any) -> None:
    from starsieve.projects.services import publish_version

    workflow = classified(QUESTION, VOTES)
    definition = copy.deepcopy(workflow.current.definition)
    definition["tasks"]["T0"]["consensus"] = {"method": "weighted"}
    version = publish_version(workflow=workflow, definition=definition, user=survey.owner)
    assert version.number == "1.2"
    workflow.refresh_from_db()
    done = run(workflow)
    assert (done.n_classifications, done.tasks["T0"]["fit"]["method"]) == (16, "weighted")


def test_a_run_replaces_the_numbers_of_the_one_before(classified: Any, survey: Any) -> None:
    from starsieve.catalogues.models import SubjectConsensus

    workflow = classified(QUESTION, VOTES)
    first = run(workflow)
    survey.answer(workflow, "one", 1)
    second = run(workflow)
    assert set(SubjectConsensus.objects.values_list("run", flat=True)) == {second.pk}
    assert said_of(second, "one")["T0"]["n"] == 5
    first.refresh_from_db()
    assert first.tasks["T0"]["fit"]["n_votes"] == 16


def test_a_failed_run_says_why_and_leaves_the_last_numbers(classified: Any, monkeypatch: Any) -> None:
    from starsieve.catalogues.consensus import runs
    from starsieve.catalogues.models import ConsensusRun

    workflow = classified(QUESTION, VOTES)
    good = run(workflow)
    monkeypatch.setattr(runs, "outcomes_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(workflow)
    failed = ConsensusRun.objects.latest("id")
    assert (failed.state, failed.error) == ("failed", "ZeroDivisionError: division by zero")
    assert ConsensusRun.objects.latest_done(workflow) == good
    assert good.subjects.count() == 4


def test_only_one_run_of_a_workflow_at_a_time(classified: Any) -> None:
    from starsieve.catalogues.consensus.runs import AlreadyRunning, carry_out
    from starsieve.catalogues.models import ConsensusRun

    workflow = classified(QUESTION, VOTES)
    waiting = ConsensusRun.objects.create(workflow=workflow, workflow_version=workflow.current)
    with pytest.raises(AlreadyRunning, match="its consensus is being computed"):
        run(workflow)
    assert carry_out(run=waiting)
    assert not carry_out(run=waiting)


def test_a_run_whose_worker_is_gone_is_given_up(classified: Any) -> None:
    from starsieve.catalogues.consensus.runs import give_up_lost_runs
    from starsieve.catalogues.models import ConsensusRun

    workflow = classified(QUESTION, VOTES)
    lost = ConsensusRun.objects.create(
        workflow=workflow, workflow_version=workflow.current, state="running",
        heartbeat_at=timezone.now() - timedelta(hours=1),
    )  # fmt: skip
    assert give_up_lost_runs() == 1
    lost.refresh_from_db()
    assert (lost.state, "lost" in lost.error) == ("failed", True)
    assert run(workflow).state == "done"


def test_the_schedule_renews_what_has_grown(classified: Any, survey: Any) -> None:
    from starsieve.catalogues.models import ConsensusRun
    from starsieve.catalogues.tasks import refresh_consensus

    workflow = classified(QUESTION, VOTES)
    refresh_consensus()
    refresh_consensus()
    assert ConsensusRun.objects.filter(workflow=workflow).count() == 1
    survey.answer(workflow, "one", 1)
    refresh_consensus()
    assert ConsensusRun.objects.filter(workflow=workflow).count() == 2


def test_a_workflow_that_only_counts_is_left_alone(classified: Any, survey: Any) -> None:
    from starsieve.catalogues.consensus.runs import NothingToFit
    from starsieve.catalogues.models import ConsensusRun
    from starsieve.catalogues.tasks import refresh_consensus

    workflow = classified(with_method(QUESTION, "T0", method="majority"), VOTES)
    with pytest.raises(NothingToFit, match="no task has a method of consensus beyond counting"):
        run(workflow)
    refresh_consensus()
    assert not ConsensusRun.objects.exists()


def test_the_command_fits_and_reports(classified: Any) -> None:
    workflow = classified(QUESTION, VOTES)
    out = io.StringIO()
    call_command("run_consensus", str(workflow.pk), stdout=out)
    assert "T0: pooled, 16 votes on 4 subjects" in out.getvalue()
    with pytest.raises(CommandError, match="is not the id of a workflow"):
        call_command("run_consensus", "999")


@pytest.mark.parametrize(
    ("consensus", "place", "words"),
    [
        ("pooled", "tasks.T0.consensus", "must be an object"),
        ({"method": "magic"}, "tasks.T0.consensus.method", "unknown method 'magic'; known here: pooled"),
        ({"method": ["pooled"]}, "tasks.T0.consensus.method", "unknown method"),
        ({"method": "weighted", "threshold": 2}, "tasks.T0.consensus.threshold", "between 0.01 and 1"),
        ({"method": "weighted", "passes": 1.5}, "tasks.T0.consensus.passes", "whole number between 0 and 20"),
        ({"method": "weighted", "threshold": True}, "tasks.T0.consensus.threshold", "must be a number"),
        ({"method": "pooled", "speed": 1}, "tasks.T0.consensus.speed", "not a known field"),
    ],
)
def test_a_method_that_is_none_is_refused_with_its_place(consensus: Any, place: str, words: str) -> None:
    from starsieve.projects.definitions import DefinitionError, parse_definition

    tasks = copy.deepcopy(QUESTION)
    tasks["T0"]["consensus"] = consensus
    with pytest.raises(DefinitionError) as refused:
        parse_definition({"first": "T0", "tasks": tasks, "retirement": {"classification_count": 3}})
    assert refused.value.problems[0][0] == place
    assert words in refused.value.problems[0][1]


def test_texts_and_several_answers_have_no_method(survey: Any) -> None:
    from starsieve.projects.definitions import DefinitionError, parse_definition

    tasks = {"T0": {"type": "text", "question": "What is it?", "consensus": {"method": "pooled"}}}
    with pytest.raises(DefinitionError, match="consensus"):
        parse_definition({"first": "T0", "tasks": tasks, "retirement": {"classification_count": 3}})
