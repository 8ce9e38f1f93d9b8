"""The latent trait's grid: nodes, the prior weight of each, and how grades divide it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aggregation._votes import FloatArray

#: How far the grid reaches beyond the outermost lines between grades, in units of a typical grader's noise:
#: further out every vote is the outermost grade, so that nothing can be told apart.
_REACH = 4.0
#: The first number of nodes. It is doubled until they lie closer than this many typical posterior standard
#: deviations, up to a limit.
_NODES, _RESOLUTION, _MOST_NODES = 41, 0.7, 321
#: Weight of the first, normal prior, in subjects: a handful of subjects is not a distribution.
_PRIOR_SUBJECTS = 2.0
#: Length of the outermost levels on the scale of ranks; the others have length 1.
_OUTER = 1.5
_FLOOR = 1e-12  # keeps every node possible, so that no subject's evidence underflows


class Trait(NamedTuple):
    """Equally spaced nodes (n_nodes,), and their prior weight for each state of a subject.

    `weight` is (1, n_nodes), or (2, n_nodes) with an escape class (row 0: on the scale, row 1: escape); sums to 1.
    """

    nodes: FloatArray
    weight: FloatArray

    @property
    def spacing(self) -> float:
        return float(self.nodes[1] - self.nodes[0])

    @property
    def mean(self) -> float:
        return float(self.weight.sum(axis=0) @ self.nodes)

    @property
    def spread(self) -> float:
        """Standard deviation of the trait."""
        return float(np.sqrt(self.weight.sum(axis=0) @ (self.nodes - self.mean) ** 2))


def normal_trait(thresholds: FloatArray, mean: float, states: FloatArray) -> Trait:
    """The grid before any vote: a trait of variance 1, the same in each state; `states` holds their probabilities."""
    nodes = _grid(thresholds, _NODES)
    return Trait(nodes, states[:, None] * _normal(nodes, mean))


def _grid(thresholds: FloatArray, n_nodes: int) -> FloatArray:
    return np.linspace(thresholds[0] - _REACH, thresholds[-1] + _REACH, n_nodes)


def _normal(nodes: FloatArray, mean: float) -> FloatArray:
    log_weight = -0.5 * (nodes - mean) ** 2
    weight = np.exp(log_weight - log_weight.max())
    normalised: FloatArray = weight / weight.sum()
    return normalised


def fit_trait(trait: Trait, soft: FloatArray, prior_mean: float, prior_states: FloatArray, blur: float) -> Trait:
    """Prior weights from the soft counts of subjects on each node and state, smoothed (Silverman et al. 1990).

    Bare maximum likelihood would put the trait on a few points; each EM step therefore blurs the weights by `blur`
    nodes, and draws the nodes together so that mean and variance stay what the subjects said.
    """
    counts = soft + _PRIOR_SUBJECTS * prior_states[:, None] * _normal(trait.nodes, prior_mean)
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / blur) ** 2)
    kernel /= kernel.sum()
    blurred = np.array([np.convolve(row, kernel, mode="same") for row in counts])
    # What the blur pushed off the grid goes back to its own state.
    blurred *= counts.sum(axis=1, keepdims=True) / blurred.sum(axis=1, keepdims=True)
    before, after = Trait(trait.nodes, counts / counts.sum()), Trait(trait.nodes, blurred / blurred.sum())
    return Trait(before.mean + (trait.nodes - after.mean) * (before.spread / after.spread), after.weight)


def regrid(trait: Trait, thresholds: FloatArray) -> Trait:
    """The same distribution on the grid of these thresholds: each node's mass goes to its two neighbours there."""
    nodes = _grid(thresholds, len(trait.nodes))
    spacing = nodes[1] - nodes[0]
    place = np.clip((trait.nodes - nodes[0]) / spacing, 0.0, len(nodes) - 1.0)
    left = np.minimum(place.astype(np.int64), len(nodes) - 2)
    share = place - left
    weight = np.array(
        [
            np.bincount(left, row * (1.0 - share), len(nodes)) + np.bincount(left + 1, row * share, len(nodes))
            for row in trait.weight
        ]
    )
    return Trait(nodes, (weight + _FLOOR) / (weight + _FLOOR).sum())


def refine(trait: Trait, typical_error: float) -> Trait:
    """The same prior on twice the nodes, where subjects are known better than the nodes lie apart."""
    if trait.spacing <= _RESOLUTION * typical_error or len(trait.nodes) >= _MOST_NODES:
        return trait
    nodes = np.linspace(trait.nodes[0], trait.nodes[-1], 2 * len(trait.nodes) - 1)
    weight = np.array([np.interp(nodes, trait.nodes, row) for row in trait.weight])
    weight *= trait.weight.sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    return Trait(nodes, weight)


def band_weights(trait: Trait, thresholds: FloatArray) -> FloatArray:
    """Share of each node's cell that lies in each grade's band, (n_nodes, n_levels), rows sum to 1."""
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    left = (trait.nodes - 0.5 * trait.spacing)[:, None]
    below = np.clip((edges - left) / trait.spacing, 0.0, 1.0)
    share: FloatArray = np.diff(below, axis=1)
    return share


def level_width(trait: Trait, thresholds: FloatArray) -> float:
    """Mean width of a level on the trait; with two levels, one standard deviation of the trait."""
    if len(thresholds) < 2:
        return max(trait.spread, 1e-3)
    return max(float(thresholds[-1] - thresholds[0]) / (len(thresholds) - 1), 1e-3)


def on_grade_scale(trait: Trait, thresholds: FloatArray) -> FloatArray:
    """Nodes in levels, (n_nodes,): the line between levels k - 1 and k lies at k - 0.5, straight in between.

    Beyond the outermost lines the scale goes on, bending so that it ends at -1 and at n_levels: the last level is
    open, and how far out a subject lies there says little.
    """
    lines = np.arange(len(thresholds)) + 0.5
    inside = np.interp(trait.nodes, thresholds, lines)
    beyond = trait.nodes - np.clip(trait.nodes, thresholds[0], thresholds[-1])
    levels: FloatArray = inside - _OUTER * np.sign(beyond) * np.expm1(
        -np.abs(beyond) / (_OUTER * level_width(trait, thresholds))
    )
    return levels
