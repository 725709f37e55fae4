"""Training of the live net on the candidates of many streams, which `agent.training.candidates` builds.

Adam with decoupled weight decay under a one-cycle rate. Every pass takes another part of the normal beats, and a larger
part of all other candidates. Each head of the net has its own loss.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.beats.dataset import digest_arrays
from model.beats.templates import CHANNELS, FEATURES, WAVE
from model.nets.context_net import ContextNet, build_context_net, fold_context_net
from model.nets.net_size import CONTEXT_SIZE
from model.training.context_state import ContextState, TrainingPass
from model.training.recipe import ContextRecipe


def train_context_net(
    inputs: NDArray[np.float16],
    labels: NDArray[np.int64],
    recipe: ContextRecipe,
    seed: int,
    device: torch.device,
    kept: Path | None = None,
) -> Iterator[tuple[TrainingPass, ContextNet]]:
    """Train the live net and yield each pass with the net as it would ship after it.

    Parameters
    ----------
    inputs
        (n, INPUTS) float16 candidates in their context, see `model.beats.templates`.
    labels
        (n,) outcomes: index into CLASSES, or NO_BEAT.
    kept
        File that keeps the state after each pass until the last one; a training that it holds goes on.

    Raises RunError if `kept` cannot be written or read.
    """
    torch.manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed)
    choice = np.random.default_rng(seed)
    net = build_context_net(CONTEXT_SIZE, device, norm=True)
    numbers = inputs[:, CHANNELS * WAVE :].astype(np.float32)
    net.mean.copy_(torch.from_numpy(numbers.mean(0)))
    net.spread.copy_(torch.from_numpy(numbers.std(0) + 1e-3))
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    normal, others = np.flatnonzero(labels == 0), np.flatnonzero(labels > 0)
    part = int(len(normal) * recipe.normal)
    other_part = int(np.ceil(len(others) * recipe.others))
    steps = max(1, (part + other_part) // recipe.batch)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, recipe.epochs * steps + 1)
    state = ContextState(net, optimiser, schedule, noise, choice)
    identity = _describe_training(inputs, labels, recipe, seed, device) if kept else ""
    if done := state.take_up(kept, identity) if kept else None:
        yield done, fold_context_net(net).requires_grad_(False)
    for epoch in range(done.epoch + 1 if done else 1, recipe.epochs + 1):
        order = _draw_order(choice, (normal, part), (others, other_part))
        net.train()
        total = 0.0
        for step in range(steps):
            rows = torch.from_numpy(order[step * recipe.batch : (step + 1) * recipe.batch])
            augmented = augment_context_inputs(x[rows].to(device, torch.float32), recipe, noise)
            optimiser.zero_grad()
            loss = sum(
                (nn.functional.cross_entropy(scores, y[rows].to(device), label_smoothing=recipe.smoothing)
                for scores in net.heads(augmented)),
                start=torch.zeros((), device=device),
            )  # fmt: skip
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type of it
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        done = TrainingPass(epoch, total / steps)
        if kept:
            state.keep(kept, identity, done)
        yield done, fold_context_net(net).requires_grad_(False)


def _draw_order(choice: np.random.Generator, *groups: tuple[NDArray[np.intp], int]) -> NDArray[np.intp]:
    """Return the rows of a pass, shuffled: of each group, rows (n,), so many."""
    order = np.concatenate([choice.choice(rows, count, replace=False) for rows, count in groups])
    choice.shuffle(order)
    return order


def _describe_training(
    inputs: NDArray[np.float16], labels: NDArray[np.int64], recipe: ContextRecipe, seed: int, device: torch.device
) -> str:
    """Return all that decides the result, of candidates (n, INPUTS) and outcomes (n,), as text."""
    beats = digest_arrays(inputs, labels)
    threads = torch.get_num_threads()
    return json.dumps([beats, asdict(recipe), seed, device.type, threads, str(torch.__version__)])


def augment_context_inputs(inputs: Tensor, recipe: ContextRecipe, random: torch.Generator) -> Tensor:
    """Return inputs (n, INPUTS) as the same beats might have looked on other days."""
    n, waves = len(inputs), CHANNELS * WAVE

    def normal(*shape: int) -> Tensor:
        """Draw (n, *shape) of standard deviation 1."""
        return torch.randn(n, *shape, generator=random, device=inputs.device)

    changed = inputs.clone()
    changed[:, :waves] *= torch.exp(recipe.gain * normal(1))
    changed[:, :WAVE] += recipe.noise * torch.exp(normal(1)) * normal(WAVE) + recipe.offset * normal(1)
    changed[:, waves:] += recipe.jitter * normal(len(FEATURES))
    return changed


@torch.inference_mode()
def predict_context_outcomes(net: ContextNet, inputs: NDArray[np.float16], device: torch.device) -> NDArray[np.float32]:
    """Return the log-probabilities (n, 6) of the classes and of no beat, for inputs (n, INPUTS)."""
    batches = torch.split(torch.from_numpy(inputs), 256)
    outcomes: NDArray[np.float32] = torch.cat([net(batch.to(device, torch.float32)) for batch in batches]).cpu().numpy()
    return outcomes
