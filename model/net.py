"""The network of Kachuee et al. 2018, "ECG Heartbeat Classification: A Deep Transferable Representation".

doi:10.1109/ICHI.2018.00092. A convolution, five residual blocks, two dense layers, one output a class.
Written with two-dimensional convolutions over (time, 1) in the channels-last layout: the same function as the
one-dimensional original and faster on a CPU. On a CPU the scores of a beat do not depend, to the last bit, on the other
beats of its batch: a live beat and a beat of a batch get the same figures.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class NetSize:
    """Sizes that rebuild a net: `samples` a beat, `channels` and `kernel` of its convolutions, `blocks`, `classes`."""

    samples: int = 187
    channels: int = 32
    kernel: int = 5
    blocks: int = 5
    classes: int = 5


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, the input added, ReLU, max-pooling over 5 samples with stride 2."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, kernel)
        self.conv2 = _conv(channels, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(torch.relu(self.conv1(x)))
        return nn.functional.max_pool2d(torch.relu(x + y), (5, 1), (2, 1))


class Dense(nn.Linear):
    """A dense layer as a sum a beat: a matrix product would round differently for different batch sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None, :] * self.weight).sum(-1) + self.bias


class BeatNet(nn.Module):
    """Scores (logits) of the classes for a batch of beats."""

    def __init__(self, size: NetSize) -> None:
        super().__init__()
        self.size = size
        self.conv = _conv(1, size.channels, size.kernel)
        self.blocks = nn.Sequential(*(ResidualBlock(size.channels, size.kernel) for _ in range(size.blocks)))
        self.dense1 = Dense(size.channels * samples_left(size), size.channels)
        self.dense2 = Dense(size.channels, size.channels)
        self.output = Dense(size.channels, size.classes)

    def embed(self, beats: Tensor) -> Tensor:
        """Beats (n, samples) to their representation (n, channels * samples left), before the dense layers."""
        x = beats[:, None, :, None].contiguous(memory_format=torch.channels_last)
        return torch.flatten(self.blocks(self.conv(x)), 1)

    def forward(self, beats: Tensor) -> Tensor:
        """Beats (n, samples) float32 in 0..1 to scores (n, classes)."""
        x = torch.relu(self.dense1(self.embed(beats)))
        x = torch.relu(self.dense2(x))
        scores: Tensor = self.output(x)
        return scores


def build(size: NetSize, device: torch.device) -> BeatNet:
    """A new net on `device`, its kernels in the channels-last layout."""
    net = BeatNet(size).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stub
    return net


def parameters(net: nn.Module) -> int:
    """Number of trained numbers in a net."""
    return sum(p.numel() for p in net.parameters())


def samples_left(size: NetSize) -> int:
    """Samples left in time after the pooling of all blocks: 187, 92, 44, 20, 8, 2."""
    samples = size.samples
    for _ in range(size.blocks):
        samples = (samples - 5) // 2 + 1
    return samples


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, (kernel, 1), padding=(kernel // 2, 0))
