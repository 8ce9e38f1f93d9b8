"""Training, calibration, and the file that a network travels in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from ml_worker.nets.calibration import platt
from ml_worker.nets.lens_simulator import draw_parameters, paint_lens
from ml_worker.nets.network import Network, NetworkFileError, load_network, read_config, save_network
from ml_worker.nets.training import Training, TrainingError, train_network

Stamps = list[NDArray[np.uint8]]


def make_stamps(n: int, seed: int) -> tuple[Stamps, NDArray[np.bool_]]:
    """Round red galaxies on noise; every second one carries a lens."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((64, 64)) - 31.5
    stamps: Stamps = []
    for i in range(n):
        glow = rng.uniform(80, 200) * np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
        bands = np.array([1.0, 0.8, 0.6])[:, None, None] * glow + rng.normal(15, 5, (3, 64, 64))
        if i % 2:
            lens = draw_parameters(rng, einstein_radius=(7, 11), source_peak=(250, 600), psf_fwhm=1.8)
            bands = paint_lens(bands, lens, rng)
        stamps.append(np.moveaxis(np.clip(bands, 0, 255), 0, 2).astype(np.uint8))
    return stamps, np.arange(n) % 2 == 1


@pytest.fixture(scope="module")
def training() -> Training:
    stamps, is_lens = make_stamps(80, seed=0)
    return train_network(stamps, is_lens, provenance="head trained on simulated lenses", seed=1)


def auc(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    return float((scores[is_positive][:, None] > scores[~is_positive][None]).mean())


def test_a_trained_head_tells_unseen_lenses_from_galaxies(training: Training) -> None:
    stamps, is_lens = make_stamps(60, seed=1)
    assert auc(training.network.score(stamps), is_lens) > 0.9


def test_held_out_scores_are_honest_and_calibrated_on_average(training: Training) -> None:
    _, is_lens = make_stamps(80, seed=0)
    assert auc(training.held_out, is_lens) > 0.85
    assert training.held_out.mean() == pytest.approx(0.5, abs=0.05)


def test_labels_without_meaning_are_not_learnt() -> None:
    stamps, _ = make_stamps(40, seed=0)
    nonsense = np.random.default_rng(7).permutation(np.arange(40) < 20)
    scores = train_network(stamps, nonsense, provenance="", seed=1).held_out
    assert 0.25 < auc(scores, nonsense) < 0.75


def test_training_again_gives_the_same_network() -> None:
    stamps, is_lens = make_stamps(20, seed=0)
    first, again = (train_network(stamps, is_lens, provenance="", seed=1).network.state_dict() for _ in range(2))
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_score_does_not_depend_on_its_company(training: Training) -> None:
    stamps, _ = make_stamps(40, seed=2)
    together = training.network.score(stamps)
    assert together.dtype == np.float64
    np.testing.assert_array_equal(together[5:6], training.network.score(stamps[5:6]))
    np.testing.assert_array_equal(together[::-1], training.network.score(stamps[::-1]))


def test_stamps_of_other_sizes_are_taken_and_none_gives_none(training: Training) -> None:
    scores = training.network.score([np.zeros((320, 300, 3), np.uint8), np.zeros((20, 20, 3), np.uint8)])
    assert ((scores >= 0) & (scores <= 1)).all()
    assert training.network.score([]).shape == (0,)


def test_too_few_examples_are_refused_with_the_numbers() -> None:
    stamps, is_lens = make_stamps(8, seed=0)
    with pytest.raises(TrainingError, match="there are 4 and 4"):
        train_network(stamps, is_lens, provenance="", seed=0)


def test_a_saved_network_scores_the_same(training: Training, tmp_path: Path) -> None:
    save_network(training.network, tmp_path / "n.safetensors")
    loaded = load_network((tmp_path / "n.safetensors").read_bytes())
    stamps, _ = make_stamps(6, seed=3)
    assert loaded.config == training.network.config
    np.testing.assert_array_equal(loaded.score(stamps), training.network.score(stamps))


@pytest.mark.parametrize("content", [b"", b"junk" * 10, (2**62).to_bytes(8, "little") + b"{}"])
def test_a_foreign_file_is_refused(content: bytes) -> None:
    with pytest.raises(NetworkFileError, match="no Starsieve network"):
        load_network(content)


def _with_config(network: Network, path: Path, **changes: object) -> bytes:
    save_network(network, path)
    config = read_config(path.read_bytes())
    data = {**{name: getattr(config, name) for name in config.__dataclass_fields__}, **changes}
    save_file(load_file(path), path, metadata={"starsieve": json.dumps(data)})
    return path.read_bytes()


def test_a_later_format_is_refused_by_number(training: Training, tmp_path: Path) -> None:
    content = _with_config(training.network, tmp_path / "n.safetensors", format=2)
    with pytest.raises(NetworkFileError, match="reads format 1"):
        load_network(content)


def test_weights_that_do_not_fit_the_configuration_are_refused(training: Training, tmp_path: Path) -> None:
    content = _with_config(training.network, tmp_path / "n.safetensors", stages=[0])
    with pytest.raises(NetworkFileError, match="do not fit"):
        load_network(content)


def test_platt_recovers_slope_and_offset() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    is_positive = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * logits - 0.4)))
    assert platt(logits, is_positive) == pytest.approx((0.7, -0.4), abs=0.05)


def test_platt_stays_finite_when_the_classes_separate() -> None:
    slope, offset = platt(np.linspace(-50, 50, 20), np.arange(20) >= 10)
    assert np.isfinite([slope, offset]).all()
    assert 1 / (1 + np.exp(-(slope * 50 + offset))) < 0.99999


def test_platt_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        platt(np.zeros(3), np.ones(3, dtype=bool))
