"""The lower room announces, the higher rooms act: who listens is named in the settings, never imported here."""

from django.conf import settings
from django.utils.module_loading import import_string

from starsieve.projects.models import SubjectSet, Workflow


def announce_arrivals(subject_set: SubjectSet, *, above: int | None = None) -> None:
    """Tell every listener of STARSIEVE_ON_ARRIVAL that the set has new subjects, or a workflow more or less.

    Where nothing has changed but that there are new subjects, all with ids `above` this one, no others are looked at.
    Runs inside the caller's transaction: either the caller's rows and what the listeners write are stored, or neither.
    """
    for dotted_path in settings.STARSIEVE_ON_ARRIVAL:
        import_string(dotted_path)(subject_set, above=above)


def announce_version(workflow: Workflow) -> None:
    """Tell every listener of STARSIEVE_ON_VERSION that the workflow has another current version; as above."""
    for dotted_path in settings.STARSIEVE_ON_VERSION:
        import_string(dotted_path)(workflow)
