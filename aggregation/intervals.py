"""How far a vote fraction may be from the chance behind it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from aggregation._votes import FloatArray, ratio


def wilson_interval(
    counts: npt.ArrayLike, n_voters: npt.ArrayLike, level: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Give the Wilson score interval of a vote fraction.

    With f = c / n and z the two-sided normal quantile of `level`, the bounds are
    ``(f + z²/2n ± z sqrt(f(1-f)/n + z²/4n²)) / (1 + z²/n)`` (Wilson 1927, J. Am. Stat. Assoc. 22, 209). Unlike
    f ± z·sigma it stays inside 0..1 and keeps its coverage for the few votes that a subject gets.

    Parameters
    ----------
    counts, n_voters
        Votes for the answer and votes in all; shapes that broadcast together.
    level
        Coverage, between 0 and 1.

    Returns
    -------
    low, high
        Float arrays of the broadcast shape; 0 and 1 where there is no vote (nothing is known).

    Examples
    --------
    >>> low, high = wilson_interval([10], [10])
    >>> round(float(low[0]), 3), float(high[0])
    (0.722, 1.0)
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    chosen, n = np.broadcast_arrays(np.asarray(counts, dtype=float), np.asarray(n_voters, dtype=float))
    if np.any(chosen < 0) or np.any(chosen > n):
        raise ValueError("each count must lie between 0 and its number of votes")
    z2 = float(ndtri(0.5 + level / 2.0)) ** 2
    # Everything times n, so that n = 0 needs no special case but the division at the end.
    middle = chosen + z2 / 2.0
    spread = np.sqrt(z2 * (ratio(chosen * (n - chosen), n, empty=0.0) + z2 / 4.0))
    return np.clip((middle - spread) / (n + z2), 0, 1), np.clip((middle + spread) / (n + z2), 0, 1)


def beta_interval(
    counts: npt.ArrayLike, n_voters: npt.ArrayLike, level: float = 0.95, prior: tuple[float, float] = (0.5, 0.5)
) -> tuple[FloatArray, FloatArray]:
    """Give the equal-tailed credible interval of the chance behind a vote fraction.

    The posterior of the chance that a volunteer gives the answer is ``Beta(c + a, n - c + b)``; with the default
    a = b = 1/2 this is Jeffreys' interval (Brown, Cai & DasGupta 2001, Stat. Sci. 16, 101). Where no vote was cast for
    the answer the lower bound is 0, and where all were the upper bound is 1.

    Parameters
    ----------
    counts, n_voters
        Votes for the answer and votes in all; shapes that broadcast together.
    level
        Probability inside, between 0 and 1.
    prior
        a and b, above 0: pseudo-votes for and against.

    Returns
    -------
    low, high
        Float arrays of the broadcast shape; 0 and 1 where there is no vote.

    Examples
    --------
    >>> low, high = beta_interval([10], [10])
    >>> round(float(low[0]), 3), float(high[0])
    (0.783, 1.0)
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if min(prior) <= 0:
        raise ValueError(f"prior must hold two numbers above 0, got {prior}")
    chosen, n = np.broadcast_arrays(np.asarray(counts, dtype=float), np.asarray(n_voters, dtype=float))
    if np.any(chosen < 0) or np.any(chosen > n):
        raise ValueError("each count must lie between 0 and its number of votes")
    tail = (1.0 - level) / 2.0
    a, b = chosen + prior[0], n - chosen + prior[1]
    low = np.where(chosen > 0, betaincinv(a, b, tail), 0.0)
    return low, np.where(chosen < n, betaincinv(a, b, 1.0 - tail), 1.0)
