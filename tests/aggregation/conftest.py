"""Simulated volunteers with known truth."""

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class Crowd:
    subject: np.ndarray
    volunteer: np.ndarray
    answer: np.ndarray
    truth: np.ndarray
    confusion: np.ndarray


def make_crowd(n_subjects=300, n_volunteers=20, n_answers=3, per_subject=6, prior=None, diagonal=(0.55, 0.95), seed=0):
    """Votes drawn from the Dawid-Skene model: confusion rows with the given range on the diagonal."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(n_answers, n_subjects, p=prior)
    confusion = np.zeros((n_volunteers, n_answers, n_answers))
    for matrix in confusion:
        for k, row in enumerate(matrix):
            right = rng.uniform(*diagonal)
            row[:] = (1 - right) * rng.dirichlet(np.ones(n_answers))
            row[k] += right
    subject = np.repeat(np.arange(n_subjects), per_subject)
    volunteer = np.concatenate([rng.choice(n_volunteers, per_subject, replace=False) for _ in range(n_subjects)])
    chances = confusion[volunteer, truth[subject]].cumsum(axis=1)
    answer = (rng.random(len(subject))[:, np.newaxis] > chances).sum(axis=1).clip(0, n_answers - 1)
    return Crowd(subject, volunteer, answer, truth, confusion)


@pytest.fixture(scope="session")
def crowd_of():
    return make_crowd


@pytest.fixture(scope="session")
def crowd():
    return make_crowd()
