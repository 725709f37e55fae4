"""Where the net runs: Apple's MPS first, then CUDA, then the CPU."""

import torch

from model.errors import DeviceError


def choose_device(name: str) -> torch.device:
    """Return the device of that name, or the first available one for `auto`.

    Raises DeviceError, with the devices that can be used, if it is not available.
    """
    available = [device for device, usable in _available_devices().items() if usable]
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise DeviceError(f"device {name!r} is not available: choose auto, {' or '.join(available)} (--device)")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return a short name of the device for people."""
    if device.type == "cuda":
        return f"CUDA ({torch.cuda.get_device_name(device)})"
    return {"mps": "MPS (Apple GPU)", "cpu": "CPU"}[device.type]


def _available_devices() -> dict[str, bool]:
    return {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available(), "cpu": True}
