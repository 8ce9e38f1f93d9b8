"""Applying a workflow's retirement rules to what is known of a subject after one more classification.

The rules themselves are data (starsieve/projects/retirement.py). A subject that somebody has reopened by hand is left
to the count and to experts: the other rules had their say, and a person has decided otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classify.models import SubjectProgress
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.retirement import Agreement, Blank, Posterior, Retirement, Risk
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, Task

Reason = SubjectProgress.RetirementReason

#: Reasons that follow from the classifications, and what the sweeps learnt of them: a rebuild decides them anew.
BY_RULE = frozenset(
    {Reason.CLASSIFICATION_COUNT, Reason.AGREEMENT, Reason.POSTERIOR, Reason.RISK, Reason.BLANK, Reason.EXPERT_ANSWER}
)
BY_POSTERIOR = frozenset({Reason.POSTERIOR, Reason.RISK})


@dataclass(frozen=True)
class Standing:
    """One subject as the rules look at it.

    `counts` gives the votes for each answer of a task (`counts_of`), `believed` the probability of each answer, or None
    where no live fit speaks of the task.
    """

    n: int
    n_at_reopening: int
    by_expert: bool
    counts: Callable[[str], Sequence[int]]
    believed: Callable[[str], Sequence[float] | None]


def reason_to_retire(retirement: Retirement, standing: Standing) -> str:
    """The first rule that holds after the latest classification; "" while none does."""
    if retirement.expert and standing.by_expert and standing.n > standing.n_at_reopening:
        return Reason.EXPERT_ANSWER
    if not standing.n_at_reopening:
        if retirement.blank is not None and _is_blank(retirement.blank, standing.counts(retirement.blank.task)):
            return Reason.BLANK
        if retirement.agreement is not None and _agree(retirement.agreement, standing):
            return Reason.AGREEMENT
        if (reason := reason_by_posterior(retirement, standing)) != "":
            return reason
    limit = retirement.classification_count
    reached = limit is not None and standing.n - standing.n_at_reopening >= limit
    return Reason.CLASSIFICATION_COUNT if reached else ""


def reason_by_posterior(retirement: Retirement, standing: Standing) -> str:
    """The rule on probabilities that holds, if any: these alone can begin to hold without another classification."""
    if standing.n_at_reopening:
        return ""
    if retirement.posterior is not None and _is_sure(retirement.posterior, standing):
        return Reason.POSTERIOR
    if retirement.risk is not None and _is_safe(retirement.risk, standing):
        return Reason.RISK
    return ""


def counts_of(task: Task, state: Mapping[str, Any] | None) -> Sequence[int]:
    """Votes for each answer, from the state of the task's reducer; of boxes: whether there is one, who looked."""
    if state is None:
        return no_counts(task)
    if isinstance(task, BoxesTask):
        return [min(1, len(state["marks"])), state["n_seen"]]
    if isinstance(task, GradeTask):
        return [state["counts"][grade] for grade in GRADES]
    counts: Sequence[int] = state["counts"]
    return counts


def no_counts(task: Task) -> list[int]:
    """`counts_of` before the first answer."""
    if isinstance(task, BoxesTask):
        return [0, 0]
    return [0] * (len(GRADES) if isinstance(task, GradeTask) else len(task.answers))  # type: ignore[attr-defined]


def count_one(task: Task, counts: list[int], value: Any) -> None:
    """Add one answer to `counts_of` in place."""
    if isinstance(task, BoxesTask):
        counts[0] = max(counts[0], int(bool(value)))
        counts[1] += 1
    else:
        counts[answer_code(task, value)] += 1


def answer_code(task: Task, value: Any) -> int:
    """Place of a single answer or grade among the task's answers."""
    return GRADES.index(value) if isinstance(task, GradeTask) else int(value)


def tasks_asked(definition: WorkflowDefinition) -> set[str]:
    """Keys of the tasks that the rules look at."""
    retirement = definition.retirement
    rules = (retirement.agreement, retirement.posterior, retirement.risk, retirement.blank)
    return {rule.task for rule in rules if rule is not None}


def _is_blank(rule: Blank, counts: Sequence[int]) -> bool:
    if not rule.answers:  # boxes
        return counts[0] == 0 and counts[1] >= rule.count
    blank = sum(counts[answer] for answer in rule.answers)
    return blank >= rule.count and blank == sum(counts)


def _agree(rule: Agreement, standing: Standing) -> bool:
    counts = standing.counts(rule.task)
    n = sum(counts)
    return n >= rule.after and max(counts) / n >= rule.share


def _is_sure(rule: Posterior, standing: Standing) -> bool:
    believed = standing.believed(rule.task) if sum(standing.counts(rule.task)) >= rule.after else None
    return believed is not None and any(p >= limit for p, limit in zip(believed, rule.thresholds, strict=True))


def _is_safe(rule: Risk, standing: Standing) -> bool:
    believed = standing.believed(rule.task) if sum(standing.counts(rule.task)) >= rule.after else None
    if believed is None:
        return False
    return min(sum(p * cost for p, cost in zip(believed, row, strict=True)) for row in rule.loss) <= rule.most
