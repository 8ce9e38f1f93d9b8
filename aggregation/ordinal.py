"""Ordinal grades from graders of unequal sharpness and leniency, with a class outside the scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregation._em import clamp
from aggregation._ordinal_fit import (
    Fit,
    Model,
    block_posterior,
    fit,
    grade_posterior,
    starting_model,
)
from aggregation._ordinal_responses import level_probability
from aggregation._ordinal_summary import Summary, grader_traits, summarise
from aggregation._ordinal_table import Table, tabulate
from aggregation._ordinal_trait import band_weights
from aggregation._votes import BoolArray, FloatArray, IntArray, check_gold, check_votes, count, modal_answer, ratio
from aggregation.grades import LENS_LEVELS
from aggregation.running import Running

_SETTLED, _SURPRISING = 0.6, 3.0
_MAX_ITERATIONS, _TOLERANCE = 200, 1e-4


@dataclass(frozen=True)
class OrdinalGrades:
    """Result of `ordinal_grades`; row i is subject code i, row j of the graders' arrays grader code j.

    Attributes
    ----------
    posterior
        P(true grade | all votes), float (n_subjects, n_grades), rows sum to 1: the levels from worst to best, then
        the escape class if there is one. Without votes: the prior.
    grade
        Code of the most probable grade, the lowest among equals, -1 where there is neither vote nor gold.
    n_votes
        Votes of each subject, int (n_subjects,).
    expected
        Mean level under the posterior, given that the subject is on the scale, float (n_subjects,); nan where no vote
        and no gold is on the scale: the escape class is never turned into a number.
    rank, rank_error
        Posterior mean and standard deviation of the latent trait in levels, float (n_subjects,): the line between
        levels k - 1 and k lies at k - 0.5, and beyond the outermost lines the scale goes on, so that of two certain
        A's one can still rank higher. nan as for `expected`.
    surprise
        How much more the votes of a subject disagree, with each other and with what the graders are known to be
        like, than chance allows, in standard deviations, float (n_subjects,).
    needs_adjudication
        Where experts should talk, bool (n_subjects,); see `ordinal_grades`.
    sharpness
        Inverse of each grader's noise in levels, float (n_graders,): 2 errs by half a level. 0 carries no information.
    leniency
        Levels by which a grader grades above the crowd, below if negative, float (n_graders,).
    willingness
        P(grader gives the escape grade | the subject belongs there), float (n_graders,); nan without escape class.
    n_given
        Votes given by each grader, int (n_graders,).
    thresholds
        Of the shared lines on the latent trait, in units of a typical grader's noise, float (n_levels - 1,).
    row_strength
        Votes that the probit's prediction is worth against a grader's own confusion row: large where the crowd is
        ordinal, small where graders have habits that no order explains.
    log_likelihood
        Of all votes under the final parameters.
    n_iterations, converged
        EM steps made in all, and whether the posterior had settled by then.
    """

    posterior: FloatArray
    grade: IntArray
    n_votes: IntArray
    expected: FloatArray
    rank: FloatArray
    rank_error: FloatArray
    surprise: FloatArray
    needs_adjudication: BoolArray
    sharpness: FloatArray
    leniency: FloatArray
    willingness: FloatArray
    n_given: IntArray
    thresholds: FloatArray
    row_strength: float
    log_likelihood: float
    n_iterations: int
    converged: bool

    @property
    def n_levels(self) -> int:
        return len(self.thresholds) + 1

    @property
    def escape_probability(self) -> FloatArray:
        """P(the subject belongs to the escape class), float (n_subjects,); 0 if there is no such class."""
        probability: FloatArray = self.posterior[:, self.n_levels :].sum(axis=1)
        return probability

    def p_at_least(self, level: int) -> FloatArray:
        """P(on the scale, and at `level` or better), float (n_subjects,): ``p_at_least(2)`` is P(grade ≥ B)."""
        if not 0 <= level < self.n_levels:
            raise ValueError(f"level must be one of 0 .. {self.n_levels - 1}, got {level}")
        probability: FloatArray = self.posterior[:, level : self.n_levels].sum(axis=1)
        return probability


def ordinal_grades(
    subject: npt.ArrayLike,
    grader: npt.ArrayLike,
    grade: npt.ArrayLike,
    n_levels: int = len(LENS_LEVELS),
    *,
    escape: bool = True,
    gold: npt.ArrayLike | None = None,
    n_subjects: int | None = None,
    n_graders: int | None = None,
    settled: float = _SETTLED,
    surprising: float = _SURPRISING,
    max_iterations: int = _MAX_ITERATIONS,
    tolerance: float = _TOLERANCE,
) -> OrdinalGrades:
    """Fit graders' sharpness and leniency on a latent trait, and grade each subject by all of them.

    **Grades.** Subject i has a trait theta_i, whose distribution is estimated; grader j sees it with noise 1/a_j and
    own lines t_jk between the levels: ``P(says k or better) = Phi(a_j theta_i - t_jk)`` (graded response model,
    Samejima 1969; ordered probit). (a_j, t_j1, ..) are normal over graders with mean and covariance from the data,
    so that a grader with few votes is a typical one. 2 % of votes are slips.
    **What a grade means.** The true grade is what a grader without noise would say who draws the lines where the
    crowd draws them: ``c_k = sum_j w_j t_jk / sum_j w_j a_j``, w_j the reliability of a vote of j, and the grade is k
    if ``c_k <= theta < c_k+1``. P(grade) is the posterior mass of theta between the lines. Gold grades, where given,
    move the lines to where the gold standard draws them.
    **Crowds that are not ordinal.** Each grader's row of the confusion matrix is Dirichlet around the probit's
    prediction with a strength s estimated from all graders: where they follow the order s is large and the probit
    stands, where they have other habits (one level as "could not tell") their own counts take over.
    **Escape.** Outside the scale stands one class (I, interesting but not a lens): a subject belongs there or not,
    and a grader says so with a probability of his own in either case, shrunk to the crowd's. It is independent of
    the order, and never a number. **Adjudication** is needed where at least two have voted, no gold is known, and
    either no grade reaches P = `settled` or the votes are more surprising than `surprising` standard deviations.

    EM with a quadrature over theta whose nodes are as close as the best-known subjects need, and a penalised Fisher
    scoring step for all graders at once. The distribution of theta is non-parametric: first smooth, for a trait that
    is a matter of degree; then nearly bare, for subjects of several distinct kinds, which is kept if the likelihood
    gains more than Akaike's one per node. Time grows linearly with the votes; memory beyond the input is the
    posterior and a few tables of graders x levels x nodes.

    Parameters
    ----------
    subject, grader
        Codes of each vote, int (n,). Repeated votes are independent evidence here: see `last_votes`.
    grade
        Level codes from worst (0) to best (n_levels - 1), and n_levels for the escape class; int (n,).
    n_levels
        Number of ordinal levels, at least 2.
    escape
        Whether there is an escape class.
    gold
        Known grades, int (n_subjects,), -1 where unknown. Their posterior is fixed; they teach the graders' response
        and the lines between grades, but not how common a grade is.
    n_subjects, n_graders
        Sizes of the result; by default the largest code + 1.
    settled, surprising
        Criteria of `needs_adjudication`.
    max_iterations, tolerance
        Each of the two runs of EM stops when a step changes the posterior by less than `tolerance`, in total variation
        averaged over subjects, or after `max_iterations`.

    Returns
    -------
    OrdinalGrades

    Examples
    --------
    >>> subject, grader = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2]
    >>> result = ordinal_grades(subject, grader, [3, 3, 2, 0, 0, 1, 4, 4, 4])   # A A B, X X C, I I I
    >>> result.grade
    array([3, 0, 4])
    """
    table = _check(subject, grader, grade, n_levels, escape, gold, n_subjects, n_graders)
    _check_criteria(settled, surprising)
    done = fit(table, max_iterations, tolerance)
    return _result(table, done, summarise(table, done.model), settled, surprising)


class RunningOrdinalGrades(Running[OrdinalGrades]):
    """Running form of `ordinal_grades`: a vote costs a note of it, a posterior the votes of its subject.

    `add` takes subject, grader and grade. Graders are as the last sweep found them; one who came later, and everyone
    before the first sweep, is the typical grader of that sweep.

    Parameters
    ----------
    n_levels, escape
        As for `ordinal_grades`.

    Examples
    --------
    >>> running = RunningOrdinalGrades()
    >>> for vote in [(0, 0, 3), (0, 1, 3), (1, 0, 0), (1, 1, 1)]:   # A A, X C
    ...     running.add(*vote)
    >>> bool(np.allclose(running.sweep().posterior[0], running.posterior(0)))
    True
    """

    def __init__(self, n_levels: int = len(LENS_LEVELS), *, escape: bool = True) -> None:
        super().__init__(n_levels + int(escape))
        self.n_levels, self.escape = n_levels, escape
        self._grades: list[dict[int, int]] = []
        self._load(starting_model(_check([], [], [], n_levels, escape, None, None, None)))

    def posterior(self, subject: int) -> FloatArray:
        """P(grade | votes so far) of one subject, float (n_grades,)."""
        known = self.gold.get(subject)
        if known is not None:
            certain = np.zeros(self.n_answers)
            certain[known] = 1.0
            return certain
        given = self._grades[subject]
        grader = np.minimum(np.fromiter(given, np.int64, len(given)), self._n_fitted)
        grade = np.fromiter(given.values(), np.int64, len(given))
        on_scale = grade < self.n_levels
        evidence = self._cells[grader[on_scale], grade[on_scale]].sum(axis=0, keepdims=True)
        state = self._log_rates[(~on_scale).astype(np.int64), grader].sum(axis=0, keepdims=True)
        nodes, states, _ = block_posterior(evidence, state, self._trait)
        row: FloatArray = grade_posterior(nodes, states, self._trait, self._bands)[0]
        return row

    def _new_subjects(self, n: int) -> None:
        self._grades.extend({} for _ in range(n))

    def _new_volunteers(self, n: int) -> None:
        pass  # the typical grader stands for everyone whom no sweep has seen

    def _count(self, subject: int, volunteer: int, answer: int, times: int) -> None:
        if times > 0:
            self._grades[subject][volunteer] = answer
        else:
            del self._grades[subject][volunteer]

    def _fit(self, subject: IntArray, volunteer: IntArray, answer: IntArray) -> OrdinalGrades:
        sizes = self._n_subjects, self._n_volunteers
        table = _check(subject, volunteer, answer, self.n_levels, self.escape, self._known(), *sizes)
        done = fit(table, _MAX_ITERATIONS, _TOLERANCE)
        self._load(done.model)
        return _result(table, done, summarise(table, done.model), _SETTLED, _SURPRISING)

    def _load(self, model: Model) -> None:
        """Keep what a posterior needs: log P(grade | node) and of the escape grade, the typical grader last."""
        self._trait, self._bands = model.trait, band_weights(model.trait, model.thresholds)
        typical = level_probability(model.crowd.mean[None], model.trait.nodes, model.slips)
        self._cells = np.concatenate([model.log_responses(self._bands), np.log(typical)])
        self._n_fitted = len(model.coefficients)
        rates = np.vstack([model.rates, model.crowd_rates[None]])
        # Without an escape class there is one state, and nothing tells of it.
        self._log_rates = np.log([1.0 - rates, rates]) if self.escape else np.zeros((2, len(rates), 1))


def _check(
    subject: npt.ArrayLike,
    grader: npt.ArrayLike,
    grade: npt.ArrayLike,
    n_levels: int,
    escape: bool,
    gold: npt.ArrayLike | None,
    n_subjects: int | None,
    n_graders: int | None,
) -> Table:
    if n_levels < 2:
        raise ValueError(f"n_levels must be at least 2, got {n_levels}: one level alone has no order")
    n_grades = n_levels + int(escape)
    try:
        votes = check_votes(subject, grader, grade, n_grades, n_subjects=n_subjects, n_volunteers=n_graders)
    except (TypeError, ValueError) as error:
        message = str(error).replace("volunteer", "grader").replace("answer", "grade")
        raise type(error)(message) from None
    return tabulate(votes, check_gold(gold, votes.n_subjects, n_grades), n_levels, escape)


def _check_criteria(settled: float, surprising: float) -> None:
    if not 0 <= settled <= 1:
        raise ValueError(f"settled must be a probability, got {settled}")
    if not surprising > 0:
        raise ValueError(f"surprising must be a positive number of standard deviations, got {surprising}")


def _result(table: Table, done: Fit, summary: Summary, settled: float, surprising: float) -> OrdinalGrades:
    posterior, votes = clamp(done.expected.posterior, table.gold), table.votes
    on_scale = posterior[:, : table.n_levels]
    sharpness, leniency = grader_traits(done.model)
    n_votes = votes.n_votes
    placed = count(votes.subject[votes.answer < table.n_levels], votes.n_subjects) > 0
    placed = np.where(table.gold >= 0, table.gold < table.n_levels, placed)
    unclear = (posterior.max(axis=1) < settled) | (summary.surprise > surprising)
    willingness = done.model.rates[:, 1] if table.escape else np.full(table.n_graders, np.nan)
    return OrdinalGrades(
        posterior=posterior,
        grade=modal_answer(posterior, (n_votes > 0) | (table.gold >= 0)),
        n_votes=n_votes,
        expected=np.where(placed, ratio(on_scale @ np.arange(table.n_levels), on_scale.sum(axis=1)), np.nan),
        rank=np.where(placed, summary.rank, np.nan),
        rank_error=np.where(placed, summary.rank_error, np.nan),
        surprise=summary.surprise,
        needs_adjudication=unclear & (n_votes >= 2) & (table.gold < 0),
        sharpness=sharpness,
        leniency=leniency,
        willingness=willingness.copy(),
        n_given=count(votes.volunteer, votes.n_volunteers),
        thresholds=done.model.thresholds,
        row_strength=done.model.row_strength,
        log_likelihood=done.expected.log_likelihood,
        n_iterations=done.n_iterations,
        converged=done.converged,
    )
