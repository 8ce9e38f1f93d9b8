"""The machine as one more juror: a network's scores become evidence that is trusted as far as it has earned.

Two ways. `score_bins` makes a score an answer of its own, whose P(bin | class) `pooled_dawid_skene(machine=…)` learns
together with the volunteers' skills: it needs no trust and follows drift. `machine_evidence` corrects the network's
probabilities and hands them to `pooled_dawid_skene(evidence=…)`: it keeps what bins lose, and works with little data.
In either a network has no say on the subjects that trained it (`held_out_scores`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from aggregation._trust import Known, Trust, folds_of, is_better, losses_of
from aggregation._votes import BoolArray, FloatArray, IntArray, check_gold, ratio

#: Probabilities of a network enter logarithms no closer to 0 than this.
_CLIP = 1e-6
#: Subjects with a known answer below which a machine is not trusted at all.
MIN_KNOWN = 20


@dataclass(frozen=True)
class MachineEvidence:
    """Result of `machine_evidence` and `combine_machines`; row i is subject i.

    Attributes
    ----------
    evidence
        Log-likelihood of each answer, for ``pooled_dawid_skene(evidence=…)``, float (n_subjects, n_answers), with the
        mean 0 in each row; all 0 where the machine has no say.
    speaks
        Whether the machine has a say, bool (n_subjects,).
    trust
        Factor of the network's log-odds: 1 takes them as they are, less tames an over-confident network, 0 ignores
        it. Of combined machines: the mean share that is left of each.
    bias
        What is added for each answer, float (n_answers,).
    n_learnt
        Subjects that trust and bias were learnt from.
    log_loss_without, log_loss_with
        Of those subjects, out of fold: by the prior alone (by the best machine alone, if combined), and with the
        evidence; with a posterior in place of gold, ``-log sum_k P(k | x_i) P(votes_i | k)`` up to a constant.
        NaN where nothing could be learnt.
    reason
        Why the machine is trusted as it is, in words.
    """

    evidence: FloatArray
    speaks: BoolArray
    trust: float
    bias: FloatArray
    n_learnt: int
    log_loss_without: float
    log_loss_with: float
    reason: str


def score_bins(score: npt.ArrayLike, n_bins: int = 20, *, exclude: npt.ArrayLike | None = None) -> IntArray:
    """Turn a machine's score into an answer of a juror with `n_bins` answers.

    Bins hold about equally many subjects, so each has enough to learn P(bin | class) from; equal scores share one.
    Only the order of the scores matters: any score will do, calibrated or not.

    Parameters
    ----------
    score
        Float (n_subjects,); NaN where the machine has none.
    n_bins
        Bins at most; with few distinct scores there are fewer.
    exclude
        Subjects on which the machine must have no say, as they trained it, bool (n_subjects,).

    Returns
    -------
    numpy.ndarray
        Bin from 0, low scores first, -1 for no say, int (n_subjects,); for ``pooled_dawid_skene(machine=…)``.

    Examples
    --------
    >>> score_bins([0.1, 0.9, 0.2, 0.8, np.nan], n_bins=2)
    array([ 0,  1,  0,  1, -1])
    """
    values = np.asarray(score, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"score must have one dimension, not {values.ndim}; bin the score of one answer at a time")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}")
    speaks = ~np.isnan(values) & ~_check_mask("exclude", exclude, values.shape)
    bins = np.full(len(values), -1, dtype=np.int64)
    known = values[speaks]
    if known.size:
        rank = np.searchsorted(np.sort(known), known)  # of the first among equals
        bins[speaks] = np.unique(rank * n_bins // len(known), return_inverse=True)[1]
    return bins


def held_out_scores(
    score: npt.ArrayLike, trained_on: npt.ArrayLike | None = None, *, fold: npt.ArrayLike | None = None
) -> FloatArray:
    """Give each subject the mean score of those networks that have not been trained on it.

    Volunteers' votes teach a network; were it to vote on the same subjects it would hand back what they said. So a
    network has a say only on subjects that it has not seen: those outside its training set, or, of networks trained
    in folds, the subjects of the fold that each left out.

    Parameters
    ----------
    score
        Float (n_networks, n_subjects), or (n_networks, n_subjects, n_answers); NaN where a network has none.
    trained_on
        Whether subject i trained network m, bool (n_networks, n_subjects).
    fold
        Instead of `trained_on`: network m trained on all folds but m; fold of each subject, int (n_subjects,), -1
        for subjects that trained none.

    Returns
    -------
    numpy.ndarray
        Float (n_subjects,) or (n_subjects, n_answers); NaN where every network has been trained on the subject.

    Examples
    --------
    >>> held_out_scores([[0.2, 0.9, 0.4], [0.6, 0.7, 0.8]], fold=[0, 1, -1])
    array([0.2, 0.7, 0.6])
    """
    values = np.asarray(score, dtype=float)
    if values.ndim not in (2, 3):
        raise ValueError(f"score must have the shape (n_networks, n_subjects[, n_answers]), not {values.shape}")
    if (trained_on is None) == (fold is None):
        raise ValueError("give either trained_on or fold: which subjects trained which network")
    shape = values.shape[:2]
    if fold is None:
        used = _check_mask("trained_on", trained_on, shape)
    else:
        part = np.asarray(fold)
        if part.shape != shape[1:] or (part.size and (part.dtype.kind not in "iu" or part.max() >= shape[0])):
            raise ValueError(f"fold must hold one fold below {shape[0]} per subject ({shape[1]}), -1 for none")
        used = (part >= 0) & (part != np.arange(shape[0])[:, np.newaxis])
    used = used[..., np.newaxis] if values.ndim == 3 else used
    says = ~used & ~np.isnan(values)
    return ratio(np.where(says, values, 0.0).sum(axis=0), says.sum(axis=0))


def machine_evidence(
    probability: npt.ArrayLike,
    gold: npt.ArrayLike | None = None,
    *,
    posterior: npt.ArrayLike | None = None,
    trained_on: npt.ArrayLike | None = None,
    base: npt.ArrayLike | None = None,
    seed: int = 0,
) -> MachineEvidence:
    """Turn a network's probabilities into evidence, trusted as far as its record goes.

    ``log P(x_i | k) = trust (log p_ML,ik - log pi_ML,k) + bias_k``: what the network adds to the prior that it
    was trained with, tempered and shifted. Trust and bias are the maximum of the penalised likelihood of the known
    answers, ``P(k | x_i) ∝ pi_k P(x_i | k)`` with pi their frequencies (Platt 1999 and Guo et al. 2017, with the
    prior taken out), or of the votes, ``sum_k P(k | x_i) P(votes_i | k)``. If that predicts them, out of fold, no
    better than pi alone by more than one standard error, the machine is not trusted and the evidence is 0. The rows
    of known subjects are made by a trust and a bias learnt without them, so they tell what the machine is worth
    elsewhere.

    Parameters
    ----------
    probability
        p_ML, float (n_subjects, n_answers), or (n_subjects,) for that of answer 1 of 2; NaN where there is none.
    gold
        Known answers, int (n_subjects,), -1 where unknown.
    posterior
        Instead of gold: what volunteers say without the machine, float (n_subjects, n_answers), rows sum to 1, NaN
        where nobody has voted.
    trained_on
        Subjects that trained the network, bool (n_subjects,): they neither get evidence nor teach trust.
    base
        pi_ML, how common the answers were in training, float (n_answers,). None: the mean of `probability`.
    seed
        Of the division into folds.

    Returns
    -------
    MachineEvidence

    Examples
    --------
    >>> truth = np.tile([0, 1], 50)
    >>> sure = np.where(np.arange(100) % 10 < 8, truth, 1 - truth) * 0.98 + 0.01    # right 8 times in 10, says 99
    >>> result = machine_evidence(sure, truth)
    >>> round(result.trust, 1)
    0.3
    """
    p = _check_probability(probability)
    speaks = ~np.isnan(p).any(axis=1) & ~_check_mask("trained_on", trained_on, p.shape[:1])
    target = _targets(gold, posterior, p.shape)
    ratios = _log_ratios(p, speaks, base)
    learns = np.flatnonzero(speaks & ~np.isnan(target).any(axis=1))
    known = Known(target[learns])
    reason = _too_little(known.posterior)
    if reason:
        return _no_say(p.shape, len(learns), reason)
    x = ratios[learns]
    out_of_fold = np.empty_like(x)
    for held_out in folds_of(known, x, seed):
        out_of_fold[held_out] = Trust.fit(x[~held_out], known.take(~held_out)).apply(x[held_out])
    without, with_it = losses_of(np.zeros_like(x), known), losses_of(out_of_fold, known)
    if not is_better(with_it, without):
        return _no_say(p.shape, len(learns), "no better than knowing how common answers are", without, with_it)
    fitted = Trust.fit(x, known)
    evidence = np.where(speaks[:, np.newaxis], fitted.apply(ratios), 0.0)
    evidence[learns] = out_of_fold
    reason = f"out-of-fold log loss {with_it.mean():.3f}, without the machine {without.mean():.3f}"
    return MachineEvidence(
        evidence=_centred(evidence),
        speaks=speaks,
        trust=fitted.trust,
        bias=fitted.bias,
        n_learnt=len(learns),
        log_loss_without=float(without.mean()),
        log_loss_with=float(with_it.mean()),
        reason=reason,
    )


def combine_machines(
    machines: Sequence[MachineEvidence],
    gold: npt.ArrayLike | None = None,
    *,
    posterior: npt.ArrayLike | None = None,
) -> MachineEvidence:
    """Sum the evidence of several machines, less what they have in common.

    Independent machines add up: ``logit P = logit pi + sum_c log P(s_c | 1) / P(s_c | 0)`` (Holloway et al. 2024,
    MNRAS 530, 1297). Networks that were trained alike err alike, and their sum is too sure of itself. So the sum over
    the m machines that speak of a subject counts ``1 / (1 + rho (m - 1))``, as votes of the correlation rho do: all of
    it at rho = 0, their mean at rho = 1, which is right for the same machine twice. rho is the one with which
    known answers are predicted best; 1 where too few are known.

    Parameters
    ----------
    machines
        Of the same subjects and answers.
    gold, posterior
        As for `machine_evidence`, and the same ones.

    Returns
    -------
    MachineEvidence
        `trust` is the mean of ``1 / (1 + rho (m - 1))`` over the subjects of which a machine speaks.

    Examples
    --------
    >>> truth = np.tile([0, 1], 50)
    >>> one = machine_evidence(np.where(np.arange(100) % 10 < 8, truth, 1 - truth) * 0.98 + 0.01, truth)
    >>> twice = combine_machines([one, one], truth)
    >>> bool(np.allclose(twice.evidence, one.evidence, atol=0.05))
    True
    """
    if not machines:
        raise ValueError("no machines to combine")
    shapes = {each.evidence.shape for each in machines}
    if len(shapes) > 1:
        raise ValueError(f"machines must speak of the same subjects and answers, got the shapes {sorted(shapes)}")
    shape = shapes.pop()
    total = np.sum([each.evidence for each in machines], axis=0)
    n_speaking = np.sum([each.speaks & (each.trust > 0) for each in machines], axis=0)
    target = _targets(gold, posterior, shape)
    learns = np.flatnonzero((n_speaking > 0) & ~np.isnan(target).any(axis=1))
    known = Known(target[learns])
    rho, reason = 1.0, _too_little(known.posterior)
    without, with_it = np.nan, np.nan
    if not reason:
        rho = _shared(total[learns], n_speaking[learns], known)
        without = min(float(losses_of(each.evidence[learns], known).mean()) for each in machines)
        with_it = float(losses_of(_share(total[learns], n_speaking[learns], rho), known).mean())
        reason = f"correlation of the machines {rho:.2f}"
    left = 1.0 / (1.0 + rho * np.maximum(n_speaking - 1, 0))
    trust = float(left[n_speaking > 0].mean()) if n_speaking.any() else 0.0
    bias = np.zeros(shape[1])
    evidence = _share(total, n_speaking, rho)
    return MachineEvidence(evidence, n_speaking > 0, trust, bias, len(learns), without, with_it, reason)


def _shared(total: FloatArray, n_speaking: IntArray, known: Known) -> float:
    """Correlation of machines that predicts known answers best."""

    def loss(rho: float) -> float:
        return float(losses_of(_share(total, n_speaking, rho), known).sum())

    return float(optimize.minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-3}).x)


def _share(total: FloatArray, n_speaking: IntArray, rho: float) -> FloatArray:
    shared: FloatArray = total / (1.0 + rho * np.maximum(n_speaking - 1, 0))[:, np.newaxis]
    return shared


def _log_ratios(p: FloatArray, speaks: BoolArray, base: npt.ArrayLike | None) -> FloatArray:
    """``log p_ML - log pi_ML``, 0 where the machine has no say."""
    ratios = np.zeros_like(p)
    if not speaks.any():
        return ratios
    common = p[speaks].mean(axis=0) if base is None else np.asarray(base, dtype=float)
    if common.shape != p.shape[1:] or not (common >= 0.0).all() or not common.sum() > 0.0:
        raise ValueError(f"base must hold one frequency per answer ({p.shape[1]}), got {common}")
    ratios[speaks] = np.log(np.maximum(p[speaks], _CLIP)) - np.log(np.maximum(common / common.sum(), _CLIP))
    return _centred(ratios)


def _centred(table: FloatArray) -> FloatArray:
    centred: FloatArray = table - table.mean(axis=1, keepdims=True)
    return centred


def _too_little(known: FloatArray) -> str:
    """Why nothing can be learnt, or ''."""
    if len(known) < MIN_KNOWN:
        return f"{len(known)} subjects with a known answer are fewer than {MIN_KNOWN}"
    if (known.sum(axis=0) >= 1.0).sum() < 2:
        return "only one answer is among the known ones"
    return ""


def _no_say(
    shape: tuple[int, ...],
    n_learnt: int,
    reason: str,
    without: FloatArray | None = None,
    with_it: FloatArray | None = None,
) -> MachineEvidence:
    """A machine that is not trusted."""
    return MachineEvidence(
        evidence=np.zeros(shape),
        speaks=np.zeros(shape[0], dtype=bool),
        trust=0.0,
        bias=np.zeros(shape[1]),
        n_learnt=n_learnt,
        log_loss_without=float("nan") if without is None else float(without.mean()),
        log_loss_with=float("nan") if with_it is None else float(with_it.mean()),
        reason=reason,
    )


def _targets(gold: npt.ArrayLike | None, posterior: npt.ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
    """P(answer) of subjects with a known answer, float (n_subjects, n_answers), NaN elsewhere."""
    if (gold is None) == (posterior is None):
        raise ValueError("give either gold or the volunteers' posterior: a machine must earn its trust")
    if posterior is not None:
        target = np.asarray(posterior, dtype=float)
        if target.shape != shape:
            raise ValueError(f"posterior must have the shape (n_subjects, n_answers) = {shape}, not {target.shape}")
        return target
    known = check_gold(gold, shape[0], shape[1])
    return np.where((known >= 0)[:, np.newaxis], np.eye(shape[1])[known], np.nan)


def _check_probability(probability: npt.ArrayLike) -> FloatArray:
    p = np.asarray(probability, dtype=float)
    if p.ndim == 1:
        p = np.stack([1.0 - p, p], axis=1)
    if p.ndim != 2:
        raise ValueError(f"probability must have the shape (n_subjects, n_answers) or (n_subjects,), not {p.shape}")
    given = ~np.isnan(p).any(axis=1)
    wrong = given & ~((p >= 0.0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) < 1e-3))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"probability[{row}] is {p[row].tolist()}: probabilities that sum to 1 are needed, NaN for none"
        )
    return p


def _check_mask(name: str, mask: npt.ArrayLike | None, shape: tuple[int, ...]) -> BoolArray:
    if mask is None:
        return np.zeros(shape, dtype=bool)
    array = np.asarray(mask)
    if array.shape != shape or (array.size and array.dtype != bool):
        raise ValueError(f"{name} must be bool of the shape {shape}; got {array.dtype} of {array.shape}")
    return array.astype(bool)
