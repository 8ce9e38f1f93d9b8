"""Logits to probabilities that mean what they say: Platt scaling."""

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 100
SMALL_STEP = 1e-9


def platt(logits: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset such that logistic(slope · logit + offset) is calibrated on the given examples.

    Maximum likelihood with Platt's smoothed targets (Platt 1999; Newton's method after Lin, Lin & Weng 2007), which
    keep the fit finite when the classes separate. Logits must come from stamps that the head was not fitted on.

    Parameters
    ----------
    logits : (n,) float
    is_positive : (n,) bool, with at least one of each kind

    Raises
    ------
    ValueError
        When one kind is missing: there is nothing to calibrate on.
    """
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not n_positive or not n_negative:
        raise ValueError("calibration needs examples of both kinds")
    target = np.where(is_positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([0.0, np.log((n_positive + 1) / (n_negative + 1))])
    for _ in range(MOST_STEPS):
        probability = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (target - probability)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        step *= min(
            1.0, 2.0 / max(np.abs(step).max(), SMALL_STEP)
        )  # a full Newton step may overshoot far from the optimum
        weights = weights + step
        if np.abs(step).max() < SMALL_STEP:
            break
    return float(weights[0]), float(weights[1])
