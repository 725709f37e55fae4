"""Gradients and scores of the report's net in C (`model/compiled/beat_training.c`), on a CPU.

Sums have another order than those of PyTorch, so the last digits differ. They hang neither on the processor's registers
nor, apart from the sums over beats, on the batch: the same beats and weights give the same gradients to the last bit.
"""

import ctypes

import torch
from torch import Tensor, nn

from model.compiled.library import load_library
from model.nets.beat_net import BeatNet
from model.nets.net_size import NetSize


def load_training(net: BeatNet) -> ctypes.CDLL | None:
    """Return the parts in C if they know the net: that of the report, without batch normalisation, on a CPU."""
    is_known = net.size == NetSize() and isinstance(net.conv, nn.Conv2d)
    library = load_library() if is_known and net.output.weight.device.type == "cpu" else None
    if library is not None:
        library.training_bytes.restype = ctypes.c_size_t
    return library


def parameter_views(net: nn.Module, values: Tensor) -> list[Tensor]:
    """Return views of `values` (all parameters,) with the shapes and memory layouts of the net's parameters."""
    parameters = list(net.parameters())
    parts = torch.split(values, [parameter.numel() for parameter in parameters])
    return [
        part.as_strided(parameter.shape, parameter.stride()) for part, parameter in zip(parts, parameters, strict=True)
    ]


def flat_parameters(net: nn.Module) -> list[Tensor]:
    """Return each parameter of a net as it lies in memory: views (n,). One after the other they are C's weights."""
    for parameter in net.parameters():
        assert parameter.ndim < 4 or parameter.is_contiguous(memory_format=torch.channels_last)
    return [parameter.detach().as_strided((parameter.numel(),), (1,)) for parameter in net.parameters()]


class CompiledGradients:
    """What a thread needs to compute the report's net in C. `offset` (classes,) is added to the scores in the loss."""

    def __init__(self, library: ctypes.CDLL, offset: Tensor) -> None:
        self._library, self._offset = library, offset.contiguous()
        self._work = torch.empty(library.training_bytes(), dtype=torch.uint8)

    def gradients(self, weights: Tensor, beats: Tensor, labels: Tensor, to: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the cross-entropy of beats (n, samples) with labels (n,), and the number of hits.

        The gradients of the sum go to `to` (all parameters,), in the order of `flat_parameters`, as `weights` are.
        """
        results = torch.zeros(2, dtype=torch.float64)
        beats, labels = _checked(beats), labels.long().contiguous()
        tensors = weights, self._offset, beats, labels
        rest = self._work, to.zero_(), results
        done = self._library.train_beats(*map(_pointer, tensors), len(beats), *map(_pointer, rest))
        if done < len(labels):
            raise IndexError(f"label {int(labels[done])} instead of one of {len(self._offset)} classes")
        return results[0].float(), results[1].long()

    def scores(self, weights: Tensor, beats: Tensor) -> Tensor:
        """Map beats (n, samples) to scores (n, classes)."""
        beats, scores = _checked(beats), torch.empty(len(beats), len(self._offset))
        rest = self._work, scores
        self._library.score_beats(_pointer(weights), _pointer(beats), len(beats), *map(_pointer, rest))
        return scores


def _checked(beats: Tensor) -> Tensor:
    """Return beats (n, samples) as C reads them."""
    if beats.ndim != 2 or beats.shape[1] != NetSize().samples:
        raise ValueError(f"beats {tuple(beats.shape)} instead of (n, {NetSize().samples})")
    return beats.float().contiguous()


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    """Return where the values of a tensor lie, a multiple of 64 as PyTorch has it. Whoever uses it keeps the tensor."""
    return ctypes.c_void_p(tensor.data_ptr())
