"""Ids to codes from 0."""

from __future__ import annotations

import numpy as np

from aggregation._votes import IntArray

#: Ids are marked in a table while their range is at most this many times their number.
SPARSEST = 4


def coded(ids: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct ids, increasing, and the place of each row's id among them; as `np.unique` has it.

    Ids of rows made one after the other lie close together, so that marking them in a table of the whole range, which
    takes one pass, comes before sorting them.

    Parameters
    ----------
    ids
        int (n,).

    Returns
    -------
    tuple
        int (n_distinct,), and int (n,).

    Examples
    --------
    >>> coded(np.array([12, 10, 12, 13]))
    (array([10, 12, 13]), array([1, 0, 1, 2]))
    """
    span = int(ids.max()) - int(ids.min()) + 1 if ids.size else 0
    if span == 0 or span > SPARSEST * ids.size:
        distinct, places = np.unique(ids, return_inverse=True)
        return distinct, places
    lowest = ids.min()
    place = np.zeros(span, dtype=np.int64)
    place[ids - lowest] = 1
    distinct = np.flatnonzero(place)
    place[distinct] = np.arange(len(distinct))
    return distinct + lowest, place[ids - lowest]
