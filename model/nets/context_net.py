"""The net of the live monitor: a beat in its context (`model.beats.templates`) to a class, or to no beat at all.

The residual convolutions of Kachuee et al. 2018 (`model.nets.beat_net`), a few of them, see the beat's wave beside
those of the patient's dominant beat and of its own cluster. Two heads speak: one knows wave and numbers, the other the
numbers alone. The second has seen no wave, so it cannot mistake a patient's unusual dominant beat for an ectopic one:
on the question whether a beat is ventricular both have the same weight. On N or S the first decides, since it sees P
waves.
"""

from typing import cast

import torch
from torch import Tensor, nn

from model.beats.templates import CHANNELS, FEATURES, WAVE
from model.nets.beat_net import (
    InferenceBlocks,
    NetSize,
    NormedConv,
    ResidualBlock,
    fold_norms_into,
    layer_weights,
    pooled_lengths,
)
from model.records.wfdb_records import CLASSES

CONTEXT_SIZE = NetSize(samples=WAVE, channels=(24, 32, 48), kernel=5, dense=64, classes=len(CLASSES) + 1)
"""The net that ships."""
STEM_KERNEL = 7
"""Kernel of the first convolution, which halves the rate."""
NUMBERS_WIDTH = 32
"""Width of the dense layer that the numbers pass before they join the wave."""
DROPOUT_SHARE = 0.3
"""Share of what is dropped at random while training."""


class ProductLayer(nn.Linear):
    """A dense layer as a product a beat: one of the whole batch would round differently for different batch sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return _product_per_beat(x, self.weight.t().contiguous(), self.bias)


class ContextNet(nn.Module):
    """Log-probabilities of the classes, and of no beat, for a batch of beats in their context."""

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
        self.drop = nn.Dropout(DROPOUT_SHARE)

    def heads(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, INPUTS) float32 to the scores (n, classes) of either head."""
        waves = inputs[:, : CHANNELS * self.size.samples].reshape(-1, CHANNELS, 1, self.size.samples)
        x = torch.relu(self.conv(waves.contiguous(memory_format=torch.channels_last)))
        x = self.drop(torch.flatten(self.blocks(x), 1))
        numbers = (inputs[:, CHANNELS * self.size.samples :] - self.mean) / self.spread
        x = torch.cat([x, torch.relu(self.numbers(numbers))], 1)
        x = self.drop(torch.relu(self.dense1(x)))
        first = self.output(torch.relu(self.dense2(x)))
        y = self.drop(torch.relu(self.alone1(numbers)))
        second = self.alone(self.drop(torch.relu(self.alone2(y))))
        return first, second

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (n, INPUTS) float32 to log-probabilities (n, classes)."""
        if len(inputs) == 1:  # oneDNN sums in another order where there is one beat
            return cast(Tensor, self(inputs.expand(2, -1)))[:1]
        return combine_heads(*self.heads(inputs))


class ContextInferenceNet:
    """A trained net with its weights at hand, for inference: the same operations on the same weights as `ContextNet`.

    What PyTorch's modules cost in Python is more than half of what a single beat takes.
    """

    def __init__(self, net: ContextNet) -> None:
        """A net without batch normalisation: one that was folded or loaded."""
        self._waves = (CHANNELS, 1, net.size.samples)
        self._mean, self._spread = net.mean, net.spread
        self._first = layer_weights(net.conv)
        self._blocks = InferenceBlocks(net.blocks, net.size.kernel)
        names = ("numbers", "dense1", "dense2", "output", "alone1", "alone2", "alone")
        layers = [getattr(net, name) for name in names]
        self._layers = [(layer.weight.t().contiguous(), layer.bias) for layer in layers]

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs (n, INPUTS) float32 to log-probabilities (n, classes)."""
        if len(inputs) == 1:
            return self(inputs.expand(2, -1))[:1]
        channels, _, samples = self._waves
        waves = inputs[:, : channels * samples].reshape(-1, *self._waves)
        waves = waves.contiguous(memory_format=torch.channels_last)
        x = self._blocks(torch.conv2d(waves, *self._first, (1, 2), (0, STEM_KERNEL // 2)).relu_())
        numbers, dense1, dense2, output, alone1, alone2, alone = self._layers
        values = (inputs[:, channels * samples :] - self._mean) / self._spread
        x = torch.cat([torch.flatten(x, 1), _product_per_beat(values, *numbers).relu_()], 1)
        first = _product_per_beat(_product_per_beat(_product_per_beat(x, *dense1).relu_(), *dense2).relu_(), *output)
        second = _product_per_beat(
            _product_per_beat(_product_per_beat(values, *alone1).relu_(), *alone2).relu_(), *alone
        )
        return combine_heads(first, second)


def _product_per_beat(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Beats (n, k) through a dense layer (k, m), each by itself."""
    n = len(x)
    return torch.baddbmm(bias.expand(n, 1, -1), x[:, None, :], weight.expand(n, -1, -1))[:, 0]


def combine_heads(first: Tensor, second: Tensor) -> Tensor:
    """Scores (n, classes) of both heads to log-probabilities."""
    first, second = torch.log_softmax(first, 1), torch.log_softmax(second, 1)
    other = torch.logaddexp(first[:, 0], first[:, 1]) - torch.logaddexp(second[:, 0], second[:, 1])
    ventricular = (first[:, 2] + second[:, 2] + other) / 2
    return torch.log_softmax(torch.cat([first[:, :2], ventricular[:, None], first[:, 3:]], 1), 1)


def context_samples_left(size: NetSize) -> int:
    """Samples left in time behind the last block."""
    return pooled_lengths((size.samples - 1) // 2 + 1, len(size.channels))[-1]


def build_context_net(size: NetSize, device: torch.device, norm: bool = False) -> ContextNet:
    """A new net on `device`, its kernels in the channels-last layout."""
    net = ContextNet(size, norm).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stub
    return net


def fold_context_net(net: ContextNet) -> ContextNet:
    """The same function without batch normalisation."""
    return fold_norms_into(build_context_net(net.size, net.output.weight.device), net).eval()
