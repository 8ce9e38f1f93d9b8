"""Redshift debiasing of vote fractions: what a galaxy would have been called nearby.

A galaxy far away looks smaller and fainter, and volunteers see less in it. Both methods compare galaxies of equal
absolute magnitude and size at different redshift, and assume that such galaxies have not evolved between them. They
belong to a catalogue, not to the votes: publish the raw fractions beside the debiased ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation._debias_bins import redshift_slices, split_plane
from aggregation._debias_curves import AnswerCurve, fit_curve, log_fraction
from aggregation._votes import BoolArray, FloatArray, IntArray, ratio

#: What happened to a galaxy: `status` holds the place of one of these.
DEBIAS_STATUS = ("corrected", "nearby", "unsampled", "unmeasured")
_CORRECTED, _NEARBY, _UNSAMPLED, _UNMEASURED = range(4)

#: Willett et al. (2013): edges in M_r, R50 (kpc) and z.
_MAGNITUDE_EDGES = np.linspace(-24.0, -16.0, 33)
_SIZE_EDGES = np.linspace(0.0, 15.0, 31)
_REDSHIFT_EDGES = np.linspace(0.01, 0.26, 26)
#: Galaxies with a vote for the answer that a redshift slice needs.
_LEAST_PER_SLICE = 30


@dataclass(frozen=True)
class RatioDebiased:
    """Result of `debias_ratio`; row i is galaxy i.

    Attributes
    ----------
    fractions
        Debiased, float (n_galaxies, n_answers), rows sum to 1; as given where `status` is not 0.
    status
        Place in `DEBIAS_STATUS`, int (n_galaxies,). "nearby": of the bin that its baseline was measured in.
        "unsampled": its bin holds too few galaxies. "unmeasured": no votes, or a magnitude, size or redshift that is
        missing or outside the bins.
    correction
        log10 of the factor on each fraction before the row is normalised, float (n_galaxies, n_answers); 0 where
        nothing was corrected. ``log10 K_ji = correction_j - correction_i``.
    baseline
        Coefficients of log10 of the mean fraction nearby, float (n_answers, 6): of 1, m, r, m², m r, r² with
        m = (M_r + 20) / 4 and r = R50 / 5 kpc.
    n_baseline
        Bins in magnitude and size that the baseline was fitted to.
    """

    fractions: FloatArray
    status: IntArray
    correction: FloatArray
    baseline: FloatArray
    n_baseline: int


@dataclass(frozen=True)
class CumulativeDebiased:
    """Result of `debias_cumulative`; row i is galaxy i.

    Attributes
    ----------
    fractions
        Debiased, float (n_galaxies, n_answers), rows sum to 1; as given where `status` is not 0.
    status
        Place in `DEBIAS_STATUS`, int (n_galaxies,). "nearby": not beyond the reference redshift. "unsampled":
        fewer than ten of the fitted galaxies are as bright, faint, large, small or, in its cell, as far away.
        "unmeasured": no votes, or no magnitude, size or redshift.
    curves
        Of each answer; None for an answer too rarely given to be fitted, which keeps its fraction until the row is
        normalised.
    n_cells
        Cells in magnitude and size.
    """

    fractions: FloatArray
    status: IntArray
    curves: tuple[AnswerCurve | None, ...]
    n_cells: int


class _Galaxies(NamedTuple):
    """Checked input; `variables` holds -M_r, R50 and z."""

    fractions: FloatArray
    n_votes: FloatArray
    variables: FloatArray
    measured: BoolArray


def debias_ratio(
    fractions: npt.ArrayLike,
    n_votes: npt.ArrayLike,
    magnitude: npt.ArrayLike,
    size: npt.ArrayLike,
    redshift: npt.ArrayLike,
    *,
    min_votes: float = 20,
    min_galaxies: int = 20,
    baseline_redshift: float = 0.06,
) -> RatioDebiased:
    """Debias by ratios of mean fractions (Bamford et al. 2009, MNRAS 393, 1324; Willett et al. 2013, MNRAS 435, 2835).

    ``p_i = 1 / (1 + sum_{j != i} K_ji f_j / f_i)`` with
    ``log10 K_ji = log10(f_j / f_i) nearby - log10(f_j / f_i) here``, of mean fractions in bins of M_r (-24..-16 by
    0.25), R50 (0..15 kpc by 0.5) and z (0.01..0.26 by 0.01). "Nearby" is the lowest sampled redshift bin of each
    (M_r, R50), where that is below `baseline_redshift`, smoothed by a quadratic surface over (M_r, R50) and clipped
    to the range seen. The ratios are those of one factor per answer, so that the result sums to 1.

    It repairs the mean of a bin but not its spread: every galaxy of a bin gets the same factor. See
    `debias_cumulative`.

    Parameters
    ----------
    fractions
        Vote fractions of one question, float (n_galaxies, n_answers), rows sum to 1; nan where nobody answered.
    n_votes
        Votes on the question, (n_galaxies,).
    magnitude
        Absolute r magnitude M_r, float (n_galaxies,).
    size
        Petrosian half-light radius R50 in kpc, float (n_galaxies,).
    redshift
        Float (n_galaxies,).
    min_votes
        Votes below which a galaxy does not teach a bin (it is corrected all the same).
    min_galaxies
        Galaxies below which a bin corrects nothing.
    baseline_redshift
        Redshift below which the lowest bin counts as nearby.

    Returns
    -------
    RatioDebiased

    Examples
    --------
    >>> featured = np.tile([0.6, 0.4], 100)[:, np.newaxis]     # a fifth of the features is lost between .02 and .1
    >>> result = debias_ratio(
    ...     np.hstack([featured, 1 - featured]), np.full(200, 40), np.full(200, -20.1), np.full(200, 4.2),
    ...     np.tile([0.025, 0.105], 100))
    >>> result.fractions[:2].round(2)
    array([[0.6, 0.4],
           [0.6, 0.4]])
    """
    galaxies = _check(fractions, n_votes, magnitude, size, redshift)
    if baseline_redshift <= 0:
        raise ValueError(f"baseline_redshift must be above 0, got {baseline_redshift}")
    place, inside = _grid_place(galaxies)
    taught = inside & (galaxies.n_votes >= min_votes)
    means, sampled = _mean_logs(galaxies.fractions[taught], place[taught], min_galaxies)
    lowest, has_baseline = _baseline_bins(sampled, baseline_redshift)
    if not has_baseline.any():
        raise ValueError(
            f"no bin of magnitude and size has {min_galaxies} galaxies with {min_votes:g} votes at a redshift below "
            f"{baseline_redshift:g}: nothing to compare distant galaxies with (raise baseline_redshift, or lower "
            "min_galaxies or min_votes)"
        )
    surface, coefficients = _baseline_surface(means, lowest, has_baseline)
    m, r, z = np.where(inside[:, np.newaxis], place, 0).T
    nearby = has_baseline[m, r] & (z == lowest[m, r])
    status = np.select(
        [~inside, ~sampled[m, r, z], nearby], [_UNMEASURED, _UNSAMPLED, _NEARBY], default=_CORRECTED
    ).astype(np.int64)
    correction = np.where((status == _CORRECTED)[:, np.newaxis], surface[m, r] - means[m, r, z], 0.0)
    correction[~np.isfinite(correction)] = 0.0
    return RatioDebiased(
        _renormalised(galaxies.fractions, galaxies.fractions * 10.0**correction, status),
        status,
        correction,
        coefficients,
        int(has_baseline.sum()),
    )


def debias_cumulative(
    fractions: npt.ArrayLike,
    n_votes: npt.ArrayLike,
    magnitude: npt.ArrayLike,
    size: npt.ArrayLike,
    redshift: npt.ArrayLike,
    *,
    min_votes: float = 20,
    reference_redshift: float = 0.03,
    galaxies_per_cell: int = 1000,
    galaxies_per_slice: int = 100,
) -> CumulativeDebiased:
    """Debias by matching cumulative distributions (Hart et al. 2016, MNRAS 461, 3663).

    Galaxies are divided into cells of (M_r, R50) and each cell into slices of redshift. In every slice the
    cumulative distribution F of x = log10 f of an answer is fitted by the better of two functions of k and c (see
    `AnswerCurve`), and k and c are regressed on magnitude, size and redshift. A galaxy then gets the f' with
    ``F(log f'; M_r, R50, z0) = F(log f; M_r, R50, z)``, and its row is normalised.

    Unlike `debias_ratio` it repairs the spread of the fractions with their mean. An answer that nobody gave (f = 0)
    stays at 0. Two things differ from the paper: the cells are those of a k-d tree of equal numbers in place of a
    Voronoi binning, and galaxies with f = 0 count as the lowest of F. The paper leaves them out, and so takes too
    little account of an answer that fades to nothing.

    Parameters
    ----------
    fractions, n_votes, magnitude, size, redshift
        As for `debias_ratio`.
    min_votes
        Votes below which a galaxy does not teach the curves (it is corrected all the same).
    reference_redshift
        z0: galaxies up to it are left alone, the others are brought to it.
    galaxies_per_cell
        Galaxies that a cell holds at least, if there are so many; there are at most 32 cells.
    galaxies_per_slice
        Galaxies with f > 0 that a redshift slice holds, about; a cell has at least five slices, of 30 or more each.

    Returns
    -------
    CumulativeDebiased

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(0.02, 0.12, 20000)
    >>> features = rng.random(20000) ** (1 + 10 * (z - 0.02))       # fades with redshift
    >>> result = debias_cumulative(np.stack([features, 1 - features], axis=1), np.full(20000, 40),
    ...                            rng.uniform(-23, -19, 20000), rng.uniform(2, 9, 20000), z)
    >>> far = z > 0.1
    >>> np.round([features[far].mean(), result.fractions[far, 0].mean()], 1)
    array([0.3, 0.5])
    """
    galaxies = _check(fractions, n_votes, magnitude, size, redshift)
    _check_cumulative(reference_redshift, galaxies_per_cell, galaxies_per_slice)
    plane, z = galaxies.variables[:, :2], galaxies.variables[:, 2]
    taught = galaxies.measured & (galaxies.n_votes >= min_votes)
    cells = split_plane(plane[taught], galaxies_per_cell, max_cells=32)
    cell = np.where(galaxies.measured, cells.find(np.nan_to_num(plane)), 0)
    sampled = _within_sample(galaxies, taught, cell, cells.n_cells)
    status = np.select(
        [~galaxies.measured, z <= reference_redshift, ~sampled], [_UNMEASURED, _NEARBY, _UNSAMPLED], default=_CORRECTED
    ).astype(np.int64)
    corrected = status == _CORRECTED
    there = galaxies.variables[corrected].copy()
    there[:, 2] = reference_redshift
    moved = galaxies.fractions.copy()
    curves = []
    for answer, f in enumerate(galaxies.fractions.T):
        given = float((f[taught] > 0).mean()) if taught.any() else 0.0
        curve = None
        if given > 0:
            # So many galaxies that the answer was given to as many as asked for.
            per_slice, least = (math.ceil(n / given) for n in (galaxies_per_slice, _LEAST_PER_SLICE))
            slices = redshift_slices(cell[taught], z[taught], per_slice, min_slices=5, least=least)
            curve = fit_curve(log_fraction(f[taught]), galaxies.variables[taught], slices)
        curves.append(curve)
        if curve is not None:
            x = curve.move(log_fraction(f[corrected]), galaxies.variables[corrected], there)
            moved[corrected, answer] = np.where(f[corrected] > 0, 10.0**x, 0.0)
    if all(curve is None for curve in curves):
        raise ValueError(
            f"{int(taught.sum())} galaxies with {min_votes:g} votes and all measurements are too few for two cells of "
            f"five redshift slices (lower min_votes, galaxies_per_cell or galaxies_per_slice)"
        )
    return CumulativeDebiased(_renormalised(galaxies.fractions, moved, status), status, tuple(curves), cells.n_cells)


def _check(
    fractions: npt.ArrayLike,
    n_votes: npt.ArrayLike,
    magnitude: npt.ArrayLike,
    size: npt.ArrayLike,
    redshift: npt.ArrayLike,
) -> _Galaxies:
    f = np.asarray(fractions, dtype=float)
    if f.ndim != 2:
        raise ValueError(f"fractions must have the shape (n_galaxies, n_answers), not {f.shape}")
    columns = {"n_votes": n_votes, "magnitude": magnitude, "size": size, "redshift": redshift}
    arrays = {name: np.asarray(values, dtype=float) for name, values in columns.items()}
    for name, values in arrays.items():
        if values.shape != (len(f),):
            raise ValueError(f"{name} must hold one number per galaxy ({len(f)}), got shape {values.shape}")
    votes = arrays["n_votes"]
    if not (votes >= 0).all():
        raise ValueError(f"n_votes[{int((~(votes >= 0)).argmax())}] is not a number of votes")
    voted = (votes > 0) & np.isfinite(f).all(axis=1)
    wrong = voted & ~((f >= 0).all(axis=1) & (np.abs(f.sum(axis=1) - 1.0) < 0.01))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"fractions[{row}] is {f[row].tolist()}: vote fractions of one question sum to 1")
    variables = np.stack([-arrays["magnitude"], arrays["size"], arrays["redshift"]], axis=1)
    # An infinite or non-positive magnitude, size or redshift is what catalogues write for a missing one.
    measured = voted & np.isfinite(variables).all(axis=1) & (np.nan_to_num(variables) > 0).all(axis=1)
    return _Galaxies(f, votes, variables, measured)


def _check_cumulative(reference_redshift: float, galaxies_per_cell: int, galaxies_per_slice: int) -> None:
    if not reference_redshift > 0:
        raise ValueError(f"reference_redshift must be above 0, got {reference_redshift}")
    if galaxies_per_cell < 1 or galaxies_per_slice < 1:
        raise ValueError(
            f"a cell and a slice need at least one galaxy, got {galaxies_per_cell} and {galaxies_per_slice}"
        )


def _renormalised(given: FloatArray, moved: FloatArray, status: IntArray) -> FloatArray:
    """Rows of `moved` that were corrected, divided by their sum; the others as given."""
    total = moved.sum(axis=1, keepdims=True)
    use = (status == _CORRECTED)[:, np.newaxis] & (total > 0)
    return np.where(use, ratio(moved, total), given)


def _grid_place(galaxies: _Galaxies) -> tuple[IntArray, BoolArray]:
    """Bin of each galaxy in (M_r, R50, z), int (n_galaxies, 3), and whether it is inside all three ranges."""
    minus_m, size, redshift = galaxies.variables.T
    columns = ((-minus_m, _MAGNITUDE_EDGES), (size, _SIZE_EDGES), (redshift, _REDSHIFT_EDGES))
    place = np.stack([np.searchsorted(edges, values, side="right") - 1 for values, edges in columns], axis=1)
    limits = np.array([len(edges) - 1 for _, edges in columns])
    return place, galaxies.measured & ((place >= 0) & (place < limits)).all(axis=1)


def _mean_logs(fractions: FloatArray, place: IntArray, min_galaxies: int) -> tuple[FloatArray, BoolArray]:
    """log10 of the mean fraction in each bin, (n_m, n_r, n_z, n_answers), and which bins hold enough galaxies."""
    shape = (len(_MAGNITUDE_EDGES) - 1, len(_SIZE_EDGES) - 1, len(_REDSHIFT_EDGES) - 1)
    flat = np.ravel_multi_index(tuple(place.T), shape)
    n = np.bincount(flat, minlength=int(np.prod(shape)))
    total = np.stack([np.bincount(flat, weights=f, minlength=len(n)) for f in fractions.T], axis=1)
    with np.errstate(divide="ignore"):
        means = np.log10(ratio(total, n[:, np.newaxis], empty=0.0))
    sampled = n >= max(min_galaxies, 1)
    return means.reshape(*shape, fractions.shape[1]), sampled.reshape(shape)


def _baseline_bins(sampled: BoolArray, baseline_redshift: float) -> tuple[IntArray, BoolArray]:
    """Lowest sampled redshift bin of each (M_r, R50), and whether it lies near enough."""
    lowest = sampled.argmax(axis=2)
    centre = (_REDSHIFT_EDGES[:-1] + _REDSHIFT_EDGES[1:]) / 2.0
    return lowest, sampled.any(axis=2) & (centre[lowest] < baseline_redshift)


def _baseline_surface(means: FloatArray, lowest: IntArray, has_baseline: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Smooth log10 mean fraction nearby over all (M_r, R50), (n_m, n_r, n_answers), and its coefficients."""
    m = ((_MAGNITUDE_EDGES[:-1] + _MAGNITUDE_EDGES[1:]) / 2.0 + 20.0) / 4.0
    r = (_SIZE_EDGES[:-1] + _SIZE_EDGES[1:]) / 2.0 / 5.0
    mm, rr = np.meshgrid(m, r, indexing="ij")
    design = np.stack([np.ones_like(mm), mm, rr, mm**2, mm * rr, rr**2], axis=-1)
    seen = np.take_along_axis(means, lowest[:, :, np.newaxis, np.newaxis], axis=2)[:, :, 0]
    n_answers = means.shape[-1]
    surface = np.full((*mm.shape, n_answers), -np.inf)
    coefficients = np.zeros((n_answers, design.shape[-1]))
    for answer in range(n_answers):
        known = has_baseline & np.isfinite(seen[..., answer])
        if not known.any():
            continue
        values = seen[..., answer][known]
        coefficients[answer] = np.linalg.lstsq(design[known], values, rcond=None)[0]
        surface[..., answer] = np.clip(design @ coefficients[answer], values.min(), values.max())
    return surface, coefficients


def _within_sample(galaxies: _Galaxies, taught: BoolArray, cell: IntArray, n_cells: int) -> BoolArray:
    """Whether ten of those that teach are as bright, as faint, as large, as small, and in its cell as far away."""
    inside = galaxies.measured.copy()
    for values in galaxies.variables[:, :2].T:
        low, high = _tenth(values[taught]), -_tenth(-values[taught])
        inside &= (values >= low) & (values <= high)
    farthest = np.array([-_tenth(-galaxies.variables[taught & (cell == each), 2]) for each in range(n_cells)])
    return inside & (galaxies.variables[:, 2] <= farthest[cell])


def _tenth(values: FloatArray) -> float:
    """The tenth lowest value, infinite if there are not so many."""
    return float(np.partition(values, 9)[9]) if len(values) >= 10 else float("inf")
