"""VGG19: the features of both layouts are those of the network that they were made for; no file, no features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.tools import shared
from torch import nn

from model.vgg import LAYERS, Vgg19, VggError

PREFIX = "vgg_normalised_conv3_1.pth"
WIDTHS = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M")


def torchvision_vgg19() -> nn.Sequential:
    """`torchvision.models.vgg19().features`, configuration E."""
    layers: list[nn.Module] = []
    inside = 3
    for width in WIDTHS:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
            inside = width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def torchvision(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential]:
    torch.manual_seed(0)
    features = torchvision_vgg19()
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(1)
    path = tmp_path_factory.mktemp("vgg") / "vgg19-dcbb9e9d.pth"
    torch.save(state, path)
    return path, features


def test_torchvisions_layout(torchvision: tuple[Path, nn.Sequential]) -> None:
    path, features = torchvision
    layers = ("relu1_2", "relu3_4", "relu5_4")
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, wanted = ((image + 1) / 2 - mean) / deviation, []
    for index, layer in enumerate(features):
        x = layer(x)
        if index in (3, 17, 35):  # relu1_2, relu3_4, relu5_4
            wanted.append(x)
    for one, other in zip(Vgg19.load(path, layers)(image), wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_vgg16_is_not_taken_for_it(torchvision: tuple[Path, nn.Sequential], tmp_path: Path) -> None:
    state = torch.load(torchvision[0], weights_only=True)
    state["features.17.weight"] = state.pop("features.16.weight")
    state["features.17.bias"] = state.pop("features.16.bias")
    torch.save(state, tmp_path / "vgg16.pth")
    with pytest.raises(VggError, match=r"is not VGG19: see its features.17.weight"):
        Vgg19.load(tmp_path / "vgg16.pth", ("relu3_1",))


def test_the_normalised_prefix() -> None:
    state = torch.load(shared("vgg", PREFIX), weights_only=True)
    pad, pool = nn.ReflectionPad2d(1), nn.MaxPool2d(2, ceil_mode=True)

    def convolve(x: torch.Tensor, key: int) -> torch.Tensor:
        return nn.functional.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"])

    image = torch.rand(1, 1, 30, 30) * 2 - 1
    x = convolve(((image + 1) / 2).expand(-1, 3, -1, -1), 0)
    x = convolve(pad(x), 2).relu()
    first = convolve(pad(x), 5).relu()
    x = convolve(pad(pool(first)), 9).relu()
    second = convolve(pad(x), 12).relu()
    third = convolve(pad(pool(second)), 16).relu()
    found = Vgg19.load(shared("vgg", PREFIX), ("relu3_1", "relu1_2", "relu2_2"))(image)
    for one, other in zip(found, (first, second, third), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_nothing_of_it_is_ever_trained() -> None:
    assert not list(Vgg19.load(shared("vgg", PREFIX), ("relu1_1",)).parameters())


def test_layers_have_their_names() -> None:
    assert len(LAYERS) == 16
    assert (LAYERS[0], LAYERS[-1]) == ("relu1_1", "relu5_4")


def test_what_is_not_there_is_never_made_up(tmp_path: Path) -> None:
    with pytest.raises(VggError, match=r"does not exist; give the path .*perceptual_weight = 0"):
        Vgg19.load(tmp_path / "vgg19-dcbb9e9d.pth", ("relu1_1",))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(VggError, match="cannot be read"):
        Vgg19.load(tmp_path / "text.pth", ("relu1_1",))
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(VggError, match=r"does not hold relu1_1 .it holds no VGG19 layer"):
        Vgg19.load(tmp_path / "other.pth", ("relu1_1",))
    with pytest.raises(VggError, match=r"does not hold relu5_4 .it holds relu1_1, .*relu3_1"):
        Vgg19.load(shared("vgg", PREFIX), ("relu5_4",))
    state = torch.load(shared("vgg", PREFIX), weights_only=True)
    for key in ("0.weight", "5.weight"):
        torch.save({k: v for k, v in state.items() if k != key}, tmp_path / "gap.pth")
        with pytest.raises(VggError, match=f"is not VGG19: see its {key}"):
            Vgg19.load(tmp_path / "gap.pth", ("relu2_2",))
    with pytest.raises(VggError, match="no layer 'relu9_1'"):
        Vgg19.load(shared("vgg", PREFIX), ("relu9_1",))
