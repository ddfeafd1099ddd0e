"""Frozen VGG19 features for the perceptual loss (Simonyan & Zisserman 2014; Johnson et al. 2016).

Two files are understood, told apart by their keys: torchvision's `vgg19-dcbb9e9d.pth`, and the normalised prefix up to
relu3_1 that is used for style transfer. There is no random start: features of untrained layers say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CONVOLUTIONS = (2, 2, 4, 4, 4)  # in each of the five blocks
LAYERS = tuple(f"relu{block}_{i}" for block, count in enumerate(_CONVOLUTIONS, 1) for i in range(1, count + 1))
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: torchvision's input
_PREFIX_KEYS = dict(zip(LAYERS, ("2", "5", "9", "12", "16"), strict=False))


class VggError(Exception):
    """A file that holds no VGG19 features; the message names it and the remedy."""


class Vgg19(nn.Module):
    """(N, 1 or 3, H, W) on [-1, 1] -> the features of the named layers, shallow to deep."""

    def __init__(
        self,
        convolutions: Sequence[tuple[Tensor, Tensor]],
        layers: Sequence[str],
        preprocessing: tuple[Tensor, Tensor],
        *,
        padding: str,
    ) -> None:
        super().__init__()
        self.layers = tuple(sorted(layers, key=LAYERS.index))
        self._depth = len(convolutions)
        self._prefix = padding == "reflect"
        for index, (weight, bias) in enumerate([preprocessing, *convolutions]):  # buffers: nothing here is ever trained
            self.register_buffer(f"weight{index}", weight.float())
            self.register_buffer(f"bias{index}", bias.float())

    @classmethod
    def load(cls, path: Path, layers: Sequence[str]) -> Vgg19:
        """Read either layout. Raises VggError."""
        if unknown := [layer for layer in layers if layer not in LAYERS]:
            raise VggError(f"VGG19 has no layer {unknown[0]!r}; its layers are {', '.join(LAYERS)}")
        state = _read(path)
        torchvision = "features.0.weight" in state
        names = _torchvision_keys() if torchvision else _PREFIX_KEYS
        known = {layer: key for layer, key in names.items() if f"{key}.weight" in state and f"{key}.bias" in state}
        if missing := [layer for layer in layers if layer not in known]:
            known_names = ", ".join(known) or "no VGG19 layer at all"
            raise VggError(
                f"{path} does not hold {missing[0]} (it holds {known_names}); choose from these, or give torchvision's "
                "vgg19-dcbb9e9d.pth"
            )
        depth = 1 + max(LAYERS.index(layer) for layer in layers)
        keys = [names[layer] for layer in LAYERS[:depth]]
        shapes = {f"{key}.weight": shape for key, shape in zip(keys, _shapes(), strict=False)}
        if not torchvision:
            shapes |= {"0.weight": (3, 3, 1, 1), "0.bias": (3,)}
        wrong = [key for key, shape in shapes.items() if getattr(state.get(key), "shape", None) != shape]
        if "features.17.weight" in state:  # where VGG16 has a convolution
            wrong.append("features.17.weight")
        if wrong:
            raise VggError(f"{path} is not VGG19: see its {wrong[0]}; give torchvision's vgg19-dcbb9e9d.pth")
        preprocessing = _imagenet() if torchvision else (state["0.weight"], state["0.bias"])
        convolutions = [(state[f"{key}.weight"], state[f"{key}.bias"]) for key in keys]
        return cls(convolutions, layers, preprocessing, padding="zeros" if torchvision else "reflect")

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 1 or 3, H, W) -> one (N, C, h, w) for each layer."""
        x = (image.expand(-1, 3, -1, -1) + 1) / 2  # RGB on [0, 1]
        x = F.conv2d(x, self.get_buffer("weight0"), self.get_buffer("bias0"))
        features = []
        for index, layer in enumerate(LAYERS[: self._depth], 1):
            if index > 1 and layer.endswith("_1"):
                x = F.max_pool2d(x, 2, ceil_mode=self._prefix)
            x = _reflected(x) if self._prefix else F.pad(x, (1, 1, 1, 1))
            x = F.relu(F.conv2d(x, self.get_buffer(f"weight{index}"), self.get_buffer(f"bias{index}")))
            if layer in self.layers:
                features.append(x)
        return features


def _shapes() -> list[tuple[int, ...]]:
    """Of the kernels, shallow to deep: configuration E of the paper."""
    widths = [min(64 << block, 512) for block, count in enumerate(_CONVOLUTIONS) for _ in range(count)]
    return [(out, inside, 3, 3) for inside, out in zip([3, *widths], widths, strict=False)]


def _reflected(x: Tensor) -> Tensor:
    """One pixel mirrored on each side; PyTorch's own reflection has no deterministic gradient on a GPU."""
    x = torch.cat([x[:, :, 1:2], x, x[:, :, -2:-1]], dim=2)
    return torch.cat([x[:, :, :, 1:2], x, x[:, :, :, -2:-1]], dim=3)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise VggError(
            f"{path} does not exist; give the path of torchvision's vgg19-dcbb9e9d.pth "
            "(https://download.pytorch.org/models/vgg19-dcbb9e9d.pth), or train without the perceptual loss: "
            "perceptual_weight = 0"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same
        raise VggError(f"{path} cannot be read as PyTorch weights: {error}") from error
    if not isinstance(state, dict):
        raise VggError(f"{path} holds no table of weights but a {type(state).__name__}")
    return state


def _torchvision_keys() -> dict[str, str]:
    """relu1_1 is `features.0`, relu1_2 `features.2`; each block ends with a pool, which takes a number too."""
    keys, number = {}, 0
    for layer in LAYERS:
        if layer.endswith("_1") and number:
            number += 1
        keys[layer] = f"features.{number}"
        number += 2
    return keys


def _imagenet() -> tuple[Tensor, Tensor]:
    mean, deviation = torch.tensor(_MEAN), torch.tensor(_DEVIATION)
    return torch.diag(1 / deviation).view(3, 3, 1, 1), -mean / deviation
