"""The state of an unfinished training of the live net, in a file: it goes on to the same result, to the last bit."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch.optim.lr_scheduler import OneCycleLR

from model.errors import RunError
from model.files import write_atomically
from model.nets.context_net import ContextNet
from model.training.saved_optimiser import optimiser_tensors, restore_optimiser


@dataclass(frozen=True, slots=True)
class TrainingPass:
    """Figures of one pass over the training side."""

    epoch: int
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class ContextState:
    """All that changes while a live net is trained: the net, Adam, its rate, and the generators of random numbers."""

    net: ContextNet
    optimiser: torch.optim.AdamW
    schedule: OneCycleLR
    noise: torch.Generator
    choice: np.random.Generator

    def keep(self, path: Path, identity: str, done: TrainingPass) -> None:
        """Write the state after a pass in one step. Raises RunError if it cannot be written."""
        tensors = {f"net.{key}": value for key, value in self.net.state_dict().items()}
        tensors |= optimiser_tensors(self.optimiser)
        tensors |= {"random.torch": torch.get_rng_state(), "random.noise": self.noise.get_state()}
        rates = [{"lr": float(group["lr"]), "betas": list(group["betas"])} for group in self.optimiser.param_groups]
        said = {
            "identity": identity,
            "done": asdict(done),
            "rates": rates,
            "step": self.schedule.last_epoch,
            "choice": self.choice.bit_generator.state,
        }
        try:
            with write_atomically(path) as partial:
                whole = {key: value.cpu().contiguous() for key, value in tensors.items()}
                save_file(whole, partial, {"state": json.dumps(said)})
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot write {path}: {error}; no earlier pass is lost") from error

    def take_up(self, path: Path, identity: str) -> TrainingPass | None:
        """Go back to the state in a file and return its latest pass; None if there is none, or of another training.

        Raises RunError if it cannot be read.
        """
        if not path.exists():
            return None
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                said = json.loads((file.metadata() or {})["state"])
                if said["identity"] != identity:
                    return None
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
            self.net.load_state_dict(
                {key.removeprefix("net."): value for key, value in tensors.items() if key.startswith("net.")}
            )
            restore_optimiser(self.optimiser, tensors)
            for group, rate in zip(self.optimiser.param_groups, said["rates"], strict=True):
                group.update(lr=rate["lr"], betas=tuple(rate["betas"]))
            self.schedule.load_state_dict({"last_epoch": said["step"], "_step_count": said["step"] + 1})
            torch.set_rng_state(tensors["random.torch"])
            self.noise.set_state(tensors["random.noise"])
            self.choice.bit_generator.state = said["choice"]
            return TrainingPass(**said["done"])
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot resume from {path}: {error}; remove it to start again") from error
