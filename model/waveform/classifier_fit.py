"""The net of the waveform judge, trained on windows of which only some kinds are excluded."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.waveform.labelled_windows import ASYSTOLE_BIT, NOISE_BIT, ORGANISED_BIT, VF_BIT, VT_BIT, LabelledWindows
from model.waveform.waveform_classifier import FARTHEST_SD, WAVEFORM_KINDS, ClassifierLayers

KIND_SHARES = {
    ORGANISED_BIT: 0.40,
    VT_BIT: 0.17,
    VF_BIT: 0.20,
    VT_BIT | VF_BIT: 0.06,
    NOISE_BIT: 0.09,
    ORGANISED_BIT | NOISE_BIT: 0.04,
    ORGANISED_BIT | VT_BIT: 0.01,
    ASYSTOLE_BIT: 0.05,
}
"""What share of a training the windows have of which this is known; of anything else one in a hundred."""
OTHER_KIND_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class WaveformRecipe:
    """How it is trained: AdamW with a one-cycle rate, random windows of balanced kinds and sources."""

    nets: int = 3
    """Nets of other seeds whose answers are averaged."""
    steps: int = 2000
    batch: int = 1024
    learning_rate: float = 0.004
    weight_decay: float = 0.02
    hidden: tuple[int, int] = (48, 32)
    dropped: float = 0.2
    smoothing: float = 0.02
    jitter: float = 0.15
    """Noise added to each number, in its standard deviations."""
    copies: int = 2
    """Changed copies of each recorded strip."""
    made: int = 2500
    """Strips that are made up."""


def sampling_probabilities(examples: LabelledWindows) -> NDArray[np.float64]:
    """How often each window is drawn: kinds by SHARES, within a kind sources by the root of their windows."""
    names, source = np.unique(examples.sources, return_inverse=True)
    drawn: NDArray[np.float64] = np.zeros(len(source))
    for bits in np.unique(examples.allowed).tolist():
        of_kind = examples.allowed == bits
        weights = np.where(of_kind, examples.weights, 0).astype(np.float64)
        total: NDArray[np.float64] = np.bincount(source, weights, len(names)).astype(np.float64)
        drawn += float(KIND_SHARES.get(bits, OTHER_KIND_SHARE)) * weights * _root_share(total)[source]
    out: NDArray[np.float64] = drawn / drawn.sum()
    return out


def _root_share(total: NDArray[np.float64]) -> NDArray[np.float64]:
    root = np.sqrt(total)
    factor = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    out: NDArray[np.float64] = factor / root.sum()
    return out


def fit_waveform_layers(examples: LabelledWindows, recipe: WaveformRecipe, seed: int) -> ClassifierLayers:
    """Train on examples whose `allowed` are not 0. One thread: the same result on the same machine."""
    torch.set_num_threads(1)
    mean = examples.numbers.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = (examples.numbers.std(axis=0, dtype=np.float64) + 1e-3).astype(np.float32)
    x = torch.from_numpy(np.clip((examples.numbers - mean) / spread, -FARTHEST_SD, FARTHEST_SD))
    excluded = torch.from_numpy((examples.allowed[:, None] >> np.arange(len(WAVEFORM_KINDS), dtype=np.uint8)) & 1 == 0)
    drawn = np.cumsum(sampling_probabilities(examples))
    nets = [_fit_single_net(x, excluded, drawn, recipe, seed * recipe.nets + number) for number in range(recipe.nets)]
    layers: ClassifierLayers = {"mean": mean, "spread": spread}
    for number in range(3):
        weights = [net[number].weight.detach().numpy().T for net in nets]
        layers[f"weight{number + 1}"] = np.ascontiguousarray(np.stack(weights))
        layers[f"bias{number + 1}"] = np.stack([net[number].bias.detach().numpy()[None] for net in nets])
    return layers


def _fit_single_net(
    x: Tensor, excluded: Tensor, drawn: NDArray[np.float64], recipe: WaveformRecipe, seed: int
) -> list[nn.Linear]:
    """The layers of one net."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    net, linear = _build_layer_stack(x.shape[1], recipe)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, recipe.steps + 1)
    for _ in range(recipe.steps):
        rows = np.minimum(np.searchsorted(drawn, random.random(recipe.batch)), len(x) - 1)
        chosen = torch.from_numpy(rows)
        seen = x[chosen]
        logs = torch.log_softmax(net(seen + recipe.jitter * torch.randn_like(seen)), 1)
        known = torch.logsumexp(logs.masked_fill(excluded[chosen], -1e9), 1)
        loss = -((1 - recipe.smoothing) * known + recipe.smoothing * logs.mean(1)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return linear


def _build_layer_stack(inputs: int, recipe: WaveformRecipe) -> tuple[nn.Sequential, list[nn.Linear]]:
    first, second = recipe.hidden
    linear = [nn.Linear(inputs, first), nn.Linear(first, second), nn.Linear(second, len(WAVEFORM_KINDS))]
    drop = nn.Dropout(recipe.dropped)
    return nn.Sequential(linear[0], nn.ReLU(), drop, linear[1], nn.ReLU(), drop, linear[2]), linear
