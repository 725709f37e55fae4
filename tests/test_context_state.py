from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agent.core import config as configuration
from model.beats.templates import INPUTS
from model.errors import RunError
from model.nets.context_net import ContextNet
from model.training.context_state import TrainingPass
from model.training.context_training import train_context_net

CPU = torch.device("cpu")
RECIPE = replace(configuration.load_config(None, {}).live, epochs=3, batch=64)
Trained = list[tuple[TrainingPass, dict[str, bytes]]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are slower in several threads, far more so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def candidates() -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Return inputs (200, INPUTS) and their outcomes (200,)."""
    random = np.random.default_rng(0)
    return random.normal(size=(200, INPUTS)).astype(np.float16), random.integers(0, 6, 200)


def weights(net: ContextNet) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in net.state_dict().items()}


def train(kept: Path | None, passes: int | None = None, seed: int = 3) -> Trained:
    """Train, at most so many passes, and return the figures and weights after each."""
    inputs, labels = candidates()
    found = train_context_net(inputs, labels, RECIPE, seed, CPU, kept)
    return [(done, weights(net)) for done, net in islice(found, passes)]


@pytest.mark.parametrize("passes", [1, 3])
def test_an_interrupted_training_goes_on(tmp_path: Path, passes: int) -> None:
    """Interrupted after any pass, it ends with the same weights and losses, to the last bit, and repeats no pass."""
    whole = train(None)
    kept = tmp_path / "state.safetensors"
    assert train(kept, passes) == whole[:passes]
    torch.manual_seed(99)
    assert train(kept) == whole[passes - 1 :]


def test_another_training_begins_anew(tmp_path: Path) -> None:
    """A state of another seed is not taken up: it is replaced."""
    kept = tmp_path / "state.safetensors"
    train(kept, 1)
    assert train(kept, 1, seed=4) == train(None, 1, seed=4)


def test_a_state_that_cannot_be(tmp_path: Path) -> None:
    """A broken file and a folder that is not there are said in one line."""
    kept = tmp_path / "state.safetensors"
    kept.write_bytes(b"no state")
    with pytest.raises(RunError, match=r"^cannot resume from .*state\.safetensors: .*; remove it to start again$"):
        train(kept)
    with pytest.raises(RunError, match=r"^cannot write .*; no earlier pass is lost$"):
        train(tmp_path / "none" / "state.safetensors")
