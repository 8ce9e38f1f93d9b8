"""A simulated crowd with known truth: five answers, unequal effort, skill, difficulty, and habits of error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
ANSWERS = 5
PRIOR = (0.35, 0.30, 0.20, 0.10, 0.05)
VOTES_PER_SUBJECT = 10
SUBJECTS_PER_VOLUNTEER = 100_000 / 14_000


@dataclass(frozen=True)
class Crowd:
    """Votes as integer codes, one row per vote, and the true answer of each subject."""

    subject: Ints
    volunteer: Ints
    answer: Ints
    truth: Ints


def simulate_crowd(n_subjects: int, seed: int) -> Crowd:
    """About ten votes on each subject, by one volunteer per seven subjects; the same for the same seed.

    Effort is log-normal (few give most votes). Volunteer j is right on subject i with p_j (1 - d_i) + d_i / 5, where
    p ~ Beta(6, 2.5) and difficulty d ~ Beta(2, 6); a wrong answer is a neighbour of the right one more often than not,
    weighted by where this volunteer's guesses go. Nobody votes twice on a subject.
    """
    rng = np.random.default_rng(seed)
    n_volunteers = int(n_subjects / SUBJECTS_PER_VOLUNTEER)
    effort = rng.lognormal(2.6, 1.9, n_volunteers)
    cumulative = np.cumsum(np.minimum(effort, np.quantile(effort, 0.999)))
    drawn = np.searchsorted(cumulative, rng.random(n_subjects * VOTES_PER_SUBJECT) * cumulative[-1])
    pairs = np.unique(np.repeat(np.arange(n_subjects), VOTES_PER_SUBJECT) * n_volunteers + drawn)
    subject, volunteer = np.divmod(rng.permutation(pairs), n_volunteers)
    truth = rng.choice(ANSWERS, n_subjects, p=PRIOR)
    skill, difficulty = rng.beta(6, 2.5, n_volunteers), rng.beta(2, 6, n_subjects)
    right = skill[volunteer] * (1 - difficulty[subject]) + difficulty[subject] / ANSWERS
    wrong = _wrong_answers(truth[subject], rng.dirichlet(np.full(ANSWERS, 1.5), n_volunteers)[volunteer], rng)
    answer = np.where(rng.random(len(subject)) < right, truth[subject], wrong)
    return Crowd(subject, np.unique(volunteer, return_inverse=True)[1], answer, truth)


def _wrong_answers(truth: Ints, habit: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    distance = np.abs(np.subtract.outer(np.arange(ANSWERS), np.arange(ANSWERS)))
    weight = np.exp(-distance / 0.8)[truth] * habit
    weight[np.arange(len(truth)), truth] = 0
    cumulative = np.cumsum(weight, axis=1)
    drawn = rng.random(len(truth)) * cumulative[:, -1]
    return np.minimum((drawn[:, None] > cumulative).sum(axis=1), ANSWERS - 1)
