"""Each retirement rule at the classification that makes it hold, under every way of counting."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aggregation.live import LiveModel, LiveQuestion
from classify.assessment import assess, is_outdated, put_in_force
from classify.live import Group
from classify.models import Classification, LiveFit, SubjectEvidence, SubjectProgress, VolunteerSkill
from classify.rebuild import rebuild_results
from classify.results import believed_of
from classify.services import reopen_subject, retire_subject
from tests.classify.conftest import BOXES, GRADE, SINGLE

BOX = {"x": 1.0, "y": 1.0, "width": 9.0, "height": 9.0, "tool": 0}
BY_COUNT = (6, "classification_count")


def state_of(workflow: Any) -> list[tuple[Any, ...]]:
    """Of retired subjects without their evidence, which may be that of an earlier fit."""
    columns = (
        "subject_id", "classification_count", "tallies", "tallied_version", "retired_at", "retirement_reason",
        "evidence", "urgency",
    )  # fmt: skip
    rows = SubjectProgress.objects.filter(workflow=workflow).order_by("subject_id").values_list(*columns)
    return [row if row[4] is None else row[:-2] for row in rows]


def answers_until_retired(world: Any, workflow: Any, answers: list[Any]) -> tuple[int, str]:
    """How many of the answers it took, and the reason; all of them and "" if none retired the subject."""
    subject = workflow.project.subjects.first()
    for number, answer in enumerate(answers, start=1):
        if world.classify(workflow, subject, answer=answer).retired:
            return number, world.progress(workflow, subject).retirement_reason
    return len(answers), ""


@pytest.mark.parametrize(
    ("task", "rule", "answers", "expected"),
    [
        (SINGLE, {}, [0, 1, 0, 1, 0, 1], BY_COUNT),
        (SINGLE, {"agreement": {"task": "T0", "share": 0.75, "after": 3}}, [0, 1, 0, 0, 1], (4, "agreement")),
        (SINGLE, {"agreement": {"task": "T0", "share": 0.9, "after": 3}}, [0, 1, 0, 0, 0, 0], BY_COUNT),
        (GRADE, {"agreement": {"task": "T0", "share": 0.6, "after": 2}}, ["A", "B", "A"], (3, "agreement")),
        (SINGLE, {"blank": {"task": "T0", "answers": ["disk"], "count": 3}}, [1, 1, 1, 0], (3, "blank")),
        (SINGLE, {"blank": {"task": "T0", "answers": ["disk"], "count": 2}}, [1, 0, 1, 1, 1, 1], BY_COUNT),
        (BOXES, {"blank": {"task": "T0", "count": 2}}, [[], [], [BOX]], (2, "blank")),
        (BOXES, {"blank": {"task": "T0", "count": 2}}, [[], [BOX], [], [], [], []], BY_COUNT),
    ],
)  # fmt: skip
def test_a_rule_retires_at_the_classification_that_makes_it_hold(
    world: Any, task: Any, rule: Any, answers: list[Any], expected: tuple[int, str]
) -> None:
    workflow = world.workflow({"T0": task}, retirement={"classification_count": 6, **rule})
    assert answers_until_retired(world, workflow, answers) == expected
    assert rebuild_results(workflow=workflow) == 0


def test_never_leaves_retirement_to_people(world: Any) -> None:
    workflow = world.workflow(retirement={"never": True})
    assert answers_until_retired(world, workflow, [0] * 12) == (12, "")
    retire_subject(workflow=workflow, subject=workflow.project.subjects.first())
    assert rebuild_results(workflow=workflow) == 0


def test_an_expert_decides_alone(world: Any) -> None:
    workflow = world.workflow(retirement={"classification_count": 5, "expert": True})
    subject = workflow.project.subjects.first()
    assert not world.classify(workflow, subject).retired
    assert world.classify(workflow, subject, by_expert=True).retired
    assert world.progress(workflow, subject).retirement_reason == "expert_answer"
    assert rebuild_results(workflow=workflow) == 0


@pytest.mark.parametrize(("role", "decides"), [("expert", True), ("scientist", True), ("volunteer", False)])
def test_who_is_an_expert_is_the_role_when_the_answer_came(
    client: Any, world: Any, submit: Any, make_body: Any, role: str, decides: bool
) -> None:
    from starsieve.projects.models import Membership

    workflow = world.workflow(retirement={"classification_count": 5, "expert": True})
    user = world.user("ada")
    member = Membership.objects.create(project=workflow.project, user=user, role=role)
    client.force_login(user)
    subject = workflow.project.subjects.first()
    assert submit(workflow, make_body(subject.pk)).json()["retired"] is decides
    member.delete()
    rebuild_results(workflow=workflow)
    assert (world.progress(workflow, subject).retired_at is not None) is decides


def test_a_reopened_subject_is_left_to_the_count(world: Any) -> None:
    workflow = world.workflow(
        retirement={"classification_count": 3, "agreement": {"task": "T0", "share": 0.9, "after": 2}}
    )
    subject = workflow.project.subjects.first()
    assert answers_until_retired(world, workflow, [0, 0]) == (2, "agreement")
    reopen_subject(workflow=workflow, subject=subject)
    assert answers_until_retired(world, workflow, [0, 0, 0, 0]) == (3, "classification_count")
    assert rebuild_results(workflow=workflow) == 0


def test_a_subject_that_an_expert_retired_can_be_reopened_and_waits_for_another(world: Any) -> None:
    workflow = world.workflow(retirement={"classification_count": 9, "expert": True})
    subject = workflow.project.subjects.first()
    assert world.classify(workflow, subject, by_expert=True).retired
    reopen_subject(workflow=workflow, subject=subject)
    assert world.progress(workflow, subject).retired_at is None
    assert not world.classify(workflow, subject).retired
    assert rebuild_results(workflow=workflow) == 0
    assert world.classify(workflow, subject, by_expert=True).retired


def test_a_changed_rule_retires_and_lets_go(world: Any) -> None:
    workflow = world.workflow(limit=2, subjects=2)
    twice, once = workflow.project.subjects.all()
    for subject, answers in ((twice, (0, 1)), (once, (0,))):
        for answer in answers:
            world.classify(workflow, subject, answer=answer)
    blank = {"task": "T0", "answers": ["smooth"], "count": 1}
    world.publish(workflow, retirement={"classification_count": 9, "blank": blank})
    assert is_outdated(workflow)
    assert assess(workflow=workflow)
    assert not is_outdated(workflow)
    assert world.progress(workflow, once).retirement_reason == "blank"
    assert world.progress(workflow, twice).retirement_reason == "blank"  # the first to answer had said so
    world.publish(workflow, limit=2)
    assess(workflow=workflow)
    assert world.progress(workflow, twice).retirement_reason == "classification_count"
    assert world.progress(workflow, once).retired_at is None
    world.publish(workflow, limit=3)
    assess(workflow=workflow)
    assert world.progress(workflow, twice).retired_at is None


def test_a_rule_that_has_not_changed_gives_nothing_to_do(world: Any) -> None:
    workflow = world.workflow()
    assert not is_outdated(workflow)
    assert not assess(workflow=workflow)


# --- The live posterior -------------------------------------------------------------------------------------------
def fit_of(workflow: Any, rng: np.random.Generator, *, n_answers: int = 2, sure: float = 0.9) -> None:
    """Put a fit in force that has seen everything so far and knows half of the volunteers."""
    crowd = np.full((n_answers, n_answers), (1 - sure) / (n_answers - 1)) + np.eye(n_answers) * (
        sure - (1 - sure) / (n_answers - 1)
    )
    prior = rng.dirichlet(np.full(n_answers, 5.0))
    question = LiveQuestion(prior, crowd, prior, prior, 0.02, 0.05, 0.001, (-1,) * n_answers)
    rows = list(Classification.objects.filter(workflow=workflow).order_by("id"))
    people = sorted({row.volunteer_id for row in rows})[::2]
    skills = {pk: {"T0": rng.dirichlet(np.full(n_answers, 2.0), size=n_answers).round(6).tolist()} for pk in people}
    evidence = {row.subject_id: {"T0": rng.normal(-2, 2, n_answers).round(6).tolist()} for row in rows}
    put_in_force(
        version=workflow.current, watermark=rows[-1].pk if rows else 0,
        groups=[Group(("T0",), LiveModel((question,)))], skills=skills.items(), evidence=evidence.items(),
    )  # fmt: skip


def test_the_probability_moves_with_each_vote_and_retires(world: Any) -> None:
    workflow = world.workflow(
        retirement={"classification_count": 40, "posterior": {"task": "T0", "threshold": 0.98, "after": 2}}
    )
    fit_of(workflow, np.random.default_rng(1))
    subject = workflow.project.subjects.first()
    p = [0.5]
    while not world.classify(workflow, subject, answer=1).retired:
        p.append(believed_of(workflow, [subject.pk])[subject.pk]["T0"].p[1])
    assert 2 <= len(p) < 6
    assert p == sorted(p)
    assert world.progress(workflow, subject).retirement_reason == "posterior"
    assert rebuild_results(workflow=workflow) == 0


def test_losses_decide_where_a_risk_is_named(world: Any) -> None:
    rule = {"task": "T0", "most": 0.1, "after": 1, "loss": [[0, 1], [0.05, 0]]}
    workflow = world.workflow(retirement={"classification_count": 40, "risk": rule})
    fit_of(workflow, np.random.default_rng(1))
    assert answers_until_retired(world, workflow, [1]) == (1, "risk")  # calling it 1 costs next to nothing


def test_only_the_named_answers_retire(world: Any) -> None:
    rule = {"task": "T0", "thresholds": {"disk": 0.9}, "after": 1}
    workflow = world.workflow(retirement={"classification_count": 7, "posterior": rule})
    fit_of(workflow, np.random.default_rng(1))
    assert answers_until_retired(world, workflow, [0] * 7) == (7, "classification_count")


def test_a_sweep_retires_what_its_numbers_make_sure_and_lets_go_what_they_do_not(world: Any) -> None:
    rule = {"task": "T0", "threshold": 0.97, "after": 1}
    workflow = world.workflow(retirement={"classification_count": 40, "posterior": rule})
    subject = workflow.project.subjects.first()
    world.classify(workflow, subject, answer=1)
    for evidence, reason in (([-9.0, 0.0], "posterior"), ([-1.0, -1.0], ""), ([-9.0, 0.0], "posterior")):
        fit_of(workflow, np.random.default_rng(1))
        LiveFit.objects.get(is_in_force=True).evidence.update(tasks={"T0": evidence})
        assess(workflow=workflow)
        assert world.progress(workflow, subject).retirement_reason == reason
    retired_at = world.progress(workflow, subject).retired_at
    assert retired_at == LiveFit.objects.get(is_in_force=True).created_at
    assert rebuild_results(workflow=workflow) == 0


def test_other_questions_take_the_fit_out_of_force(world: Any) -> None:
    workflow = world.workflow()
    world.classify(workflow, workflow.project.subjects.first())
    fit_of(workflow, np.random.default_rng(1))
    world.publish(workflow, {"T0": {**SINGLE, "question": "Which is it?"}})
    assert LiveFit.objects.filter(is_in_force=True).exists()
    world.publish(workflow, {"T0": GRADE})
    assert not LiveFit.objects.filter(is_in_force=True).exists()
    assess(workflow=workflow)
    assert rebuild_results(workflow=workflow) == 0


def test_a_fit_of_questions_that_have_changed_meanwhile_is_not_put_in_force(world: Any) -> None:
    workflow = world.workflow()
    old = workflow.current
    world.publish(workflow, {"T0": GRADE})
    fit = put_in_force(version=old, watermark=0, groups=[], skills=[], evidence=[])
    assert fit is None
    assert not LiveFit.objects.exists()


def test_two_fits_are_kept_and_no_rows_of_older_ones(world: Any) -> None:
    workflow = world.workflow()
    world.classify(workflow, workflow.project.subjects.first())
    for seed in range(4):
        fit_of(workflow, np.random.default_rng(seed))
    assert LiveFit.objects.filter(workflow=workflow).count() == 2
    for model in (VolunteerSkill, SubjectEvidence):
        assert set(model.objects.values_list("fit", flat=True)) <= set(LiveFit.objects.values_list("pk", flat=True))


def test_a_pass_that_another_has_claimed_is_left_alone(world: Any) -> None:
    from classify.models import Assessment

    workflow = world.workflow(limit=1)
    world.classify(workflow, workflow.project.subjects.first())
    world.publish(workflow, limit=2)
    from django.utils import timezone

    now = timezone.now()
    Assessment.objects.create(workflow=workflow, started_at=now, heartbeat_at=now)
    assert not assess(workflow=workflow)
    Assessment.objects.update(heartbeat_at=now - timedelta(minutes=6))  # its worker was lost
    assert assess(workflow=workflow)


RULES = st.fixed_dictionaries(
    {"classification_count": st.integers(2, 9)},
    optional={
        "expert": st.booleans(),
        "agreement": st.builds(
            lambda share, after: {"task": "T0", "share": share, "after": after},
            st.sampled_from([0.5, 0.6, 0.75, 1.0]), st.integers(1, 5),
        ),
        "blank": st.builds(lambda count: {"task": "T0", "answers": ["disk"], "count": count}, st.integers(1, 4)),
        "posterior": st.builds(
            lambda threshold, after: {"task": "T0", "threshold": threshold, "after": after},
            st.sampled_from([0.7, 0.9, 0.99]), st.integers(1, 4),
        ),
        "risk": st.builds(lambda most: {"task": "T0", "most": most, "after": 2}, st.sampled_from([0.01, 0.2])),
    },
)  # fmt: skip


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_running_and_rebuilt_are_equal_whatever_the_rules_and_whenever_sweeps_come(world: Any, data: Any) -> None:
    workflow = world.workflow(retirement=data.draw(RULES), subjects=2)
    subjects = list(workflow.project.subjects.all())
    for _ in range(data.draw(st.integers(3, 10))):
        subject = data.draw(st.sampled_from(subjects))
        match data.draw(st.integers(0, 11)):
            case 0:
                fit_of(workflow, np.random.default_rng(data.draw(st.integers(0, 99))))
                assess(workflow=workflow)
            case 1:
                world.publish(workflow, retirement=data.draw(RULES))
                assess(workflow=workflow)
            case 2:
                reopen_subject(workflow=workflow, subject=subject)
            case 3:
                retire_subject(workflow=workflow, subject=subject)
            case _:
                by_expert = data.draw(st.integers(0, 9)) == 0
                world.classify(workflow, subject, answer=data.draw(st.integers(0, 1)), by_expert=by_expert)
    running = state_of(workflow)
    assert rebuild_results(workflow=workflow) == 0
    SubjectProgress.objects.filter(workflow=workflow).update(
        classification_count=77, tallies={}, evidence={}, urgency=-4
    )
    assert rebuild_results(workflow=workflow) == 2
    assert state_of(workflow) == running
