"""The lower room announces, the higher rooms act: who listens is named in the settings, never imported here."""

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from starsieve.projects.models import SubjectSet, Workflow


def announce_arrivals(subject_set: SubjectSet) -> None:
    """Tell every listener of STARSIEVE_ON_ARRIVAL that the set has new subjects or a new workflow.

    Runs inside the caller's transaction: either the subjects and what the listeners write are stored, or neither.
    """
    _call("STARSIEVE_ON_ARRIVAL", subject_set)


def announce_departure(workflow: Workflow, subject_set: SubjectSet) -> None:
    """Tell every listener of STARSIEVE_ON_DEPARTURE that the workflow no longer takes the set's subjects."""
    _call("STARSIEVE_ON_DEPARTURE", workflow, subject_set)


def _call(setting: str, *arguments: Any) -> None:
    for dotted_path in getattr(settings, setting, ()):
        import_string(dotted_path)(*arguments)
