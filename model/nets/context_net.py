"""The context net of the live monitor: a beat in its context (`model.beats.templates`) to a class, or to no beat.

Sources:

- Kachuee, Fazeli, Sarrafzadeh 2018, doi:10.1109/ICHI.2018.00092: the residual blocks (`model.nets.beat_net`).
- Srivastava et al. 2014, "Dropout", https://jmlr.org/papers/v15/srivastava14a.html

Three residual blocks see the wave of a beat beside those of the patient's dominant beat and of its own cluster. There
are two heads: one gets the wave and the numbers, the other the numbers alone. The second has no wave, so it cannot
mistake a patient's unusual dominant beat for an ectopic one, nor learn the waves of a few patients by heart; the first
sees P waves. Whether a beat is ventricular, and whether it is S rather than N, both decide with the same weight. Where
the numbers alone make a beat surely normal, which three of four are, nobody looks at its wave.
"""

from math import log
from typing import cast

import torch
from torch import Tensor, nn

from model.beats.templates import CHANNELS, FEATURES
from model.nets.beat_net import InferenceBlocks, NormedConv, ResidualBlock, fold_norms_into, layer_weights
from model.nets.net_size import CONTEXT_SIZE, SURELY_NORMAL, NetSize, pooled_lengths

STEM_KERNEL = 7
"""Kernel of the first convolution, which halves the rate."""
NUMBERS_WIDTH = 32
"""Width of the dense layer that the numbers pass before they join the wave."""
DROPOUT_SHARE, NUMBERS_DROPOUT_SHARE = 0.3, 0.2
"""Shares of the activations, and of the numbers, that are dropped at random in training."""


class ProductLayer(nn.Linear):
    """A dense layer computed as one product for each beat: one for the batch would round differently with its size."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (n, inputs) to (n, outputs)."""
        return _product_per_beat(x, self.weight.t().contiguous(), self.bias)


class ContextNet(nn.Module):
    """Log-probabilities of the classes, and of no beat, for a batch of beats in their context.

    `mean` and `spread` (features,) standardise the numbers; training sets them.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, size: NetSize = CONTEXT_SIZE, norm: bool = False) -> None:
        super().__init__()
        self.size = size
        conv = nn.Conv2d(CHANNELS, size.channels[0], (1, STEM_KERNEL), (1, 2), (0, STEM_KERNEL // 2), bias=not norm)
        self.conv = NormedConv(conv, nn.BatchNorm2d(size.channels[0])) if norm else conv
        widths = zip((size.channels[0], *size.channels), size.channels, strict=False)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o, size.kernel, norm) for i, o in widths))
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("spread", torch.ones(len(FEATURES)))
        self.numbers = ProductLayer(len(FEATURES), NUMBERS_WIDTH)
        self.dense1 = ProductLayer(size.channels[-1] * context_samples_left(size) + NUMBERS_WIDTH, size.dense)
        self.dense2 = ProductLayer(size.dense, size.dense)
        self.output = ProductLayer(size.dense, size.classes)
        self.alone1 = ProductLayer(len(FEATURES), size.dense)
        self.alone2 = ProductLayer(size.dense, size.dense)
        self.alone = ProductLayer(size.dense, size.classes)
        self.drop, self.drop_numbers = nn.Dropout(DROPOUT_SHARE), nn.Dropout(NUMBERS_DROPOUT_SHARE)

    def heads(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (n, INPUTS) float32 to the scores (n, classes) of both heads.

        The first head has the layers `conv`, `blocks`, `numbers`, `dense1`, `dense2` and `output`, the second `alone1`,
        `alone2` and `alone`.
        """
        waves = inputs[:, : CHANNELS * self.size.samples].reshape(-1, CHANNELS, 1, self.size.samples)
        x = torch.relu(self.conv(waves.contiguous(memory_format=torch.channels_last)))  # (n, channels, 1, samples / 2)
        x = self.drop(torch.flatten(self.blocks(x), 1))  # (n, channels * samples left)
        numbers = self.drop_numbers((inputs[:, CHANNELS * self.size.samples :] - self.mean) / self.spread)
        x = torch.cat([x, torch.relu(self.numbers(numbers))], 1)  # (n, channels * samples left + NUMBERS_WIDTH)
        x = self.drop(torch.relu(self.dense1(x)))  # (n, dense)
        first = self.output(torch.relu(self.dense2(x)))  # (n, classes)
        y = self.drop(torch.relu(self.alone1(numbers)))  # (n, dense)
        second = self.alone(self.drop(torch.relu(self.alone2(y))))  # (n, classes)
        return first, second

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (n, INPUTS) float32 to log-probabilities (n, classes)."""
        if len(inputs) == 1:  # for a single beat, oneDNN would sum in another order than for a batch
            return cast(Tensor, self(inputs.expand(2, -1)))[:1]
        return combine_heads(*self.heads(inputs))


class ContextInferenceNet:
    """A trained net for inference: the same operations on the same weights as `ContextNet`, but faster.

    PyTorch's modules cost more than half of the time that a single beat takes.
    """

    def __init__(self, net: ContextNet) -> None:
        """Take the weights of a net without batch normalisation: one that was folded or loaded."""
        self._samples = net.size.samples
        self._mean = net.mean
        self._spread = net.spread
        self._first = layer_weights(net.conv)
        self._blocks = InferenceBlocks(net.blocks, net.size.kernel)
        names = ("numbers", "dense1", "dense2", "output", "alone1", "alone2", "alone")
        layers = [getattr(net, name) for name in names]
        self._layers = [(layer.weight.t().contiguous(), layer.bias) for layer in layers]

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Map inputs (n, INPUTS) float32 to log-probabilities (n, classes)."""
        _, _, _, _, alone1, alone2, alone = self._layers
        values = (inputs[:, CHANNELS * self._samples :] - self._mean) / self._spread  # (n, features)
        y = _product_per_beat(values, *alone1).relu_()  # (n, dense)
        second = _product_per_beat(_product_per_beat(y, *alone2).relu_(), *alone)  # (n, classes)
        said = torch.log_softmax(second, 1)
        unsure = torch.nonzero(said[:, 0] < log(SURELY_NORMAL))[:, 0]  # (k,)
        if len(unsure):
            said[unsure] = combine_heads(self._hear_wave(inputs[unsure], values[unsure]), second[unsure])
        return said

    def _hear_wave(self, inputs: Tensor, values: Tensor) -> Tensor:
        """Return the scores (k, classes) of the first head for inputs (k, INPUTS), whose numbers are `values`."""
        if len(inputs) == 1:
            return self._hear_wave(inputs.expand(2, -1), values.expand(2, -1))[:1]
        numbers, dense1, dense2, output, _, _, _ = self._layers
        waves = inputs[:, : CHANNELS * self._samples].reshape(-1, CHANNELS, 1, self._samples)
        waves = waves.contiguous(memory_format=torch.channels_last)
        x = torch.conv2d(waves, *self._first, (1, 2), (0, STEM_KERNEL // 2)).relu_()  # (k, channels, 1, samples / 2)
        x = torch.flatten(self._blocks(x), 1)  # (k, channels * samples left)
        x = torch.cat([x, _product_per_beat(values, *numbers).relu_()], 1)
        x = _product_per_beat(x, *dense1).relu_()  # (k, dense)
        return _product_per_beat(_product_per_beat(x, *dense2).relu_(), *output)


def _product_per_beat(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map x (n, k) to (n, m) with weight (k, m), as a batch of n products of one row."""
    n = len(x)
    return torch.baddbmm(bias.expand(n, 1, -1), x[:, None, :], weight.expand(n, -1, -1))[:, 0]  # (n, 1, m) to (n, m)


def combine_heads(first: Tensor, second: Tensor, sure: float = SURELY_NORMAL) -> Tensor:
    """Combine the scores (n, classes) of both heads to log-probabilities (n, classes).

    The log-odds of V against N and S together, and of S against N, are the mean of both heads; all else is the first
    head's. Where the second head says N with a probability of `sure` or more, that stands.
    """
    first, second = torch.log_softmax(first, 1), torch.log_softmax(second, 1)
    usual = torch.logaddexp(first[:, 0], first[:, 1])  # N or S
    other = usual - torch.logaddexp(second[:, 0], second[:, 1])
    ventricular = (first[:, 2] + second[:, 2] + other) / 2  # (n,)
    early = (first[:, 1] - first[:, 0] + second[:, 1] - second[:, 0]) / 2  # (n,)
    pair = usual[:, None] + torch.log_softmax(torch.stack([-early / 2, early / 2], 1), 1)  # (n, 2), N and S
    both = torch.log_softmax(torch.cat([pair, ventricular[:, None], first[:, 3:]], 1), 1)
    return torch.where((second[:, 0] >= log(sure))[:, None], second, both)


def context_samples_left(size: NetSize) -> int:
    """Return the samples left after the last block."""
    return pooled_lengths((size.samples - 1) // 2 + 1, len(size.channels))[-1]


def build_context_net(size: NetSize, device: torch.device, norm: bool = False) -> ContextNet:
    """Build a net with random weights on `device`, in the channels-last layout."""
    net = ContextNet(size, norm).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stub
    return net


def fold_context_net(net: ContextNet) -> ContextNet:
    """Return a net with the same output in inference and no batch normalisation."""
    return fold_norms_into(build_context_net(net.size, net.output.weight.device), net).eval()
