import numpy as np
import pytest
from scipy.special import logit

from aggregation import RunningSwap, auc, dawid_skene, swap, swap_em

FIELDS = ("posterior", "low", "high", "status", "crossed_at", "n_votes", "n_counted", "confusion", "n_behind")
FIELDS_OF_VOLUNTEERS = ("skill", "contribution", "n_given", "n_trained")


def make_stream(n_subjects=400, n_volunteers=40, per_subject=10, prevalence=0.1, n_gold=60, seed=0):
    """Votes in random order on rare positives; the first `n_gold` subjects are gold, half of them positive."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n_subjects) < prevalence).astype(int)
    truth[:n_gold] = np.arange(n_gold) % 2
    pl, pd = rng.beta(8, 3, n_volunteers), rng.beta(14, 2, n_volunteers)
    drawn = np.repeat(np.arange(n_subjects), per_subject) * n_volunteers
    pairs = np.unique(drawn + rng.integers(0, n_volunteers, len(drawn)))
    subject, volunteer = np.divmod(rng.permutation(pairs), n_volunteers)
    says_positive = np.where(truth[subject] == 1, pl[volunteer], 1 - pd[volunteer])
    answer = (rng.random(len(subject)) < says_positive).astype(int)
    gold = np.where(np.arange(n_subjects) < n_gold, truth, -1)
    return (subject, volunteer, answer, gold), truth


@pytest.fixture(scope="module")
def stream():
    return make_stream()[0]


def paper_stream(
    subject, volunteer, answer, gold, *, learns_from_all=False, ignores=False, trajectories=None, rng=None
):
    """The published update with its own names, one vote at a time; with `trajectories` that many drawn ones."""
    n = trajectories or 1
    p = np.full((len(gold), n), 2e-4)
    volunteers = {j: {"PL": 0.5, "NL": 4.0, "PD": 0.5, "ND": 4.0} for j in range(volunteer.max() + 1)}
    for i, j, x in zip(subject, volunteer, answer, strict=True):
        agent = volunteers[j]
        before = p[i].copy()
        if ignores and gold[i] < 0 and before[0] < 1e-7:
            continue
        pl, pd = agent["PL"], agent["PD"]
        if trajectories:
            pl = np.clip(rng.binomial(round(agent["NL"]), pl, n) / round(agent["NL"]), 0.01, 0.99)
            pd = np.clip(rng.binomial(round(agent["ND"]), pd, n) / round(agent["ND"]), 0.01, 0.99)
        lens, dud = (pl, 1 - pd) if x else (1 - pl, pd)
        p[i] = np.maximum(lens * before / (lens * before + dud * (1 - before)), 2e-8)
        weight = float(gold[i]) if gold[i] >= 0 else before[0] if learns_from_all else None
        if weight is not None:
            for name, said_so, w in (("L", x, weight), ("D", 1 - x, 1 - weight)):
                right = agent["P" + name] * agent["N" + name] + said_so * w
                agent["N" + name] += w
                agent["P" + name] = float(np.clip(right / agent["N" + name], 0.01, 0.99))
    return p, volunteers


@pytest.mark.parametrize("learn_from", ["gold", "all"])
@pytest.mark.parametrize("after_rejection", ["count", "ignore"])
def test_it_equals_the_published_update_vote_by_vote(stream, learn_from, after_rejection):
    result = swap(*stream, learn_from=learn_from, after_rejection=after_rejection)
    p, volunteers = paper_stream(*stream, learns_from_all=learn_from == "all", ignores=after_rejection == "ignore")
    np.testing.assert_allclose(result.posterior[:, 1], p[:, 0], rtol=1e-6)
    for j, agent in volunteers.items():
        assert np.diag(result.confusion[j]) == pytest.approx([agent["PD"], agent["PL"]])
        assert result.n_behind[j] == pytest.approx([agent["ND"], agent["NL"]])


def test_the_first_right_answer_is_worth_what_space_warps_published():
    # Skill of the volunteers of the real project who had found one simulated lens.
    result = swap([0], [0], [1], gold=[1], learn_from="gold")
    assert result.skill[0] == pytest.approx(0.007299, abs=5e-7)
    assert result.confusion[0, 1, 1] == pytest.approx(0.6)
    assert result.n_behind[0].tolist() == [4, 5]
    assert result.n_trained.tolist() == [1]


def test_a_volunteers_first_vote_moves_nothing_and_a_perfect_one_is_taken_to_be_human():
    result = swap([0, 1], [0, 0], [1, 1], initial_skill=0.5)
    assert result.posterior[0, 1] == pytest.approx(2e-4)
    taught = swap(np.arange(5000), np.zeros(5000, int), np.ones(5000, int), gold=np.ones(5000, int))
    assert taught.confusion[0, 1, 1] == pytest.approx(0.99)


@pytest.mark.parametrize(("skill", "votes_needed"), [(0.9, 4), (0.75, 7)])
def test_rejection_takes_as_many_votes_as_published(skill, votes_needed):
    n = 10
    known = {"initial_skill": skill, "pseudo_votes": 1e9}
    result = swap(np.zeros(n, int), np.arange(n), np.zeros(n, int), **known)
    assert result.status.tolist() == ["rejected"]
    assert result.crossed_at.tolist() == [votes_needed - 1]
    assert result.posterior[0, 1] == pytest.approx(2e-8, rel=1e-3), "the floor"


def test_after_rejection_votes_count_or_are_ignored_as_asked():
    known = {"initial_skill": 0.9, "pseudo_votes": 1e9}
    votes = ([0] * 14, np.arange(14), [0] * 4 + [1] * 10)
    counted, ignored = swap(*votes, **known), swap(*votes, **known, after_rejection="ignore")
    assert (counted.status[0], counted.n_counted[0], counted.crossed_at[0]) == ("detected", 14, 3)
    assert (ignored.status[0], ignored.n_counted[0], ignored.crossed_at[0]) == ("rejected", 4, 3)
    assert ignored.posterior[0, 1] < 1e-7
    assert ignored.n_votes.tolist() == [14]
    assert ignored.contribution[4:].tolist() == [0] * 10


def test_training_subjects_are_never_retired_and_detected_ones_stay_live():
    known = {"initial_skill": 0.9, "pseudo_votes": 1e9, "after_rejection": "ignore"}
    training = swap([0] * 14, np.arange(14), [0] * 4 + [1] * 10, gold=[1], **known)
    assert (training.status[0], training.n_counted[0]) == ("detected", 14)
    assert training.contribution.tolist() == [0] * 14, "only test subjects gain from a vote"
    detected = swap([0] * 12, np.arange(12), [1] * 6 + [0] * 6, **known)
    assert (detected.status[0], detected.crossed_at[0], detected.n_counted[0]) == ("undecided", 5, 12)
    assert detected.posterior[0, 1] == pytest.approx(2e-4)


def test_contribution_is_the_sum_of_the_skill_at_each_test_vote():
    votes = ([0, 1, 0, 2, 1], [0, 0, 1, 0, 1], [1, 1, 1, 0, 0])
    result = swap(*votes, gold=[1, -1, -1], learn_from="gold")
    assert result.contribution == pytest.approx([2 * 0.00729916, 0.00729916])
    assert result.n_given.tolist() == [3, 2]


def test_the_interval_is_that_of_the_papers_trajectories():
    stream, _ = make_stream(n_subjects=600, n_volunteers=15, per_subject=6, n_gold=540, seed=4)
    drawn, _ = paper_stream(*stream, trajectories=600, rng=np.random.default_rng(1))
    result = swap(*stream, learn_from="gold", level=0.68)
    late = np.arange(600) >= 540  # most of their votes are by volunteers of whom much is known
    free = late & (result.posterior[:, 1] > 1e-6)  # the floor cuts the spread of the drawn ones
    width = logit(result.high) - logit(result.low)
    low, high = np.percentile(drawn, [16, 84], axis=1)
    ratio = width[free] / (logit(high) - logit(low))[free]
    assert free.sum() > 15
    assert np.median(ratio) == pytest.approx(1.0, abs=0.15)


def test_the_interval_covers_the_posterior_of_who_knows_the_skills():
    rng = np.random.default_rng(14)
    n_volunteers, n_gold, n_test = 60, 400, 400
    pl, pd = rng.beta(2, 2, (2, n_volunteers))  # what pseudo_votes=4 assumes
    subject = np.concatenate([np.repeat(np.arange(n_gold), 3), np.repeat(np.arange(n_gold, n_gold + n_test), 3)])
    volunteer = np.concatenate([rng.permutation(n_volunteers)[:3] for _ in range(n_gold + n_test)])
    truth = rng.integers(0, 2, n_gold + n_test)
    answer = (rng.random(len(subject)) < np.where(truth[subject] == 1, pl[volunteer], 1 - pd[volunteer])).astype(int)
    gold = np.where(np.arange(n_gold + n_test) < n_gold, truth, -1)
    result = swap(subject, volunteer, answer, gold, prior=0.3, learn_from="gold", level=0.9)
    ratio = np.where(answer == 1, pl[volunteer] / (1 - pd[volunteer]), (1 - pl[volunteer]) / pd[volunteer])
    known = logit(0.3) + np.bincount(subject, weights=np.log(ratio))
    covered = (logit(result.low) <= known) & (known <= logit(result.high))
    assert covered[n_gold:].mean() == pytest.approx(0.9, abs=0.06)


def test_the_interval_holds_the_posterior_and_widens_with_its_level(stream):
    narrow, wide = swap(*stream, level=0.5), swap(*stream, level=0.99)
    p = narrow.posterior[:, 1]
    assert np.all((wide.low <= narrow.low) & (narrow.low <= p) & (p <= narrow.high) & (narrow.high <= wide.high))
    assert np.all((wide.low > 0) & (wide.high < 1))


def test_it_finds_the_rare_ones_and_learns_who_is_skilled():
    (subject, volunteer, answer, gold), truth = make_stream(n_subjects=6000, prevalence=0.02, seed=2)
    result = swap(subject, volunteer, answer, gold, prior=0.02)
    test = gold < 0
    assert auc(result.posterior[test, 1], truth[test]) > 0.995
    assert (truth[test & (result.status == "detected")] == 1).mean() > 0.9
    assert (result.status[test & (truth == 1)] == "rejected").mean() < 0.01
    share = [(answer[(volunteer == j) & (truth[subject] == 0)] == 0).mean() for j in range(40)]
    np.testing.assert_allclose(result.confusion[:, 0, 0], share, atol=0.05)


def test_learning_from_test_subjects_too_is_better_calibrated():
    (subject, volunteer, answer, gold), truth = make_stream(n_subjects=6000, prevalence=0.02, seed=3)
    p = {
        source: swap(subject, volunteer, answer, gold, prior=0.02, learn_from=source).posterior[gold < 0]
        for source in ("gold", "all")
    }
    loss = {source: -np.log(rows[np.arange(len(rows)), truth[gold < 0]]).mean() for source, rows in p.items()}
    assert loss["all"] < loss["gold"]


def test_either_answer_code_may_be_the_positive_one(stream):
    subject, volunteer, answer, gold = stream
    one = swap(subject, volunteer, answer, gold)
    zero = swap(subject, volunteer, 1 - answer, np.where(gold < 0, -1, 1 - gold), positive=0)
    np.testing.assert_allclose(zero.posterior[:, ::-1], one.posterior)
    np.testing.assert_allclose(zero.confusion[:, ::-1, ::-1], one.confusion)
    np.testing.assert_allclose(zero.n_behind[:, ::-1], one.n_behind)
    for name in ("low", "high", "skill", "contribution"):
        np.testing.assert_allclose(getattr(zero, name), getattr(one, name))
    for name in ("status", "crossed_at"):
        np.testing.assert_array_equal(getattr(zero, name), getattr(one, name))


def test_new_codes_for_subjects_and_volunteers_change_nothing_else(stream):
    subject, volunteer, answer, gold = stream
    rng = np.random.default_rng(5)
    subjects, volunteers = rng.permutation(len(gold)), rng.permutation(volunteer.max() + 1)
    moved = np.empty_like(gold)
    moved[subjects] = gold
    one, other = swap(*stream), swap(subjects[subject], volunteers[volunteer], answer, moved)
    for name in FIELDS[:7]:
        np.testing.assert_array_equal(getattr(other, name)[subjects], getattr(one, name))
    for name in (*FIELDS[7:], *FIELDS_OF_VOLUNTEERS):
        np.testing.assert_array_equal(getattr(other, name)[volunteers], getattr(one, name))


def test_with_times_the_order_of_the_rows_has_no_meaning(stream):
    subject, volunteer, answer, gold = stream
    rng = np.random.default_rng(6)
    time = rng.integers(0, 500, len(subject))  # many at the same time
    rows = rng.permutation(len(subject))
    one = swap(subject, volunteer, answer, gold, created_at=time)
    other = swap(subject[rows], volunteer[rows], answer[rows], gold, created_at=time[rows])
    np.testing.assert_array_equal(other.posterior, one.posterior)
    crossed = one.crossed_at >= 0
    np.testing.assert_array_equal(rows[other.crossed_at[crossed]], one.crossed_at[crossed])
    in_order = np.lexsort((volunteer, subject, time))
    sorted_rows = swap(subject[in_order], volunteer[in_order], answer[in_order], gold)
    np.testing.assert_array_equal(sorted_rows.posterior, one.posterior)
    assert not np.array_equal(swap(*stream).posterior, one.posterior), "order does matter to a stream"


def test_no_votes_one_vote_and_unanimous_votes_have_answers():
    empty = swap([], [], [])
    assert (empty.posterior.shape, empty.confusion.shape, empty.status.shape) == ((0, 2), (0, 2, 2), (0,))
    silent = swap([], [], [], gold=[1, -1], n_subjects=2, n_volunteers=1)
    assert silent.posterior[:, 1] == pytest.approx([2e-4, 2e-4])
    assert (silent.low, silent.high) == (pytest.approx([2e-4] * 2), pytest.approx([2e-4] * 2))
    assert silent.crossed_at.tolist() == [-1, -1]
    assert silent.skill.tolist() == [0]
    one = swap([0], [0], [0])
    assert (one.status[0], one.n_votes[0], one.posterior[0, 1]) == ("undecided", 1, pytest.approx(2e-4))
    unanimous = swap(np.zeros(5000, int), np.arange(5000), np.ones(5000, int), initial_skill=0.9)
    assert unanimous.status[0] == "detected"
    assert np.isfinite(unanimous.posterior).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": [0, 2]}, r"answer\[1\] is 2, but there are only 2 codes"),
        ({"volunteer": [0, -1]}, r"volunteer\[1\] is -1"),
        ({"gold": [1]}, r"gold must hold one integer per subject \(2\)"),
        ({"gold": [1, 2]}, r"gold\[1\] is 2"),
        ({"prior": 1e-8}, "rejection < prior < detection"),
        ({"prior": float("nan")}, "rejection < prior < detection"),
        ({"floor": 1e-6}, "floor < rejection"),
        ({"positive": 2}, "positive must be the answer code 0 or 1"),
        ({"initial_skill": 1.0}, "initial_skill must lie in 0.01 to 0.99"),
        ({"pseudo_votes": 0}, "pseudo_votes must be a number of votes above 0"),
        ({"learn_from": "experts"}, "learn_from must be one of"),
        ({"learn_from": "gold"}, 'give gold, or learn_from="all"'),
        ({"after_rejection": "drop"}, "after_rejection must be one of"),
        ({"level": 1.0}, "level must lie between 0 and 1"),
        ({"created_at": [1.0, float("nan")]}, r"created_at\[1\] is nan"),
        ({"created_at": [1.0]}, "subject 2, created_at 1"),
    ],
)
def test_bad_input_is_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=message):
        swap(**({"subject": [0, 1], "volunteer": [0, 0], "answer": [0, 1]} | changed))


def feed(running, subject, volunteer, answer, created_at=None):
    times = [None] * len(subject) if created_at is None else created_at.tolist()
    for vote in zip(subject.tolist(), volunteer.tolist(), answer.tolist(), times, strict=True):
        running.add(*vote)


def assert_same(one, other):
    for name in (*FIELDS, *FIELDS_OF_VOLUNTEERS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("chosen", [{}, {"learn_from": "gold", "after_rejection": "ignore", "positive": 0}])
def test_the_running_form_equals_the_batch_before_and_after_a_sweep(stream, chosen):
    *votes, gold = stream
    batch = swap(*stream, **chosen)
    running = RunningSwap(gold, **chosen)
    feed(running, *votes)
    for _ in range(2):
        np.testing.assert_array_equal([running.posterior(i) for i in range(len(gold))], batch.posterior)
        assert [running.status(i) for i in range(len(gold))] == batch.status.tolist()
        assert [running.skill(j) for j in range(40)] == pytest.approx(batch.skill.tolist())
        assert_same(running.sweep(), batch)


def test_a_log_delivered_again_changes_nothing(stream):
    *votes, gold = stream
    running = RunningSwap(gold)
    feed(running, *votes)
    before = [running.posterior(i) for i in range(len(gold))]
    feed(running, *votes)
    feed(running, *(column[100:150] for column in votes))
    np.testing.assert_array_equal([running.posterior(i) for i in range(len(gold))], before)
    assert_same(running.sweep(), swap(*stream))


def test_with_times_the_order_of_delivery_has_no_meaning(stream):
    subject, volunteer, answer, gold = stream
    rng = np.random.default_rng(8)
    time = rng.integers(0, 500, len(subject))
    expected = swap(subject, volunteer, answer, gold, created_at=time)
    for _ in range(2):
        rows = np.concatenate([rng.permutation(len(subject)), rng.integers(0, len(subject), 300)])
        running = RunningSwap(gold)
        feed(running, subject[rows], volunteer[rows], answer[rows], time[rows])
        result = running.sweep()
        np.testing.assert_array_equal(result.posterior, expected.posterior)
        np.testing.assert_array_equal(result.confusion, expected.confusion)
        np.testing.assert_array_equal([running.posterior(i) for i in range(len(gold))], expected.posterior)


def test_a_changed_vote_replaces_the_earlier_one(stream):
    subject, volunteer, answer, gold = stream
    running = RunningSwap(gold)
    feed(running, subject, volunteer, answer)
    running.add(subject[0], volunteer[0], 1 - answer[0])
    rows = np.append(np.arange(1, len(subject)), 0)
    answer = answer.copy()
    answer[0] = 1 - answer[0]
    expected = swap(subject[rows], volunteer[rows], answer[rows], gold)
    assert_same(running.sweep(), expected)


def test_a_changed_vote_moves_its_subject_before_any_sweep():
    known = {"initial_skill": 0.9, "pseudo_votes": 1e12}
    running = RunningSwap(**known)
    feed(running, np.zeros(3, int), np.arange(3), np.array([1, 1, 1]))
    running.add(0, 1, 0)
    assert running.posterior(0) == pytest.approx(swap([0] * 3, [0, 1, 2], [1, 0, 1], **known).posterior[0])


def test_with_times_the_last_vote_counts_however_late_the_others_come():
    running = RunningSwap([1, 0, -1])
    for subject in (0, 1, 2):
        running.add(subject, 0, 1, created_at=5.0)
        running.add(subject, 0, 0, created_at=4.0)
    running.add(1, 0, 0, created_at=6.0)
    running.add(1, 0, 1, created_at=6.0)  # two at once: the higher code
    expected = swap([0, 2, 1], [0, 0, 0], [1, 1, 1], [1, 0, -1], created_at=[5, 5, 6])
    assert running.sweep().posterior == pytest.approx(expected.posterior)
    assert running.sweep().n_votes.tolist() == [1, 1, 1]


def test_gold_may_come_while_the_stream_runs(stream):
    *votes, gold = stream
    running = RunningSwap()
    feed(running, *votes)
    for subject in np.flatnonzero(gold >= 0):
        running.set_gold(subject, gold[subject])
    assert_same(running.sweep(), swap(*stream))
    running.set_gold(0, -1)
    gold = np.where(np.arange(len(gold)) == 0, -1, gold)
    assert_same(running.sweep(), swap(*votes, gold))


def test_a_running_form_without_votes_knows_the_prior():
    running = RunningSwap(prior=0.01)
    assert running.posterior(3).tolist() == [0.99, 0.01]
    assert (running.status(3), running.skill(9)) == ("undecided", 0)
    assert running.sweep().posterior.shape == (0, 2)
    running.add(4, 2, 1)
    assert running.sweep().n_votes.tolist() == [0, 0, 0, 0, 1]


def test_bad_votes_are_refused_by_name_and_leave_no_trace():
    running = RunningSwap()
    running.add(0, 0, 1, created_at=1.0)
    for vote, message in [
        ((0, 1, 2, 1.0), "answer is 2"),
        ((-1, 0, 1, 1.0), "subject is -1"),
        ((0, -1, 1, 1.0), "volunteer is -1"),
        ((0, 1, 1), "give created_at with every vote or with none"),
        ((0, 1, 1, float("nan")), "created_at is nan"),
    ]:
        with pytest.raises(ValueError, match=message):
            running.add(*vote)
    with pytest.raises(ValueError, match="gold of subject 0 is 2"):
        running.set_gold(0, 2)
    with pytest.raises(ValueError, match="rejection < prior"):
        RunningSwap(prior=2.0)
    assert running.sweep().n_given.tolist() == [1]


def slow_em(subject, volunteer, answer, gold, iterations):
    """The products of the paper's model, vote by vote, with the published M-step."""
    n_subjects, n_volunteers = len(gold), volunteer.max() + 1
    votes = list(zip(subject, volunteer, answer, strict=True))
    tau = np.array([np.mean(answer[subject == i]) for i in range(n_subjects)])
    tau = np.where(gold >= 0, gold, tau)
    for _ in range(iterations):
        right, seen = np.ones((2, n_volunteers)), np.full((2, n_volunteers), 2.0)
        for i, j, x in votes:
            right[:, j] += [x * tau[i], (1 - x) * (1 - tau[i])]
            seen[:, j] += [tau[i], 1 - tau[i]]
        pl, pd = right / seen
        pi = tau[gold < 0].mean()
        lens, dud = np.full(n_subjects, pi), np.full(n_subjects, 1 - pi)
        for i, j, x in votes:
            lens[i] *= pl[j] if x else 1 - pl[j]
            dud[i] *= 1 - pd[j] if x else pd[j]
        tau = np.where(gold >= 0, gold, lens / (lens + dud))
    return tau, pl, pd


def test_em_equals_the_slow_products():
    stream, _ = make_stream(n_subjects=40, n_volunteers=8, per_subject=5, n_gold=6, seed=9)
    tau, pl, pd = slow_em(*stream, iterations=4)
    published = {"pseudo_votes": 2.0, "toward_crowd": False, "max_iterations": 4, "tolerance": 0.0}
    result = swap_em(*stream, **published)
    np.testing.assert_allclose(result.posterior[:, 1], tau, atol=1e-11)
    np.testing.assert_allclose(result.confusion[:, 1, 1], pl)
    np.testing.assert_allclose(result.confusion[:, 0, 0], pd)
    assert (result.n_iterations, result.converged) == (4, False)


def test_em_toward_one_half_is_dawid_and_skene_with_one_pseudo_vote_per_cell(stream):
    *votes, gold = stream
    settled = swap_em(*stream, pseudo_votes=2.0, toward_crowd=False, tolerance=1e-10)
    same = dawid_skene(*votes, 2, gold, smoothing=1.0, tolerance=1e-14)
    np.testing.assert_allclose(settled.posterior, same.posterior, atol=1e-5)
    np.testing.assert_allclose(settled.prior, same.prior, atol=1e-6)
    assert settled.log_likelihood == pytest.approx(same.log_likelihood)


def test_em_does_not_drift_to_certainty_as_the_published_mean_does():
    (subject, volunteer, answer, gold), truth = make_stream(n_subjects=3000, per_subject=3, seed=10)
    p = swap_em(subject, volunteer, answer, gold).posterior[gold < 0, 1]
    assert ((p > 0.02) & (p < 0.98)).mean() > 0.1
    likely = (p > 0.3) & (p < 0.7)
    assert truth[gold < 0][likely].mean() == pytest.approx(p[likely].mean(), abs=0.15)


def test_em_recovers_truth_prior_and_skill():
    (subject, volunteer, answer, gold), truth = make_stream(n_subjects=6000, prevalence=0.02, seed=11)
    result = swap_em(subject, volunteer, answer, gold)
    test = gold < 0
    online = swap(subject, volunteer, answer, gold, prior=0.02)
    assert auc(result.posterior[test, 1], truth[test]) >= auc(online.posterior[test, 1], truth[test]) - 1e-3
    assert result.prior[1] == pytest.approx(truth[test].mean(), rel=0.1)
    share = [(answer[(volunteer == j) & (truth[subject] == 0)] == 0).mean() for j in range(40)]
    np.testing.assert_allclose(result.confusion[:, 0, 0], share, atol=0.05)
    np.testing.assert_array_equal(result.posterior[~test].argmax(axis=1), gold[~test])
    assert set(result.posterior[~test].ravel()) == {0.0, 1.0}
    assert result.converged


def test_em_takes_a_new_volunteer_for_one_of_the_crowd(stream):
    subject, volunteer, answer, gold = stream
    of_crowd, of_nobody = (
        swap_em(subject, volunteer, answer, gold, n_volunteers=41, toward_crowd=toward).confusion
        for toward in (True, False)
    )
    np.testing.assert_allclose(of_crowd[40], of_crowd[:40].mean(axis=0), atol=0.05)
    assert of_crowd[40].diagonal().min() > 0.6
    np.testing.assert_allclose(of_nobody[40], 0.5)


def test_em_needs_no_gold_and_no_order(stream):
    subject, volunteer, answer, gold = stream
    rows = np.random.default_rng(12).permutation(len(subject))
    one = swap_em(subject, volunteer, answer, n_subjects=len(gold))
    other = swap_em(subject[rows], volunteer[rows], answer[rows], n_subjects=len(gold))
    mirrored = swap_em(subject, volunteer, 1 - answer, n_subjects=len(gold))
    np.testing.assert_allclose(other.posterior, one.posterior, atol=1e-9)
    np.testing.assert_allclose(mirrored.posterior[:, ::-1], one.posterior, atol=1e-9)


def test_gold_saves_em_from_a_crowd_that_has_it_the_wrong_way_round():
    (subject, volunteer, answer, gold), truth = make_stream(prevalence=0.3, seed=13)
    result = swap_em(subject, volunteer, 1 - answer, gold)
    assert (result.posterior.argmax(axis=1) == truth).mean() > 0.95


def test_em_has_an_answer_for_no_votes_one_vote_and_an_answer_never_given():
    assert swap_em([], [], []).posterior.shape == (0, 2)
    one = swap_em([0], [0], [1])
    assert np.isfinite(one.posterior).all()
    assert one.posterior[0].argmax() == 1
    never = swap_em([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0])
    assert np.all(never.posterior[:, 0] > 0.5)
    for changed, message in [({"pseudo_votes": 0.0}, "pseudo_votes"), ({"max_iterations": 0}, "max_iterations")]:
        with pytest.raises(ValueError, match=message):
            swap_em([0], [0], [1], **changed)
