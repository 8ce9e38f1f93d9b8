"""Taking simulations out of a workflow again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import models, transaction

from classify.models import Classification, Volunteer
from starsieve.catalogues.snapshots.state import discard_snapshots
from starsieve.ops.simulation.plan import SimulationRefused, id_range
from starsieve.ops.simulation.services import set_name, set_prefix
from starsieve.projects.arrivals import announce_arrivals
from starsieve.projects.models import Origin, Subject, SubjectSet, Workflow

SUBJECTS_AT_ONCE = 2000
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Removed:
    simulations: int
    subjects: int
    volunteers: int
    classifications: int


def remove_simulations(
    *, workflow: Workflow, seed: int | None = None, force: bool = False, on_progress: OnProgress | None = None
) -> Removed:
    """Delete the workflow's simulations, or the one of that seed: classifications, subjects with all that hangs on
    them, sets and volunteers. The few pictures stay in the media storage, which other simulations share.

    A few thousand subjects at a time, in one transaction each, which also has the snapshots made anew of the workflows
    that lose classifications; locks nothing else. What people classified of simulated
    subjects goes only with `force`. Raises SimulationRefused before anything is deleted.
    """
    sets = _sets(workflow, seed)
    for subject_set in sets:
        _check_free(workflow, subject_set, force)
    total = Subject.objects.filter(subject_set__in=sets).count()
    subjects = classifications = volunteers = 0
    for subject_set in sets:
        for ids in _chunks(subject_set):
            with transaction.atomic():
                theirs = Classification.objects.filter(subject_id__in=ids)
                discard_snapshots(theirs.order_by().values_list("workflow_id", flat=True).distinct())
                classifications += theirs.delete()[0]
                Subject.objects.filter(pk__in=ids).delete()
            subjects += len(ids)
            if on_progress is not None:
                on_progress(subjects, total)
        volunteers += _remove_rest(workflow, subject_set)
    return Removed(len(sets), subjects, volunteers, classifications)


def _sets(workflow: Workflow, seed: int | None) -> list[SubjectSet]:
    mine = SubjectSet.objects.filter(project=workflow.project_id, origin=Origin.SIMULATED)
    if seed is not None:
        found = list(mine.filter(name=set_name(workflow, seed)))
    else:
        found = [each for each in mine.filter(name__startswith=set_prefix(workflow)) if _seed_of(each).isdecimal()]
    if not found:
        which = "no simulation" if seed is None else f"no simulation of seed {seed}"
        raise SimulationRefused(f"workflow “{workflow}” has {which}; nothing was removed")
    return found


def _seed_of(subject_set: SubjectSet) -> str:
    return subject_set.name.rpartition(" ")[2]


def _check_free(workflow: Workflow, subject_set: SubjectSet, force: bool) -> None:
    simulated = id_range("volunteer", workflow.pk, int(_seed_of(subject_set)))
    theirs = Classification.objects.filter(subject__subject_set=subject_set)
    by_people = theirs.exclude(volunteer__visitor__range=simulated, workflow=workflow).count()
    if by_people and not force:
        raise SimulationRefused(
            f"{by_people} classifications of “{subject_set}” were made by people; --force removes them too"
        )
    holders = {*_holders(Subject, "__subject_set", subject_set), *_holders(SubjectSet, "", subject_set)}
    if holders:
        raise SimulationRefused(f"“{subject_set}” is kept by {', '.join(sorted(holders))}; delete those first")


def _holders(model: type[models.Model], way: str, subject_set: SubjectSet) -> Iterable[str]:
    """Names of what the database would not let go, beside the classifications; `way` leads from `model` to its set."""
    for relation in model._meta.related_objects:
        holder = relation.related_model
        if relation.on_delete is not models.PROTECT or holder is Classification or isinstance(holder, str):
            continue
        if holder._default_manager.filter(**{f"{relation.field.name}{way}": subject_set}).exists():
            yield str(holder._meta.verbose_name_plural)


def _chunks(subject_set: SubjectSet) -> Iterable[list[int]]:
    while ids := list(
        Subject.objects.filter(subject_set=subject_set).order_by("pk").values_list("pk", flat=True)[:SUBJECTS_AT_ONCE]
    ):
        yield ids


def _remove_rest(workflow: Workflow, subject_set: SubjectSet) -> int:
    with transaction.atomic():
        subject_set.workflows.clear()
        announce_arrivals(subject_set)
        first, last = id_range("volunteer", workflow.pk, int(_seed_of(subject_set)))
        subject_set.delete()
        return Volunteer.objects.filter(visitor__range=(first, last)).delete()[0]
