"""EM of the ordinal grade model: grades on a latent trait, beside it an escape class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from aggregation._ordinal_responses import (
    STRENGTHS,
    Crowd,
    Rows,
    bend,
    consensus,
    fit_coefficients,
    fit_crowd,
    fit_rows,
    level_probability,
)
from aggregation._ordinal_table import Table
from aggregation._ordinal_trait import Trait, band_weights, fit_trait, normal_trait, refine, regrid
from aggregation._votes import FloatArray, count

#: Sharpness of the gold standard: its line between two grades is this wide on the trait.
_GOLD_WIDTH = 0.2
#: Smoothing of the trait's distribution, in nodes: for a trait that is a matter of degree, and for one that is of
#: several distinct kinds, if the votes bear them out.
_BLURS = (1.0, 0.3)
#: Steps after which the second must have brought this share of the log-likelihood that it needs, or is given up.
_TRIAL, _PROMISING = 10, 0.1
#: Share of subjects in the escape class before any is known.
_PRIOR_ESCAPE = 0.1
#: Votes that the crowd's rate of the escape grade is worth against a grader's own. Then, for subjects on the scale
#: and for those of the escape class: the first rate, and the prior of the crowd's rate as (escape given, votes).
_RATE_STRENGTH = 4.0
_FIRST_RATES = (0.05, 0.6)
_RATE_PRIOR = ((0.1, 10.0), (3.0, 5.0))


class Start(NamedTuple):
    """What is assumed before any vote, and keeps the weight of a grader and of a few subjects afterwards."""

    crowd: Crowd
    trait_mean: float
    states: FloatArray


class Model(NamedTuple):
    """Everything that is estimated.

    Attributes
    ----------
    trait
        Prior weight of nodes and states.
    coefficients
        Slope and cut points of each grader (n_graders, n_levels); `crowd` is their distribution.
    slips
        How often each level is given by mistake (n_levels,).
    thresholds
        Lines between the true grades on the trait (n_levels - 1,).
    rows
        Correction of the probit.
    blur
        Smoothing of the trait's distribution, in nodes.
    rates
        P(grader j gives the escape grade | state), (n_graders, n_states); empty without an escape class.
    """

    trait: Trait
    coefficients: FloatArray
    crowd: Crowd
    start: Start
    slips: FloatArray
    thresholds: FloatArray
    rows: Rows | None
    blur: float
    rates: FloatArray
    crowd_rates: FloatArray

    @property
    def row_strength(self) -> float:
        """Votes that the probit is worth in a grader's row of the confusion matrix; infinite before the first step."""
        return np.inf if self.rows is None else float(STRENGTHS[self.rows.strength])

    def log_cells(self) -> FloatArray:
        """Log P(grade | node) of each grader and level, the gold standard last, ((n_graders + 1) n_levels, n_nodes)."""
        own = self.log_responses(band_weights(self.trait, self.thresholds))
        whole: FloatArray = np.concatenate([own, gold_response(self.thresholds, self.trait)[None]])
        return whole.reshape(-1, len(self.trait.nodes))

    def log_rates(self) -> FloatArray:
        """Log P(another grade, the escape grade | state), (2 n_graders, n_states): rows as columns of `escapes`."""
        both = np.stack([np.log1p(-self.rates), np.log(self.rates)], axis=1)
        return both.reshape(2 * len(self.rates), len(self.crowd_rates))

    def log_responses(self, bands: FloatArray) -> FloatArray:
        """Log P(grader says level | node), (n_graders, n_levels, n_nodes)."""
        probability = level_probability(self.coefficients, self.trait.nodes, self.slips)
        return np.log(probability if self.rows is None else bend(probability, self.rows, bands))


class Expected(NamedTuple):
    """Outcome of an E-step: posterior (n_subjects, n_grades) and the soft counts that the M-step needs."""

    posterior: FloatArray
    soft: FloatArray
    soft_trait: FloatArray
    error: float
    log_likelihood: float


def starting_model(table: Table) -> Model:
    """A normal trait, and graders of one sharpness whose cut points give the grades that they gave."""
    votes, n_levels = table.votes, table.n_levels
    on_scale = votes.answer < n_levels
    cells = count(votes.volunteer[on_scale] * n_levels + votes.answer[on_scale], table.n_graders * n_levels)
    own = cells.reshape(table.n_graders, n_levels).astype(float)
    slips = (own.sum(axis=0) + 1.0) / (own.sum() + n_levels)
    frequency = np.vstack([own + 4.0 * slips, slips])  # the last row is the crowd
    frequency /= frequency.sum(axis=1, keepdims=True)
    at_least = np.cumsum(frequency[:, :0:-1], axis=1)[:, ::-1]
    cuts = -np.sqrt(2.0) * ndtri(np.clip(at_least, 1e-4, 1 - 1e-4))  # trait and noise both have variance 1
    cuts = np.maximum.accumulate(cuts, axis=1) + 1e-2 * np.arange(n_levels - 1)
    middle = float(cuts[-1].mean())
    cuts -= middle  # the origin of the trait: the middle of the lines between grades
    coefficients = np.column_stack([np.ones(len(cuts)), cuts])
    crowd = Crowd(coefficients[-1], np.diag(np.r_[0.25, np.ones(n_levels - 1)]))
    thresholds = crowd.mean[1:]
    states = np.array([1.0 - _PRIOR_ESCAPE, _PRIOR_ESCAPE]) if table.escape else np.ones(1)
    rates = np.array(_FIRST_RATES) if table.escape else np.empty(0)
    return Model(
        trait=normal_trait(thresholds, -middle, states),
        coefficients=coefficients[:-1],
        crowd=crowd,
        start=Start(crowd, -middle, states),
        slips=slips,
        thresholds=thresholds,
        rows=None,
        blur=_BLURS[0],
        rates=np.tile(rates, (table.n_graders, 1)),
        crowd_rates=rates,
    )


def gold_response(thresholds: FloatArray, trait: Trait) -> FloatArray:
    """Log P(gold grade | node), (n_levels, n_nodes): the band that the node is in, its edges a little soft."""
    sharp = np.r_[1.0, thresholds][None] / _GOLD_WIDTH
    slips = np.full(len(thresholds) + 1, 1.0 / (len(thresholds) + 1))
    response: FloatArray = np.log(level_probability(sharp, trait.nodes, slips)[0])
    return response


def state_evidence(table: Table, model: Model) -> FloatArray:
    """Log P(which votes are for the escape class | state), (n_subjects, n_states); gold rules one state out."""
    if not table.escape:
        return np.zeros((table.votes.n_subjects, 1))
    evidence: FloatArray = table.escapes @ model.log_rates()
    evidence[(table.gold >= 0) & (table.gold < table.n_levels), 1] = -np.inf
    evidence[table.gold == table.n_levels, 0] = -np.inf
    return evidence


def expectation(table: Table, model: Model) -> Expected:
    """E-step, block by block: only the posterior over grades is kept of each subject."""
    bands = band_weights(model.trait, model.thresholds)
    log_cells = model.log_cells()
    evidence = state_evidence(table, model)
    posterior = np.empty((table.votes.n_subjects, table.n_levels + int(table.escape)))
    soft, soft_trait = np.zeros(log_cells.shape), np.zeros(model.trait.weight.shape)
    log_likelihood, errors = 0.0, []
    for rows, block in table.rows():
        nodes, states, log_total = block_posterior(block @ log_cells, evidence[rows], model.trait)
        log_likelihood += float(log_total.sum())
        weighted = nodes * (states @ model.trait.weight)
        soft += block.T @ weighted
        counted = table.counted[rows]
        soft_trait += model.trait.weight * (states[counted].T @ nodes[counted])
        posterior[rows] = grade_posterior(nodes, states, model.trait, bands)
        errors.append(node_error(weighted[counted], model.trait.nodes))
    error = float(np.median(np.concatenate(errors))) if errors and table.counted.any() else np.inf
    return Expected(posterior, soft.reshape(-1, table.n_levels, log_cells.shape[1]), soft_trait, error, log_likelihood)


def block_posterior(
    log_likelihood: FloatArray, evidence: FloatArray, trait: Trait
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Factors whose product is the posterior, ``T[i, e, q] = states[i, e] weight[e, q] nodes[i, q]``.

    Also returns the log of each subject's total evidence. One exponential serves both states.
    """
    top = log_likelihood.max(axis=1, keepdims=True)
    nodes = np.exp(log_likelihood - top)
    top_state = evidence.max(axis=1, keepdims=True)
    states = np.exp(evidence - top_state)
    total = (states * (nodes @ trait.weight.T)).sum(axis=1, keepdims=True)
    return nodes, states / total, (top + top_state + np.log(total))[:, 0]


def grade_posterior(nodes: FloatArray, states: FloatArray, trait: Trait, bands: FloatArray) -> FloatArray:
    """P(grade), (n, n_grades): the mass between the lines in the first state, and that of the escape state."""
    levels: FloatArray = (nodes @ (trait.weight[0, :, None] * bands)) * states[:, :1]
    return np.hstack([levels, (nodes @ trait.weight[1:].T) * states[:, 1:]])


def node_error(weight: FloatArray, nodes: FloatArray) -> FloatArray:
    """Posterior standard deviation of the trait, (n,), from normalised weights (n, n_nodes)."""
    mean = weight @ nodes
    out: FloatArray = np.sqrt(np.maximum(weight @ nodes**2 - mean**2, 0.0))
    return out


def maximisation(table: Table, model: Model, expected: Expected) -> Model:
    """M-step: graders, crowd, thresholds, trait, corrected rows, escape rates."""
    soft = expected.soft[:-1]
    nodes = model.trait.nodes
    coefficients, covariances = fit_coefficients(model.coefficients, soft, nodes, model.slips, model.crowd)
    heard, before = table.heard, Crowd(model.start.crowd.mean, model.crowd.covariance)
    crowd = fit_crowd(coefficients[heard], covariances[heard], before)
    slope, thresholds = consensus(coefficients[heard], model.trait.spread, model.start.crowd)
    thresholds = _heed_gold(thresholds, model, crowd, expected.soft[-1])
    probit = level_probability(coefficients, nodes, model.slips)
    bands = band_weights(model.trait, thresholds)
    rows = fit_rows(soft, probit, model.trait.weight.sum(axis=0), bands, model.rows)
    rates, crowd_rates = _fit_rates(table, model, expected.posterior)
    fitted = model._replace(
        trait=fit_trait(model.trait, expected.soft_trait, model.start.trait_mean, model.start.states, model.blur),
        coefficients=coefficients,
        crowd=crowd,
        thresholds=thresholds,
        rows=rows,
        rates=rates,
        crowd_rates=crowd_rates,
    )
    return _rescaled(fitted, slope)


def _rescaled(model: Model, slope: float) -> Model:
    """The same model in its own units: a typical grader's noise is 1, and the middle of the lines is 0.

    Votes cannot tell one origin and unit of the trait from another; without fixed ones, trait and slopes would drift
    against each other and away from their prior.
    """
    origin = float(model.thresholds.mean())
    change = np.eye(len(model.crowd.mean))
    change[0, 0] = 1.0 / slope
    change[1:, 0] = -origin
    crowd = Crowd(change @ model.crowd.mean, change @ model.crowd.covariance @ change.T)
    thresholds = (model.thresholds - origin) * slope
    moved = model.trait._replace(nodes=(model.trait.nodes - origin) * slope)
    return model._replace(
        trait=regrid(moved, thresholds),
        coefficients=model.coefficients @ change.T,
        crowd=crowd,
        thresholds=thresholds,
    )


def _heed_gold(thresholds: FloatArray, model: Model, crowd: Crowd, soft: FloatArray) -> FloatArray:
    """Move the lines to where the gold standard draws them, as far as its subjects can tell.

    The gold standard is a grader of fixed sharpness whose cut points are as far from the crowd's as a grader's are.
    """
    if not soft.any():
        return thresholds
    size = len(thresholds) + 1
    centre = np.r_[1.0, thresholds] / _GOLD_WIDTH
    spread = crowd.covariance[1:, 1:] / (max(crowd.mean[0], 0.1) * _GOLD_WIDTH) ** 2
    covariance = np.diag(np.r_[1e-8, np.zeros(size - 1)])
    covariance[1:, 1:] = spread
    now = np.r_[1.0, model.thresholds][None] / _GOLD_WIDTH
    slips = np.full(size, 1.0 / size)
    fitted, _ = fit_coefficients(now, soft[None], model.trait.nodes, slips, Crowd(centre, covariance))
    moved: FloatArray = fitted[0, 1:] * _GOLD_WIDTH
    return moved


def _fit_rates(table: Table, model: Model, posterior: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rate of the escape grade by grader and state, each shrunk to the crowd's rate."""
    if not table.escape:
        return model.rates, model.crowd_rates
    escape = posterior[:, -1]
    soft = (table.escapes.T @ np.column_stack([1.0 - escape, escape])).reshape(table.n_graders, 2, 2)
    rates, crowd_rates = np.empty_like(model.rates), np.empty(2)
    for state in (0, 1):
        given, seen = soft[:, 1, state], soft[:, :, state].sum(axis=1)
        prior_given, prior_seen = _RATE_PRIOR[state]
        mean = (given.sum() + prior_given) / (seen.sum() + prior_seen)
        crowd_rates[state] = mean
        rates[:, state] = (given + _RATE_STRENGTH * mean) / (seen + _RATE_STRENGTH)
    return rates, crowd_rates


class Fit(NamedTuple):
    """The model that EM ended with, and the E-step that belongs to it."""

    model: Model
    expected: Expected
    n_iterations: int
    converged: bool


def fit(table: Table, max_iterations: int, tolerance: float) -> Fit:
    """EM with a smooth distribution of the trait, then with a bare one; the better by Akaike's criterion.

    Bare, each node is a parameter, so the log-likelihood must gain one for each.
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    smooth = _settle(table, starting_model(table), max_iterations, tolerance)
    needed = len(smooth.model.trait.nodes)
    bare = _settle(table, smooth.model._replace(blur=_BLURS[1]), min(_TRIAL, max_iterations), tolerance)
    steps = smooth.n_iterations + bare.n_iterations
    if _gain(bare, smooth) > _PROMISING * needed and not bare.converged and max_iterations > _TRIAL:
        bare = _settle(table, bare.model, max_iterations - _TRIAL, tolerance)
        steps += bare.n_iterations
    better = bare if _gain(bare, smooth) > needed else smooth
    return better._replace(n_iterations=steps)


def _gain(after: Fit, before: Fit) -> float:
    return after.expected.log_likelihood - before.expected.log_likelihood


def _settle(table: Table, model: Model, max_iterations: int, tolerance: float) -> Fit:
    """Repeat M and E until the posterior stands still, on a grid fine enough for what is known of the subjects.

    A bare distribution keeps its grid: it makes subjects look better known than any grid resolves.
    """
    expected = expectation(table, model)
    for n_iterations in range(1, max_iterations + 1):
        model = maximisation(table, model, expected)
        last, expected = expected.posterior, expectation(table, model)
        moved = np.abs(expected.posterior - last).sum(axis=1)[table.informed]
        change = float(moved.mean()) / 2 if len(moved) else 0.0
        if n_iterations == max_iterations:
            return Fit(model, expected, n_iterations, change <= tolerance)
        if change <= tolerance:
            finer = refine(model.trait, expected.error) if model.blur == _BLURS[0] else model.trait
            if finer is model.trait:
                return Fit(model, expected, n_iterations, True)
            model = model._replace(trait=finer)
            expected = expectation(table, model)
    raise AssertionError("unreachable: the last iteration returns")
