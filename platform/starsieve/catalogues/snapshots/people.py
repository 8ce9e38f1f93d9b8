"""Who classified, as of now: a merge at sign-in moves classifications to another volunteer after they were written."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from django.db.models import FilteredRelation, Q

from classify.models import Volunteer
from starsieve.projects.models import Workflow

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Merges:
    """All merges so far, and what they left behind in one workflow.

    `merged` (increasing) are volunteers who became those in `into`; `left` (increasing) are ids of classifications
    that stayed behind as second looks of the same person, under the volunteers in `left_with`.
    """

    merged: IntArray
    into: IntArray
    left: IntArray
    left_with: IntArray

    @classmethod
    def read(cls, workflow: Workflow) -> Self:
        """One statement, so that it knows each merge either wholly or not at all."""
        here = FilteredRelation("classifications", condition=Q(classifications__workflow=workflow.pk))
        rows = Volunteer.objects.filter(merged_into__isnull=False).annotate(here=here)
        into: dict[int, int] = {}
        left: dict[int, int] = {}
        for volunteer, other, classification in rows.values_list("pk", "merged_into", "here__id").iterator():
            assert other is not None  # as filtered
            into[volunteer] = other
            if classification is not None:
                left[classification] = volunteer
        merged, behind = sorted(into), sorted(left)
        ends, holders = [_last(into, each) for each in merged], [left[each] for each in behind]
        return cls(_ids(merged), _ids(ends), _ids(behind), _ids(holders))

    def left_behind(self, ids: IntArray) -> tuple[IntArray, IntArray]:
        """Of increasing classification ids: the places of those left behind, and the volunteers they are under."""
        near = slice(*np.searchsorted(self.left, [ids[0], ids[-1] + 1])) if ids.size else slice(0, 0)
        places = np.searchsorted(ids, self.left[near])
        found = ids[places] == self.left[near]
        return places[found], self.left_with[near][found]

    def resolved(self, volunteers: IntArray) -> IntArray:
        """Volunteer ids of any time, as of now."""
        if not self.merged.size:
            return volunteers
        places = np.minimum(np.searchsorted(self.merged, volunteers), len(self.merged) - 1)
        return np.where(self.merged[places] == volunteers, self.into[places], volunteers)


def _last(into: dict[int, int], volunteer: int) -> int:
    while volunteer in into:
        volunteer = into[volunteer]
    return volunteer


def _ids(values: list[int]) -> IntArray:
    return np.array(values, dtype=np.int64)
