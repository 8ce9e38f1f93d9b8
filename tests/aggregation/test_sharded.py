"""Shards of subjects together: the same model and the same posteriors as all subjects in one place."""

import numpy as np
import pytest

from aggregation import (
    PooledShard,
    ShardedPooled,
    pooled_dawid_skene,
    pooled_tree,
    report_from_bytes,
    round_from_bytes,
    shard_of,
    to_bytes,
)

NEXT = [[1, 2, -1], [-1, -1], [-1, -1, -1]]
SHARDS = (1, 2, 3, 7)
#: Floating-point numbers are summed shard by shard: only the last digits may differ.
EXACT = {"rtol": 0, "atol": 1e-9}


def divided(n_subjects, n_shards):
    """Subjects of each shard, dealt out at random; one shard more than there are subjects would be empty."""
    home = np.random.default_rng(n_shards).integers(0, n_shards, n_subjects)
    return [np.flatnonzero(home == shard) for shard in range(n_shards)]


def fit_question(crowd, n_shards, gold=None, machine=None, evidence=None, ids=None):
    """The posteriors of a fit in shards in the order of the subjects, and the model."""
    n_subjects = len(crowd.truth)
    posterior, held_out = np.full((2, n_subjects, 3), np.nan)
    shards, homes = [], divided(n_subjects, n_shards)
    volunteer = crowd.volunteer if ids is None else ids[crowd.volunteer]
    for home in homes:
        here = np.isin(crowd.subject, home)
        own = {
            name: None if column is None else column[home]
            for name, column in (("gold", gold), ("machine", machine), ("evidence", evidence))
        }
        codes = np.searchsorted(home, crowd.subject[here])
        shards.append(
            PooledShard.of_question(codes, volunteer[here], crowd.answer[here], 3, n_subjects=len(home), **own)
        )
    ended = ShardedPooled.of_question(3).run(shards)
    for home, said in zip(homes, ended.posteriors, strict=True):
        posterior[home], held_out[home] = said.posterior[0], said.held_out[0]
    return posterior, held_out, ended.fit


def assert_same_model(fit, whole):
    assert (fit.n_iterations, fit.converged) == (whole.n_iterations, whole.converged)
    assert fit.correlation[0] == whole.correlation
    for name in ("prior", "crowd", "strength", "muddled", "confusion"):
        np.testing.assert_allclose(getattr(fit, name)[0], getattr(whole, name), **EXACT)
    assert fit.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)


@pytest.mark.parametrize("n_shards", SHARDS)
def test_a_question_in_shards_is_the_question_in_one_place(crowd, n_shards):
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    posterior, _, fit = fit_question(crowd, n_shards)
    np.testing.assert_allclose(posterior, whole.posterior, **EXACT)
    assert_same_model(fit, whole)


@pytest.mark.parametrize("n_shards", SHARDS)
def test_gold_in_shards_teaches_the_same_calibration(crowd_of, n_shards):
    crowd = crowd_of(n_subjects=900, n_volunteers=15, diagonal=(0.75, 0.95), seed=9)
    rng = np.random.default_rng(1)
    truth = np.where(rng.random(900) < 0.15, (crowd.truth + 1) % 3, crowd.truth)
    gold = np.where(np.arange(900) < 300, truth, -1)
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer, gold=gold)
    posterior, held_out, fit = fit_question(crowd, n_shards, gold)
    assert fit.calibration[0].kind == whole.calibration.kind != "identity"
    assert fit.calibration[0].n_gold == 300
    np.testing.assert_allclose(posterior, whole.posterior, **EXACT)
    np.testing.assert_allclose(held_out, whole.held_out, **EXACT)
    assert_same_model(fit, whole)


@pytest.mark.parametrize("n_shards", SHARDS)
def test_gold_of_one_shard_turns_round_a_contrary_crowd_in_all(crowd_of, n_shards):
    crowd = crowd_of(n_volunteers=9, diagonal=(0.8, 0.95), seed=4)
    turned = crowd.answer.copy()
    contrary = crowd.volunteer < 7
    turned[contrary] = (crowd.answer[contrary] + 1) % 3
    gold = np.where(np.arange(300) < 40, crowd.truth, -1)
    gold[np.setdiff1d(np.arange(300), divided(300, n_shards)[0])] = -1
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, turned, gold=gold)
    posterior, _, fit = fit_question(type(crowd)(**vars(crowd) | {"answer": turned}), n_shards, gold)
    np.testing.assert_allclose(posterior, whole.posterior, **EXACT)
    assert_same_model(fit, whole)


@pytest.mark.parametrize("n_shards", SHARDS)
def test_a_machine_and_evidence_are_jurors_in_every_shard(crowd, n_shards):
    rng = np.random.default_rng(3)
    bins = np.where(rng.random(300) < 0.9, crowd.truth, rng.integers(0, 3, 300))
    bins[:30] = -1
    bins[7] = 5  # a bin of which the other shards have no subject
    evidence = rng.normal(0, 0.3, (300, 3))
    votes = (crowd.subject, crowd.volunteer, crowd.answer)
    whole = pooled_dawid_skene(*votes, machine=bins, evidence=evidence)
    posterior, _, fit = fit_question(crowd, n_shards, machine=bins, evidence=evidence)
    np.testing.assert_allclose(posterior, whole.posterior, **EXACT)
    np.testing.assert_allclose(fit.machine[0], whole.machine, **EXACT)


@pytest.fixture(scope="module")
def walks():
    """Votes along a tree by volunteers of whom some stray, with gold on some questions."""
    rng = np.random.default_rng(2)
    n_subjects, votes = 400, []
    first = rng.integers(0, 3, n_subjects)
    truth = np.stack([first, np.where(first == 0, rng.integers(0, 2, n_subjects), -1),
                      np.where(first == 1, rng.integers(0, 3, n_subjects), -1)], axis=1)  # fmt: skip
    for subject in range(n_subjects):
        for volunteer in rng.choice(50, 9, replace=False):
            task = 0
            while task >= 0:
                n_answers, true = len(NEXT[task]), truth[subject, task]
                answer = true if true >= 0 and rng.random() < 0.8 else int(rng.integers(n_answers))
                votes.append((subject, volunteer, task, answer))
                task = NEXT[task][answer]
    gold = np.where((np.arange(n_subjects) < 150)[:, np.newaxis], truth, -1)
    gold[:, 1] = -1
    return np.array(votes).T, gold


@pytest.mark.parametrize("with_gold", [False, True])
@pytest.mark.parametrize("n_shards", SHARDS)
def test_a_tree_in_shards_is_the_tree_in_one_place(walks, n_shards, with_gold):
    (subject, volunteer, task, answer), known = walks
    gold = known if with_gold else None
    whole = pooled_tree(subject, volunteer, task, answer, NEXT, gold)
    shards, homes = [], divided(400, n_shards)
    for home in homes:
        here = np.isin(subject, home)
        votes = (np.searchsorted(home, subject[here]), volunteer[here], task[here], answer[here], NEXT)
        shards.append(PooledShard.of_tree(*votes, gold if gold is None else gold[home], n_subjects=len(home)))
    ended = ShardedPooled(NEXT).run(shards)
    for home, said in zip(homes, ended.posteriors, strict=True):
        np.testing.assert_allclose(said.reach, whole.reach[home], **EXACT)
        np.testing.assert_array_equal(said.n_votes, whole.n_votes[home])
        for code in range(3):
            np.testing.assert_allclose(said.posterior[code], whole.posterior[code][home], **EXACT)
            np.testing.assert_allclose(said.held_out[code], whole.held_out[code][home], **EXACT)
    assert ended.fit.correlation == whole.correlation
    assert ended.fit.n_iterations == whole.n_iterations
    for code in range(3):
        np.testing.assert_array_equal(ended.fit.volunteers[code], whole.volunteers[code])
        np.testing.assert_array_equal(ended.fit.n_given[code], whole.n_given[code])
        np.testing.assert_allclose(ended.fit.confusion[code], whole.confusion[code], **EXACT)


def test_the_sample_that_tells_the_correlation_does_not_hang_on_the_shards(crowd, monkeypatch):
    monkeypatch.setattr("aggregation._correlation.SAMPLE", 500)
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    posterior, _, fit = fit_question(crowd, 5)
    np.testing.assert_allclose(posterior, whole.posterior, **EXACT)
    assert fit.correlation[0] == whole.correlation


def test_volunteers_are_ids_of_any_size_and_a_shard_need_not_know_them_all(crowd):
    ids = np.sort(np.random.default_rng(0).choice(10**15, 20, replace=False))
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    posterior, _, fit = fit_question(crowd, 100, ids=ids)  # three subjects a shard: most volunteers are elsewhere
    np.testing.assert_array_equal(fit.volunteers[0], ids)
    np.testing.assert_allclose(posterior, whole.posterior, **EXACT)


def test_a_shard_without_any_subject_changes_nothing(crowd):
    shards = [
        PooledShard.of_question(crowd.subject, crowd.volunteer, crowd.answer, 3),
        PooledShard.of_question([], [], [], 3),
    ]
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    posteriors = ShardedPooled.of_question(3).run(shards).posteriors
    np.testing.assert_array_equal(posteriors[0].posterior[0], whole.posterior)
    assert posteriors[1].posterior[0].shape == (0, 3)


def test_any_process_can_go_on_from_any_round_that_it_gets_as_bytes(crowd):
    """Nothing stays in memory between rounds here: each is done by shards that never saw the one before."""
    gold = np.where(np.arange(300) < 60, crowd.truth, -1)
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer, gold=gold)
    half = crowd.subject < 150

    def shards():
        for here, first in ((half, 0), (~half, 150)):
            votes = (crowd.subject[here] - first, crowd.volunteer[here], crowd.answer[here], 3)
            yield PooledShard.of_question(*votes, gold[first : first + 150], n_subjects=150)

    model = ShardedPooled.of_question(3)
    asked, steps = to_bytes(model.begin()), []
    while True:
        rounds = round_from_bytes(asked)
        reports = [to_bytes(shard.carry_out(rounds, place)) for place, shard in enumerate(shards())]
        steps.append(rounds.step)
        if rounds.is_last:
            break
        asked = to_bytes(model.advance(rounds, [report_from_bytes(report) for report in reports]))
    said = [report_from_bytes(report) for report in reports]
    np.testing.assert_allclose(np.concatenate([each.posterior[0] for each in said]), whole.posterior, **EXACT)
    np.testing.assert_allclose(np.concatenate([each.held_out[0] for each in said]), whole.held_out, **EXACT)
    assert (steps[0], steps.count("start"), steps[-3:]) == ("survey", 2, ["resemble", "held_out", "finish"])


def test_a_round_answered_twice_gets_the_same_answer(crowd):
    shard = PooledShard.of_question(crowd.subject, crowd.volunteer, crowd.answer, 3)
    model = ShardedPooled.of_question(3)
    asked = model.begin()
    while not asked.is_last:
        once, again = to_bytes(shard.carry_out(asked)), to_bytes(shard.carry_out(asked))
        assert once == again
        asked = model.advance(asked, [report_from_bytes(once)])


def test_subjects_are_dealt_out_evenly_and_the_same_everywhere():
    home = shard_of(np.arange(100_000), 7)
    assert np.abs(np.bincount(home, minlength=7) / 100_000 - 1 / 7).max() < 0.005
    np.testing.assert_array_equal(shard_of(np.arange(500, 600), 7), home[500:600])
    with pytest.raises(ValueError, match="n_shards must be at least 1"):
        shard_of([1], 0)


def test_a_shard_that_serves_two_fits_in_turn_mixes_nothing_up(crowd):
    shard = PooledShard.of_question(crowd.subject, crowd.volunteer, crowd.answer, 3)
    other = PooledShard.of_question(crowd.subject, crowd.volunteer, (crowd.answer + 1) % 3, 3)
    model = ShardedPooled.of_question(3)
    alone, together = model.begin(), model.begin()
    while not (alone.is_last and together.is_last):
        if not alone.is_last:
            alone = model.advance(alone, [shard.carry_out(alone)])
        if not together.is_last:
            together = model.advance(together, [shard.carry_out(together, 0), other.carry_out(together, 1)])
    whole = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    np.testing.assert_array_equal(shard.carry_out(alone).posterior[0], whole.posterior)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ShardedPooled.of_question(2).run([]), "at least one shard"),
        (lambda: ShardedPooled([[0]]), "cycle"),
        (lambda: ShardedPooled.of_question(2, max_iterations=0).begin(), "max_iterations must be at least 1"),
        (lambda: ShardedPooled.of_question(2).fitted(ShardedPooled.of_question(2).begin()), "nothing is fitted yet"),
        (lambda: round_from_bytes(b"nonsense"), "no message of a sharded fit"),
        (lambda: report_from_bytes(to_bytes(ShardedPooled.of_question(2).begin())), "an answer of a shard is needed"),
        (lambda: PooledShard.of_question([0], [0.5], [0], 2), "one integer id per row"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_shards_that_disagree_are_refused():
    two, three = PooledShard.of_question([0], [0], [0], 2), PooledShard.of_question([0], [0], [0], 3)
    with pytest.raises(ValueError, match="2 answers in one shard and 3 in another"):
        ShardedPooled.of_question(2).run([two, three])
    with pytest.raises(ValueError, match=r"answers \[3\], the model was made for \[2\]"):
        ShardedPooled.of_question(2).run([three])
    machine = PooledShard.of_question([0], [0], [0], 2, machine=np.array([0]))
    with pytest.raises(ValueError, match="one shard has a machine and another has none"):
        ShardedPooled.of_question(2).run([two, machine])
