"""Pooled Dawid-Skene: confusion matrices shrunk to the crowd, and a posterior that means what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregation import _em, _pooled_em
from aggregation._question import Question
from aggregation._votes import FloatArray, IntArray, check_gold, check_votes, modal_answer
from aggregation.calibration import CalibrationMap, cross_calibrated

#: Share of subjects on which everybody may be misled alike: votes never make the posterior surer than this.
MISLEADING = 0.01

MAX_ITERATIONS = 1000
TOLERANCE = 3e-5


@dataclass(frozen=True)
class PooledDawidSkene:
    """Result of `pooled_dawid_skene`; row i is subject code i.

    Attributes
    ----------
    posterior
        P(true answer | all votes), float (n_subjects, n_answers), rows sum to 1. Without votes: the prior.
    answer
        The most probable answer, the lowest code among equals, -1 where nothing is known of the subject.
    n_votes
        Votes of each subject, int (n_subjects,).
    held_out
        The posterior of gold subjects as it would be if their own gold answer were not known; equal to
        `posterior` elsewhere. What to measure reliability on.
    calibration
        The map that gold taught, applied to `posterior` and `held_out`; None without gold.
    prior
        How common each answer is, float (n_answers,).
    confusion
        ``confusion[j, k, y]`` = P(volunteer j says y | the truth is k, and it can be seen), float (n_volunteers,
        n_answers, n_answers), rows sum to 1; the crowd's mean for a volunteer without votes.
    crowd
        ``crowd[k, y]``, the confusion matrix of the mean volunteer, float (n_answers, n_answers).
    strength
        Votes that the crowd's mean counts for in each volunteer's rows.
    muddled
        Share of subjects that no volunteer can see.
    correlation
        Of the votes on one subject given its class; n votes count as ``n / (1 + correlation (n - 1))``.
    machine
        P(score bin | class), float (n_answers, n_bins); None without a machine.
    guess
        How often each answer is given, float (n_answers,): votes on muddled subjects.
    evidence
        Log P(votes | clear, class k), each vote weighed with its own subject left out, not tempered, float
        (n_subjects, n_answers): what `aggregation.live` goes on from.
    n_given
        Votes given by each volunteer, int (n_volunteers,).
    log_likelihood
        Of all votes at the end of EM.
    n_iterations, converged
        EM steps made, and whether the log-likelihood had settled by then.
    """

    posterior: FloatArray
    answer: IntArray
    n_votes: IntArray
    held_out: FloatArray
    calibration: CalibrationMap | None
    prior: FloatArray
    confusion: FloatArray
    crowd: FloatArray
    strength: float
    muddled: float
    correlation: float
    machine: FloatArray | None
    guess: FloatArray
    evidence: FloatArray
    n_given: IntArray
    log_likelihood: float
    n_iterations: int
    converged: bool


def pooled_dawid_skene(
    subject: npt.ArrayLike,
    volunteer: npt.ArrayLike,
    answer: npt.ArrayLike,
    n_answers: int | None = None,
    gold: npt.ArrayLike | None = None,
    *,
    n_subjects: int | None = None,
    n_volunteers: int | None = None,
    evidence: npt.ArrayLike | None = None,
    machine: npt.ArrayLike | None = None,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> PooledDawidSkene:
    """Fit confusion matrices that borrow strength from the crowd, and calibrate what follows from them.

    The model of Dawid & Skene (1979) with four corrections of its well known overconfidence:

    1. *Few votes per volunteer.* Rows are Dirichlet around the crowd's mean, ``A^j[k,.] ~ Dir(s m_k)``, so that
       ``A^j[k,y] = (sum_i T_ik n_ijy + s m_k[y]) / (sum_i T_ik n_ij + s)``; m and the strength s (2 to 20 votes,
       by the moments of the Dirichlet-multinomial distribution) are estimated from the data.
    2. *Subjects that nobody can see.* A subject is clear, or with probability `muddled` it is not and votes are
       what volunteers say on average: ``P(votes | k) = (1 - g) prod A^j[k,y] + g prod m[y]``.
    3. *Votes that taught the skill they are weighed by.* In the last step each vote is weighed with its own
       subject left out of the volunteer's confusion matrix.
    4. *Votes that resemble each other.* Log-likelihoods of n votes are divided by the design effect
       ``1 + rho (n - 1)``; rho (0.01 at least) is the one with which votes, each hidden in turn, are predicted
       best by the others on the subject. One subject in a hundred is taken to mislead everybody
       (`MISLEADING`).

    None of these needs gold. Where there is gold, its answers are held fixed while skills are learnt, and the
    posterior goes through a map fitted on what would have been said of gold subjects without their gold
    (`cross_calibrated`).

    Parameters
    ----------
    subject, volunteer, answer
        Codes of each vote, int (n,). Repeated votes are independent evidence here: see `last_votes`.
    n_answers, n_subjects, n_volunteers
        Sizes of the result; by default the largest code + 1.
    gold
        Known answers, int (n_subjects,), -1 where unknown.
    evidence
        Log-likelihood of each answer from elsewhere, float (n_subjects, n_answers): a calibrated score, say
        (`machine_evidence`). It is not tempered.
    machine
        Bin of a machine's score, int (n_subjects,), -1 where it has no say (`score_bins`). The machine becomes
        one more juror, whose P(bin | class) is learnt with the rest.
    max_iterations, tolerance
        EM stops when the log-likelihood changes by less than `tolerance` of its size.

    Returns
    -------
    PooledDawidSkene

    Examples
    --------
    >>> result = pooled_dawid_skene([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 1])
    >>> result.answer
    array([0, 1])
    """
    question = Question.of(
        check_votes(subject, volunteer, answer, n_answers, n_subjects=n_subjects, n_volunteers=n_volunteers)
    )
    known = check_gold(gold, question.n_subjects, question.n_answers)
    jurors = (_check_evidence(evidence, question), _check_machine(machine, question))
    return fit_pooled(question, known, *jurors, max_iterations=max_iterations, tolerance=tolerance)[0]


class Details(NamedTuple):
    """What a running form goes on from."""

    fit: _pooled_em.Fit
    final: _pooled_em.Calibrated


def fit_pooled(
    question: Question,
    gold: IntArray | None = None,
    evidence: FloatArray | None = None,
    machine: IntArray | None = None,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> tuple[PooledDawidSkene, Details]:
    """`pooled_dawid_skene` of checked votes, and how it came about."""
    known = np.full(question.n_subjects, -1, dtype=np.int64) if gold is None else gold
    tree = _pooled_em.Tree(
        questions=[question],
        next_task=[[-1] * question.n_answers],
        order=[0],
        gold=known[:, np.newaxis],
        evidence=[evidence],
        machine=[machine],
    )
    fit, final = fit_tree(tree, max_iterations, tolerance)
    parameters = fit.parameters[0]
    held_out, calibration = settle(tree, 0, fit, final)
    posterior = _em.clamp(held_out, known)
    result = PooledDawidSkene(
        posterior=posterior,
        answer=modal_answer(posterior, (question.n_votes > 0) | (known >= 0)),
        n_votes=question.n_votes,
        held_out=held_out,
        calibration=calibration,
        prior=parameters.prior,
        confusion=parameters.skills.cells().transpose(0, 2, 1),
        crowd=parameters.skills.crowd,
        strength=parameters.skills.strength,
        muddled=parameters.muddled,
        correlation=final.correlation[0],
        machine=parameters.machine,
        guess=question.guess,
        evidence=final.log_clear[0],
        n_given=question.n_given,
        log_likelihood=fit.beliefs.log_likelihood,
        n_iterations=fit.n_iterations,
        converged=fit.converged,
    )
    return result, Details(fit, final)


def fit_tree(
    tree: _pooled_em.Tree, max_iterations: int, tolerance: float
) -> tuple[_pooled_em.Fit, _pooled_em.Calibrated]:
    """EM from vote fractions, with gold also from the gold answers alone (the better optimum), and the last step."""
    with_gold = bool((tree.gold >= 0).any())
    starts = zip(
        *(
            _em.start_posteriors(question.counts, tree.gold[:, task], with_gold)
            for task, question in enumerate(tree.questions)
        ),
        strict=True,
    )
    fits = [
        _pooled_em.fit(tree, _pooled_em.start_from(tree, list(start)), max_iterations, tolerance) for start in starts
    ]
    best = max(fits, key=lambda each: each.beliefs.log_likelihood)
    return best, _pooled_em.calibrate(tree, best)


def settle(
    tree: _pooled_em.Tree, task: int, fit: _pooled_em.Fit, final: _pooled_em.Calibrated
) -> tuple[FloatArray, CalibrationMap | None]:
    """Posterior of one question without the subjects' own gold, and the map that gold taught."""
    believed = (1.0 - MISLEADING) * final.held_out.answer[task] + MISLEADING * fit.parameters[task].prior
    gold = tree.gold[:, task]
    if not (gold >= 0).any():
        return believed, None
    calibrated = cross_calibrated(believed, gold)
    return calibrated.posterior, calibrated.map


def _check_evidence(evidence: npt.ArrayLike | None, question: Question) -> FloatArray | None:
    if evidence is None:
        return None
    table = np.asarray(evidence, dtype=float)
    shape = (question.n_subjects, question.n_answers)
    if table.shape != shape:
        raise ValueError(f"evidence must have shape (n_subjects, n_answers) = {shape}, got {table.shape}")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise ValueError(f"evidence[{row}] is {table[row]}: log-likelihoods must be finite; 0 says nothing")
    return table


def _check_machine(machine: npt.ArrayLike | None, question: Question) -> IntArray | None:
    if machine is None:
        return None
    bins = np.asarray(machine)
    if bins.shape != (question.n_subjects,) or (bins.size and bins.dtype.kind not in "iu"):
        raise ValueError(
            f"machine must hold one bin per subject ({question.n_subjects}), -1 where it has no say; "
            f"got shape {bins.shape} of {bins.dtype}"
        )
    return bins.astype(np.int64)
