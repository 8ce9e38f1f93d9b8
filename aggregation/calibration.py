"""Calibration maps: probabilities corrected by what the gold standard says they were worth.

A map is learnt from the posterior of gold subjects, made *without* their gold answers. Which kind of map is chosen,
and what the gold subjects themselves are told, is decided out of fold, so that neither flatters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import expit

from aggregation import metrics
from aggregation._votes import BoolArray, FloatArray, IntArray, check_gold, count, ratio

#: From the fewest to the most parameters: among kinds that gold cannot tell apart, the first is chosen.
CALIBRATIONS = ("identity", "temperature", "beta", "isotonic")
#: Gold subjects below which nothing is learnt.
MIN_GOLD = 20
#: Gold subjects of an answer, and of the others together, below which its own curve is not learnt.
MIN_PER_ANSWER = 5

#: Probabilities enter logarithms no smaller than this: below the retirement threshold of any lens search.
_CLIP = 1e-12
#: Decimals to which ln p must agree to count as equal: sums taken in another order differ beyond.
_SAME = 9
#: Of the temperature and the beta map: how far a parameter may stray before gold has spoken (standard deviations
#: of log T, of a - 1 and b - 1, and of c).
_SPREAD_TEMPERATURE = 1.0
_SPREAD_BETA = np.array([0.5, 0.5, 2.0])


@dataclass(frozen=True)
class CalibrationMap:
    """Result of `fit_calibration`; `apply` corrects a posterior with it.

    Attributes
    ----------
    kind
        One of `CALIBRATIONS`.
    n_answers
        Columns of the posteriors it applies to.
    n_gold
        Gold subjects it learnt from.
    reason
        Why the map is what it is, in words: the comparison of the kinds, or why nothing could be learnt.
    log_loss
        Out-of-fold log loss of each kind that was tried; empty if none was.
    temperature
        T of ``p^(1/T)``; 1 unless the kind is "temperature".
    beta
        a, b and c of each answer, float (n_answers, 3); 1, 1, 0 unless the kind is "beta".
    knots
        Points (posterior, calibrated) of each answer between which it is interpolated, float (2, n_knots) each;
        empty unless the kind is "isotonic".
    learnt
        Whether the answer has a curve of its own, bool (n_answers,); an answer without keeps its probability until
        the row is normalised.
    """

    kind: str
    n_answers: int
    n_gold: int
    reason: str
    log_loss: dict[str, float]
    temperature: float
    beta: FloatArray
    knots: tuple[FloatArray, ...]
    learnt: BoolArray

    def apply(self, posterior: npt.ArrayLike) -> FloatArray:
        """Calibrated posterior, float (n_subjects, n_answers), rows sum to 1; the identity changes nothing."""
        p = _check_posterior(posterior)
        if p.shape[1] != self.n_answers:
            raise ValueError(f"the map is for {self.n_answers} answers, the posterior has {p.shape[1]}")
        if self.kind == "identity" or not p.size:
            return p.copy()
        if self.kind == "temperature":
            return _heat(p, self.temperature)
        curves = [self._curve(k, p[:, k]) if self.learnt[k] else p[:, k] for k in range(self.n_answers)]
        return _normalise(np.stack(curves, axis=1))

    def to_dict(self) -> dict[str, Any]:
        """The map in lists and numbers, for a JSON column; `from_dict` reads it."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {"beta": self.beta.tolist(), "knots": [k.tolist() for k in self.knots], "learnt": self.learnt.tolist()}
        return plain | arrays

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CalibrationMap:
        """Inverse of `to_dict`."""
        arrays = {
            "beta": np.asarray(stored["beta"], dtype=float).reshape(-1, 3),
            "knots": tuple(np.asarray(each, dtype=float) for each in stored["knots"]),
            "learnt": np.asarray(stored["learnt"], dtype=bool),
        }
        return cls(**{**stored, **arrays})

    def _curve(self, answer: int, p: FloatArray) -> FloatArray:
        if self.kind == "beta":
            return np.asarray(expit(_beta_features(p) @ self.beta[answer]))
        return np.interp(p, *self.knots[answer])


@dataclass(frozen=True)
class Calibrated:
    """Result of `cross_calibrated`.

    Attributes
    ----------
    posterior
        Float (n_subjects, n_answers), rows sum to 1: of a gold subject by a map that was learnt without it, of the
        others by `map`.
    map
        Learnt from all gold; for subjects to come.
    """

    posterior: FloatArray
    map: CalibrationMap


class _Gold(NamedTuple):
    """Posterior and truth of the gold subjects."""

    p: FloatArray
    true: IntArray

    @property
    def n(self) -> int:
        return len(self.true)

    def take(self, rows: BoolArray) -> _Gold:
        return _Gold(self.p[rows], self.true[rows])


def fit_calibration(
    posterior: npt.ArrayLike, gold: npt.ArrayLike, kind: str = "auto", *, folds: int = 5, seed: int = 0
) -> CalibrationMap:
    """Learn a calibration map from gold.

    - ``"temperature"``: ``p_k^(1/T)``, normalised; one number for all answers (Guo et al. 2017, ICML).
    - ``"beta"``: ``logit q_k = a_k ln p_k - b_k ln(1 - p_k) + c_k``, a and b not negative, each answer against the
      rest, then normalised (Kull et al. 2017, AISTATS, 54, 623).
    - ``"isotonic"``: the best increasing curve of each answer against the rest (Zadrozny & Elkan 2002, KDD), each
      step shrunk by one subject at the answer's overall frequency so that no step says 0 or 1, joined by straight
      lines, then normalised. Constant beyond its outermost steps: it ties what lies there, rare lenses too.
    - ``"auto"``: of these and the identity the one with the best out-of-fold log loss; a simpler one instead if it
      is no worse by more than one standard error.

    Parameters are held near the identity by a prior that twenty gold subjects balance.

    Parameters
    ----------
    posterior
        Float (n_subjects, n_answers), rows sum to 1, made without the gold answers: a posterior that is clamped to
        gold has nothing to teach.
    gold
        Known answers, int (n_subjects,), -1 where unknown.
    kind
        As above.
    folds
        Of the cross-validation, which is stratified by answer and posterior.
    seed
        Of the division into folds.

    Returns
    -------
    CalibrationMap
        The identity, with its reason, where there is too little gold: fewer than 20 subjects, or fewer than 5 of
        every answer but one.

    Examples
    --------
    >>> posterior = np.repeat([[0.99, 0.01], [0.01, 0.99]], 50, axis=0)
    >>> gold = np.repeat([0, 1, 1, 0], [40, 10, 40, 10])       # 99 % promised, 80 % delivered
    >>> fit_calibration(posterior, gold, "temperature").apply([[0.99, 0.01]]).round(2)
    array([[0.81, 0.19]])
    """
    p, known = _check(posterior, gold, kind, folds)
    return _fit(_Gold(p[known >= 0], known[known >= 0]), kind, folds, seed)


def cross_calibrated(
    posterior: npt.ArrayLike, gold: npt.ArrayLike, kind: str = "auto", *, folds: int = 5, seed: int = 0
) -> Calibrated:
    """Calibrate a posterior so that it stays honest on the gold subjects that teach the calibration.

    Each gold subject gets the map that was learnt (and whose kind was chosen) without its fold; every other subject
    gets the map learnt from all gold. Diagnostics of the gold rows then say what the others are worth.

    Parameters are those of `fit_calibration`.

    Returns
    -------
    Calibrated

    Examples
    --------
    >>> result = cross_calibrated([[0.9, 0.1], [0.3, 0.7]], [0, -1])
    >>> result.map.kind, result.map.reason
    ('identity', '1 gold subjects are fewer than 20')
    """
    p, known = _check(posterior, gold, kind, folds)
    rows = np.flatnonzero(known >= 0)
    all_gold = _Gold(p[rows], known[rows])
    fitted = _fit(all_gold, kind, folds, seed)
    calibrated = fitted.apply(p)
    if all_gold.n:
        out_of_fold = np.empty_like(all_gold.p)
        for held_out in _folds(all_gold, folds, seed):
            part = _fit(all_gold.take(~held_out), kind, folds, seed)
            out_of_fold[held_out] = part.apply(all_gold.p[held_out])
        calibrated[rows] = _mean_of_twins(all_gold, out_of_fold)
    return Calibrated(calibrated, fitted)


def _mean_of_twins(gold: _Gold, out_of_fold: FloatArray) -> FloatArray:
    """Mean over gold subjects with the same posterior and answer, so that it does not matter which came first.

    A map without one of them could as well be the map without any other: no subject sees itself in the mean.
    """
    alike = np.column_stack([gold.true, _rounded(gold.p)])
    _, twins = np.unique(alike, axis=0, return_inverse=True)
    total = np.stack([np.bincount(twins, weights=column) for column in out_of_fold.T], axis=1)
    return ratio(total, count(twins, len(total))[:, np.newaxis])[twins]


def _check(posterior: npt.ArrayLike, gold: npt.ArrayLike, kind: str, folds: int) -> tuple[FloatArray, IntArray]:
    p = _check_posterior(posterior)
    if kind != "auto" and kind not in CALIBRATIONS:
        raise ValueError(f"kind must be auto or one of {', '.join(CALIBRATIONS)}; got {kind!r}")
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    return p, check_gold(gold, len(p), p.shape[1])


def _check_posterior(posterior: npt.ArrayLike) -> FloatArray:
    p = np.asarray(posterior, dtype=float)
    if p.ndim != 2:
        raise ValueError(f"the posterior must have the shape (n_subjects, n_answers), not {p.shape}")
    wrong = np.flatnonzero(~((p >= 0.0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) < 1e-6)))
    if wrong.size and p.shape[1]:
        raise ValueError(
            f"posterior[{int(wrong[0])}] is {p[wrong[0]].tolist()}: probabilities that sum to 1 are needed"
        )
    return p


def _fit(gold: _Gold, kind: str, folds: int, seed: int) -> CalibrationMap:
    """`fit_calibration` of checked gold."""
    too_little = _too_little(gold)
    if too_little or kind == "identity":
        return _identity(gold, too_little or "as asked")
    if kind != "auto":
        return _fit_kind(gold, kind, "as asked", {})
    losses = _out_of_fold_losses(gold, folds, seed)
    best = min(losses, key=lambda each: float(losses[each].mean()))
    chosen = next(each for each in CALIBRATIONS if _no_worse(losses[each], losses[best]))
    reason = f"out-of-fold log loss {losses[chosen].mean():.3f}, uncalibrated {losses['identity'].mean():.3f}"
    if chosen != best:
        reason += f"; {best} ({losses[best].mean():.3f}) is better by less than one standard error"
    return _fit_kind(gold, chosen, reason, {each: float(loss.mean()) for each, loss in losses.items()})


def _no_worse(loss: FloatArray, best: FloatArray) -> bool:
    """Whether the mean loss exceeds the best one's by at most one standard error of their difference."""
    excess = loss - best
    return bool(excess.mean() <= excess.std() / np.sqrt(len(excess)))


def _too_little(gold: _Gold) -> str:
    """Why nothing can be learnt, or ''."""
    if gold.n < MIN_GOLD:
        return f"{gold.n} gold subjects are fewer than {MIN_GOLD}"
    n_true = count(gold.true, gold.p.shape[1])
    if (n_true >= MIN_PER_ANSWER).sum() < 2:
        return f"gold has {MIN_PER_ANSWER} subjects of fewer than two answers"
    return ""


def _out_of_fold_losses(gold: _Gold, folds: int, seed: int) -> dict[str, FloatArray]:
    """Log loss of every gold subject under each kind, learnt without its fold."""
    losses = {kind: np.empty(gold.n) for kind in CALIBRATIONS}
    for held_out in _folds(gold, folds, seed):
        train, test = gold.take(~held_out), gold.take(held_out)
        for kind, loss in losses.items():
            q = _fit_kind(train, kind, "", {}).apply(test.p)[np.arange(test.n), test.true]
            loss[held_out] = -np.log(np.clip(q, metrics.LOG_LOSS_CLIP, 1.0))
    return losses


def _rounded(p: FloatArray) -> FloatArray:
    return np.asarray(np.round(np.log(np.maximum(p, _CLIP)), _SAME), dtype=np.float64)


def _folds(gold: _Gold, folds: int, seed: int) -> Iterator[BoolArray]:
    """Gold subjects of each fold, bool (n_gold,).

    Subjects are ranked by answer and posterior and each run of `folds` of them is dealt out at random, one to a
    fold. So the folds are alike, and do not depend on the order in which the subjects came, but for equal rows.
    """
    order = np.lexsort((*_rounded(gold.p).T[::-1], gold.true))
    rng = np.random.default_rng(seed)
    deals = rng.permuted(np.tile(np.arange(folds), (-(-gold.n // folds), 1)), axis=1).ravel()
    fold = np.empty(gold.n, dtype=np.int64)
    fold[order] = deals[: gold.n]
    for each in np.unique(fold).tolist():
        yield fold == each


def _identity(gold: _Gold, reason: str) -> CalibrationMap:
    return _fit_kind(gold, "identity", reason, {})


def _fit_kind(gold: _Gold, kind: str, reason: str, log_loss: dict[str, float]) -> CalibrationMap:
    n_answers = gold.p.shape[1]
    n_true = count(gold.true, n_answers)
    learnt = np.minimum(n_true, gold.n - n_true) >= MIN_PER_ANSWER
    temperature = 1.0
    beta = np.tile([1.0, 1.0, 0.0], (n_answers, 1))
    knots: tuple[FloatArray, ...] = ()
    if kind == "temperature":
        temperature = _fit_temperature(gold)
    elif kind == "beta":
        for answer in np.flatnonzero(learnt):
            beta[answer] = _fit_beta(gold.p[:, answer], gold.true == answer)
    elif kind == "isotonic":
        nothing = np.empty((2, 0))
        knots = tuple(_fit_isotonic(gold.p[:, k], gold.true == k) if learnt[k] else nothing for k in range(n_answers))
    learnt = learnt if kind in ("beta", "isotonic") else np.full(n_answers, kind == "temperature")
    return CalibrationMap(kind, n_answers, gold.n, reason, log_loss, temperature, beta, knots, learnt)


def _normalise(q: FloatArray) -> FloatArray:
    """Rows that sum to 1; a row of zeros becomes uniform."""
    return ratio(q, q.sum(axis=1, keepdims=True), empty=1.0 / q.shape[1])


def _heat(p: FloatArray, temperature: float) -> FloatArray:
    logs = np.log(np.maximum(p, _CLIP)) / temperature
    return _normalise(np.exp(logs - logs.max(axis=1, keepdims=True)))


def _fit_temperature(gold: _Gold) -> float:
    """T of the smallest log loss, with a normal prior on log T."""
    rows = np.arange(gold.n)

    def loss(log_t: float) -> float:
        q = _heat(gold.p, float(np.exp(log_t)))[rows, gold.true]
        return float(-np.log(np.maximum(q, _CLIP)).sum() + 0.5 * (log_t / _SPREAD_TEMPERATURE) ** 2)

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded").x))


def _beta_features(p: FloatArray) -> FloatArray:
    """Columns ln p, -ln(1 - p) and 1, float (n, 3)."""
    return np.stack([np.log(np.maximum(p, _CLIP)), -np.log(np.maximum(1.0 - p, _CLIP)), np.ones(len(p))], axis=1)


def _fit_beta(p: FloatArray, positive: BoolArray) -> FloatArray:
    """a, b, c of one answer: penalised logistic regression; a negative a or b is fixed at 0 (Kull et al. 2017)."""
    features = _beta_features(p)
    centre = np.array([1.0, 1.0, 0.0])
    sign = np.where(positive, -1.0, 1.0)

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        margin = sign * (features @ parameters)
        stray = (parameters - centre) / _SPREAD_BETA
        gradient = features.T @ (sign * expit(margin)) + stray / _SPREAD_BETA
        return float(np.logaddexp(0.0, margin).sum() + 0.5 * stray @ stray), gradient

    bounds = [(0.0, None), (0.0, None), (None, None)]
    return np.asarray(optimize.minimize(loss, centre, jac=True, bounds=bounds, method="L-BFGS-B").x)


def _fit_isotonic(p: FloatArray, positive: BoolArray) -> FloatArray:
    """Knots of one answer: mean posterior and shrunk frequency of each pool of adjacent violators."""
    distinct, place = np.unique(p, return_inverse=True)
    weight = np.bincount(place).astype(float)
    frequency = np.bincount(place, weights=positive) / weight
    pools = np.asarray(optimize.isotonic_regression(frequency, weights=weight).blocks)
    n = np.add.reduceat(weight, pools[:-1])
    x = np.add.reduceat(weight * distinct, pools[:-1]) / n
    right = np.add.reduceat(weight * frequency, pools[:-1])
    # One subject at the overall frequency each; shrinking unequal pools can upset their order: pool again.
    shrunk = optimize.isotonic_regression((right + positive.mean()) / (n + 1.0), weights=n + 1.0).x
    return np.stack([x, np.asarray(shrunk)])
