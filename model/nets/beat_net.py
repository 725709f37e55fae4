"""The network of Kachuee et al. 2018, "ECG Heartbeat Classification: A Deep Transferable Representation".

doi:10.1109/ICHI.2018.00092. A convolution, residual blocks, two dense layers, one output a class; the widths of the
blocks may differ, and while it trains its convolutions may be followed by batch normalisation, which `fold_beat_net`
then works into them. Written with two-dimensional convolutions over (1, time) in the channels-last layout: the same
function as the one-dimensional original and faster on a CPU. On a CPU the scores of a beat do not depend, to the last
bit, on the other beats of its batch: a live beat and a beat of a batch get the same figures.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion


@dataclass(frozen=True, slots=True)
class NetSize:
    """Sizes that rebuild a net: `samples` a beat, `channels` of each block, `kernel`, width of the `dense` layers."""

    samples: int = 187
    channels: tuple[int, ...] = (32, 32, 32, 32, 32)
    kernel: int = 5
    dense: int = 32
    classes: int = 5


class NormedConv(nn.Module):
    """A convolution followed by batch normalisation."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does the same with the statistics of now."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fusion.fuse_conv_bn_weights(
            self.conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        return weight, bias


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, the input added, ReLU, max-pooling over 5 samples with stride 2.

    Where the width changes the input is added through a convolution of kernel 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = _build_conv(inputs, outputs, kernel, norm)
        self.conv2 = _build_conv(outputs, outputs, kernel, norm)
        self.skip = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x).relu_()).add_(x if self.skip is None else self.skip(x)).relu_()
        return nn.functional.max_pool2d(y, (1, 5), (1, 2))


class DenseLayer(nn.Linear):
    """A dense layer as a sum a beat: a matrix product would round differently for different batch sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return _sum_per_beat(x, self.weight, self.bias)


class BeatNet(nn.Module):
    """Scores (logits) of the classes for a batch of beats."""

    def __init__(self, size: NetSize, norm: bool = False) -> None:
        super().__init__()
        self.size = size
        self.conv = _build_conv(1, size.channels[0], size.kernel, norm)
        widths = zip((size.channels[0], *size.channels), size.channels, strict=False)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o, size.kernel, norm) for i, o in widths))
        self.dense1 = DenseLayer(size.channels[-1] * block_samples_left(size)[-1], size.dense)
        self.dense2 = DenseLayer(size.dense, size.dense)
        self.output = DenseLayer(size.dense, size.classes)

    def embed(self, beats: Tensor) -> Tensor:
        """Beats (n, samples) to their representation (n, channels * samples left), before the dense layers."""
        x = beats[:, None, None, :].contiguous(memory_format=torch.channels_last)
        return torch.flatten(self.blocks(self.conv(x)), 1)

    def forward(self, beats: Tensor) -> Tensor:
        """Beats (n, samples) float32 in 0..1 to scores (n, classes)."""
        x = torch.relu(self.dense1(self.embed(beats)))
        x = torch.relu(self.dense2(x))
        scores: Tensor = self.output(x)
        return scores


class InferenceBlocks:
    """Residual blocks with their weights at hand, for inference: the same operations without PyTorch's modules."""

    def __init__(self, blocks: nn.Sequential, kernel: int) -> None:
        """Blocks without batch normalisation."""
        self._pad = (0, kernel // 2)
        self._blocks = []
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            skip = None if block.skip is None else block.skip.weight.detach()
            self._blocks.append((*layer_weights(block.conv1), *layer_weights(block.conv2), skip))

    def __call__(self, x: Tensor) -> Tensor:
        """What the blocks make of x (n, channels, 1, time)."""
        conv, step, pad = torch.conv2d, (1, 1), self._pad
        for weight1, bias1, weight2, bias2, skip in self._blocks:
            y = conv(conv(x, weight1, bias1, step, pad).relu_(), weight2, bias2, step, pad)
            x = torch.max_pool2d(y.add_(x if skip is None else conv(x, skip)).relu_(), (1, 5), (1, 2))
        return x


class InferenceNet:
    """A trained net with its weights at hand, for inference: the same operations on the same weights, the same scores.

    What PyTorch's modules cost in Python, about 100 µs a call, is a third of what a single beat takes. The scores of a
    beat do not depend on its batch, whatever the sizes of the net.
    """

    def __init__(self, net: BeatNet) -> None:
        """A net without batch normalisation: one that was folded or loaded."""
        self._pad = (0, net.size.kernel // 2)
        self._alone = set(net.size.channels) == {32}
        self._first = layer_weights(net.conv)
        self._blocks = InferenceBlocks(net.blocks, net.size.kernel)
        self._dense = [layer_weights(layer) for layer in (net.dense1, net.dense2)]
        self._output = layer_weights(net.output)

    @torch.inference_mode()
    def __call__(self, beats: Tensor) -> Tensor:
        """Beats (n, samples) float32 in 0..1 to scores (n, classes)."""
        if len(beats) == 1 and not self._alone:  # oneDNN sums other widths in another order where there is one beat
            return self(beats.expand(2, -1))[:1]
        x = beats[:, None, None, :].contiguous(memory_format=torch.channels_last)
        x = torch.flatten(self._blocks(torch.conv2d(x, *self._first, (1, 1), self._pad)), 1)
        for weight, bias in self._dense:
            x = _sum_per_beat(x, weight, bias).relu_()
        return _sum_per_beat(x, *self._output)


def build_beat_net(size: NetSize, device: torch.device, norm: bool = False) -> BeatNet:
    """A new net on `device`, its kernels in the channels-last layout, which also a batch of one then follows."""
    net = BeatNet(size, norm).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stub
    return net


@torch.no_grad()
def fold_beat_net(net: BeatNet) -> BeatNet:
    """The same function without batch normalisation: each is worked into the convolution before it."""
    return fold_norms_into(build_beat_net(net.size, net.output.weight.device), net)


Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def fold_norms_into(folded: Net, net: nn.Module) -> Net:
    """Give `folded`, a net without batch normalisation, what it needs to be the same function as `net`."""
    state = {key: value for key, value in net.state_dict().items() if key in folded.state_dict()}
    for name, module in net.named_modules():
        if isinstance(module, NormedConv):
            weight, bias = module.folded()
            state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    folded.load_state_dict(state)
    return folded.eval()


def count_parameters(net: nn.Module) -> int:
    """Number of trained numbers in a net."""
    return sum(p.numel() for p in net.parameters())


def block_samples_left(size: NetSize) -> tuple[int, ...]:
    """Samples left in time after the pooling of each block: 92, 44, 20, 8, 2."""
    return pooled_lengths(size.samples, len(size.channels))


def pooled_lengths(samples: int, blocks: int) -> tuple[int, ...]:
    """Samples left of `samples` behind each of some residual blocks."""
    left = [samples]
    for _ in range(blocks):
        left.append((left[-1] - 5) // 2 + 1)
    return tuple(left[1:])


def layer_weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that has both."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert layer.bias is not None
    return layer.weight.detach(), layer.bias.detach()


def _sum_per_beat(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (x[:, None, :] * weight).sum(-1) + bias


def _build_conv(inputs: int, outputs: int, kernel: int, norm: bool) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, (1, kernel), padding=(0, kernel // 2), bias=not norm)
    return NormedConv(conv, nn.BatchNorm2d(outputs)) if norm else conv
