"""Live posteriors go on exactly where a sweep ended, and say of one more vote what the running form says."""

import json

import numpy as np
import pytest

from aggregation.dawid_skene import dawid_skene
from aggregation.decisions import expected_information_gain
from aggregation.live import LiveModel, LiveQuestion, Started, add, start_from_posterior, start_pooled, start_tree
from aggregation.pooled import pooled_dawid_skene
from aggregation.running import RunningPooled
from aggregation.tree import pooled_tree

N_SUBJECTS, N_VOLUNTEERS, N_ANSWERS = 120, 15, 3
TREE = [[1, 2, -1], [-1, -1], [1, -1]]


def votes_of(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    truth = rng.integers(N_ANSWERS, size=N_SUBJECTS)
    subject, volunteer = (a.ravel() for a in np.meshgrid(np.arange(N_SUBJECTS), np.arange(N_VOLUNTEERS)))
    asked = rng.random(len(subject)) < 0.5
    subject, volunteer = subject[asked], volunteer[asked]
    right = rng.random(len(subject)) < np.linspace(0.5, 0.95, N_VOLUNTEERS)[volunteer]
    answer = np.where(right, truth[subject], rng.integers(N_ANSWERS, size=len(subject)))
    return subject, volunteer, answer, truth


def counts_of(subject: np.ndarray, answer: np.ndarray, row: int, n_answers: int = N_ANSWERS) -> list[int]:
    counted: list[int] = np.bincount(answer[subject == row], minlength=n_answers).tolist()
    return counted


@pytest.mark.parametrize("with_gold", [False, True])
def test_a_pooled_sweep_goes_on_from_its_held_out_posterior(with_gold: bool) -> None:
    subject, volunteer, answer, truth = votes_of(np.random.default_rng(1))
    gold = np.where(np.arange(N_SUBJECTS) < 60, truth, -1) if with_gold else None
    fit = pooled_dawid_skene(subject, volunteer, answer, N_ANSWERS, gold)
    started = start_pooled(fit)
    model = LiveModel((started.question,))
    for row in range(60 if with_gold else 0, N_SUBJECTS):  # a gold subject's own map is that of the other folds
        belief = model.believe([started.evidence[row].tolist()], [counts_of(subject, answer, row)])
        np.testing.assert_allclose(belief.posterior[0], fit.held_out[row], atol=1e-9)


def test_one_more_vote_says_what_the_running_form_says() -> None:
    subject, volunteer, answer, _ = votes_of(np.random.default_rng(2))
    running = RunningPooled(N_ANSWERS)
    for vote in zip(subject.tolist(), volunteer.tolist(), answer.tolist(), strict=True):
        running.add(*vote)
    started = start_pooled(running.sweep())
    model = LiveModel((started.question,))
    newcomer = started.question.crowd.tolist()
    running.add(5, N_VOLUNTEERS, 2)
    counts = counts_of(subject, answer, 5)
    counts[2] += 1
    belief = model.believe([add(started.evidence[5].tolist(), newcomer, 2)], [counts])
    np.testing.assert_allclose(belief.posterior[0], running.posterior(5), atol=1e-9)


def tree_votes(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    rows = []
    for subject in range(80):
        for volunteer in range(12):
            task = 0
            while task != -1:
                answer = int(rng.integers(len(TREE[task]))) if rng.random() < 0.3 else subject % len(TREE[task])
                rows.append((subject, volunteer, task, answer))
                task = TREE[task][answer]
    return tuple(np.array(rows).T)


def test_a_tree_goes_on_from_its_paths() -> None:
    subject, volunteer, task, answer = tree_votes(np.random.default_rng(3))
    fit = pooled_tree(subject, volunteer, task, answer, TREE)
    started = start_tree(fit, TREE)
    model = LiveModel(tuple(each.question for each in started))
    for row in range(80):
        here = subject == row
        counts = [counts_of(task[here], answer[here], each, len(TREE[each])) for each in range(len(TREE))]
        belief = model.believe([each.evidence[row].tolist() for each in started], counts)
        np.testing.assert_allclose(belief.reach, fit.reach[row], atol=1e-9)
        for each in range(len(TREE)):
            np.testing.assert_allclose(belief.posterior[each], fit.held_out[each][row], atol=1e-9)


def start_of_posterior(rng: np.random.Generator) -> tuple[Started, np.ndarray, tuple[np.ndarray, ...]]:
    subject, volunteer, answer, _ = votes_of(rng)
    posterior = dawid_skene(subject, volunteer, answer, N_ANSWERS).posterior
    return start_from_posterior(subject, volunteer, answer, posterior), posterior, (subject, volunteer, answer)


def test_any_posterior_can_be_gone_on_from() -> None:
    started, posterior, (subject, _, answer) = start_of_posterior(np.random.default_rng(4))
    model = LiveModel((started.question,))
    for row in range(N_SUBJECTS):
        belief = model.believe([started.evidence[row].tolist()], [counts_of(subject, answer, row)])
        np.testing.assert_allclose(belief.posterior[0], posterior[row], atol=1e-9)


def test_a_model_survives_a_json_column() -> None:
    subject, volunteer, answer, truth = votes_of(np.random.default_rng(5))
    fit = pooled_dawid_skene(subject, volunteer, answer, N_ANSWERS, truth)
    started = start_pooled(fit)
    again = LiveModel((LiveQuestion.from_dict(json.loads(json.dumps(started.question.to_dict()))),))
    row = [started.evidence[7].tolist()], [counts_of(subject, answer, 7)]
    assert again.believe(*row) == LiveModel((started.question,)).believe(*row)


def test_the_information_of_a_vote_is_that_of_the_crowds_mean_volunteer() -> None:
    rng = np.random.default_rng(6)
    crowd = rng.dirichlet([1, 2, 3], size=3)
    even = np.full(3, 1 / 3)
    model = LiveModel((LiveQuestion(even, crowd, even, even, correlation=0.2, leads_to=(-1, -1, -1)),))
    belief = model.believe([[0.3, -0.4, 0.1]], [[1, 0, 2]])
    expected = expected_information_gain(
        [belief.posterior[0]], crowd[np.newaxis], n_votes=[3], correlation=0.2
    )[0, 0]  # fmt: skip
    assert model.information(belief, [[1, 0, 2]]) == pytest.approx(expected)


def test_an_impossible_answer_leaves_a_way_back() -> None:
    never = [[1.0, 0.0], [0.0, 1.0]]
    assert np.isfinite(add([0.0, 0.0], never, 1)).all()
