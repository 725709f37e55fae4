"""Where the net runs: Apple's MPS first, then CUDA, then the CPU."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import DeviceError

if TYPE_CHECKING:
    import torch

CPU = "CPU"
"""The CPU, for people."""
GPU_FILES = "nvidia*", "nvhost*", "nvmap", "dxg", "kfd"
"""What stands in /dev where there may be a GPU that PyTorch can use: on a PC, a Jetson, in WSL, of AMD."""


def runs_on_cpu(name: str) -> bool:
    """Return whether the device of that name is the CPU for sure. Without PyTorch, whose import takes long."""
    if name != "auto":
        return name == "cpu"
    return sys.platform.startswith("linux") and not any(any(Path("/dev").glob(pattern)) for pattern in GPU_FILES)


def choose_device(name: str) -> "torch.device":
    """Return the device of that name, or the first available one for `auto`.

    Raises DeviceError, with the devices that can be used, if it is not available.
    """
    import torch

    available = [device for device, usable in _available_devices().items() if usable]
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise DeviceError(f"device {name!r} is not available: choose auto, {' or '.join(available)} (--device)")
    return torch.device(name)


def describe_device(device: "torch.device") -> str:
    """Return a short name of the device for people."""
    import torch

    if device.type == "cuda":
        return f"CUDA ({torch.cuda.get_device_name(device)})"
    return {"mps": "MPS (Apple GPU)", "cpu": CPU}[device.type]


def _available_devices() -> dict[str, bool]:
    import torch

    return {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available(), "cpu": True}
