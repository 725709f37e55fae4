"""The beat net: one cut beat to the scores of the classes.

Sources:

- Kachuee, Fazeli, Sarrafzadeh 2018, "ECG Heartbeat Classification: A Deep Transferable Representation",
  doi:10.1109/ICHI.2018.00092: a convolution, residual blocks, two dense layers, one output per class.
- He et al. 2016, "Deep Residual Learning for Image Recognition", doi:10.1109/CVPR.2016.90: the 1x1 convolution on the
  way past a block whose width changes.
- Ioffe and Szegedy 2015, "Batch Normalization", arXiv:1502.03167.

Differences from Kachuee et al.: the widths of the blocks may differ, and the convolutions may be followed by batch
normalisation in training, which `fold_beat_net` then merges into them. The convolutions are two-dimensional over
(1, time) in the channels-last layout: the same function as one-dimensional ones, and faster on a CPU. On a CPU the
scores of a beat do not depend on the other beats of its batch, to the last bit, so a live beat and a beat of a batch
get the same scores.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from model.nets.net_size import NetSize, block_samples_left


class NormedConv(nn.Module):
    """A convolution followed by batch normalisation, (n, inputs, 1, time) to (n, outputs, 1, time)."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Map x (n, inputs, 1, time) to (n, outputs, 1, time)."""
        y: Tensor = self.norm(self.conv(x))
        return y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight (outputs, inputs, 1, kernel) and bias (outputs,) of one convolution with the same output.

        It uses the running statistics, as the normalisation does in inference.
        """
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fusion.fuse_conv_bn_weights(
            self.conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        return weight, bias


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, addition of the input, ReLU, max-pooling over 5 samples with stride 2.

    If the width changes, the input passes a convolution of kernel 1 before it is added.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = _build_conv(inputs, outputs, kernel, norm)
        self.conv2 = _build_conv(outputs, outputs, kernel, norm)
        self.skip = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (n, inputs, 1, time) to (n, outputs, 1, (time - 5) // 2 + 1)."""
        y = self.conv2(self.conv1(x).relu_())  # (n, outputs, 1, time)
        y = y.add_(x if self.skip is None else self.skip(x)).relu_()
        return nn.functional.max_pool2d(y, (1, 5), (1, 2))


class DenseLayer(nn.Linear):
    """A dense layer computed as a sum for each beat: a matrix product would round differently with the batch size."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (n, inputs) to (n, outputs)."""
        return _sum_per_beat(x, self.weight, self.bias)


class BeatNet(nn.Module):
    """Scores (logits) of the classes for a batch of beats. With `norm` the convolutions are normalised, for training.

    With the default sizes, time shrinks from 187 to 92, 44, 20, 8 and 2 samples, and 32 channels of 2 make 64 inputs of
    the dense layers.
    """

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
        """Map beats (n, samples) to their representation (n, channels * samples left), before the dense layers."""
        x = beats[:, None, None, :].contiguous(memory_format=torch.channels_last)  # (n, 1, 1, samples)
        x = self.blocks(self.conv(x))  # (n, channels, 1, samples left)
        return torch.flatten(x, 1)  # (n, channels * samples left)

    def forward(self, beats: Tensor) -> Tensor:
        """Map beats (n, samples) float32 in 0..1 to scores (n, classes)."""
        x = torch.relu(self.dense1(self.embed(beats)))  # (n, dense)
        x = torch.relu(self.dense2(x))  # (n, dense)
        scores: Tensor = self.output(x)
        return scores


class InferenceBlocks:
    """Residual blocks for inference: the same operations on the same weights, without PyTorch's modules."""

    def __init__(self, blocks: nn.Sequential, kernel: int) -> None:
        """Take the weights of blocks without batch normalisation."""
        self._pad = (0, kernel // 2)
        self._blocks = []
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            skip = None if block.skip is None else block.skip.weight.detach()
            self._blocks.append((*layer_weights(block.conv1), *layer_weights(block.conv2), skip))

    def __call__(self, x: Tensor) -> Tensor:
        """Map x (n, channels of the first block, 1, time) to (n, channels of the last, 1, samples left)."""
        conv, step, pad = torch.conv2d, (1, 1), self._pad
        for weight1, bias1, weight2, bias2, skip in self._blocks:
            y = conv(conv(x, weight1, bias1, step, pad).relu_(), weight2, bias2, step, pad)
            x = torch.max_pool2d(y.add_(x if skip is None else conv(x, skip)).relu_(), (1, 5), (1, 2))
        return x


class InferenceNet:
    """A trained net for inference: the same operations on the same weights, and so the same scores, but faster.

    PyTorch's modules cost about 100 µs of Python per call, a third of the time that a single beat takes. The scores of
    a beat do not depend on its batch, whatever the sizes of the net.
    """

    def __init__(self, net: BeatNet) -> None:
        """Take the weights of a net without batch normalisation: one that was folded or loaded."""
        self._pad = (0, net.size.kernel // 2)
        self._exact_alone = set(net.size.channels) == {32}
        self._first = layer_weights(net.conv)
        self._blocks = InferenceBlocks(net.blocks, net.size.kernel)
        self._dense = [layer_weights(layer) for layer in (net.dense1, net.dense2)]
        self._output = layer_weights(net.output)

    @torch.inference_mode()
    def __call__(self, beats: Tensor) -> Tensor:
        """Map beats (n, samples) float32 in 0..1 to scores (n, classes)."""
        # For a single beat, oneDNN sums in another order than for a batch, unless all blocks are 32 channels wide.
        if len(beats) == 1 and not self._exact_alone:
            return self(beats.expand(2, -1))[:1]
        x = beats[:, None, None, :].contiguous(memory_format=torch.channels_last)  # (n, 1, 1, samples)
        x = self._blocks(torch.conv2d(x, *self._first, (1, 1), self._pad))  # (n, channels, 1, samples left)
        x = torch.flatten(x, 1)  # (n, channels * samples left)
        for weight, bias in self._dense:
            x = _sum_per_beat(x, weight, bias).relu_()  # (n, dense)
        return _sum_per_beat(x, *self._output)


def build_beat_net(size: NetSize, device: torch.device, norm: bool = False) -> BeatNet:
    """Build a net with random weights on `device`, in the channels-last layout, which a batch of one then follows."""
    net = BeatNet(size, norm).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stub
    return net


@torch.no_grad()
def fold_beat_net(net: BeatNet) -> BeatNet:
    """Return a net with the same output in inference and no batch normalisation: it is merged into the convolutions."""
    return fold_norms_into(build_beat_net(net.size, net.output.weight.device), net)


Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def fold_norms_into(folded: Net, net: nn.Module) -> Net:
    """Load the weights of `net`, with its batch normalisation merged, into the net `folded`, which has none."""
    state = {key: value for key, value in net.state_dict().items() if key in folded.state_dict()}
    for name, module in net.named_modules():
        if isinstance(module, NormedConv):
            weight, bias = module.folded()
            state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    folded.load_state_dict(state)
    return folded.eval()


def count_parameters(net: nn.Module) -> int:
    """Return the number of parameters of a net."""
    return sum(parameter.numel() for parameter in net.parameters())


def layer_weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight (outputs, inputs, ...) and bias (outputs,) of a layer that has both."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert layer.bias is not None
    return layer.weight.detach(), layer.bias.detach()


def _sum_per_beat(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map x (n, inputs) to (n, outputs) with weight (outputs, inputs), by an elementwise product and a sum."""
    return (x[:, None, :] * weight).sum(-1) + bias  # (n, outputs, inputs) before the sum


def _build_conv(inputs: int, outputs: int, kernel: int, norm: bool) -> nn.Module:
    """Build a convolution that keeps the length; with `norm` it has no bias of its own, and is normalised."""
    conv = nn.Conv2d(inputs, outputs, (1, kernel), padding=(0, kernel // 2), bias=not norm)
    return NormedConv(conv, nn.BatchNorm2d(outputs)) if norm else conv
