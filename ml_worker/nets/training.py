"""Trains the head on the features of a fixed encoder: each stamp passes the encoder once, the rest is a small fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

from ml_worker.nets.calibration import platt
from ml_worker.nets.encoder import EfficientNetB0, random_encoder
from ml_worker.nets.network import Network, NetworkConfig, minibatches, prepare

FOLDS = 5
FEWEST_OF_A_KIND = FOLDS
# Of an encoder that was never trained, the first stages still see edges, colours and arcs; the last ones do not.
UNTRAINED = NetworkConfig(side=64, centre=0.5, stages=(0, 1, 2), provenance="")
TRAINED = NetworkConfig(side=224, centre=1.0, stages=(), provenance="")

Floats = NDArray[np.float64]


class TrainingError(ValueError):
    """The examples cannot train a head; the message says what is missing."""


@dataclass(frozen=True)
class Training:
    """A trained network, and the score that each example got from a head that had not seen it, float64 (n,)."""

    network: Network
    held_out: Floats


def train_network(
    stamps: Sequence[NDArray[np.uint8]],
    is_positive: NDArray[np.bool_],
    *,
    provenance: str,
    seed: int,
    encoder: EfficientNetB0 | None = None,
    penalty: float = 10.0,
) -> Training:
    """Fit a logistic head, with an L2 `penalty`, on stamps and their mirror images and rotations.

    Without an encoder a random one is made from the seed; its batch-norm statistics are taken from the stamps, since
    the initial ones let no signal through. Five-fold cross-fitting gives every example a held-out logit; Platt's
    calibration is fitted on those, and the final head on all. Deterministic for one seed.

    Parameters
    ----------
    stamps : n arrays, uint8 (height, width, 3)
    is_positive : (n,) bool

    Raises
    ------
    TrainingError
        With fewer than five examples of either kind.
    """
    fewest = min(int(is_positive.sum()), int((~is_positive).sum()))
    if fewest < FEWEST_OF_A_KIND:
        raise TrainingError(
            f"training needs at least {FEWEST_OF_A_KIND} positive and {FEWEST_OF_A_KIND} negative stamps; "
            f"there are {int(is_positive.sum())} and {int((~is_positive).sum())}"
        )
    config = replace(TRAINED if encoder else UNTRAINED, provenance=provenance)
    prepared = prepare(stamps, config)
    network = Network(config, encoder or random_encoder(seed))
    if encoder is None:
        _settle_batch_norm(network.encoder, prepared)
    network.eval()
    views = np.stack([_features(network, view) for view in _symmetries(prepared)])  # (8, n, features)
    mean, scale = views.mean((0, 1)), views.std((0, 1)) + 1e-6
    views = (views - mean) / scale
    held_out = _cross_fit(views, is_positive, penalty, np.random.default_rng(seed))
    slope, offset = platt(held_out, is_positive)
    weights = _fit(views, is_positive, penalty)
    _put_in(network, mean, scale, weights, (slope, offset))
    return Training(network, 1 / (1 + np.exp(-(slope * held_out + offset))))


def _settle_batch_norm(encoder: EfficientNetB0, prepared: NDArray[np.uint8]) -> None:
    """Set the running statistics to the plain average over the stamps, minibatch by minibatch."""
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    encoder.train()
    with torch.no_grad():
        for part, n in minibatches(prepared, torch.device("cpu")):
            if n > 1 or len(prepared) == 1:
                encoder(part[:n].float() / 255)
    encoder.eval()


def _symmetries(prepared: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The stamps in the eight orientations of a square: the sky has no up."""
    turned = [np.rot90(prepared, k, axes=(2, 3)) for k in range(4)]
    return [np.ascontiguousarray(view) for t in turned for view in (t, t[:, :, :, ::-1])]


def _features(network: Network, prepared: NDArray[np.uint8]) -> Floats:
    with torch.inference_mode():
        parts = [network.features(part)[:n] for part, n in minibatches(prepared, torch.device("cpu"))]
    return torch.cat(parts).double().numpy()


def _cross_fit(views: Floats, is_positive: NDArray[np.bool_], penalty: float, rng: np.random.Generator) -> Floats:
    """Logit of each example, upright, from a head fitted without it. Folds hold the same share of positives."""
    fold = np.empty(len(is_positive), dtype=int)
    for kind in (True, False):
        members = rng.permutation(np.flatnonzero(is_positive == kind))
        fold[members] = np.arange(len(members)) % FOLDS
    logits = np.empty(len(is_positive))
    for k in range(FOLDS):
        weights = _fit(views[:, fold != k], is_positive[fold != k], penalty)
        logits[fold == k] = views[0, fold == k] @ weights[:-1] + weights[-1]
    return logits


def _fit(views: Floats, is_positive: NDArray[np.bool_], penalty: float) -> Floats:
    """Weights (n_features + 1,), the last one the intercept, of the penalised logistic regression over all views."""
    features = views.reshape(-1, views.shape[-1])
    target = np.tile(is_positive, len(views)).astype(float)

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = features @ weights[:-1] + weights[-1]
        error = 1 / (1 + np.exp(-logits)) - target
        value = float((np.logaddexp(0, logits) - target * logits).sum() + penalty * (weights[:-1] ** 2).sum() / 2)
        return value, np.append(features.T @ error + penalty * weights[:-1], error.sum())

    return np.asarray(minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B").x)


def _put_in(network: Network, mean: Floats, scale: Floats, weights: Floats, calibration: tuple[float, float]) -> None:
    with torch.no_grad():
        network.mean.copy_(torch.from_numpy(mean))
        network.scale.copy_(torch.from_numpy(scale))
        network.head.weight.copy_(torch.from_numpy(weights[:-1])[None])
        network.head.bias.copy_(torch.from_numpy(weights[-1:]))
        network.calibration.copy_(torch.tensor(calibration))
