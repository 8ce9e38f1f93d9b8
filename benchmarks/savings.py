"""Votes saved by asking only where the posterior is unsure, and whether stopped subjects keep the promise.

A simulated yes/no question. Skill and effort of volunteers and difficulty of subjects are unequal, and difficulty is
not what the model takes it for. Votes come in rounds, one on every subject that is still open; after some rounds a
sweep weighs all votes anew, and subjects retire. A few gold subjects, asked like the others, calibrate the posterior.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

import aggregation
from benchmarks.figures import Figure

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Machine = Literal["none", "independent", "alike"]

SUBJECTS, VOLUNTEERS = 20_000, 800
POSITIVE = 0.3
GOLD = 0.08
SEEDS = (0, 1)
PROMISES = (0.95, 0.98)
FIXED = 10
MOST_VOTES = 40
#: Votes per subject after which there is a sweep. Skills are anybody's guess before the first few.
SWEEPS = (4, 5, 7, 10, 15, 24, 40)
#: No subject retires with more than this times the risk that they may have on average.
CEILING = 4.0
#: With a machine that speaks first.
SWEEPS_WITH_MACHINE = (0, 1, 2, *SWEEPS)
MACHINES: dict[Machine, str] = {
    "none": "volunteers alone",
    "independent": "with a machine of AUC 0.95",
    "alike": "with a machine of AUC 0.95 that errs where volunteers do",
}
#: Distance of the machine's score on positive and negative subjects that gives an AUC of 0.95, in its deviations;
#: `alike`: as many on a subject of no difficulty.
SEPARATION = {"independent": 2.33, "alike": 3.3}
#: The network is surer than it should be: its log-odds are this much too large.
OVERCONFIDENCE = 1.5


@dataclass(frozen=True)
class Outcome:
    """Votes per subject; share right of all test subjects; of those retired: share right, and what was promised."""

    votes: float
    accuracy: float
    delivered: float
    promised: float
    retired: float


class Survey:
    """Subjects, volunteers and the votes so far."""

    def __init__(self, n_subjects: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = (self.rng.random(n_subjects) < POSITIVE).astype(np.int64)
        self.gold = np.where(self.rng.random(n_subjects) < GOLD, self.truth, -1)
        self.test = self.gold < 0
        self.difficulty = self.rng.beta(1.6, 5.0, n_subjects)
        self.skill = np.stack([self.rng.beta(9.0, 2.2, VOLUNTEERS), self.rng.beta(7.0, 2.5, VOLUNTEERS)])
        self.cumulative_effort = np.cumsum(self.rng.pareto(1.1, VOLUNTEERS) + 0.2)
        self.n_votes = np.zeros(n_subjects, dtype=np.int64)
        self.seen_by = np.full((n_subjects, MOST_VOTES), -1)
        self.said = np.full((n_subjects, MOST_VOTES), -1)

    def ask(self, subject: Ints) -> None:
        """One vote on each of the subjects, by a volunteer who has not seen it."""
        volunteer = self._who_comes(len(subject))
        while (again := (self.seen_by[subject] == volunteer[:, np.newaxis]).any(axis=1)).any():
            volunteer[again] = self._who_comes(int(again.sum()))
        difficulty, truth = self.difficulty[subject], self.truth[subject]
        right = self.skill[truth, volunteer] * (1.0 - difficulty) + 0.5 * difficulty
        said = np.where(self.rng.random(len(subject)) < right, truth, 1 - truth)
        self.seen_by[subject, self.n_votes[subject]] = volunteer
        self.said[subject, self.n_votes[subject]] = said
        self.n_votes[subject] += 1

    def _who_comes(self, n: int) -> Ints:
        return np.searchsorted(self.cumulative_effort, self.rng.random(n) * self.cumulative_effort[-1])

    def scores(self, machine: Machine) -> Floats:
        """P(positive) of a network with an AUC of 0.95, over-confident; "alike" finds hard what volunteers do."""
        clear = 1.0 - self.difficulty if machine == "alike" else np.ones(len(self.truth))
        distance = SEPARATION[machine]
        score = self.rng.normal(distance * clear * self.truth, 1.0)
        return np.asarray(expit(OVERCONFIDENCE * (distance * score - distance**2 / 2.0 + logit(POSITIVE))))

    def posterior(self, evidence: Floats | None) -> Floats:
        """Of the votes so far and the machine; of gold subjects too as if their gold were not known."""
        if not self.n_votes.any():
            known = self.gold[~self.test]
            common = np.bincount(known, minlength=2) / len(known)
            said = np.zeros((len(self.truth), 2)) if evidence is None else evidence
            return np.asarray(softmax(said + np.log(common), axis=1))
        subject, place = np.nonzero(self.said >= 0)
        votes = (subject, self.seen_by[subject, place], self.said[subject, place], 2, self.gold)
        sizes = {"n_subjects": len(self.truth), "n_volunteers": VOLUNTEERS}
        return aggregation.pooled_dawid_skene(*votes, **sizes, evidence=evidence).held_out


def ask_until(promise: float, machine: Machine, n_subjects: int, seed: int) -> Outcome:
    """Ask until the retired subjects are expected to be right with the frequency `promise`."""
    survey = Survey(n_subjects, seed)
    evidence = None
    if machine != "none":
        evidence = aggregation.machine_evidence(survey.scores(machine), survey.gold).evidence
    loss = aggregation.zero_one_loss(2)
    is_open = np.ones(n_subjects, dtype=bool)
    risk, action = np.zeros(n_subjects), np.zeros(n_subjects, dtype=np.int64)
    for n_asked in range(MOST_VOTES + 1):
        if n_asked in (SWEEPS if evidence is None else SWEEPS_WITH_MACHINE):
            posterior = survey.posterior(evidence)
            now = aggregation.bayes_risk(posterior, loss).risk
            ceiling = CEILING * (1.0 - promise)
            limit = aggregation.risk_limit(now[is_open], 1.0 - promise, ceiling=ceiling, retired=risk[~is_open])
            end = aggregation.retire(posterior, survey.n_votes, loss, max_risk=limit, min_votes=0, max_votes=MOST_VOTES)
            risk[is_open], action[is_open] = end.risk[is_open], end.action[is_open]
            is_open &= end.status != "retire"
        if n_asked < MOST_VOTES and is_open.any():
            survey.ask(np.flatnonzero(is_open))
    right, retired = action == survey.truth, ~is_open & survey.test
    return Outcome(
        votes=float(survey.n_votes[survey.test].mean()),
        accuracy=float(right[survey.test].mean()),
        delivered=float(right[retired].mean()),
        promised=float(1.0 - risk[retired].mean()),
        retired=float(retired.sum() / survey.test.sum()),
    )


def fixed_accuracy(n_subjects: int, seed: int) -> float:
    """Share right of the best reducer when every subject gets ten votes."""
    survey = Survey(n_subjects, seed)
    for _ in range(FIXED):
        survey.ask(np.arange(n_subjects))
    subject, place = np.nonzero(survey.said >= 0)
    votes = (subject, survey.seen_by[subject, place], survey.said[subject, place], 2)
    posteriors = [
        aggregation.majority(*votes).posterior,
        aggregation.weighted_votes(*votes).posterior,
        aggregation.dawid_skene(*votes, survey.gold).posterior,
        aggregation.pooled_dawid_skene(*votes).posterior,
        survey.posterior(None),
    ]
    return max(aggregation.accuracy(each[survey.test], survey.truth[survey.test]) for each in posteriors)


def measure_savings(*, tiny: bool) -> Iterator[Figure]:
    n_subjects, seeds = (400, SEEDS[:1]) if tiny else (SUBJECTS, SEEDS)
    promising: tuple[Machine, Machine] = ("none", "alike")
    for machine in promising:
        for promise in PROMISES[:1] if tiny else PROMISES:
            outcomes = [ask_until(promise, machine, n_subjects, seed) for seed in seeds]
            yield from _kept(f"{MACHINES[machine]}, {promise:.0%} promised", outcomes, tiny=tiny)
    yield from _saved(n_subjects, seeds[0], tiny=tiny)


def _kept(name: str, outcomes: list[Outcome], *, tiny: bool) -> Iterator[Figure]:
    """What was promised and what came of it; the bar is for every seed alone."""
    votes, retired, right = (
        float(np.mean([getattr(each, of) for each in outcomes])) for of in ("votes", "retired", "delivered")
    )
    yield Figure(f"{name}: votes per subject", votes, "votes")
    yield Figure(f"{name}: retired", retired, "share of subjects")
    yield Figure(f"{name}: right, of the retired", right, "share right")
    gap = max(abs(each.delivered - each.promised) for each in outcomes)
    # So few gold subjects as a tiny run has cannot tell 1 %.
    yield Figure(f"{name}: delivered less promised", gap, "of probability", at_most=None if tiny else 0.01)


def _saved(n_subjects: int, seed: int, *, tiny: bool) -> Iterator[Figure]:
    """Votes that do for the accuracy of ten on every subject."""
    ten = fixed_accuracy(n_subjects, seed)
    yield Figure("ten votes each, best reducer: right", ten, "share right")
    for machine, who in MACHINES.items():
        # A point above what ten votes give, as not every subject retires.
        run = ask_until(ten + 0.01, machine, n_subjects, seed)
        yield Figure(
            f"{who}, as right as ten votes: right", run.accuracy, "share right", at_least=None if tiny else ten
        )
        fewer = FIXED / max(run.votes, 1e-3)
        at_least = None if tiny or machine == "none" else 3.0
        yield Figure(f"{who}, as right as ten votes: fewer votes", fewer, "×", at_least=at_least)
