"""Simulated crowds with known truth: five answers with habits of error, and a stream with rare lenses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
ANSWERS = 5
PRIOR = (0.35, 0.30, 0.20, 0.10, 0.05)
VOTES_PER_SUBJECT = 10
VOLUNTEERS = 20_000
#: Votes that a share of Space Warps' 24,871 volunteers stayed below (Marshall et al. 2016): few give most votes.
SHARES = (0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
EFFORT = (1, 2, 2, 14, 25, 47, 93, 261, 635, 2272, 5968, 12721, 27251, 49220)


@dataclass(frozen=True)
class Crowd:
    """Votes as integer codes, one row per vote, and the true answer of each subject."""

    subject: Ints
    volunteer: Ints
    answer: Ints
    truth: Ints


@dataclass(frozen=True)
class LensStream(Crowd):
    """Votes in time order on 0 (nothing) and 1 (a lens), and the truth of the training subjects, -1 for the others."""

    gold: Ints


def simulate_crowd(n_subjects: int, seed: int) -> Crowd:
    """About ten votes on each subject, by 20,000 volunteers of whom some never come; the same for the same seed.

    Effort is that of Space Warps' volunteers. Volunteer j is right on subject i with p_j (1 - d_i) + d_i / 5, where
    p ~ Beta(6, 2.5) and difficulty d ~ Beta(2, 6); a wrong answer is a neighbour of the right one more often than not,
    weighted by where this volunteer's guesses go. Nobody votes twice on a subject.
    """
    rng = np.random.default_rng(seed)
    n_volunteers = min(VOLUNTEERS, n_subjects // 2)
    effort = np.exp(np.interp(rng.random(n_volunteers), SHARES, np.log(EFFORT)))
    subject, volunteer = _who_sees_what(np.full(n_subjects, VOTES_PER_SUBJECT), effort, rng)
    truth = rng.choice(ANSWERS, n_subjects, p=PRIOR)
    skill, difficulty = rng.beta(6, 2.5, n_volunteers), rng.beta(2, 6, n_subjects)
    right = skill[volunteer] * (1 - difficulty[subject]) + difficulty[subject] / ANSWERS
    wrong = _wrong_answers(truth[subject], rng.dirichlet(np.full(ANSWERS, 1.5), n_volunteers)[volunteer], rng)
    answer = np.where(rng.random(len(subject)) < right, truth[subject], wrong)
    return Crowd(subject, np.unique(volunteer, return_inverse=True)[1], answer, truth)


def simulate_lenses(n_subjects: int, seed: int) -> LensStream:
    """Twelve votes on each subject, of which one in 200 is a lens, by one volunteer per ten subjects.

    One subject in twenty is a training subject, half of those are simulated lenses, and each is shown eight times as
    often. Volunteer j says "lens" of lens i with PL_j v_i / 0.77, PL ~ Beta(5, 2), where the visibility v ~
    Beta(5, 1.5) (0.77 on average) is the same for all who look; of anything else with 1 - PD_j, PD ~ Beta(14, 1.2).
    """
    rng = np.random.default_rng(seed)
    n_volunteers = n_subjects // 10
    is_training = np.arange(n_subjects) < n_subjects // 20
    effort = rng.lognormal(2.6, 1.9, n_volunteers)
    subject, volunteer = _who_sees_what(np.where(is_training, 8 * 12, 12), effort, rng)
    truth = (rng.random(n_subjects) < np.where(is_training, 0.5, 1 / 200)).astype(np.int64)
    finds, passes = rng.beta(5, 2, n_volunteers)[volunteer], rng.beta(14, 1.2, n_volunteers)[volunteer]
    visibility = rng.beta(5, 1.5, n_subjects)[subject] / 0.77
    says_lens = np.where(truth[subject] == 1, finds * visibility, 1 - passes).clip(0.002, 0.998)
    answer = (rng.random(len(subject)) < says_lens).astype(np.int64)
    return LensStream(
        subject, np.unique(volunteer, return_inverse=True)[1], answer, truth, np.where(is_training, truth, -1)
    )


def _who_sees_what(votes: Ints, effort: NDArray[np.float64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Subject and volunteer of each vote in random order, about `votes` per subject and none of them twice."""
    n_volunteers = len(effort)
    cumulative = np.cumsum(np.minimum(effort, np.quantile(effort, 0.999)))
    drawn = np.searchsorted(cumulative, rng.random(int(votes.sum())) * cumulative[-1])
    pairs = np.unique(np.repeat(np.arange(len(votes)), votes) * n_volunteers + drawn)
    subject, volunteer = np.divmod(rng.permutation(pairs), n_volunteers)
    return subject, volunteer


def _wrong_answers(truth: Ints, habit: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    distance = np.abs(np.subtract.outer(np.arange(ANSWERS), np.arange(ANSWERS)))
    weight = np.exp(-distance / 0.8)[truth] * habit
    weight[np.arange(len(truth)), truth] = 0
    cumulative = np.cumsum(weight, axis=1)
    drawn = rng.random(len(truth)) * cumulative[:, -1]
    return np.minimum((drawn[:, None] > cumulative).sum(axis=1), ANSWERS - 1)
