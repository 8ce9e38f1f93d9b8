import csv

import numpy as np
import pytest

from aggregation import DEBIAS_STATUS, debias_cumulative, debias_ratio
from aggregation._debias_bins import redshift_slices, split_plane
from aggregation.cli import main

CORRECTED, NEARBY, UNSAMPLED, UNMEASURED = range(4)
METHODS = [debias_ratio, debias_cumulative]


def population(n, seed, n_votes=None, spread=1.0, fade=8.0):
    """Galaxies whose features fade beyond z = .03: true and seen fractions of features, then M_r, R50 and z.

    log10 f has the distribution exp(-k (-x)^c) with k and c changing with redshift, so that mean and spread change.
    """
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.011, 0.15, n)
    magnitude = rng.normal(-20.5, 0.8 * spread, n).clip(-23.9, -16.1)
    size = np.exp(rng.normal(1.5, 0.3 * spread, n)).clip(0.4, 14.9)
    rank = rng.random(n)
    beyond = z - 0.03
    k0 = (1.3 + 0.2 * (-magnitude - 20.5)).clip(0.9, 2.0)

    def fraction(k, c):
        return 10.0 ** -((-np.log(rank) / k) ** (1 / c))

    true, seen = fraction(k0, 0.8), fraction(k0 / (1 + fade * beyond), 0.8 * (1 + 2 * beyond))
    if n_votes:
        seen = rng.binomial(n_votes, seen) / n_votes
    return true, np.stack([seen, 1 - seen], axis=1), magnitude, size, z


def test_cumulative_matching_recovers_the_mean_and_the_scatter_and_each_galaxy():
    true, seen, *photometry = population(20_000, seed=0)
    result = debias_cumulative(seen, np.full(20_000, 40), *photometry)
    far = (photometry[2] > 0.12) & (result.status == CORRECTED)
    got = result.fractions[far, 0]
    assert true[far].mean() - seen[far, 0].mean() > 0.12
    assert got.mean() == pytest.approx(true[far].mean(), abs=0.025)
    assert got.std() == pytest.approx(true[far].std(), abs=0.01)
    assert true[far].std() - seen[far, 0].std() > 0.02
    assert np.abs(got - true[far]).mean() < 0.03
    assert np.corrcoef(got, true[far])[0, 1] > 0.995
    assert all(curve.residual < 0.04 for curve in result.curves)


def test_with_forty_votes_a_galaxy_most_of_the_bias_goes():
    true, seen, *photometry = population(20_000, seed=1, n_votes=40)
    for method, share in ((debias_cumulative, 0.8), (debias_ratio, 0.4)):
        result = method(seen, np.full(20_000, 40), *photometry)
        far = (photometry[2] > 0.12) & (result.status == CORRECTED)
        before, after = (np.mean(f[far, 0] - true[far]) for f in (seen, result.fractions))
        assert before < -0.1
        assert abs(after) < (1 - share) * abs(before), method


def test_the_ratio_method_recovers_odds_that_one_factor_spoilt():
    rng = np.random.default_rng(2)
    n = 8000
    z = np.repeat([0.025, 0.105], n // 2)
    true = np.concatenate([rng.beta(20, 20, n // 2)] * 2)
    odds = true / (1 - true) * np.where(z > 0.1, 0.4, 1.0)
    seen = odds / (1 + odds)
    result = debias_ratio(np.stack([seen, 1 - seen], axis=1), np.full(n, 40), np.full(n, -20.1), np.full(n, 4.2), z)
    far = z > 0.1
    assert (result.status[far] == CORRECTED).all()
    assert result.fractions[far, 0].mean() == pytest.approx(true[far].mean(), abs=0.01)
    assert 10 ** (result.correction[far, 0] - result.correction[far, 1]) == pytest.approx(1 / 0.4, rel=0.05)
    assert result.n_baseline == 1


def test_the_ratio_baseline_follows_magnitude_and_size():
    rng = np.random.default_rng(3)
    n = 60_000
    magnitude, size = rng.uniform(-22, -19, n), rng.uniform(2, 6, n)
    z = rng.choice([0.025, 0.045, 0.105], n)
    nearby = 10 ** (-0.5 + 0.1 * (-magnitude - 20.5) - 0.03 * (size - 4))
    seen = nearby * np.where(z > 0.1, 0.6, 1.0)
    result = debias_ratio(np.stack([seen, 1 - seen], axis=1), np.full(n, 40), magnitude, size, z)
    far = (z > 0.1) & (result.status == CORRECTED)
    assert far.sum() > 10_000
    assert np.abs(result.fractions[far, 0] - nearby[far]).max() < 0.06
    assert (result.fractions[far, 0] - nearby[far]).mean() == pytest.approx(0, abs=0.005)


def test_three_answers_keep_their_proportions_where_only_one_fades():
    true, seen, *photometry = population(20_000, seed=4)
    rest = 1 - seen[:, 0]
    three = np.stack([seen[:, 0], 0.9 * rest, 0.1 * rest], axis=1)
    for method in METHODS:
        result = method(three, np.full(20_000, 40), *photometry)
        far = (photometry[2] > 0.12) & (result.status == CORRECTED)
        assert result.fractions.sum(axis=1) == pytest.approx(1)
        assert seen[far, 0].mean() < result.fractions[far, 0].mean() < true[far].mean() + 0.03
        assert np.median(result.fractions[far, 1] / result.fractions[far, 2]) == pytest.approx(9, rel=0.25)


@pytest.mark.parametrize("method", METHODS)
def test_fractions_sum_to_one_and_stay_between_0_and_1(method):
    _, seen, *photometry = population(6000, spread=0.15, seed=5, n_votes=20)
    result = method(seen, np.full(6000, 20), *photometry)
    assert (result.status == CORRECTED).sum() > 100
    assert result.fractions.sum(axis=1) == pytest.approx(1)
    assert result.fractions.min() >= 0
    assert (result.fractions[seen[:, 0] == 0, 0] == 0).all()


def test_nothing_changes_up_to_the_reference_redshift_and_little_just_beyond():
    _, seen, magnitude, size, z = population(8000, seed=6)
    z[:500], z[500:1000] = 0.03, 0.0301
    result = debias_cumulative(seen, np.full(8000, 40), magnitude, size, z)
    assert (result.status[z <= 0.03] == NEARBY).all()
    np.testing.assert_array_equal(result.fractions[z <= 0.03], seen[z <= 0.03])
    just = (z == 0.0301) & (result.status == CORRECTED)
    assert just.sum() > 400
    assert np.abs(result.fractions[just] - seen[just]).max() < 0.005


def test_nothing_changes_in_the_bins_that_define_nearby():
    _, seen, *photometry = population(20_000, spread=0.3, seed=7)
    result = debias_ratio(seen, np.full(20_000, 40), *photometry)
    nearby = result.status == NEARBY
    assert nearby.sum() > 500
    np.testing.assert_array_equal(result.fractions[nearby], seen[nearby])
    assert (result.correction[nearby] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_galaxies_unlike_any_other_are_flagged_and_left_alone(method):
    _, seen, magnitude, size, z = population(6000, spread=0.15, seed=8)
    magnitude[:3], size[:3] = [-16.1, -23.9, -16.1], [14.9, 0.6, 0.6]
    z[:4] = [0.1, 0.1, 0.1, 0.255]
    result = method(seen, np.full(6000, 40), magnitude, size, z)
    assert result.status[:4].tolist() == [UNSAMPLED] * 4
    np.testing.assert_array_equal(result.fractions[:4], seen[:4])


@pytest.mark.parametrize("method", METHODS)
def test_galaxies_that_were_not_measured_are_flagged_and_teach_nothing(method):
    _, seen, magnitude, size, z = population(6000, spread=0.15, seed=9)
    votes = np.full(6000, 40)
    plain = method(seen[5:], votes[5:], magnitude[5:], size[5:], z[5:])
    magnitude[0], size[1], z[2], votes[3] = np.nan, -9999.0, np.inf, 0
    seen[4] = np.nan
    result = method(seen, votes, magnitude, size, z)
    assert result.status[:5].tolist() == [UNMEASURED] * 5
    np.testing.assert_array_equal(result.fractions[:5], seen[:5])
    np.testing.assert_array_equal(result.fractions[5:], plain.fractions)


@pytest.mark.parametrize("method", METHODS)
def test_galaxies_with_few_votes_are_corrected_but_teach_nothing(method):
    _, seen, *photometry = population(6000, spread=0.15, seed=10)
    votes = np.full(6000, 40)
    plain = method(seen, votes, *photometry)
    odd = np.concatenate([seen, np.tile([[1.0, 0.0]], (3000, 1))])
    more = [np.concatenate([column, column[:3000]]) for column in photometry]
    result = method(odd, np.concatenate([votes, np.full(3000, 5)]), *more)
    np.testing.assert_array_equal(result.fractions[:6000], plain.fractions)
    np.testing.assert_array_equal(result.status[6000:], plain.status[:3000])


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_galaxies_and_answers_does_not_matter(method):
    _, seen, *photometry = population(6000, spread=0.15, seed=11, n_votes=30)
    here = method(seen, np.full(6000, 30), *photometry)
    order = np.random.default_rng(0).permutation(6000)
    there = method(seen[order][:, ::-1], np.full(6000, 30), *(column[order] for column in photometry))
    np.testing.assert_array_equal(there.status, here.status[order])
    np.testing.assert_allclose(there.fractions[:, ::-1], here.fractions[order], atol=1e-6)


def test_an_answer_that_is_hardly_ever_given_is_not_fitted():
    _, seen, *photometry = population(6000, seed=12)
    three = np.concatenate([seen, np.zeros((6000, 1))], axis=1)
    three[:10, 2], three[:10, 1] = 0.1, three[:10, 1] * 0.9
    three[:10, 0] *= 0.9
    result = debias_cumulative(three, np.full(6000, 40), *photometry)
    assert result.curves[2] is None
    assert (result.fractions[10:, 2] == 0).all()
    assert result.fractions.sum(axis=1) == pytest.approx(1)


def test_the_plane_is_halved_into_cells_of_equal_numbers():
    points = np.random.default_rng(13).normal(size=(6400, 2)) * [1.0, 50.0]
    cells = split_plane(points, per_cell=100, max_cells=32)
    assert cells.n_cells == 32
    assert set(np.bincount(cells.find(points))) == {200}
    assert (np.bincount(cells.axis) > 10).all()  # both axes are cut although one is fifty times as long
    assert split_plane(points[:150], per_cell=100, max_cells=32).n_cells == 1


def test_redshift_slices_hold_equal_numbers_and_do_not_divide_equal_redshifts():
    z = np.concatenate([np.linspace(0.01, 0.1, 100), np.full(40, 0.2), [0.3]])
    cell = np.concatenate([np.zeros(140, int), [1]])
    slices = redshift_slices(cell, z, per_slice=28, min_slices=5, least=10)
    assert slices[-1] == -1
    assert set(slices[100:140]) == {3}
    assert (np.diff(slices[:100]) >= 0).all()
    assert np.bincount(slices[:140]).tolist() == [28, 28, 28, 56]


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused_by_name(method):
    _, seen, *photometry = population(50, seed=14)
    votes = np.full(50, 40)
    with pytest.raises(ValueError, match=r"fractions must have the shape \(n_galaxies, n_answers\), not \(50,\)"):
        method(seen[:, 0], votes, *photometry)
    with pytest.raises(ValueError, match=r"fractions\[7\] is \[0.5, 0.1\]: vote fractions of one question sum to 1"):
        method(np.concatenate([seen[:7], [[0.5, 0.1]], seen[8:]]), votes, *photometry)
    with pytest.raises(ValueError, match=r"size must hold one number per galaxy \(50\), got shape \(49,\)"):
        method(seen, votes, photometry[0], photometry[1][1:], photometry[2])
    with pytest.raises(ValueError, match=r"n_votes\[2\] is not a number of votes"):
        method(seen, np.where(np.arange(50) == 2, -1, 40), *photometry)
    with pytest.raises(ValueError, match="lower min_"):
        method(seen, votes, *photometry)


def test_settings_that_make_no_sense_are_refused():
    _, seen, *photometry = population(50, seed=15)
    with pytest.raises(ValueError, match="baseline_redshift must be above 0"):
        debias_ratio(seen, np.full(50, 40), *photometry, baseline_redshift=0)
    with pytest.raises(ValueError, match="reference_redshift must be above 0"):
        debias_cumulative(seen, np.full(50, 40), *photometry, reference_redshift=-1)
    with pytest.raises(ValueError, match="at least one galaxy"):
        debias_cumulative(seen, np.full(50, 40), *photometry, galaxies_per_cell=0)


def write_galaxies(path, n=4000, seed=16, **changes):
    _, seen, magnitude, size, z = population(n, seed=seed, spread=0.15)
    names = ["subject_id", "n_votes", "p_features", "p_smooth", "absolute_magnitude", "r50_kpc", "redshift"]
    rows = [
        [i, 40, *map(repr, seen[i].tolist()), *map(repr, (float(magnitude[i]), float(size[i]), float(z[i])))]
        for i in range(n)
    ]
    for (row, name), value in changes.get("cells", {}).items():
        rows[row][names.index(name)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return seen, magnitude, size, z


@pytest.mark.parametrize("method", ["cumulative", "ratio"])
def test_the_command_writes_what_the_function_returns(tmp_path, capsys, method):
    table, out = tmp_path / "galaxies.csv", tmp_path / "debiased.csv"
    seen, *photometry = write_galaxies(table, cells={(3, "redshift"): ""})
    photometry[2][3] = np.nan
    assert main(["debias", str(table), "-o", str(out), "--answers", "features,smooth", "--method", method]) == 0
    want = {"cumulative": debias_cumulative, "ratio": debias_ratio}[method](seen, np.full(4000, 40), *photometry)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    got = np.array([[float(row["p_features"]), float(row["p_smooth"])] for row in rows])
    np.testing.assert_array_equal(got, want.fractions)
    assert [row["status"] for row in rows] == [DEBIAS_STATUS[each] for each in want.status]
    assert (rows[3]["subject_id"], rows[3]["n_votes"], rows[3]["status"]) == ("3", "40", "unmeasured")
    assert "; " in (said := capsys.readouterr().out)
    assert f"{(want.status == CORRECTED).sum()} corrected" in said


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({(6, "p_features"): "0.9", (6, "p_smooth"): "0.9"}, "row 7 (line 8), column p_features: and the other"),
        ({(6, "p_smooth"): ""}, "row 7 (line 8), column p_smooth: is empty"),
        ({(0, "n_votes"): "-3"}, "row 1 (line 2), column n_votes: is no number of votes"),
        ({(1, "redshift"): "far"}, "row 2 (line 3), column redshift: is 'far', not a number"),
    ],
)
def test_the_command_names_file_row_and_column_of_bad_input(tmp_path, capsys, cells, message):
    table = tmp_path / "galaxies.csv"
    write_galaxies(table, n=20, cells=cells)
    arguments = ["debias", str(table), "-o", str(tmp_path / "out.csv"), "--answers", "features,smooth"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert f"{table}: {message}" in error
    assert error.count("\n") == 1


def test_the_command_says_when_there_are_too_few_galaxies_or_answers(tmp_path, capsys):
    table = tmp_path / "galaxies.csv"
    write_galaxies(table, n=20)
    assert main(["debias", str(table), "-o", str(tmp_path / "out.csv"), "--answers", "features,smooth"]) == 2
    assert "too few" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["debias", str(table), "-o", str(tmp_path / "out.csv"), "--answers", "features"])
    assert "two or more different answers" in capsys.readouterr().err
