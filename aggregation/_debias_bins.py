"""Bins of galaxies that look alike: in magnitude and size by a k-d tree, inside each by redshift."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aggregation._votes import FloatArray, IntArray


class Cells(NamedTuple):
    """A complete binary tree over a plane; node n has the children 2n + 1 and 2n + 2."""

    axis: IntArray
    cut: FloatArray
    depth: int

    @property
    def n_cells(self) -> int:
        return int(2**self.depth)

    def find(self, points: FloatArray) -> IntArray:
        """Cell of each point, int (n,), from 0."""
        node = np.zeros(len(points), dtype=np.int64)
        rows = np.arange(len(points))
        for _ in range(self.depth):
            node = 2 * node + 1 + (points[rows, self.axis[node]] > self.cut[node])
        return node - (self.n_cells - 1)


def split_plane(points: FloatArray, per_cell: int, max_cells: int) -> Cells:
    """Halve the sample again and again at the median of its wider axis (in standard deviations of the whole).

    It serves as the Voronoi binning of Cappellari & Copin (2003) does for Hart et al. (2016): cells of nearly equal
    numbers, so of equal signal to noise, small where galaxies are many. Unlike that it needs no accretion and does
    not depend on the order of the galaxies.
    """
    depth = int(np.floor(np.log2(max(min(len(points) / per_cell, max_cells), 1.0))))
    axis, cut = np.zeros(2**depth - 1, dtype=np.int64), np.zeros(2**depth - 1)
    scale = np.where(points.std(axis=0) > 0, points.std(axis=0), 1.0) if len(points) else np.ones(2)
    node = np.zeros(len(points), dtype=np.int64)
    for parent in range(2**depth - 1):
        here = points[node == parent]
        if len(here):
            axis[parent] = int((here.std(axis=0) / scale).argmax())
            cut[parent] = float(np.median(here[:, axis[parent]]))
        mine = np.flatnonzero(node == parent)
        node[mine] = 2 * parent + 1 + (points[mine, axis[parent]] > cut[parent])
    return Cells(axis, cut, depth)


def redshift_slices(cell: IntArray, redshift: FloatArray, per_slice: int, min_slices: int, least: int) -> IntArray:
    """Slice of each galaxy: nearly equal numbers of rising redshift inside each cell; -1 in a cell too poor for it.

    A cell gets one slice per `per_slice` galaxies, at least `min_slices`, and none unless each then holds `least`.
    Galaxies of equal redshift share a slice. Slices are numbered through all cells.
    """
    slices = np.full(len(cell), -1, dtype=np.int64)
    first = 0
    for each in np.unique(cell):
        mine = np.flatnonzero(cell == each)
        n_slices = max(len(mine) // per_slice, min_slices)
        if len(mine) < n_slices * least:
            continue
        rank = np.searchsorted(np.sort(redshift[mine]), redshift[mine], side="left")
        slices[mine] = first + rank * n_slices // len(mine)
        first += n_slices
    return slices
