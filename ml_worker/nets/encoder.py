"""EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946), whole in this file, with timm's parameter names and order.

Zoobot's published B0 encoders use the same names, so their weights load as they are.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

N_FEATURES = 1280
STEM_CHANNELS = 32
# (repeats, kernel, stride of the first block, expansion, output channels), Table 1 of the paper.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class WeightsError(ValueError):
    """A weights file cannot be used; the message names the file and what is wrong with it."""


class SqueezeExcite(nn.Module):
    """Channel gates from the stamp's mean of each channel (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w) → (n, c, h, w)
        gate = x.mean((2, 3), keepdim=True)  # (n, c, 1, 1)
        gate = self.conv_expand(nn.functional.silu(self.conv_reduce(gate)))
        gated: Tensor = x * gate.sigmoid()
        return gated


class DepthwiseSeparable(nn.Module):
    """A block without expansion: depthwise convolution, gates, projection. Stage 0 only."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.se = SqueezeExcite(channels, channels // 4)
        self.conv_pw = nn.Conv2d(channels, out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.has_skip = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = nn.functional.silu(self.bn1(self.conv_dw(x)))
        y = self.bn2(self.conv_pw(self.se(y)))
        return x + y if self.has_skip else y


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, gates, projection (MBConv)."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.conv_pw = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv_dw = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        # The squeeze is a quarter of the block's input, not of the expanded width.
        self.se = SqueezeExcite(wide, channels // 4)
        self.conv_pwl = nn.Conv2d(wide, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.has_skip = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = nn.functional.silu(self.bn1(self.conv_pw(x)))
        y = nn.functional.silu(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(self.se(y)))
        return x + y if self.has_skip else y


class EfficientNetB0(nn.Module):
    """Stamps (n, in_channels, h, w), float in [0, 1] → features (n, 1280). Sides of 32 pixels or more."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(in_channels, STEM_CHANNELS, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        stages: list[nn.Sequential] = []
        channels = STEM_CHANNELS
        for repeats, kernel, stride, expansion, out in STAGES:
            stages.append(_stage(channels, out, repeats, kernel, stride, expansion))
            channels = out
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(channels, N_FEATURES, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(N_FEATURES)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.bn1(self.conv_stem(x)))  # (n, 32, h/2, w/2)
        x = self.blocks(x)  # (n, 320, h/32, w/32)
        x = nn.functional.silu(self.bn2(self.conv_head(x)))  # (n, 1280, h/32, w/32)
        return x.mean((2, 3))  # (n, 1280)


def _stage(channels: int, out: int, repeats: int, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for i in range(repeats):
        first = stride if i == 0 else 1
        if expansion == 1:
            blocks.append(DepthwiseSeparable(channels, out, kernel, first))
        else:
            blocks.append(InvertedResidual(channels, out, kernel, first, expansion))
        channels = out
    return nn.Sequential(*blocks)


def _initialise(module: nn.Module) -> None:
    """Fan-out normal weights, so that an encoder that was never trained still passes the signal on."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def random_encoder(seed: int, in_channels: int = 3) -> EfficientNetB0:
    """An encoder with random weights, the same for the same seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EfficientNetB0(in_channels)


def load_encoder(path: Path, in_channels: int = 3) -> EfficientNetB0:
    """An encoder with the weights of a .safetensors, .bin, .pt or .ckpt file in timm's names.

    A Lightning checkpoint's `state_dict` and its prefix `encoder.` are understood; a classification head in the file is
    left out. With one input channel, the three-channel stem is summed over colour. Only tensors are unpickled.
    Raises WeightsError naming missing or surplus parameters.
    """
    weights = {
        name: value
        for name, value in _without_prefix(_read_weights(path)).items()
        if not name.startswith("classifier.")
    }
    encoder = EfficientNetB0(in_channels)
    stem = weights.get("conv_stem.weight")
    if in_channels == 1 and stem is not None and stem.shape[1] == 3:
        weights["conv_stem.weight"] = stem.sum(1, keepdim=True)
    expected = encoder.state_dict()
    missing, surplus = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    shapes = [name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape]
    kinds = (("lacks", missing), ("has the unknown", surplus), ("has the wrong shape for", sorted(shapes)))
    faults = [f"{what} {', '.join(names[:3])}" for what, names in kinds if names]
    if faults:
        raise WeightsError(f"{path.name} is no EfficientNet-B0 encoder: it {'; '.join(faults)}")
    encoder.load_state_dict(weights)
    return encoder


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # readers raise all kinds of errors for foreign bytes; each means the same
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path.name} cannot be read as weights: {reason}") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{path.name} does not hold a table of weights")
    return loaded


def _without_prefix(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if any(name.startswith("encoder.") for name in weights):
        return {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
    return weights
