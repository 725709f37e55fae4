"""Training of the waveform classifier on partial labels: each window excludes some kinds, and the rest are allowed."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.waveform.labelled_windows import ASYSTOLE_BIT, NOISE_BIT, ORGANISED_BIT, VF_BIT, VT_BIT, LabelledWindows
from model.waveform.waveform_classifier import FARTHEST_SD, WAVEFORM_KINDS, ClassifierLayers

KIND_SHARES = {
    ORGANISED_BIT: 0.40,
    VT_BIT: 0.18,
    VF_BIT: 0.16,
    VT_BIT | VF_BIT: 0.14,
    NOISE_BIT: 0.09,
    ORGANISED_BIT | NOISE_BIT: 0.02,
    ORGANISED_BIT | VT_BIT: 0.01,
    ASYSTOLE_BIT: 0.05,
    NOISE_BIT | ASYSTOLE_BIT: 0.02,
    ORGANISED_BIT | NOISE_BIT | ASYSTOLE_BIT: 0.03,
}
"""Share of the drawn windows, by what they are allowed to be."""
OTHER_KIND_SHARE = 0.01
"""Share of windows with any other combination."""


@dataclass(frozen=True, slots=True)
class WaveformRecipe:
    """Settings of a training: AdamW with a one-cycle rate, random windows of balanced kinds and sources."""

    nets: int = 3
    """Nets of different seeds whose probabilities are averaged."""
    steps: int = 2000
    batch: int = 1024
    learning_rate: float = 0.004
    weight_decay: float = 0.02
    hidden: tuple[int, int] = (48, 32)
    dropped: float = 0.3
    smoothing: float = 0.02
    jitter: float = 0.25
    """Noise added to each feature, in its standard deviations."""
    copies: int = 2
    """Changed copies of each recorded strip."""
    made: int = 3000
    """Synthetic strips."""


def sampling_probabilities(examples: LabelledWindows) -> NDArray[np.float64]:
    """Return the probability (n,) of drawing each window: by kind as in KIND_SHARES, then by source.

    Within a kind a source counts by the square root of its windows, so that a long record does not dominate.
    """
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
    """Train on windows whose `allowed` are not 0, on one thread: the same result on the same machine.

    Returns the layers by name, see `ClassifierLayers`.
    """
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
    """Train one net on features x (n, FEATURE_COUNT) and excluded kinds (n, 5), and return its layers."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    net, linear = _build_layer_stack(x.shape[1], recipe)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, recipe.steps + 1)
    for _ in range(recipe.steps):
        rows = np.minimum(np.searchsorted(drawn, random.random(recipe.batch)), len(x) - 1)
        chosen = torch.from_numpy(rows)
        features = x[chosen]
        logs = torch.log_softmax(net(features + recipe.jitter * torch.randn_like(features)), 1)
        # The likelihood of a partial label: that the window is any of the kinds it may be.
        allowed = torch.logsumexp(logs.masked_fill(excluded[chosen], -1e9), 1)
        loss = -((1 - recipe.smoothing) * allowed + recipe.smoothing * logs.mean(1)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type of it
        optimiser.step()
        schedule.step()
    return linear


def _build_layer_stack(inputs: int, recipe: WaveformRecipe) -> tuple[nn.Sequential, list[nn.Linear]]:
    first, second = recipe.hidden
    linear = [nn.Linear(inputs, first), nn.Linear(first, second), nn.Linear(second, len(WAVEFORM_KINDS))]
    drop = nn.Dropout(recipe.dropped)
    return nn.Sequential(linear[0], nn.ReLU(), drop, linear[1], nn.ReLU(), drop, linear[2]), linear
