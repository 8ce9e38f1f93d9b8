"""What a fitted grade model says of each subject and each grader besides the posterior over grades."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from aggregation._ordinal_fit import Model, block_posterior, node_error, state_evidence
from aggregation._ordinal_table import Table
from aggregation._ordinal_trait import level_width, on_grade_scale
from aggregation._votes import FloatArray

#: A grader this much less sharp than the typical one has no measurable leniency: it fades to 0.
_LEAST_SLOPE = 0.2


class Summary(NamedTuple):
    """Of each subject: mean and standard deviation of the trait in levels, and surprise, each (n_subjects,)."""

    rank: FloatArray
    rank_error: FloatArray
    surprise: FloatArray


def summarise(table: Table, model: Model) -> Summary:
    """Rank and surprise under the final model.

    The surprise is ``(sum_v -log P(y_v) - E[..]) / sd[..]`` over the votes v of a subject, averaged over what is
    known of it: E and sd are what a vote of the same grader on the same subject gives on average.
    """
    n_subjects = table.votes.n_subjects
    rank, error, excess, variance = (np.zeros(n_subjects) for _ in range(4))
    log_cells = model.log_cells()
    levels = on_grade_scale(model.trait, model.thresholds)
    beyond, spread = _surprise_of_levels(log_cells.reshape(-1, table.n_levels, len(levels)))
    evidence = state_evidence(table, model)
    beyond_state, spread_state = _surprise_of_states(table, model)
    for rows, block in table.rows():
        nodes, states, _ = block_posterior(block @ log_cells, evidence[rows], model.trait)
        weight = nodes * (states @ model.trait.weight)
        state = states * (nodes @ model.trait.weight.T)
        rank[rows], error[rows] = weight @ levels, node_error(weight, levels)
        excess[rows] = (weight * (block @ beyond)).sum(axis=1) + (state * beyond_state[rows]).sum(axis=1)
        variance[rows] = (weight * (block @ spread)).sum(axis=1) + (state * spread_state[rows]).sum(axis=1)
    surprise = np.divide(excess, np.sqrt(variance), out=np.zeros(n_subjects), where=variance > 1e-12)
    return Summary(rank, error, surprise)


def _surprise_of_levels(log_response: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cells of ``-log P - entropy`` and of its variance, by grader, level and node; none for the gold standard."""
    probability = np.exp(log_response)
    entropy = -(probability * log_response).sum(axis=1, keepdims=True)
    variance = (probability * log_response**2).sum(axis=1, keepdims=True) - entropy**2
    beyond = -log_response - entropy
    spread = np.broadcast_to(np.maximum(variance, 0.0), beyond.shape).copy()
    beyond[-1] = spread[-1] = 0.0
    shape = (-1, log_response.shape[2])
    return beyond.reshape(shape), spread.reshape(shape)


def _surprise_of_states(table: Table, model: Model) -> tuple[FloatArray, FloatArray]:
    """The same of giving the escape grade or not, by subject and state, (n_subjects, n_states)."""
    if not table.escape:
        return np.zeros((table.votes.n_subjects, 1)), np.zeros((table.votes.n_subjects, 1))
    rate, log_rates = model.rates, model.log_rates().reshape(-1, 2, 2)
    entropy = -(xlogy(rate, rate) + xlogy(1.0 - rate, 1.0 - rate))
    variance = rate * (1.0 - rate) * (log_rates[:, 1] - log_rates[:, 0]) ** 2
    cells = (-log_rates - entropy[:, None]).reshape(-1, 2)
    return table.escapes @ cells, table.escapes @ np.repeat(variance, 2, axis=0)


def grader_traits(model: Model) -> tuple[FloatArray, FloatArray]:
    """Sharpness (inverse noise) and leniency of each grader in levels, each (n_graders,).

    Leniency is the mean distance from a grader's own lines down from the crowd's.
    """
    width = level_width(model.trait, model.thresholds)
    slope, cuts = model.coefficients[:, 0], model.coefficients[:, 1:]
    shift = (slope[:, None] * model.thresholds - cuts).mean(axis=1)
    leniency: FloatArray = shift * slope / (slope**2 + _LEAST_SLOPE**2) / width
    return slope * width, leniency
