import csv
import gzip
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import ndtr

from aggregation import (
    dawid_skene,
    expected_calibration_error,
    majority,
    ordinal_grades,
    quadratic_weighted_kappa,
)
from aggregation._ordinal_fit import expectation, fit
from aggregation._ordinal_table import tabulate
from aggregation._ordinal_trait import band_weights
from aggregation._votes import check_gold, check_votes
from aggregation.ordinal import RunningOrdinalGrades

X, C, B, A, I = range(5)  # noqa: E741 - the field's own letters


@dataclass(frozen=True)
class Exercise:
    """A grading exercise with known truth; the first `spammers` graders do not look."""

    subject: np.ndarray
    grader: np.ndarray
    grade: np.ndarray
    truth: np.ndarray
    trait: np.ndarray
    sharpness: np.ndarray
    leniency: np.ndarray
    willingness: np.ndarray


def make_exercise(n_subjects=1500, n_graders=16, coverage=0.5, spammers=0, escape=True, seed=0):
    """Grades by noise 1 / sharpness and a shift by leniency, in levels; half of the spammers always say the same."""
    rng = np.random.default_rng(seed)
    trait = rng.normal(1.0, 1.3, n_subjects)
    truth = np.digitize(trait, [0.5, 1.5, 2.5])
    sharpness, leniency = rng.lognormal(0.4, 0.5, n_graders), rng.normal(0, 0.5, n_graders)
    willingness = rng.beta(4, 3, n_graders)
    subject, grader = np.nonzero(rng.random((n_subjects, n_graders)) < coverage)
    seen = trait[subject] + leniency[grader] + rng.normal(size=len(subject)) / sharpness[grader]
    grade = np.digitize(seen, [0.5, 1.5, 2.5])
    if escape:
        truth = np.where(rng.random(n_subjects) < 0.08, I, truth)
        says = np.where(truth[subject] == I, willingness[grader], 0.02)
        grade = np.where(rng.random(len(subject)) < says, I, grade)
    for j in range(spammers):
        own = grader == j
        grade[own] = rng.integers(0, 4, own.sum()) if j % 2 else j % 4
    return Exercise(subject, grader, grade, truth, trait, sharpness, leniency, willingness)


def grade_exercise(exercise, **keywords):
    return ordinal_grades(exercise.subject, exercise.grader, exercise.grade, **keywords)


@pytest.fixture(scope="module")
def exercise():
    return make_exercise()


@pytest.fixture(scope="module")
def result(exercise):
    return grade_exercise(exercise)


def correlation(first, second):
    return np.corrcoef(first, second)[0, 1]


def test_it_recovers_the_graders(exercise, result):
    assert correlation(result.sharpness, exercise.sharpness) > 0.95
    assert correlation(result.leniency, exercise.leniency) > 0.95
    assert correlation(result.willingness, exercise.willingness) > 0.9
    assert np.median(result.sharpness / exercise.sharpness) == pytest.approx(1, abs=0.1)
    assert result.converged


def test_it_grades_better_than_votes_and_than_unordered_confusion(exercise, result):
    votes = exercise.subject, exercise.grader, exercise.grade, 5
    for rival in (majority(*votes).answer, dawid_skene(*votes).answer):
        kappa = quadratic_weighted_kappa(rival, exercise.truth)
        assert quadratic_weighted_kappa(result.grade, exercise.truth) > kappa + 0.02
        assert (result.grade == exercise.truth).mean() > (rival == exercise.truth).mean() + 0.02


def test_probabilities_mean_what_they_say(exercise, result):
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    assert expected_calibration_error(result.posterior, exercise.truth) < 0.03
    for level in (C, B, A):
        promised = result.p_at_least(level)
        delivered = (exercise.truth >= level) & (exercise.truth != I)
        pair = np.column_stack([1 - promised, promised])
        assert expected_calibration_error(pair, delivered.astype(int)) < 0.03
    assert result.escape_probability.mean() == pytest.approx((exercise.truth == I).mean(), abs=0.01)


def test_the_rank_follows_the_trait_and_its_error_is_honest(exercise, result):
    on_scale = (exercise.truth != I) & ~np.isnan(result.rank)
    inner = on_scale & (result.rank > 0.5) & (result.rank < 2.5)  # there a level is as long as it was simulated
    pull = ((result.rank - exercise.trait) / result.rank_error)[inner]
    assert correlation(result.rank[on_scale], exercise.trait[on_scale]) > 0.9
    assert abs(pull.mean()) < 0.4
    assert 0.8 < pull.std() < 1.2
    assert np.nanmin(result.rank) > -1
    assert np.nanmax(result.rank) < 4


def test_spammers_and_graders_of_one_grade_do_no_harm(exercise, result):
    spammed = make_exercise(n_graders=22, spammers=6)
    clean = spammed.grader >= 6
    with_spam = grade_exercise(spammed)
    without = ordinal_grades(spammed.subject[clean], spammed.grader[clean] - 6, spammed.grade[clean])
    kappa = [quadratic_weighted_kappa(each.grade, spammed.truth) for each in (with_spam, without)]
    assert kappa[0] > kappa[1] - 0.01
    assert with_spam.sharpness[:6].max() < 0.2 < with_spam.sharpness[6:].min()
    assert expected_calibration_error(with_spam.posterior, spammed.truth) < 0.03


def test_the_probit_stands_where_a_crowd_is_ordinal_and_yields_where_it_is_not(crowd_of):
    ordinal = make_exercise(escape=False)
    habits = crowd_of(n_subjects=1500, n_volunteers=16, n_answers=4, per_subject=8, seed=5)  # no order in the errors
    assert grade_exercise(ordinal, escape=False).row_strength > 1000
    bent = ordinal_grades(habits.subject, habits.volunteer, habits.answer, escape=False)
    assert bent.row_strength < 100
    assert (bent.grade == habits.truth).mean() > 0.97


def test_relevance_grades_beat_every_peer(shared_data):
    folder = shared_data / "crowd/relevance"
    with gzip.open(folder / "votes.csv.gz", "rt") as file:
        rows = np.array([[int(row[name]) for name in ("task", "worker", "label")] for row in csv.DictReader(file)])
    with (folder / "truth.csv").open() as file:
        truth = {int(row["task"]): int(row["truth"]) for row in csv.DictReader(file)}
    tasks, subject = np.unique(rows[:, 0], return_inverse=True)
    grader = np.unique(rows[:, 1], return_inverse=True)[1]
    result = ordinal_grades(subject, grader, rows[:, 2], escape=False, max_iterations=12)  # near enough, and faster
    gold = np.array([truth.get(task, -1) for task in tasks.tolist()])
    assert quadratic_weighted_kappa(result.grade, gold) > 0.711


def test_the_anaesthetists_agree_with_the_published_classes(shared_data):
    with (shared_data / "crowd/ds1979_anaesthesia/votes.csv").open() as file:
        rows = np.array([[int(row[name]) for name in ("task", "worker", "label")] for row in csv.DictReader(file)])
    result = ordinal_grades(*rows.T, escape=False)
    published = dawid_skene(*rows.T, smoothing=0).answer
    assert (result.grade == published).mean() > 0.9
    assert np.abs(result.grade - published).max() == 1


def slow_posterior(table, model):
    """Bayes' rule subject by subject, node by node, vote by vote."""
    bands, weight = band_weights(model.trait, model.thresholds), model.trait.weight
    votes = list(zip(table.votes.subject, table.votes.volunteer, table.votes.answer, strict=True))
    out = np.zeros((table.votes.n_subjects, table.n_levels + 1))
    for i in range(table.votes.n_subjects):
        for state in (0, 1):
            for q, node in enumerate(model.trait.nodes):
                chance = weight[state, q]
                for _, j, y in (vote for vote in votes if vote[0] == i):
                    rate = model.rates[j, state]
                    if y == table.n_levels:
                        chance *= rate
                        continue
                    slope, cuts = model.coefficients[j, 0], model.coefficients[j, 1:]
                    steps = np.r_[1.0, ndtr(slope * node - cuts), 0.0]
                    said = 0.98 * (steps[:-1] - steps[1:]) + 0.02 * model.slips
                    said *= model.rows.factor[j] @ bands[q]
                    chance *= (1 - rate) * said[y] / said.sum()
                if state == 0:
                    out[i, :-1] += chance * bands[q]
                else:
                    out[i, -1] += chance
    return out / out.sum(axis=1, keepdims=True), np.log(out.sum(axis=1)).sum()


def test_the_fast_e_step_equals_the_slow_reference():
    small = make_exercise(n_subjects=12, n_graders=4, coverage=0.7, seed=3)
    votes = check_votes(small.subject, small.grader, small.grade, 5)
    table = tabulate(votes, check_gold(None, votes.n_subjects, 5), 4, True)
    model = fit(table, 6, 0.0).model
    posterior, log_likelihood = slow_posterior(table, model)
    fast = expectation(table, model)
    np.testing.assert_allclose(fast.posterior, posterior, rtol=1e-9, atol=1e-15)
    assert fast.log_likelihood == pytest.approx(log_likelihood)


def test_the_order_of_votes_and_the_names_of_subjects_and_graders_do_not_matter():
    small = make_exercise(n_subjects=80, n_graders=7)
    rng = np.random.default_rng(1)
    reference = grade_exercise(small)
    order, subjects, graders = (rng.permutation(n) for n in (len(small.grade), len(small.truth), 7))
    other = ordinal_grades(subjects[small.subject][order], graders[small.grader][order], small.grade[order])
    np.testing.assert_allclose(other.posterior[subjects], reference.posterior, atol=1e-8)
    np.testing.assert_allclose(other.rank[subjects], reference.rank, atol=1e-7)
    np.testing.assert_allclose(other.sharpness[graders], reference.sharpness, atol=1e-7)


def test_turning_the_scale_around_turns_the_grades():
    small = make_exercise(n_subjects=300, n_graders=8, escape=False)
    there = grade_exercise(small, escape=False)
    back = ordinal_grades(small.subject, small.grader, 3 - small.grade, escape=False)
    np.testing.assert_allclose(back.posterior[:, ::-1], there.posterior, atol=0.01)
    np.testing.assert_allclose(3 - back.rank, there.rank, atol=0.03)
    np.testing.assert_allclose(-back.leniency, there.leniency, atol=0.03)


def test_no_votes_give_the_prior():
    result = ordinal_grades([], [], [], n_subjects=2, n_graders=1)
    assert result.grade.tolist() == [-1, -1]
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    np.testing.assert_allclose(result.posterior[0], result.posterior[1])
    assert result.converged
    empty = ordinal_grades([], [], [])
    assert empty.posterior.shape == (0, 5)
    assert empty.sharpness.shape == (0,)


@pytest.mark.parametrize("grade", [X, C, B, A, I])
def test_one_vote_is_believed_but_not_taken_for_proof(grade):
    result = ordinal_grades([0], [0], [grade])
    assert result.grade.tolist() == [grade]
    assert 0.4 < result.posterior[0, grade] < 0.95
    assert not result.needs_adjudication.any()


@pytest.mark.parametrize("grade", [X, C, B, A, I])
def test_unanimous_graders_settle_every_subject(grade):
    subject, grader = np.divmod(np.arange(24), 4)
    result = ordinal_grades(subject, grader, np.full(24, grade))
    assert (result.grade == grade).all()
    assert (result.posterior[:, grade] > 0.95).all()
    assert not result.needs_adjudication.any()


def test_a_level_that_nobody_gave_and_a_grader_with_one_vote():
    small = make_exercise(n_subjects=200, n_graders=6)
    kept = (small.grade != B) & ((small.grader > 0) | (np.cumsum(small.grader == 0) == 1))
    result = ordinal_grades(small.subject[kept], small.grader[kept], small.grade[kept])
    assert result.n_given[0] == 1
    assert np.isfinite([result.sharpness, result.leniency, result.willingness]).all()
    assert (result.posterior[:, B] < 0.5).all()


def test_two_levels_without_escape_class():
    result = ordinal_grades([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], 2, escape=False)
    assert result.grade.tolist() == [0, 1]
    assert result.posterior.shape == (2, 2)
    assert np.isnan(result.willingness).all()
    assert (result.escape_probability == 0).all()


def test_gold_is_certain_and_draws_the_lines():
    strict = make_exercise(n_subjects=400, n_graders=6, coverage=1.0, escape=False, seed=4)
    lenient = np.minimum(strict.grade + 1, A)  # everybody grades one level too well
    gold = np.where(np.arange(400) < 200, strict.truth, -1)
    votes = strict.subject, strict.grader, lenient
    taught, untaught = (ordinal_grades(*votes, escape=False, gold=each) for each in (gold, None))
    assert (taught.grade[:200] == strict.truth[:200]).all()
    assert (taught.posterior[:200].max(axis=1) == 1).all()
    right = [(each.grade == strict.truth)[200:].mean() for each in (taught, untaught)]
    assert right[0] > right[1] + 0.3
    assert taught.leniency.mean() > untaught.leniency.mean() + 0.5
    assert not taught.needs_adjudication[:200].any()


def test_gold_of_the_escape_class():
    result = ordinal_grades([0, 0, 1, 1], [0, 1, 0, 1], [A, I, A, I], gold=[I, -1, A], n_subjects=3)
    assert result.posterior[0].tolist() == [0, 0, 0, 0, 1]
    assert result.grade.tolist()[::2] == [I, A]
    assert np.isnan([result.expected[0], result.rank[0]]).all()
    assert result.expected[2] == A


def test_a_subject_with_no_vote_on_the_scale_has_no_number():
    result = ordinal_grades([0, 0, 1, 1], [0, 1, 0, 1], [I, I, B, I], n_subjects=3)
    assert np.isnan(result.expected).tolist() == [True, False, True]
    assert np.isnan(result.rank).tolist() == np.isnan(result.rank_error).tolist() == [True, False, True]


def test_adjudication_is_asked_for_where_graders_contradict_each_other():
    subject, grader = np.divmod(np.arange(800), 8)
    grade = np.array([X, B])[subject % 2]
    grade[subject == 0] = [X, X, X, X, A, A, A, A]
    grade[(subject == 1) & (grader == 0)] = C
    result = ordinal_grades(subject, grader, grade)
    assert result.needs_adjudication[0]
    assert result.surprise[0] > 3
    assert not result.needs_adjudication[1:].any()
    assert ordinal_grades(subject, grader, grade, surprising=1e9, settled=0).needs_adjudication.sum() == 0


def test_the_escape_grade_is_never_a_number(exercise):
    running = RunningOrdinalGrades()
    for vote in zip(exercise.subject[:900].tolist(), exercise.grader.tolist(), exercise.grade.tolist(), strict=False):
        running.add(*vote)
    running.sweep()
    before = running.posterior(0)
    running.add(0, 100, I)
    running.add(0, 101, I)
    after = running.posterior(0)
    assert after[I] > before[I]
    np.testing.assert_allclose(after[:I] / after[:I].sum(), before[:I] / before[:I].sum())


@pytest.mark.parametrize("escape", [True, False])
def test_a_swept_running_model_is_the_batch(escape):
    small = make_exercise(n_subjects=60, n_graders=5, escape=escape)
    running = RunningOrdinalGrades(escape=escape)
    for vote in zip(small.subject.tolist(), small.grader.tolist(), small.grade.tolist(), strict=True):
        running.add(vote[0], vote[1], (vote[2] + 1) % 4)
        running.add(*vote)  # it replaces the first
    running.gold[3] = A
    gold = np.where(np.arange(running.sweep().posterior.shape[0]) == 3, A, -1)
    batch = grade_exercise(small, escape=escape, gold=gold)
    rows = np.array([running.posterior(i) for i in range(len(batch.posterior))])
    np.testing.assert_allclose(rows, batch.posterior, atol=1e-9)
    np.testing.assert_allclose(running.sweep().posterior, batch.posterior, atol=1e-9)


def test_a_running_model_knows_something_before_its_first_sweep():
    running = RunningOrdinalGrades()
    running.add(0, 0, A)
    once = running.posterior(0)
    running.add(0, 1, A)
    assert once.argmax() == A
    assert running.posterior(0)[A] > once[A]
    with pytest.raises(ValueError, match="answer 5 is outside"):
        running.add(0, 0, 5)


@pytest.mark.parametrize(
    ("votes", "keywords", "message"),
    [
        (([0], [0], [5]), {}, r"grade\[0\] is 5"),
        (([0], [0], [4]), {"escape": False}, r"grade\[0\] is 4"),
        (([0], [0, 1], [2]), {}, "grader 2"),
        (([0], [-1], [2]), {}, r"grader\[0\] is -1"),
        (([0], [0], [0]), {"n_levels": 1}, "at least 2"),
        (([0], [0], [0]), {"gold": [9]}, r"gold\[0\] is 9"),
        (([0], [0], [0]), {"settled": 2}, "settled must be a probability"),
        (([0], [0], [0]), {"surprising": 0}, "surprising must be a positive number"),
        (([0], [0], [0]), {"max_iterations": 0}, "max_iterations must be at least 1"),
    ],
)
def test_bad_input_is_refused_by_name(votes, keywords, message):
    with pytest.raises(ValueError, match=message):
        ordinal_grades(*votes, **keywords)


def test_ids_that_are_not_codes_are_refused():
    with pytest.raises(TypeError, match="grader must be integer codes"):
        ordinal_grades([0], [0.5], [1])


def test_a_level_off_the_scale_has_no_probability(result):
    with pytest.raises(ValueError, match=r"level must be one of 0 \.\. 3"):
        result.p_at_least(4)
