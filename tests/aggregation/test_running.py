"""Every reducer of votes, a vote at a time: after a sweep it is the batch result, whatever the order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import (
    RunningDawidSkene,
    RunningMajority,
    RunningOneCoin,
    RunningOrdinalGrades,
    RunningPooled,
    RunningSwapEM,
    RunningWeighted,
    accuracy,
    dawid_skene,
    majority,
    one_coin,
    ordinal_grades,
    pooled_dawid_skene,
    swap_em,
    weighted_votes,
)

FORMS = [
    (RunningMajority, majority),
    (RunningWeighted, weighted_votes),
    (RunningDawidSkene, dawid_skene),
    (RunningOneCoin, one_coin),
    (RunningPooled, pooled_dawid_skene),
]


def _ordinal(subject, grader, grade, n_levels, n_subjects):
    return ordinal_grades(subject, grader, grade, n_levels, escape=False, n_subjects=n_subjects)


def _rare(subject, volunteer, answer, n_answers, n_subjects):
    return swap_em(subject, volunteer, answer % 2, n_subjects=n_subjects)


class _Rare(RunningSwapEM):
    """Takes the codes of the other forms; 2 counts as 0."""

    def __init__(self, n_answers):
        super().__init__()

    def add(self, subject, volunteer, answer):
        super().add(subject, volunteer, answer % 2)


EVERY_FORM = [*FORMS, (lambda n_levels: RunningOrdinalGrades(n_levels, escape=False), _ordinal), (_Rare, _rare)]

votes = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=60)


def last_of_each_pair(rows):
    return np.array([(*pair, answer) for pair, answer in {row[:2]: row[2] for row in rows}.items()]).T


@pytest.mark.parametrize(("form", "batch"), EVERY_FORM)
@settings(max_examples=25, deadline=None)
@given(rows=votes, seed=st.integers(0, 2**32 - 1))
def test_after_a_sweep_it_equals_the_batch_under_any_order_and_numbering(form, batch, rows, seed):
    rng = np.random.default_rng(seed)
    kept = last_of_each_pair(rows)
    subjects, volunteers = rng.permutation(9), rng.permutation(7)
    expected = batch(subjects[kept[0]], volunteers[kept[1]], kept[2], 3, n_subjects=9).posterior

    running = form(3)
    for subject, volunteer, answer in rows:  # repeats and all, as they came
        running.add(subject, volunteer, answer)
    shuffled = form(3)
    for column in rng.permutation(kept.shape[1]):
        shuffled.add(*kept[:, column].tolist())
    for each in (running, shuffled):
        swept = each.sweep().posterior
        np.testing.assert_allclose(swept, expected[subjects[: len(swept)]], atol=1e-6)
        for subject in range(len(swept)):
            np.testing.assert_allclose(each.posterior(subject), swept[subject], atol=1e-6)


@pytest.mark.parametrize(("form", "batch"), FORMS[2:])
def test_gold_is_certain_at_once_and_the_sweep_is_the_batch_with_gold(form, batch, crowd):
    gold = np.where(np.arange(300) < 40, crowd.truth, -1)
    running = form(3)
    running.gold.update({subject: int(gold[subject]) for subject in range(40)})
    for vote in zip(crowd.subject.tolist(), crowd.volunteer.tolist(), crowd.answer.tolist(), strict=True):
        running.add(*vote)
    assert running.posterior(5).tolist() == np.eye(3)[gold[5]].tolist()
    expected = batch(crowd.subject, crowd.volunteer, crowd.answer, 3, gold)
    np.testing.assert_allclose(running.sweep().posterior, expected.posterior, atol=1e-6)
    np.testing.assert_allclose(running.posterior(200), expected.posterior[200], atol=1e-6)


@pytest.mark.parametrize("form", [RunningDawidSkene, RunningPooled])
def test_a_stream_learns_as_it_goes_and_goes_on_after_a_sweep(form, crowd_of):
    crowd = crowd_of(n_subjects=600, n_volunteers=20, n_answers=2, per_subject=8, diagonal=(0.5, 0.98), seed=11)
    order = np.argsort(crowd.subject % 8 + np.arange(len(crowd.subject)) % 7, kind="stable")
    rows = list(zip(crowd.subject[order], crowd.volunteer[order], crowd.answer[order], strict=True))
    running = form(2)
    for subject, volunteer, answer in rows[:2400]:
        running.add(int(subject), int(volunteer), int(answer))
    running.sweep()
    for subject, volunteer, answer in rows[2400:]:
        running.add(int(subject), int(volunteer), int(answer))
    now = np.array([running.posterior(subject) for subject in range(600)])
    plain = majority(crowd.subject, crowd.volunteer, crowd.answer).posterior
    assert accuracy(now, crowd.truth) > accuracy(plain, crowd.truth)
    # A sweep finds more, but not much more.
    assert accuracy(running.sweep().posterior, crowd.truth) - accuracy(now, crowd.truth) < 0.02


def test_a_changed_vote_replaces_the_earlier_one_at_once():
    running = RunningMajority(2)
    for answer in (0, 1, 1):
        running.add(0, 0, answer)
    running.add(0, 1, 1)
    assert running.posterior(0).tolist() == [0.0, 1.0]
    pooled = RunningPooled(2)
    for subject in range(20):
        for volunteer in range(4):
            pooled.add(subject, volunteer, subject % 2)
    pooled.sweep()
    sure = pooled.posterior(0)[0]
    pooled.add(0, 3, 1)
    assert pooled.posterior(0)[0] < sure
    np.testing.assert_allclose(pooled.sweep().posterior[0], pooled.posterior(0))


def test_nothing_is_known_of_a_subject_without_votes():
    for form, _ in FORMS:
        running = form(4)
        running.add(2, 1, 3)
        np.testing.assert_allclose(running.posterior(0), 0.25)


@pytest.mark.parametrize(
    ("vote", "message"),
    [
        ((0, 0, 3), "answer 3 is outside the 3 answers"),
        ((-1, 0, 0), "codes start at 0"),
        ((0, -2, 0), "codes start at 0"),
    ],
)
def test_votes_that_make_no_sense_are_refused_and_change_nothing(vote, message):
    running = RunningPooled(3)
    with pytest.raises(ValueError, match=message):
        running.add(*vote)
    assert running.sweep().posterior.shape == (0, 3)


def test_at_least_one_answer_is_needed():
    with pytest.raises(ValueError, match="n_answers must be at least 1"):
        RunningMajority(0)
