"""What pages and API say of a workflow's consensus: from the numbers that a run has stored, nothing is fitted here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from classify.results import Believed, believed_of
from classify.versions import counts_towards, definition_of
from ml_worker.models import UNFINISHED, JobState
from starsieve.catalogues.consensus.judging import FEWEST_GOLD
from starsieve.catalogues.consensus.outcome import DECIMALS
from starsieve.catalogues.consensus.pictures import Picture, task_pictures
from starsieve.catalogues.consensus.runs import modelled_tasks
from starsieve.catalogues.consensus.subjects import answer_labels, answer_name
from starsieve.catalogues.consensus.words import METHOD_WORDS, MethodWords, meaning_of, notes_of, percent
from starsieve.catalogues.models import ConsensusRun, SubjectConsensus
from starsieve.catalogues.statistics import Progress
from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Workflow, WorkflowVersion
from starsieve.projects.task_types import Task


# --- Overview -------------------------------------------------------------------------------------------------------
class FigureRow(NamedTuple):
    name: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True)
class TaskModel:
    """One task's fit and judgement in words, pictures and figures; `figures` is empty where gold does not judge it."""

    task: Task
    method: MethodWords
    fit: dict[str, Any]
    notes: Sequence[str]
    pictures: Sequence[Picture]
    figures: Sequence[FigureRow]
    level: str
    gold: str


@dataclass(frozen=True)
class ConsensusOnPage:
    """`run` is the last finished one, `last` the last of all, which may be waiting, working or failed."""

    run: ConsensusRun | None
    last: ConsensusRun | None
    tasks: Sequence[TaskModel]
    asks_the_same: bool
    n_since: int
    fewest_gold: int = FEWEST_GOLD

    @property
    def is_busy(self) -> bool:
        return self.last is not None and self.last.state in UNFINISHED

    @property
    def has_failed(self) -> bool:
        return self.last is not None and self.last.state == JobState.FAILED


def consensus_on_page(workflow: Workflow, current: WorkflowVersion, progress: Progress) -> ConsensusOnPage | None:
    """The overview's section; None where no task has a model, or nobody has classified yet. Up to three queries."""
    if not modelled_tasks(definition_of(current)):
        return None
    last = workflow.consensus_runs.order_by("-id").first()
    is_done = last is not None and last.state == JobState.DONE
    run = last if is_done else ConsensusRun.objects.latest_done(workflow)
    if run is None:
        return ConsensusOnPage(None, last, (), True, 0) if last or progress.n_classifications else None
    version = current if run.workflow_version_id == current.pk else run.workflow_version
    tasks = definition_of(version).tasks
    return ConsensusOnPage(
        run=run,
        last=last,
        tasks=[_task_model(tasks[key], run.tasks[key]) for key in tasks if key in run.tasks],
        asks_the_same=counts_towards(version, current),
        n_since=max(0, progress.n_classifications - run.n_classifications),
    )


def _task_model(task: Task, stored: dict[str, Any]) -> TaskModel:
    fit, judgement = stored["fit"], stored["judgement"]
    return TaskModel(
        task=task,
        method=METHOD_WORDS[fit["method"]],
        fit=fit,
        notes=notes_of(fit),
        pictures=list(task_pictures(task, stored)),
        figures=_figures(judgement) if judgement else (),
        level=f"{judgement['level']:.0%}" if judgement else "",
        gold=_gold(judgement) if judgement else "",
    )


def _figures(judgement: dict[str, Any]) -> list[FigureRow]:
    """Those that are defined: an answer that no gold subject has cannot be found."""
    return [
        FigureRow(
            name=name[0].upper() + name[1:],
            value=f"{value:.3f}",
            interval="–" if low is None or high is None else f"{low:.3f} to {high:.3f}",
            meaning=meaning_of(name, judgement.get("rate", 0)),
        )
        for name, (value, low, high) in judgement["figures"].items()
        if value is not None
    ]


def _gold(judgement: dict[str, Any]) -> str:
    by_class = zip(judgement["classes"], judgement["n_true"], strict=True)
    return ", ".join(f"{n:,} {name}" for name, n in by_class if n)


# --- Subjects -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SubjectsConsensus:
    """What the models say: subject id → task key → values, of the workflow's last finished run and by the votes since.
    Empty without such a run.
    """

    run: ConsensusRun | None
    of: dict[int, dict[str, dict[str, Any]]]


def consensus_on_subjects(workflow: Workflow, subject_ids: Sequence[int]) -> SubjectsConsensus:
    """A few queries, whatever the number of subjects. Answers to questions that are not asked any more are left out.

    The rows are read first: a run that ends in between takes its predecessor's rows away, but not its predecessor.
    """
    assert workflow.current is not None
    if not modelled_tasks(definition_of(workflow.current)):
        return SubjectsConsensus(None, {})
    rows = SubjectConsensus.objects.filter(
        run__workflow=workflow, run__state=JobState.DONE, subject_id__in=subject_ids
    ).values_list("subject_id", "run_id", "tasks")
    found = list(rows)
    runs = ConsensusRun.objects.select_related("workflow_version").defer("workflow_version__definition")
    newest = max((run_id for _, run_id, _ in found), default=None)
    run = runs.get(pk=newest) if newest is not None else runs.latest_done(workflow)
    if run is None or not counts_towards(run.workflow_version, workflow.current):
        return SubjectsConsensus(None, {})
    of = {subject_id: tasks for subject_id, run_id, tasks in found if run_id == run.pk}
    known = {pk: {key: said["n"] for key, said in tasks.items() if "p" in said} for pk, tasks in of.items()}
    for subject_id, believed in believed_of(workflow, subject_ids, known=known).items():
        _add_later_votes(of.setdefault(subject_id, {}), believed, run, definition_of(workflow.current))
    return SubjectsConsensus(run if of else None, of)


def _add_later_votes(
    said: dict[str, dict[str, Any]], believed: dict[str, Believed], run: ConsensusRun, definition: WorkflowDefinition
) -> None:
    """Put the posterior after the latest vote in place of what the run said before it."""
    for key, now in believed.items():
        stored = said.get(key)
        if key not in run.tasks or (stored is not None and stored["n"] == now.n):
            continue
        p = [round(each, DECIMALS) for each in now.p]
        values: dict[str, Any] = {"n": now.n, "p": p, "answer": answer_name(definition.tasks[key], p.index(max(p)))}
        if run.tasks[key]["fit"].get("tree"):
            values["reach"] = round(now.reach, DECIMALS)
        said[key] = {**(stored or {}), **values}


def with_methods(run: ConsensusRun, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The values of one subject, each task's with the method that found them."""
    return {key: {"method": run.tasks[key]["fit"]["method"], **each} for key, each in values.items()}


@dataclass(frozen=True)
class AnswerModel:
    """What the model says of one task on one subject. `p` has the order of the bars; texts are ready to read."""

    method: MethodWords
    p: Sequence[float]
    answer: str
    n: int
    reach: str
    rank: str
    adjudicate: bool

    @property
    def percent(self) -> str:
        """Of the most probable answer."""
        return percent(max(self.p))


@dataclass(frozen=True)
class BoxesModel:
    """What the model says of the boxes on one subject; `clumps` as they are stored."""

    n: int
    clumps: Sequence[dict[str, Any]]
    expected_missed: float
    settled: str

    @property
    def missing(self) -> str:
        if self.expected_missed < 0.05:
            return "nothing is expected to be missing"
        return f"{self.expected_missed:.1f} more expected to be missing"


def subject_models(
    workflow: Workflow, run: ConsensusRun, values: dict[str, dict[str, Any]]
) -> dict[str, AnswerModel | BoxesModel]:
    """Task key → what the run says of one subject."""
    assert workflow.current is not None
    definition = definition_of(workflow.current)
    found: dict[str, AnswerModel | BoxesModel] = {}
    for key, each in values.items():
        if "clumps" in each:
            found[key] = BoxesModel(each["n"], each["clumps"], each["expected_missed"], each["settled"])
            continue
        found[key] = AnswerModel(
            method=METHOD_WORDS[run.tasks[key]["fit"]["method"]],
            p=each["p"],
            answer=answer_label(definition.tasks[key], each["answer"]),
            n=each["n"],
            reach=percent(each["reach"]) if "reach" in each and key != definition.first else "",
            rank=_rank(each),
            adjudicate=each.get("adjudicate", False),
        )
    return found


def answer_label(task: Task, answer: int | str) -> str:
    """An answer as it is stored, as people read it."""
    return answer if isinstance(answer, str) else answer_labels(task)[answer]


def _rank(values: dict[str, Any]) -> str:
    if values.get("rank") is None:
        return ""
    return f"{values['rank']:.2f} ± {values['rank_error']:.2f}"


class Headline(NamedTuple):
    """A subject's consensus in a line of a table."""

    answer: str
    percent: str
    adjudicate: bool


def headlines_of(workflow: Workflow, subject_ids: Sequence[int]) -> tuple[Task | None, dict[int, Headline]]:
    """The first modelled task and what its model says of these subjects; two queries. (None, {}) without a model."""
    assert workflow.current is not None
    modelled = modelled_tasks(definition_of(workflow.current))
    if not modelled:
        return None, {}
    task = modelled[0]
    said = consensus_on_subjects(workflow, subject_ids)
    return task, {
        subject_id: _headline(task, values[task.key]) for subject_id, values in said.of.items() if task.key in values
    }


def _headline(task: Task, values: dict[str, Any]) -> Headline:
    if "clumps" in values:
        n = len(values["clumps"])
        return Headline(f"{n} box{'' if n == 1 else 'es'}", "", False)
    label = answer_label(task, values["answer"])
    return Headline(label, percent(max(values["p"])), values.get("adjudicate", False))
