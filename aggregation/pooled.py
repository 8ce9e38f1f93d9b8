"""Pooled Dawid-Skene: confusion matrices shrunk to the crowd, and a posterior that means what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._pooled_rounds import MAX_ITERATIONS, TOLERANCE
from aggregation._pooled_table import check_evidence, check_machine, question_tree
from aggregation._question import Question
from aggregation._votes import FloatArray, IntArray, check_gold, check_votes, modal_answer
from aggregation.calibration import CalibrationMap
from aggregation.sharded import PooledShard, ShardedPooled


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
    jurors = (check_evidence(evidence, question), check_machine(machine, question))
    return fit_pooled(question, known, *jurors, max_iterations=max_iterations, tolerance=tolerance)[0]


def fit_pooled(
    question: Question,
    gold: IntArray | None = None,
    evidence: FloatArray | None = None,
    machine: IntArray | None = None,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> tuple[PooledDawidSkene, FloatArray]:
    """`pooled_dawid_skene` of checked votes (a sharded fit of one shard), and the expected votes of `Skills`."""
    known = np.full(question.n_subjects, -1, dtype=np.int64) if gold is None else gold
    shard = PooledShard(question_tree(question, known, evidence, machine), [np.arange(question.n_volunteers)])
    model = ShardedPooled.of_question(question.n_answers, max_iterations=max_iterations, tolerance=tolerance)
    fit, (said,), last = model.run([shard])
    posterior = said.posterior[0]
    result = PooledDawidSkene(
        posterior=posterior,
        answer=modal_answer(posterior, (question.n_votes > 0) | (known >= 0)),
        n_votes=question.n_votes,
        held_out=said.held_out[0],
        calibration=fit.calibration[0],
        prior=fit.prior[0],
        confusion=fit.confusion[0],
        crowd=fit.crowd[0],
        strength=fit.strength[0],
        muddled=fit.muddled[0],
        correlation=fit.correlation[0],
        machine=fit.machine[0],
        guess=fit.guess[0],
        evidence=said.evidence[0],
        n_given=fit.n_given[0],
        log_likelihood=fit.log_likelihood,
        n_iterations=fit.n_iterations,
        converged=fit.converged,
    )
    return result, last.fit.taught[0].skills.soft
