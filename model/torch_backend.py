"""PyTorch, on a CPU or a CUDA device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model import checkpoint
from model.backend import DeviceLost, NoRoom
from model.checkpoint import WEIGHTS, Card, Generators

FULL, LITE = "xr", "xr-lite"  # what `auto` chooses from


class TorchBackend:
    """Generators as modules. precision: of the network's arithmetic, float32 or bfloat16."""

    def __init__(self, generators: Generators, device: torch.device, precision: str = "float32") -> None:
        self._device, self.precision = device, precision
        self._generators = {scale: generator.to(device).eval() for scale, generator in generators.items()}

    @property
    def scales(self) -> tuple[int, ...]:
        """Largest first."""
        return tuple(sorted(self._generators, reverse=True))

    @property
    def device(self) -> str:
        """As PyTorch names it."""
        return str(self._device)

    @property
    def recipe(self) -> str:
        """The precision alone: results of this backend were named so before there were others."""
        return self.precision

    def run(self, scale: int, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, h, w) -> (T, s*h, s*w), both on [-1, 1]. Raises NoRoom, DeviceLost."""
        try:
            return self._forward(scale, low)
        except torch.OutOfMemoryError:
            pass  # the error holds the tensors: they are freed when it is gone
        except torch.AcceleratorError as error:
            raise DeviceLost(f"{self.device}: {type(error).__name__}") from error
        torch.cuda.empty_cache()
        raise NoRoom(f"{self.device} has no room for {len(low)} tiles of {low.shape[1]}x{low.shape[2]}")

    @torch.inference_mode()
    def _forward(self, scale: int, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """Three-channel generators see the gray image three times."""
        generator = self._generators[scale]
        tensor = torch.from_numpy(low).to(self._device).unsqueeze(1).expand(-1, generator.config.channels, -1, -1)
        half = self.precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            high: torch.Tensor = generator(tensor.contiguous(memory_format=torch.channels_last))
        result: NDArray[np.float32] = high.float().mean(dim=1).cpu().numpy()
        return result


def load(path: Path, device: str, precision: str) -> tuple[TorchBackend, Card]:
    """Weights and their card. Raises CheckpointError; ValueError for a device or a precision that is not there."""
    chosen = choose_device(device)
    generators, card = checkpoint.load(path)
    return TorchBackend(generators, chosen, choose_precision(precision, chosen)), card


def choose_device(device: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises ValueError."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {device!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but this machine offers no CUDA device; use auto or cpu")
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> str:
    """`auto` takes bfloat16 where there are matrix units for it. Raises ValueError."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision must be auto, float32 or bfloat16, not {precision!r}")
    if precision == "auto":
        return "bfloat16" if has_matrix_units(device) else "float32"
    return precision


def default_name(device: str, folder: Path = WEIGHTS) -> str:
    """What `auto` means: the full generator where the device is quick enough for it, else the lite one."""
    chosen = choose_device(device) if device == "auto" else torch.device(device)
    quick = chosen.type == "cuda" or has_matrix_units(chosen)
    return FULL if quick and FULL in checkpoint.available(folder) else LITE


def has_matrix_units(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 in hardware: AMX on a CPU, tensor cores from Ampere on."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported())
