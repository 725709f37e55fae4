"""Where the net lives: Apple's MPS first, then CUDA, then the CPU."""

import torch

from model.errors import DeviceError

DEVICES = ("auto", "mps", "cuda", "cpu")


def choose_device(name: str) -> torch.device:
    """The device of that name, `auto` being the first there is. Raises DeviceError with those that can be used."""
    there = [device for device, found in _available_devices().items() if found]
    if name == "auto":
        return torch.device(there[0])
    if name not in there:
        raise DeviceError(f"device {name!r} is not there: choose auto, {' or '.join(there)} (--device)")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """A short name of the device for people."""
    if device.type == "cuda":
        return f"CUDA ({torch.cuda.get_device_name(device)})"
    return {"mps": "MPS (Apple GPU)", "cpu": "CPU"}[device.type]


def _available_devices() -> dict[str, bool]:
    return {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available(), "cpu": True}
