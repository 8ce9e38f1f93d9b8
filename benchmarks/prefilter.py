"""The network on simulated lenses in real galaxies: AUC on galaxies that it never saw, CPU of training and scoring."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aggregation
from benchmarks.figures import CpuClock, Figure, cpu_seconds

SEED = 20261122
SIDE = 64  # pixels
STAMPS = 512
Stamps = list[NDArray[np.uint8]]


def measure(*, tiny: bool = False) -> Iterator[Figure]:
    import torch

    from ml_worker.nets.training import train_network

    torch.set_num_threads(1)
    training, testing = _galaxies(40 if tiny else 10_000)
    rng = np.random.default_rng(SEED)
    stamps, is_lens = _half_painted(training, rng)
    with CpuClock() as clock:
        trained = train_network(stamps, is_lens, provenance="benchmark", seed=SEED)
    yield Figure(f"training the head on {len(stamps)} stamps", clock.seconds, "CPU s", at_most=20)
    yield Figure("AUC, cross-fitted on the training galaxies", aggregation.auc(trained.held_out, is_lens), "")
    unseen, is_lens = _plain_and_painted(testing, rng)
    scores = trained.network.score(unseen)
    yield Figure(f"AUC on {len(testing)} other galaxies, plain and painted", aggregation.auc(scores, is_lens), "",
                 at_least=0.5 if tiny else 0.9)  # fmt: skip
    posterior = np.column_stack([1 - scores, scores])
    error = aggregation.expected_calibration_error(posterior, is_lens.astype(int))
    yield Figure("calibration error there", error, "of probability")
    yield from _speed(trained.network, 64 if tiny else STAMPS)


def _speed(network: Any, n: int) -> Iterator[Figure]:
    """Stamps scored per CPU second, minibatches of 32; three passes each, the best one counts."""
    from ml_worker.nets.encoder import random_encoder
    from ml_worker.nets.network import Network, NetworkConfig

    stamps = list(np.random.default_rng(SEED).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))
    whole = Network(NetworkConfig(SIDE, 1.0, (), "benchmark"), random_encoder(SEED)).eval()
    for scorer in (network, whole):
        scorer.score(stamps[:32])  # what the first call alone needs
    spent = cpu_seconds(lambda: network.score(stamps), lambda: whole.score(stamps), repeats=3)
    unit = "per CPU s of one thread"
    yield Figure(f"the demo's network (three stages), stamps of {SIDE} px", n / spent[0], unit, at_least=150)
    yield Figure(f"the whole EfficientNet-B0, stamps of {SIDE} px", n / spent[1], unit, at_least=80)


def _galaxies(most: int) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Cutouts (3, 64, 64) of deflector-like galaxies of the Hubble Deep Field: every other one to train, the rest."""
    with tempfile.TemporaryDirectory() as folder:
        from benchmarks.site import start_django

        start_django(Path(folder))
    from starsieve.ops.demo.sky import detect_galaxies, picture
    from starsieve.ops.demo.stamps import cutout, is_deflector_like

    rgb = picture()
    chosen = [galaxy for galaxy in detect_galaxies(rgb) if is_deflector_like(rgb, galaxy)][:most]
    cutouts = [cutout(rgb, galaxy) for galaxy in chosen]
    return cutouts[0::2], cutouts[1::2]


def _half_painted(cutouts: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> tuple[Stamps, NDArray[np.bool_]]:
    """One stamp of each galaxy, every second one with a lens, as the demo's training set has them."""
    is_lens = np.arange(len(cutouts)) % 2 == 0
    return [_stamp(bands, rng, lens) for bands, lens in zip(cutouts, is_lens, strict=True)], is_lens


def _plain_and_painted(
    cutouts: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> tuple[Stamps, NDArray[np.bool_]]:
    """Each galaxy twice, as it is and with a lens: only the lens can tell the two apart."""
    stamps = [_stamp(bands, rng, lens) for bands in cutouts for lens in (False, True)]
    return stamps, np.arange(len(stamps)) % 2 == 1


def _stamp(bands: NDArray[np.float64], rng: np.random.Generator, with_lens: bool) -> NDArray[np.uint8]:
    """The first frame as the network reads it from the storage."""
    from starsieve.ops.demo.lenses import paint_onto
    from starsieve.ops.demo.stamps import lens_stamp

    stamp = lens_stamp(paint_onto(bands, rng) if with_lens else bands)
    return np.asarray(stamp.pictures[0].image.convert("RGB"), dtype=np.uint8)
