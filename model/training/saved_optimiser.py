"""Adam's memory as tensors that a file can hold, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

PREFIX = "adam."


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser has gathered: a tensor, shape (n, ...) as its parameter, by parameter and name."""
    state = optimiser.state_dict()["state"]
    return {f"{PREFIX}{number}.{key}": value for number, values in state.items() for key, value in values.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser what `optimiser_tensors` returned, shapes (n, ...); other tensors are passed over.

    Raises KeyError, ValueError or RuntimeError if they are not of such parameters.
    """
    state: dict[int, dict[str, Any]] = {}
    trained = [value for group in optimiser.param_groups for value in group["params"]]
    for key, value in tensors.items():
        if key.startswith(PREFIX):
            _, number, name = key.split(".")
            like = value if name == "step" else torch.empty_like(trained[int(number)]).copy_(value)
            state.setdefault(int(number), {})[name] = like
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
