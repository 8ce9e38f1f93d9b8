"""What a partition of the marks says of each group: object, decoy, or nothing but stray marks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregation._box_jurors import Testimony
from aggregation._box_model import RATES, STRAY, Scene, log_sum_exp, place_evidence
from aggregation._box_partition import segment_sums
from aggregation._box_search import Groups, collect
from aggregation._votes import FloatArray, IntArray


@dataclass(frozen=True)
class Belief:
    """Posterior of a scene under fixed parameters.

    Attributes
    ----------
    groups
        The groups of the partition.
    real, decoy, stray
        Probabilities of the three explanations of each group, (n_groups,) each; they sum to 1.
    real_bins, decoy_bins
        The first two spread over the detectability bins, (n_groups, n_bins).
    rates
        Posterior of each subject's rate of objects, (n_subjects, n_rates).
    missed_real, missed_decoys
        Expected objects and decoys that nobody marked, over the detectability bins, (n_subjects, n_bins).
    log_likelihood
        Of all marks of the scene.
    """

    groups: Groups
    real: FloatArray
    decoy: FloatArray
    stray: FloatArray
    real_bins: FloatArray
    decoy_bins: FloatArray
    rates: FloatArray
    missed_real: FloatArray
    missed_decoys: FloatArray
    log_likelihood: float


def believe(scene: Scene, group: IntArray, testimony: Testimony | None = None) -> Belief:
    """Posterior of every group, given the partition.

    An object with detectability d is marked by volunteer w with probability ``a_w d``; objects of one subject are a
    Poisson process of a rate of the subject's own, whose prior is a set of weights on `RATES`; decoys and strays
    are Poisson processes of given rates. Given the rate groups are independent, so that with the evidences R, D and
    S of the three explanations ``P(real | rate) = rate·R / (rate·R + D + S)``, averaged over the rate's posterior:
    on a subject with many clear objects a doubtful group is more likely to be one too.
    """
    population = scene.population
    groups = collect(scene, group)
    pattern = scene.unseen[groups.subject] + groups.seen
    where = place_evidence(groups.sums, population)
    real, real_bins = _over_bins(pattern, population.real)
    decoy, decoy_bins = _over_bins(pattern, population.decoy)
    real, decoy, stray = where + real, where + decoy + np.log(population.decoy_rate), groups.sums[:, STRAY]
    if testimony is not None:
        real, decoy, stray = real + testimony.real, decoy + testimony.decoy, stray + testimony.stray
    other = np.logaddexp(decoy, stray)
    each = np.logaddexp(np.log(RATES) + real[:, np.newaxis], other[:, np.newaxis])
    unmarked = np.exp(scene.unseen)
    shown = 1.0 - unmarked @ population.real
    joint = np.log(population.rate_weights) - shown[:, np.newaxis] * RATES
    joint = joint + segment_sums(each, groups.subject, len(unmarked))
    evidence = log_sum_exp(joint)
    rates = np.exp(joint - evidence[:, np.newaxis])
    odds = np.exp(np.log(RATES) + real[:, np.newaxis] - each)
    p_real = np.minimum((rates[groups.subject] * odds).sum(axis=1), 1.0)
    p_decoy = (1.0 - p_real) * np.exp(decoy - other)
    missed_real = (rates @ RATES)[:, np.newaxis] * unmarked * population.real
    if testimony is not None:
        missed_real = testimony.correct_missed(missed_real, unmarked * population.real)
    return Belief(
        groups=groups,
        real=p_real,
        decoy=p_decoy,
        stray=np.maximum(1.0 - p_real - p_decoy, 0.0),
        real_bins=real_bins * p_real[:, np.newaxis],
        decoy_bins=decoy_bins * p_decoy[:, np.newaxis],
        rates=rates,
        missed_real=missed_real,
        missed_decoys=population.decoy_rate * unmarked * population.decoy,
        log_likelihood=float(evidence.sum()),
    )


def _over_bins(pattern: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log Σ_d weight(d) exp(pattern), and the share of each bin d in it."""
    terms = pattern + np.log(weights)
    total = log_sum_exp(terms)
    return total, np.exp(terms - total[:, np.newaxis])
