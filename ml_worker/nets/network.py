"""A network that scores stamps: preprocessing, encoder, linear head and calibration in one, saved in one file.

The file is .safetensors: tensors, and the configuration as JSON in its metadata. Nothing in it can run code.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from ml_worker.nets.encoder import N_FEATURES, STAGES, EfficientNetB0

FORMAT = 1
ARCHITECTURE = "efficientnet_b0"
# Every minibatch is filled up to this size, so that a stamp's score does not depend on its company.
MINIBATCH = 32


class NetworkFileError(ValueError):
    """A file is no network of ours, or of a format that this version does not know."""


@dataclass(frozen=True)
class NetworkConfig:
    """How stamps become a score. `centre` is the fraction of the stamp's side that is looked at, around its middle;
    `side` the pixels it is resized to. `stages` names the encoder stages whose channel means and scatters are the
    features; empty: the encoder's own 1280 features, for an encoder that was trained.
    """

    side: int
    centre: float
    stages: tuple[int, ...]
    provenance: str
    format: int = FORMAT
    architecture: str = ARCHITECTURE

    @property
    def n_features(self) -> int:
        return sum(2 * STAGES[stage][4] for stage in self.stages) or N_FEATURES


class Network(nn.Module):
    """Stamps → scores in [0, 1]: logistic(slope · logit + offset), where logit = head((features − mean) / scale)."""

    mean: Tensor
    scale: Tensor
    calibration: Tensor

    def __init__(self, config: NetworkConfig, encoder: EfficientNetB0) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.head = nn.Linear(config.n_features, 1)
        self.register_buffer("mean", torch.zeros(config.n_features))
        self.register_buffer("scale", torch.ones(config.n_features))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))  # slope, offset

    def features(self, stamps: Tensor) -> Tensor:
        """Prepared stamps (n, 3, side, side) uint8 → features (n, n_features) float32."""
        x = stamps.float() / 255
        if not self.config.stages:
            return self.encoder(x)  # type: ignore[no-any-return]
        x = nn.functional.silu(self.encoder.bn1(self.encoder.conv_stem(x)))
        pooled: list[Tensor] = []
        for stage in range(max(self.config.stages) + 1):
            x = self.encoder.blocks[stage](x)  # (n, c, h, w)
            if stage in self.config.stages:
                pooled += [x.mean((2, 3)), x.std((2, 3))]
        return torch.cat(pooled, 1)

    def logits(self, features: Tensor) -> Tensor:  # (n, n_features) → (n,)
        return self.head((features - self.mean) / self.scale).squeeze(1)  # type: ignore[no-any-return]

    def score(self, stamps: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Calibrated scores, float64 (n,), of stamps given as uint8 (height, width, 3) of any sizes."""
        if not len(stamps):
            return np.empty(0)
        prepared = prepare(stamps, self.config)
        slope, offset = self.calibration.double()
        with torch.inference_mode():
            logits = torch.cat(
                [self.logits(self.features(part))[:n] for part, n in minibatches(prepared, self._device)]
            )
            return torch.sigmoid(slope * logits.double() + offset).cpu().numpy()

    @property
    def _device(self) -> torch.device:
        return self.mean.device


def prepare(stamps: Sequence[NDArray[np.uint8]], config: NetworkConfig) -> NDArray[np.uint8]:
    """Middle of each stamp, resized with antialiasing: uint8 (n, 3, side, side)."""
    return np.stack([_prepare(stamp, config) for stamp in stamps])


def _prepare(stamp: NDArray[np.uint8], config: NetworkConfig) -> NDArray[np.uint8]:
    height, width = stamp.shape[:2]
    half = config.centre * min(height, width) / 2
    box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    resized = Image.fromarray(stamp).resize((config.side, config.side), Image.Resampling.BICUBIC, box=box)
    return np.moveaxis(np.asarray(resized, dtype=np.uint8), 2, 0)


def minibatches(prepared: NDArray[np.uint8], device: torch.device) -> list[tuple[Tensor, int]]:
    """The stamps in minibatches of one size, the last one filled up with black; with how many of each are real."""
    parts = []
    for start in range(0, len(prepared), MINIBATCH):
        part = prepared[start : start + MINIBATCH]
        filled = np.zeros((MINIBATCH, *part.shape[1:]), dtype=np.uint8)
        filled[: len(part)] = part
        parts.append((torch.from_numpy(filled).to(device), len(part)))
    return parts


def save_network(network: Network, path: Path) -> None:
    """Write the network to a .safetensors file."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, metadata={"starsieve": json.dumps(asdict(network.config), sort_keys=True)})


def load_network(content: bytes, device: str = "cpu") -> Network:
    """The network in the bytes of a file, in evaluation mode. Raises NetworkFileError."""
    config = read_config(content)
    network = Network(config, EfficientNetB0())
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        raise NetworkFileError(
            f"the file's weights do not fit its configuration: {str(error).splitlines()[0]}"
        ) from None
    return network.to(device).eval()


def read_config(content: bytes) -> NetworkConfig:
    """The configuration inside a network's file. Raises NetworkFileError."""
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        data: Any = json.loads(header["__metadata__"]["starsieve"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NetworkFileError("the file is no Starsieve network (train_model writes one)") from None
    known = {field.name for field in fields(NetworkConfig)}
    if not isinstance(data, dict) or data.get("format") != FORMAT or set(data) != known:
        raise NetworkFileError(f"the network's format is unknown; this version reads format {FORMAT}")
    if data["architecture"] != ARCHITECTURE:
        raise NetworkFileError(f"the network's architecture {data['architecture']!r} is unknown; known: {ARCHITECTURE}")
    return NetworkConfig(**{**data, "stages": tuple(data["stages"])})
