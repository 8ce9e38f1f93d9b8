"""The encoder is EfficientNet-B0 with timm's names; weights files are hostile until proven otherwise."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml_worker.nets.encoder import EfficientNetB0, WeightsError, load_encoder, random_encoder


def test_it_has_the_published_number_of_tensors_and_parameters() -> None:
    encoder = EfficientNetB0()
    assert len(encoder.state_dict()) == 358
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 4_007_548


def test_names_and_shapes_are_timms_in_timms_order(shared_data: Path) -> None:
    expected = json.loads((shared_data / "effnet_b0_keys.json").read_text())
    assert [(name, list(w.shape)) for name, w in EfficientNetB0().state_dict().items()] == list(expected.items())


@pytest.mark.parametrize("side", [32, 64, 101])
def test_it_makes_1280_features_of_stamps_of_any_side(side: int) -> None:
    with torch.inference_mode():
        assert random_encoder(0).eval()(torch.rand(2, 3, side, side)).shape == (2, 1280)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = random_encoder(1), random_encoder(1), random_encoder(2)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.conv_stem.weight, second.conv_stem.weight)
    assert not torch.equal(first.conv_stem.weight, other.conv_stem.weight)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_saved_weights_load_as_they_were(tmp_path: Path, suffix: str) -> None:
    encoder = random_encoder(3)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(encoder.state_dict(), path)
    else:
        torch.save(encoder.state_dict(), path)
    loaded = load_encoder(path).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in encoder.state_dict().items())


def test_a_lightning_checkpoint_loads_without_its_prefix_and_head(tmp_path: Path) -> None:
    encoder = random_encoder(3)
    weights = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": {**weights, "head.1.0.weight": torch.zeros(2, 1280)}}, tmp_path / "zoobot.ckpt")
    assert torch.equal(load_encoder(tmp_path / "zoobot.ckpt").conv_stem.weight, encoder.conv_stem.weight)


def test_a_grey_encoder_sums_the_stem_over_colour(tmp_path: Path) -> None:
    encoder = random_encoder(3).eval()
    save_file(encoder.state_dict(), tmp_path / "rgb.safetensors")
    grey = load_encoder(tmp_path / "rgb.safetensors", in_channels=1).eval()
    light = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey(light), encoder(light.expand(-1, 3, -1, -1)))


def test_missing_and_surplus_parameters_are_named(tmp_path: Path) -> None:
    weights = random_encoder(3).state_dict()
    weights["novel"] = weights.pop("conv_head.weight")
    save_file(weights, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=r"odd\.safetensors .*lacks conv_head\.weight; has the unknown novel"):
        load_encoder(tmp_path / "odd.safetensors")


class _Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code of the file ran')",))


def test_a_pickle_with_code_is_refused_unexecuted(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"conv_stem.weight": _Malice()}))
    with pytest.raises(WeightsError, match=r"evil\.pt cannot be read as weights"):
        load_encoder(tmp_path / "evil.pt")
